"""Which claims hold here: the verdicts of all studies in one table, and those on the ALS paper."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.errors import InputError
from faceneuro.evaluation.audits import POWER
from faceneuro.evaluation.paired import paired_differences
from faceneuro.report.als import COMPARED, PAIRS, judge_claims
from faceneuro.report.claims import COLUMNS, REVIEW, claims_of_review, claims_of_study, write_claims
from faceneuro.report.classification import write_classification
from faceneuro.report.comparisons import BEYOND, CONTROL, decisive
from faceneuro.studies.als import CLASSES
from test_als_table import predictions
from test_als_table import table as als_table

VIRTUAL = "virtual cohort, rendered faces, no patients"
PERMUTED = f"{VIRTUAL}; negative control, labels permuted over subjects"
ENOUGH = "so many can show a ROC AUC of 0.79 or more (a large effect has 0.71)"
NAN = float("nan")


def claim(text: str, verdict: str = "holds", models: str = "ours, other", headline: bool = False, **more) -> dict:
    numbers = {"in_print": "F1 96 against 89", "here": "F1 90 [80, 95]", "p_value": 0.002}
    said = {"kind": "claim", "claim": text, "verdict": verdict, "evidence": f"Evidence: {text}", "models": models}
    return said | numbers | {"headline": headline} | more


def study_table(*claims: dict, note: str = VIRTUAL, notes=("", ""), subjects=(20, 18)) -> pd.DataFrame:
    """A study's table as its CSV file has it: two models, each with a result, and claims."""
    rows = [
        {"kind": "row", "model": model, "note": said or NAN, "reproduced": 0.5, "n_subjects": count}
        for model, said, count in zip(("ours", "other"), notes, subjects, strict=True)
    ]
    about = {"cohort": "virtual_palsy", "cohort_note": note}
    return pd.DataFrame([*(row | about for row in rows), *claims])


def audits(*found: tuple[str, str], study: str = "palsy", smallest: float = 0.79) -> pd.DataFrame:
    rows = [
        {"study": study, "audit": f"audit {place}", "verdict": verdict, "grade": grade}
        for place, (verdict, grade) in enumerate(found)
    ]
    power = {"study": study, "audit": POWER, "verdict": "ok", "grade": "ok", "value": smallest, "reference": 0.714}
    return pd.DataFrame([*rows, power])


def review_table(*verdicts: str) -> pd.DataFrame:
    rows = [
        {"kind": "claim", "item": f"Claim {place}.", "verdict": verdict, "evidence": "", "headline": place == 0}
        for place, verdict in enumerate(verdicts)
    ]
    numbers = {"claimed": 89.25, "claimed_low": 88.75, "claimed_high": 89.73}
    rows[0] |= numbers | {"recomputed": 80.7124, "ci_low": 73.3358, "ci_high": 88.0890}
    empty = dict.fromkeys(("claimed", "claimed_low", "claimed_high", "recomputed", "ci_low", "ci_high"), NAN)
    return pd.DataFrame([empty | row for row in rows] + [{"kind": "number", "item": "q"}])


def text_of(folder: Path, *parts: pd.DataFrame) -> str:
    write_claims(pd.concat(parts, ignore_index=True), folder / "claims")
    return (folder / "claims.md").read_text()


def lead_of(text: str) -> str:
    return text.split("## ")[0]


def test_the_papers_own_claims_are_there_the_headline_first_and_checks_are_not():
    table = study_table(
        claim("A part helps.", "not shown"),
        claim("The whole is better.", headline=True),
        claim(f"{CONTROL}: nothing else tells."),
        claim(f"{BEYOND}: it can do more."),
    )
    found = claims_of_study("palsy", table)
    assert list(found.columns) == COLUMNS
    assert list(found["claim"]) == ["The whole is better.", "A part helps."]
    assert list(found["headline"]) == [True, False]
    first = found.iloc[0]
    assert (first["paper"], first["published"], first["here"]) == (
        "Oo et al. 2025",
        "F1 96 against 89",
        "F1 90 [80, 95]",
    )
    assert (first["why"], first["cohort"], first["cohort_note"]) == (
        "Evidence: The whole is better.",
        "virtual_palsy",
        VIRTUAL,
    )


