"""Two runs side by side: what differs, which claims changed, which numbers differ by more than their noise."""

import copy
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceneuro.config import other_run
from faceneuro.errors import InputError
from faceneuro.report.two_runs import (
    BEYOND,
    CHANGED,
    DOUBTFUL,
    EQUAL,
    ONLY_HERE,
    ONLY_THERE,
    OTHER,
    WITHIN,
    Comparison,
    Run,
    compare,
    read_run,
    write_comparison,
)

STUDY = """kind,study,row,metric,published,reproduced,ci_low,ci_high,model,cohort,n_subjects,claim,verdict,headline
row,als,accuracy,accuracy,0.92,0.70,0.60,0.80,dual,virtual_als,22,,,
row,als,accuracy,recall,,0.50,0.40,0.60,dual,virtual_als,22,,,
row,als,accuracy,f1,,0.40,0.30,0.50,dual,virtual_als,22,,,
row,als,accuracy,g_mean,,0.00,0.00,0.00,dual,virtual_als,22,,,
row,als,accuracy,brier,,,,,other,virtual_als,,,,
claim,als,,,,,,,,,,People are told apart.,not shown,True
claim,als,,,,,,,,,,Motion helps.,holds,False
claim,als,,,,,,,,,,Colour helps.,not run,False
"""
QUALITY = """cohort,subject,clip,frames_read,verdict
virtual_als,V1,open,38,ok
virtual_als,V2,open,38,partial
virtual_palsy,V1,open,30,ok
"""
REVIEW = """analysis,group,scale,k,estimate,ci_low,ci_high
main,all,raw,25,80.7,73.3,88.1
"""
VALUES, WIDTHS = st.floats(0, 1), st.floats(0.01, 0.3)
SOFTWARE = {
    **{"faceneuro": "1.0", "commit": "a" * 40, "modified": False, "source_sha256": "b" * 64, "snakemake": "9.27.1"},
    **{"python": "3.11.7", "packages": {"torch": "2.15.0", "numpy": "2.5.5"}},
}
MANIFEST = {
    "recorded": "2026-11-30T13:35:37+00:00",
    "software": SOFTWARE,
    "configuration": {
        "values": {"against": None, "studies": {"als": {"training": {"seed": 1, "epochs": 20}, "models": ["dual"]}}}
    },
    "inputs": {
        "cohorts": {"virtual_als": {"kind": "virtual", "digest": "d" * 16, "subjects": 22, "clips": 66}},
        "files": {},
        "assets": {"face_landmarker.task": {"sha256": "c" * 64}},
    },
    "machines": [{"processor": "One", "gpus": []}],
}


