"""Templates of paths, the walk through a folder, and the state of files."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceneuro.cohorts.intake.templates import compile_template, fields_of, match
from faceneuro.cohorts.intake.tree import File, digest, walk
from faceneuro.errors import InputError

NAME = st.text(st.characters(exclude_characters="/_", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)


@given(NAME, NAME, st.integers(0, 10**9), st.lists(NAME, max_size=3))
def test_a_template_finds_the_fields_that_a_path_was_made_of(subject, task, order, above):
    path = "/".join([*above, subject, f"{task}_{order}"])
    assert match([compile_template(r"{subject}/{task}_{order:\d+}")], path) == {
        "subject": subject,
        "task": task,
        "order": str(order),
    }


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("{subject}", "a/b", {"subject": "b"}),
        ("{subject}/*/{task}", "a/x/b", {"subject": "a", "task": "b"}),
        ("{subject}/*/{task}", "a/b", None),
        ("{subject}/{task}", "b", None),
        ("IMG {number:[0-9]{3}}", "img 012", {"number": "012"}),
        ("IMG {number:[0-9]{3}}", "img 0123", None),
        ("a.b (1)+{task}", "a.b (1)+x", {"task": "x"}),
        ("a.b{task}", "aXbx", None),
        ("{group:(?:hc|als)}{number}", "ALS7", {"group": "ALS", "number": "7"}),
    ],
)
def test_a_template_fits_the_end_of_a_path_and_nothing_less(template, path, found):
    assert match([compile_template(template)], path) == found


def test_the_first_template_that_fits_is_used():
    patterns = [compile_template(template) for template in ("{subject}/{task}", "{subject}_{task}", "{subject}")]
    assert match(patterns, "a/b_c") == {"subject": "a", "task": "b_c"}
    assert match(patterns, "b_c") == {"subject": "b", "task": "c"}
    assert match(patterns, "b") == {"subject": "b"}
    assert match(patterns[:2], "b") is None


def test_fields_are_named_once_each():
    assert fields_of(r"{subject:S\d{3}}/*/{task}_{order:\d+}") == {"subject", "task", "order"}


@pytest.mark.parametrize(
    "template", ["{Subject}", "{}", "{subject", "subject}", "{sub ject}", "{subject:}", "{a}{{b}}"]
)
def test_a_brace_that_begins_no_field_is_refused(template):
    with pytest.raises(InputError, match="brace") as caught:
        compile_template(template)
    assert template in str(caught.value)


@pytest.mark.parametrize("template", ["{task}/{task}", "{task:[}", "{task:(}", "{task:*}"])
def test_a_field_that_is_none_is_refused(template):
    with pytest.raises(InputError, match="cannot be used") as caught:
        compile_template(template)
    assert template in str(caught.value)


def test_what_is_neither_file_nor_folder_is_left_out(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    tree = walk(tmp_path)
    assert (tree.files, tree.left_out) == ([], {"pipe.mp4": "neither a file nor a folder"})


def test_a_name_that_is_no_text_is_left_out_and_can_be_written_down(tmp_path):
    (tmp_path / os.fsdecode(b"M\xfcller.mp4")).touch()
    (tmp_path / "Müller.mp4").touch()
    tree = walk(tmp_path)
    assert [file.path for file in tree.files] == ["Müller.mp4"]
    (path,) = tree.left_out
    assert path.encode()
    assert "UTF-8" in tree.left_out[path]


def test_a_root_that_is_a_link_is_followed_and_no_other(tmp_path):
    (tmp_path / "there" / "in it").mkdir(parents=True)
    (tmp_path / "there" / "in it" / "a.MP4").write_bytes(b"123")
    (tmp_path / "there" / "again").symlink_to("in it")
    (tmp_path / "there" / "up").symlink_to("..")
    (tmp_path / "here").symlink_to(tmp_path / "there")
    tree = walk(tmp_path / "here")
    assert [(file.path, file.size, file.suffix) for file in tree.files] == [("in it/a.MP4", 3, ".mp4")]
    assert set(tree.left_out) == {"again", "up"}
    assert "in this folder already" in tree.left_out["again"]
    assert "out of the root" in tree.left_out["up"]


FILES = st.lists(st.builds(File, NAME, st.integers(0, 2**40), st.integers(0, 2**62)), max_size=5)


@given(FILES, FILES)
def test_files_have_the_same_digest_if_they_are_the_same(some, others):
    """In whole seconds, which is all that some copies keep of their times."""
    states = ([(file.path, file.size, file.changed_ns // 10**9) for file in files] for files in (some, others))
    assert (digest(some) == digest(others)) == (next(states) == next(states))