@pytest.mark.parametrize(
    ("models", "smallest", "words"),
    [
        (
            "ours, other",
            0.79,
            "20 subjects; p = 0.002; so many can show a ROC AUC of 0.79 or more (a large effect has 0.71)",
        ),
        ("other", 0.79, "18 subjects; p = 0.002; so many can show a ROC AUC of 0.79 or more (a large effect has 0.71)"),
        ("other", NAN, "18 subjects; p = 0.002; so few can show no effect, however large"),
    ],
)
def test_how_sure_a_verdict_is_goes_by_the_models_that_it_rests_on(models, smallest, words):
    table = study_table(claim("It is better.", models=models, headline=True))
    found = claims_of_study("palsy", table, audits(smallest=smallest))
    assert found["sure"].tolist() == [words]


def test_audits_of_the_same_study_qualify_what_holds_and_nothing_else():
    table = study_table(claim("It is better.", headline=True), claim("A part helps.", "does not hold"))
    alarms = audits(("people are recognised", "warn"), ("the background tells", "fail"), ("nothing", "ok"))
    others = audits(("of another study", "fail"), study="als")
    found = claims_of_study("palsy", table, pd.concat([alarms, others]))
    assert found["reservations"].tolist() == ["the background tells (fail); people are recognised (warn)", ""]
    assert claims_of_study("palsy", table, audits(("nothing", "ok")))["reservations"].tolist() == ["", ""]
    assert claims_of_study("palsy", table)["reservations"].tolist() == ["", ""]


def test_untrained_backbones_and_a_negative_control_are_said_in_the_row():
    claims = claim("It is better.", "not shown", headline=True), claim("Other.", "not shown", models="other")
    table = study_table(*claims, note=PERMUTED, notes=("untrained backbone, small size", ""))
    control = "negative control, labels permuted over subjects"
    assert claims_of_study("palsy", table)["reservations"].tolist() == [
        f"{control}; untrained image backbones: ours",
        control,
    ]


def test_what_was_not_run_has_a_reason_and_no_numbers(tmp_path):
    missing = {"here": NAN, "p_value": NAN}
    table = study_table(claim("It is better.", "not run", headline=True, **missing), notes=("untrained backbone", ""))
    found = claims_of_study("palsy", table, audits(("alarm", "fail")))
    assert found.loc[0, ["here", "sure", "reservations"]].tolist() == ["", "", ""]
    text = text_of(tmp_path, found)
    assert "| **not run** | Evidence: It is better |" in text
    assert "of the main claims of 1 paper 1 was not run" in text


def test_a_table_without_one_headline_is_refused_by_name():
    for table in (study_table(claim("It is better.")), study_table()):
        with pytest.raises(InputError, match=r"results/tables/palsy\.csv has not one headline"):
            claims_of_study("palsy", table.assign(claim=table.get("claim")))


def test_the_review_is_told_by_its_headline_and_a_count_and_is_whole_in_the_csv(tmp_path):
    verdicts = ("does not follow", "follows", "does not follow", "cannot be checked", "does not follow")
    review = claims_of_review(review_table(*verdicts))
    assert (review["study"] == REVIEW).all()
    assert review.iloc[0][["published", "here"]].tolist() == ["89.25 % [88.75, 89.73]", "80.71 % [73.34, 88.09]"]
    assert review.iloc[1:][["published", "here"]].eq("").all(axis=None)
    text = text_of(tmp_path, review)
    assert "its main claim does not follow; of all 5 claims 1 follows, 3 do not follow, 1 cannot be checked." in text
    assert (
        "| meta_analysis | 4 other claims of the review |  |  | 1 follows, 2 do not follow, 1 cannot be checked |"
        in text
    )
    assert "Claim 0." in text
    assert "Claim 1." not in text
    read = pd.read_csv(tmp_path / "claims.csv")
    assert read["verdict"].tolist() == list(verdicts)