def table(text: str, **cells: str) -> str:
    """A table with some texts replaced, each of which must be there once."""
    for old, new in cells.values():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def made(folder: Path, study: str = STUDY, manifest: dict | None = MANIFEST, **more: str) -> Run:
    """A run's results, read."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"als": study, "quality": QUALITY, "meta_analysis_review": REVIEW, **more}
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    if manifest is not None:
        (folder / "provenance.json").write_text(json.dumps(manifest))
    return read_run(
        [folder / f"{name}.csv" for name in texts], folder / "provenance.json" if manifest is not None else None
    )


def found(rows: pd.DataFrame, table: str, row: str, quantity: str) -> str:
    (word,) = rows[(rows["table"] == table) & (rows["row"] == row) & (rows["quantity"] == quantity)]["found"]
    return word


def lead(comparison: Comparison, tmp_path: Path) -> str:
    write_comparison(comparison, tmp_path / "out" / "comparison", tmp_path / "out" / "index.html")
    return (tmp_path / "out" / "comparison.md").read_text().split("\n## ")[0]


@pytest.fixture
def here(tmp_path) -> Run:
    return made(tmp_path / "here")


def test_a_run_against_itself_is_equal_throughout(here, tmp_path):
    comparison = compare(here, here)
    assert set(comparison.rows["found"]) == {EQUAL}
    assert comparison.differ == []
    assert comparison.shared == ["virtual_als"]
    text = lead(comparison, tmp_path)
    assert "Nothing that a result depends on differs" in text
    # The claim that was not run is judged in neither.
    assert "All 2 claims that are judged in both runs have the same verdict." in text
    assert "No number with an interval differs, of 4 that are in both runs." in text
    assert "All numbers of the meta-analysis that are in both runs are equal." in text


def test_a_change_within_noise_and_one_beyond_it(here, tmp_path):
    other = table(STUDY, near=("0.70,0.60,0.80", "0.75,0.65,0.85"), far=("0.50,0.40,0.60", "0.90,0.85,0.95"))
    rows = compare(here, made(tmp_path / "there", other)).rows
    assert found(rows, "als", "dual, accuracy", "reproduced") == WITHIN
    assert found(rows, "als", "dual, recall", "reproduced") == BEYOND
    assert found(rows, "als", "dual, f1", "reproduced") == EQUAL
    row = rows[rows["found"] == BEYOND].iloc[0]
    assert row["difference"] == pytest.approx(-0.4)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((-0.4 - 0.0125**0.5, -0.4 + 0.0125**0.5))
    assert (row["n_here"], row["n_there"]) == (22, 22)


def test_one_of_many_looks_that_is_beyond_its_noise_alone_is_doubtful(tmp_path):
    names = [f"m{number}" for number in range(40)]
    text = "metric,value,ci_low,ci_high\n"
    one = made(tmp_path / "one", many=text + "".join(f"{name},0.50,0.40,0.60\n" for name in names))
    moved = {"m7": "0.65,0.55,0.75"}
    values = (f"{name},{moved.get(name, '0.51,0.41,0.61')}\n" for name in names)
    comparison = compare(one, made(tmp_path / "two", many=text + "".join(values)))
    assert comparison.rows["found"].value_counts()[[DOUBTFUL, WITHIN]].to_dict() == {DOUBTFUL: 1, WITHIN: 39}
    said = lead(comparison, tmp_path)
    assert "Of 40 numbers with an interval in both runs, 0 differ beyond noise." in said
    assert "Doubtful are 1 more" in said
    assert "about 2 would be that by chance" in said


def test_without_known_noise_a_number_is_another_or_the_same(here, tmp_path):
    other = table(STUDY, flat=("0.00,0.00,0.00", "0.20,0.00,0.40"), printed=("0.92,", "0.93,"))
    rows = compare(here, made(tmp_path / "there", other)).rows
    # All resamples gave 0 here: nobody knows how far it may be from that.
    assert found(rows, "als", "dual, g_mean", "reproduced") == OTHER
    assert found(rows, "als", "dual, accuracy", "published") == OTHER


def test_what_is_pooled_from_print_must_be_equal_whatever_its_interval(here, tmp_path):
    there = made(tmp_path / "there", meta_analysis_review=table(REVIEW, up=("80.7,", "80.8,")))
    comparison = compare(here, there)
    assert found(comparison.rows, "meta_analysis_review", "main, all, raw", "estimate") == OTHER
    assert "Not equal, of what is computed from printed numbers: 1 number in meta_analysis_review." in lead(
        comparison, tmp_path
    )
    last_digit = made(tmp_path / "last", meta_analysis_review=table(REVIEW, up=("80.7,", "80.70000000001,")))
    assert set(compare(here, last_digit).rows["found"]) == {EQUAL}


def test_a_verdict_that_changed_is_the_headline(here, tmp_path):
    there = made(tmp_path / "there", table(STUDY, first=("not shown,True", "holds,True")))
    comparison = compare(here, there)
    text = lead(comparison, tmp_path)
    assert "Of 2 claims that are judged in both runs, 1 changed.**" in text
    assert "als, People are told apart: holds there, not shown here." in text
    assert comparison.rows["found"].value_counts()[CHANGED] == 1


def test_of_an_audit_the_grade_is_the_verdict(here, tmp_path):
    audits = "study,audit,value,ci_low,ci_high,grade,verdict\nals,leak,0.4,0.2,0.6,{},{}\n"
    one, two, three = (
        made(tmp_path / grade, audits=audits.format(grade, words))
        for grade, words in (
            ("warn", "people are recognised"),
            ("fail", "people are recognised"),
            ("warn ", "other words"),
        )
    )
    assert compare(one, two).rows["found"].value_counts()[CHANGED] == 1
    text = lead(compare(one, two), tmp_path)
    assert "Other verdicts that changed" in (tmp_path / "out" / "comparison.md").read_text()
    assert "claims that are judged in both runs have the same verdict" in text
    assert three.tables["audits"]["verdict"].item() == "other words"


def test_rows_and_tables_of_one_run_are_named(here, tmp_path):
    lines = [line for line in STUDY.splitlines() if ",recall," not in line and "Motion" not in line]
    there = made(tmp_path / "there", "\n".join(lines) + "\n", extra="metric,value\nx,1\n")
    comparison = compare(here, there)
    assert found(comparison.rows, "als", "dual, recall", "reproduced") == ONLY_HERE
    assert comparison.missing == [("extra", ONLY_THERE)]
    text = lead(comparison, tmp_path)
    assert "Only here: 2 rows of als." in text
    assert "Only there: the tables extra." in text


def test_a_cohort_is_a_key_only_where_one_name_is_not_enough(here, tmp_path):
    """So that a study is compared between cohorts, and clips of two cohorts are not mixed up."""
    other = STUDY.replace("virtual_als", "neuroface")
    rows = compare(here, made(tmp_path / "there", other)).rows
    assert set(rows["found"]) == {EQUAL}
    measured = "cohort,measure,value,ci_low,ci_high\na,brow,{},0,1\nb,brow,{},0,1\n"
    one, two = (
        made(tmp_path / name, measured=measured.format(*each)) for name, each in (("x", (0.2, 0.3)), ("y", (0.3, 0.2)))
    )
    rows = compare(one, two).rows
    assert set(rows[rows["table"] == "measured"]["found"]) == {WITHIN}
    assert not compare(one, two).unmatched


def test_rows_that_nothing_tells_apart_are_compared_in_their_order_and_that_is_said(here, tmp_path):
    twice = "metric,value\nx,1\nx,2\n"
    comparison = compare(made(tmp_path / "one", twice=twice), made(tmp_path / "two", twice=twice))
    assert comparison.unmatched == ["twice"]
    assert set(comparison.rows["found"]) == {EQUAL}
    lead(comparison, tmp_path)
    assert "Some rows of twice have the same names" in (tmp_path / "out" / "comparison.md").read_text()


def test_what_differs_between_the_runs_comes_first(here, tmp_path):
    other = copy.deepcopy(MANIFEST)
    other["software"] |= {"modified": True, "packages": {"torch": "2.16.0", "numpy": "2.5.5", "tqdm": "4"}}
    other["configuration"]["values"]["against"] = "elsewhere"
    other["configuration"]["values"]["studies"]["als"]["training"]["seed"] = 2
    other["configuration"]["values"]["studies"]["palsy"] = {"cohort": "virtual_palsy"}
    other["inputs"]["cohorts"]["virtual_als"] |= {"digest": "e" * 16, "subjects": 30}
    other["machines"] = [{"processor": "One", "gpus": ["H200"]}]
    comparison = compare(here, made(tmp_path / "there", manifest=other))
    assert comparison.differ == [
        ("Setting studies.als.training.seed", "2", "1"),
        ("Setting studies.palsy", "a block of settings", "not there"),
        ("Cohort virtual_als", f"30 subjects, 66 clips, state {'e' * 12}", f"22 subjects, 66 clips, state {'d' * 12}"),
        ("Commit", "a" * 12 + ", with changes", "a" * 12),
        ("GPUs", "H200", "none"),
        ("Package torch", "2.16.0", "2.15.0"),
        ("Package tqdm", "4", "not there"),
    ]
    assert comparison.shared == []
    text = lead(comparison, tmp_path)
    assert "The runs differ in Setting studies.als.training.seed, Setting studies.palsy, Cohort virtual_als, " in text
    assert "GPUs, 2 packages." in text
    assert "Virtual cohorts, rendered faces and no patients: virtual_als." in text


def test_without_a_manifest_it_says_that_it_does_not_know(here, tmp_path):
    text = lead(compare(here, made(tmp_path / "there", manifest=None)), tmp_path)
    assert "There: a run without a manifest." in text
    assert "What differs between the runs is not known" in text


@settings(max_examples=20)
@given(st.lists(st.tuples(VALUES, WIDTHS, VALUES, WIDTHS), min_size=1, max_size=6))
def test_swapping_the_runs_mirrors_the_result(rows):
    def run(place: int) -> Run:
        cells = [
            {"metric": f"m{number}", "value": f"{row[place]!r}"}
            | {"ci_low": f"{row[place] - row[place + 1]!r}", "ci_high": f"{row[place] + row[place + 1]!r}"}
            for number, row in enumerate(rows)
            if number != 3 + place
        ]
        return Run({"t": pd.DataFrame(cells or [{"metric": "m", "value": "1", "ci_low": "0", "ci_high": "2"}])}, None)

    one, two = compare(run(0), run(2)).rows.set_index("row"), compare(run(2), run(0)).rows.set_index("row")
    two = two.loc[one.index]
    mirrored = {ONLY_HERE: ONLY_THERE, ONLY_THERE: ONLY_HERE}
    assert one["found"].to_list() == [mirrored.get(word, word) for word in two["found"]]
    pd.testing.assert_series_equal(one["difference"], -two["difference"])
    pd.testing.assert_series_equal(one["ci_low"], -two["ci_high"], check_names=False)
    pd.testing.assert_series_equal(one["here"], two["there"], check_names=False)
    pd.testing.assert_series_equal(one["q_value"], two["q_value"])


def test_the_page_has_every_row_and_loads_nothing(here, tmp_path):
    lead(compare(here, made(tmp_path / "there", table(STUDY, far=("0.50,0.40,0.60", "0.90,0.85,0.95")))), tmp_path)
    page = (tmp_path / "out" / "index.html").read_text()
    assert re.search(r"dual, recall</td>.*?verdict bad\">beyond noise", page)
    assert "dual, f1" in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)


def test_files_that_are_no_tables_or_manifests_are_named(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty\.csv is no table"):
        read_run([tmp_path / "empty.csv"], None)
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(InputError, match=r"provenance\.json is no manifest"):
        read_run([], tmp_path / "provenance.json")


@pytest.mark.parametrize(
    ("against", "words"),
    [
        (None, "there is no other run to compare with; add --config against="),
        ("nowhere", "there is no folder nowhere"),
        ("results", "results is the results folder of this very run"),
        ("again/../results", "the results folder of this very run"),
        ("empty", "there are no tables in empty; name the results folder"),
        ("again", "there are no tables in again (did you mean its folder results?)"),
    ],
)
def test_a_folder_that_cannot_be_compared_is_one_sentence(tmp_path, monkeypatch, against, words):
    monkeypatch.chdir(tmp_path)
    for folder in ("results/tables", "again/results/tables", "empty"):
        Path(folder).mkdir(parents=True)
    Path("again/results/tables/als.csv").write_text(STUDY)
    with pytest.raises(InputError) as error:
        other_run({"against": against}, Path("results"))
    assert str(error.value).startswith("config key against: ")
    assert words in str(error.value)
    assert other_run({"against": "again/results"}, Path("results"))["tables"] == ["again/results/tables/als.csv"]
