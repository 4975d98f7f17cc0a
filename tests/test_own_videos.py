import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceneuro.cohorts.own_videos import listing
from faceneuro.errors import InputError
from faceneuro.tables import MANIFEST, read_table, write_table


@pytest.fixture
def root(tmp_path):
    """A folder of recordings; the files are listed, not opened."""
    folder = tmp_path / "data"
    (folder / "stills").mkdir(parents=True)
    for name in ("a.mp4", "b.MOV", "c.jpg", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def listed(root, text, encoding="utf-8"):
    table = root.parent / "clips.csv"
    table.write_bytes(text.encode(encoding))
    return listing(
        "mine", {"kind": "own_videos", "root": str(root), "clips": str(table), "subjects_per_shard": 2}
    ).clips


def refusal(root, text, encoding="utf-8"):
    with pytest.raises(InputError) as caught:
        listed(root, text, encoding)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_all_columns(root):
    (row,) = listed(
        root,
        "path,subject,clip,task,group,severity,side,age,sex,source\na.mp4,P1,first,smile,als,2.5,Left,61,f,clinic\n",
    )
    assert len(row.pop("digest")) == 16
    assert row == {
        **{"files": None, "scores": None},
        **{"subject": "P1", "clip": "first", "task": "smile", "group": "als", "severity": 2.5, "side": "left"},
        **{"age": 61.0, "sex": "f", "source": "clinic", "kind": "video", "path": str(root / "a.mp4"), "problem": None},
    }


def test_the_two_required_columns_suffice(root):
    rows = listed(root, "subject,path\nP1,a.mp4\nP2,stills\nP3,c.jpg\n")
    assert [(row["kind"], row["clip"], row["problem"]) for row in rows] == [
        ("video", "a", None),
        ("images", "stills", None),
        ("image", "c", None),
    ]
    assert all(row[name] is None for row in rows for name in ("group", "severity", "side", "age", "task"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("comma", [",", ";"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tables_as_spreadsheets_write_them(root, encoding, comma, newline):
    lines = [f"path{comma}subject{comma}group", f"a.mp4{comma}Müller{comma}", "", f"b.MOV{comma}007{comma}NA", ""]
    rows = listed(root, newline.join(lines), encoding)
    assert [(row["subject"], row["group"]) for row in rows] == [("Müller", None), ("007", "NA")]


@settings(max_examples=60)
@given(
    subjects=st.lists(
        st.text(st.characters(exclude_categories=["C"]), min_size=1).filter(str.strip) | st.sampled_from(["NA", "007"]),
        min_size=1,
        max_size=4,
    )
)
def test_any_subject_comes_through_unchanged(subjects, tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for number in range(len(subjects)):
        (root / f"{number}.mp4").touch()
    quoted = ['"' + subject.replace('"', '""') + '"' for subject in subjects]
    rows = listed(root, "path,subject\n" + "".join(f"{number}.mp4,{name}\n" for number, name in enumerate(quoted)))
    assert [row["subject"] for row in rows] == subjects
    write_table([{"cohort": "mine"} | row for row in rows], root / "manifest.parquet", MANIFEST)
    assert read_table(root / "manifest.parquet")["subject"].tolist() == subjects


def test_names_of_clips_tell_a_subjects_files_apart(root):
    for folder in ("one", "two"):
        (root / folder).mkdir()
        (root / folder / "smile.mp4").touch()
    (root / "a.avi").touch()
    paths = ["one/smile.mp4", "two/smile.mp4", "a.mp4", "a.avi", "c.jpg"]
    rows = listed(root, "path,subject\n" + "".join(f"{path},P1\n" for path in paths) + "b.MOV,P2\n")
    assert [row["clip"] for row in rows] == ["one/smile.mp4", "two/smile.mp4", "a.mp4", "a.avi", "c", "b"]


def test_the_same_file_twice_is_left_out_once(root):
    (root / "link.mp4").symlink_to(root / "a.mp4")
    rows = listed(root, "path,subject\na.mp4,P1\na.mp4,P1\nstills/../a.mp4,P2\nlink.mp4,P3\n")
    assert rows[0]["problem"] is None
    assert all("same file is listed in line 2 already, as subject 'P1'" in row["problem"] for row in rows[1:])
    assert len({(row["subject"], row["clip"]) for row in rows}) == 4


def test_the_same_name_twice_is_left_out_once(root):
    rows = listed(root, "path,subject,clip\na.mp4,P1,smile\nb.MOV,P1,smile\nc.jpg,P2,smile\n")
    assert [bool(row["problem"]) for row in rows] == [False, True, False]
    assert "line 2 gives this subject a clip of the same name" in rows[1]["problem"]
    assert rows[1]["clip"] == "smile (line 3)"


def test_a_missing_file_is_that_clips_problem(root):
    rows = listed(root, "path,subject\nA.mp4,P1\na.mp4,P2\n")
    assert "does not exist" in rows[0]["problem"]
    assert "capitals" in rows[0]["problem"]
    assert rows[1]["problem"] is None


def test_a_wrong_ending_is_that_clips_problem(root):
    rows = listed(root, "path,subject\nnotes.txt,P1\na.mp4,P2\n")
    assert "'.txt'" in rows[0]["problem"]
    assert "convert" in rows[0]["problem"]
    assert rows[1]["problem"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,subject,sevrity\na.mp4,P1,2\n", ["line 1", "unknown column 'sevrity'", "did you mean 'severity'?"]),
        ("path,subject,xyz\na.mp4,P1,2\n", ["unknown column 'xyz'", "the columns are path, subject"]),
        ("path,group\na.mp4,als\n", ["line 1", "'subject' is missing", "add it"]),
        ("path,subject,path\na.mp4,P1,a.mp4\n", ["'path' is there twice"]),
        ("path,subject\n", ["lists no clips", "add a line"]),
        ("", ["'path' is missing"]),
        ("path,subject\na.mp4,\n", ["line 2", "'subject' is empty"]),
        ("path,subject\n\na.mp4,P1\n ,P2\n", ["line 4", "'path' is empty"]),
        ("path,subject\n../b.mp4,P1\n", ["line 2", "'path'", "'../b.mp4' leads out of the root"]),
        ("path,subject\n/etc/passwd,P1\n", ["line 2", "'/etc/passwd' is absolute", "root folder"]),
        ("path,subject\nC:\\videos\\b.mp4,P1\n", ["line 2", "is absolute"]),
        ("path,subject\nleaving/secret.mp4,P1\n", ["line 2", "leads out of the root"]),
        ("path,subject,severity\na.mp4,P1,mild\n", ["line 2", "'severity'", "'mild' is not a number", "empty"]),
        ("path,subject,age\na.mp4,P1,nan\n", ["line 2", "'age'", "'nan' is not a number"]),
        ("path,subject,side\na.mp4,P1,both\n", ["line 2", "'side'", "'both' is not left, right or none"]),
        ("path,subject\na.mp4,P1,als\n", ["line 2", "3 cells, the header 2", "quotes"]),
        ('path,subject\na.mp4,"P1\n', ["line 2", "quotes"]),
    ],
)
def test_a_doubtful_list_is_refused_in_one_sentence(root, text, words):
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "secret.mp4").touch()
    (root / "leaving").symlink_to(root.parent / "elsewhere")
    message = refusal(root, text)
    assert all(word in message for word in ["clips.csv", *words]), message


def test_another_encoding_is_named(root):
    assert "not UTF-8" in refusal(root, "path,subject\na.mp4,Müller\n", "latin-1")


def test_a_missing_list_or_root_names_the_key(root, tmp_path):
    with pytest.raises(InputError, match=r"config key cohorts\.mine\.clips: .*none\.csv does not exist"):
        listing("mine", {"root": str(root), "clips": str(tmp_path / "none.csv")})
    with pytest.raises(InputError, match=r"config key cohorts\.mine\.root: there is no folder"):
        listing("mine", {"root": str(tmp_path / "nowhere"), "clips": str(tmp_path / "none.csv")})


def test_a_list_that_may_not_be_read(root, monkeypatch):
    def forbidden(*arguments, **options):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.read_text", forbidden)
    assert "may not be read by this user" in refusal(root, "path,subject\n")


def test_listing_imports_nothing_heavy():
    code = "import faceneuro.cohorts.own_videos, sys; print({'numpy', 'pandas', 'av', 'pyarrow'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert output.stdout.strip() == "set()"