def test_the_answer_comes_first_and_says_whose_faces_and_what_is_missing(tmp_path):
    palsy = claims_of_study("palsy", study_table(claim("It is better.", headline=True)), audits(("alarm", "warn")))
    failing = study_table(claim("It is worse.", "does not hold", headline=True), claim("A part.", "not shown"))
    text = text_of(tmp_path, palsy, claims_of_study("synthesis", failing), claims_of_review(review_table("follows")))
    lead = lead_of(text).split("\n\n")
    assert lead[1].startswith(
        "Virtual cohort, rendered faces, no patients: of the main claims of 2 papers 1 holds with reservations, 1 does "
        "not hold; of all 3 claims 1 holds with reservations, 1 is not shown, 1 does not hold."
    )
    assert lead[2] == (
        "palsy, Oo et al. 2025: holds, here F1 90 [80, 95]; published F1 96 against 89. But: alarm (warn)."
    )
    assert lead[3].startswith("synthesis, Gao and Xia 2024: does not hold, here")
    lines = [line.split(" | ")[0].strip("| ") for line in text.splitlines() if line.startswith("| ")]
    assert lines == ["Study", "--", "palsy", "synthesis", "synthesis", "meta_analysis"]
    assert "Not in this configuration: als (Sri Varshan et al.), parkinson (Zhou et al. 2025)." in text


def test_reservations_are_counted_where_only_some_have_them(tmp_path):
    table = study_table(
        claim("It is better.", headline=True), claim("Other.", models="other"), notes=("untrained backbone", "")
    )
    assert "of all 2 claims 2 hold (1 of them) with reservations." in text_of(tmp_path, claims_of_study("palsy", table))


def test_people_of_two_kinds_are_told_apart(tmp_path):
    real = study_table(claim("It is better.", headline=True), note="recordings of people")
    virtual = study_table(claim("It is better.", headline=True))
    text = text_of(tmp_path, claims_of_study("palsy", real), claims_of_study("parkinson", virtual))
    assert f"Recordings of people (palsy), {VIRTUAL} (parkinson): of the main claims of 2 papers 2 hold" in text


def test_the_comparison_that_decides_is_the_one_that_speaks_against_it_most():
    gaps = {
        "surely better": {"difference": 0.3, "ci_low": 0.2, "ci_high": 0.4},
        "better": {"difference": 9.0, "ci_low": 1.0, "ci_high": 17.0},
        "perhaps": {"difference": 0.2, "ci_low": -0.1, "ci_high": 0.5},
        "surely worse": {"difference": -0.3, "ci_low": -0.4, "ci_high": -0.2},
        "worse": {"difference": -3.0, "ci_low": -9.0, "ci_high": 3.0},
        "equal": {"difference": 0.0, "ci_low": 0.0, "ci_high": 0.0},
    }
    order = []
    while gaps:
        order.append(decisive(gaps))
        del gaps[order[-1]]
    assert order == ["surely worse", "worse", "equal", "perhaps", "better", "surely better"]
    assert decisive({"unknown": {"difference": 1.0, "ci_low": NAN, "ci_high": NAN}}) == "unknown"


def accuracies(value: float, low: float, high: float, healthy: int = 11, patients: int = 11) -> pd.DataFrame:
    """The cells of the ALS table that its claims are about, of subjects held out; nothing else was run."""
    base = {"protocol": "grouped", "level": "subject", "aggregation": "pooled", "model": "dual_branch"}
    none = {"ci_low": NAN, "ci_high": NAN, "published": NAN, "n_subjects": healthy + patients}
    supports = [
        base | none | {"row": name, "metric": "support", "reproduced": count}
        for name, count in zip(CLASSES, (healthy, patients), strict=True)
    ]
    numbers = {"reproduced": value, "ci_low": low, "ci_high": high, "published": 0.92, "n_subjects": healthy + patients}
    return pd.DataFrame([base | {"row": "accuracy", "metric": "accuracy"} | numbers, *supports])


@pytest.mark.parametrize(
    ("numbers", "verdict", "words"),
    [
        ((0.90, 0.80, 0.97), "holds", "reaches the printed 0.92 and lies above chance"),
        ((1.00, 1.00, 1.00), "holds", "reaches the printed 0.92 and lies above chance"),
        # The printed number may stand for as little as 0.915.
        ((0.80, 0.70, 0.915), "holds", "reaches the printed 0.92 and lies above chance"),
        ((0.80, 0.70, 0.914), "does not hold", "lies below the printed 0.92, above chance"),
        ((0.55, 0.32, 0.68), "does not hold", "lies below the printed 0.92, not above chance"),
        ((0.70, 0.45, 0.95), "not shown", "reaches the printed 0.92 and lies not above chance"),
        ((0.90, NAN, NAN), "not shown", "too few subjects for an interval"),
        # Three of four are healthy: calling all healthy is right as often as this.
        ((0.90, 0.74, 0.97, 15, 5), "not shown", "reaches the printed 0.92 and lies not above chance"),
    ],
)
def test_a_printed_accuracy_holds_where_the_interval_is_above_chance_and_reaches_it(numbers, verdict, words):
    found = judge_claims(accuracies(*numbers), pd.DataFrame())
    assert found["headline"].tolist() == [True, False, False]
    judged = found.iloc[0]
    assert judged["verdict"] == verdict
    assert words in judged["evidence"]
    assert "22 subjects held out" in judged["evidence"] or len(numbers) == 5
    assert judged["in_print"] == "accuracy 0.92"
    assert judged["here"].startswith(f"accuracy {numbers[0]:.2f}")
    assert found["verdict"].tolist()[1:] == ["not run", "not run"]
    assert found["evidence"].tolist()[1:] == [
        "Not run: the protocol published.",
        "Not run: landmarks_only, flow_only.",
    ]


@pytest.fixture(scope="module")
def als() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Table, differences and claims of a study in which the joint network is always right and its branches never."""
    found = predictions(models=("dual_branch", "landmarks_only", "flow_only"))
    right = (found["model"] == "dual_branch") == (found["label"] == "ALS")
    found["probability"] = np.where(right, 0.9, 0.1)
    table = als_table(found)
    differences = paired_differences(found[found["protocol"] == "grouped"], PAIRS, COMPARED, CLASSES, 50, 0)
    return table, differences, judge_claims(table, differences)


def test_both_branches_together_are_compared_with_either_on_people_held_out(als):
    _, differences, claims = als
    joint = claims.iloc[2]
    assert joint["verdict"] == "holds"
    assert joint["here"] == "accuracy 1.00 against 0.00 of landmarks_only: +1.00 [1.00, 1.00]"
    assert joint["in_print"] == ""
    turned = differences.assign(difference=-differences["difference"])
    turned = turned.assign(ci_low=-differences["ci_high"], ci_high=-differences["ci_low"])
    assert judge_claims(als[0], turned).iloc[2]["verdict"] == "does not hold"
    one_missing = differences[differences["model_b"] == "flow_only"]
    said = judge_claims(als[0], one_missing).iloc[2]
    assert (said["verdict"], said["evidence"]) == ("not run", "dual_branch was not compared with landmarks_only.")


def test_the_als_table_carries_its_claims_to_the_table_of_all(als, tmp_path):
    table, differences, claims = als
    write_classification(table, differences, claims, tmp_path / "als", "ALS")
    assert "Of 3 claims of the paper: 3 hold." in lead_of((tmp_path / "als.md").read_text())
    read = pd.read_csv(tmp_path / "als.csv")
    assert read["kind"].value_counts().to_dict() == {
        "row": len(table),
        "difference": len(differences),
        "claim": len(claims),
    }
    assert set(read.loc[read["kind"] == "difference", "protocol"]) == {"grouped"}
    found = claims_of_study("als", read)
    assert found["verdict"].tolist() == claims["verdict"].tolist()
    assert found["sure"].tolist() == ["12 subjects", "12 subjects", "12 subjects; p = 0.020"]
    assert found["headline"].tolist() == [True, False, False]
