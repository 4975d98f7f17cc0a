from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from scipy.stats import spearmanr

from faceneuro.cohorts.virtual.heads import UNIT_NAMES
from faceneuro.cohorts.virtual.tasks import TASKS
from faceneuro.evaluation.attention import follows_loss, gate_by_expression, movement_lost
from faceneuro.report.parkinson import write_attention
from faceneuro.report.parkinson_figures import attention_figure

CLASSES = ("Non-PD", "Early", "Mid/late")
EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
LOST = (0.5, 0.1, 0.3, 0.9, 0.2, 0.7)
"""Movement that each expression loses in a patient, in units."""


def gates(pulls=(0.0,) * 6, noise: float = 0.02, count: int = 8, seed: int = 0) -> pd.DataFrame:
    """Weights around one height per subject, pulled up or down by expression in the last class."""
    random = np.random.default_rng(seed)
    rows = []
    for place, label in enumerate(CLASSES):
        for number in range(count):
            height = random.uniform(0.3, 0.7)
            for expression, pull in zip(EXPRESSIONS, pulls, strict=True):
                weight = height + (pull if place == 2 else 0) + random.normal(0, noise)
                rows.append((f"{label}{number}", label, expression, weight))
    return pd.DataFrame(rows, columns=["subject", "label", "expression", "weight"])


def losses(table: pd.DataFrame, lost=LOST, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    share = table["label"].map({"Non-PD": 0.0, "Early": 0.3, "Mid/late": 1.0})
    by_expression = table["expression"].map(dict(zip(EXPRESSIONS, lost, strict=True)))
    noise = random.normal(0, 0.02, len(table))
    return table[["subject", "expression"]].assign(loss=share * by_expression + noise)


def weighed(table: pd.DataFrame, **changes) -> pd.DataFrame:
    found = gate_by_expression(table, **({"resamples": 300, "seed": 0, **NAMES} | changes))
    return found.set_index(["label", "expression"])


def followed(table: pd.DataFrame, lost: pd.DataFrame | None) -> pd.DataFrame:
    return follows_loss(table, lost, resamples=300, seed=0, **NAMES).set_index("label")


NAMES = {"expressions": EXPRESSIONS, "classes": CLASSES}


def test_weights_are_means_and_surpluses_are_above_the_subject_s_other_expressions():
    table = gates()
    found = weighed(table)
    wide = table[table["label"] == "Early"].pivot(index="subject", columns="expression", values="weight")
    for expression in EXPRESSIONS:
        row = found.loc[("Early", expression)]
        assert row["weight"] == pytest.approx(wide[expression].mean())
        assert row["surplus"] == pytest.approx((wide[expression] - wide.mean(axis=1)).mean())
        assert row["ci_low"] <= row["weight"] <= row["ci_high"]
        assert row["n_subjects"] == 8
    assert list(found.index) == [(label, expression) for label in CLASSES for expression in EXPRESSIONS]
    assert found.loc["Early", "surplus"].sum() == pytest.approx(0, abs=1e-12)


def test_an_expression_that_is_weighed_more_is_found_in_its_class_alone():
    found = weighed(gates((0.3, 0, 0, 0, 0, -0.3)))["verdict"]
    assert found.loc["Mid/late"].to_dict() == {
        "anger": "more than the others",
        **dict.fromkeys(EXPRESSIONS[1:5], "not shown"),
        "surprise": "less than the others",
    }
    assert set(found.loc[["Non-PD", "Early"]]) == {"not shown"}


def test_heights_that_differ_between_networks_do_not_hide_a_surplus():
    # Each subject has another height, far more apart than the expressions are.
    row = weighed(gates((0.05, 0, 0, 0, 0, 0), noise=0.01)).loc[("Mid/late", "anger")]
    assert row["ci_high"] - row["ci_low"] > 0.1
    assert row["surplus_high"] - row["surplus_low"] < 0.03
    assert row["verdict"] == "more than the others"


def test_missing_expressions_do_not_count():
    table = gates()
    gone = (table["subject"] == "Early3") & (table["expression"] == "fear")
    null, absent = table.assign(weight=table["weight"].mask(gone)), table[~gone]
    pd.testing.assert_frame_equal(weighed(null), weighed(absent))
    assert weighed(null).loc[("Early", "fear"), "n_subjects"] == 7
    kept = table[(table["label"] == "Early") & (table["expression"] == "fear") & ~gone]
    assert weighed(null).loc[("Early", "fear"), "weight"] == pytest.approx(kept["weight"].mean())


def test_an_expression_or_a_class_that_nobody_has_is_left_out():
    table = gates()
    found = weighed(table[(table["expression"] != "fear") & (table["label"] != "Early")])
    assert ("Mid/late", "fear") not in found.index
    assert set(found.index.get_level_values("label")) == {"Non-PD", "Mid/late"}


def test_one_subject_has_a_weight_but_no_interval():
    found = weighed(gates(count=1))
    assert found["weight"].notna().all()
    assert found[["ci_low", "ci_high", "surplus_low", "surplus_high"]].isna().all(axis=None)
    assert set(found["verdict"]) == {"too few subjects to tell"}


def test_the_order_of_the_rows_does_not_matter():
    table = gates((0.3, 0, 0, 0, 0, 0))
    mixed = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(weighed(mixed), weighed(table))
    lost = losses(table)
    pd.testing.assert_frame_equal(
        followed(mixed, lost.sample(frac=1, random_state=2)), followed(table, lost), check_exact=False
    )


def test_attention_that_follows_what_is_lost_is_recognised():
    table = gates(np.multiply(0.3, LOST), noise=0.005)
    found = followed(table, losses(table))
    row = found.loc["Mid/late"]
    assert (row["value"], row["verdict"]) == (1.0, "follows what is lost")
    # Of 720 orders of six expressions, one agrees and one is the reverse.
    assert row["p_value"] == pytest.approx(2 / 720)
    assert row["ci_low"] > 0.8
    assert found.loc["Early", "verdict"] != "follows what is lost"
    turned = followed(gates(np.multiply(-0.3, LOST), noise=0.005), losses(table))
    assert turned.loc["Mid/late", "verdict"] == "runs against what is lost"


@given(st.permutations(range(6)))
@settings(max_examples=5, deadline=None)
def test_the_correlation_is_scipy_s_and_its_p_value_that_of_all_orders(order):
    pulls = np.array(order) * 0.05
    table = gates(pulls, noise=0.0, count=2)
    lost = losses(table, lost=LOST)
    row = followed(table, lost).loc["Mid/late"]
    means = lost[lost["subject"].str.startswith("Mid")].groupby("expression")["loss"].mean()
    assert row["value"] == pytest.approx(spearmanr(pulls, means).statistic)
    values = [spearmanr(some, means).statistic for some in permutations(pulls)]
    assert row["p_value"] == pytest.approx(np.mean(np.abs(values) >= abs(row["value"]) - 1e-9))


def test_why_nothing_can_be_told_is_said():
    table = gates()
    unknown = followed(table, None)
    assert set(unknown["verdict"]) == {"cannot be told"}
    assert "is known of virtual patients only" in unknown.loc["Early", "sentence"]
    equal = losses(table).assign(loss=0.5)
    assert "all expressions lose equally much" in followed(table, equal).loc["Early", "sentence"]
    flat = table.assign(weight=0.5)
    assert "all expressions have the same weight" in followed(flat, losses(table)).loc["Early", "sentence"]
    few = losses(table)
    few = few[few["expression"].isin(EXPRESSIONS[:4])]
    row = followed(table, few).loc["Early"]
    assert "are both known of 4 expressions, and 5 are needed" in row["sentence"]
    assert np.isnan(row["value"])
    assert followed(table[table["label"] != "Early"], losses(table)).loc["Early", "n_subjects"] == 0


def truth(subject: str, task: str, shares: list[float]) -> list[dict]:
    """Frames in which so much of an instructed movement is made; a blink and a glance are no part of it."""
    rows = []
    for frame, share in enumerate(shares):
        units = np.zeros(len(UNIT_NAMES), np.float32)
        for name, weight in TASKS[task].gestures[0].items():
            units[UNIT_NAMES.index(name)] = share * weight
        units[UNIT_NAMES.index("eyeBlinkLeft")] = units[UNIT_NAMES.index("eyeLookUpLeft")] = 1
        rows.append({"subject": subject, "clip": f"{subject}_{task}", "frame": frame, "units": units})
    return rows


def test_lost_movement_is_what_the_best_frame_falls_short_of():
    rows = [*truth("V1", "happiness", [0.0, 0.8, 0.5]), *truth("V1", "anger", [1.0]), *truth("V2", "happiness", [0.4])]
    task_of = {"V1_happiness": "happiness", "V1_anger": "anger", "V2_happiness": "happiness"}
    gestures = {task: TASKS[task].gestures[0] for task in EXPRESSIONS}
    found = movement_lost([*rows, *truth("V2", "fear", [0.0])], task_of, gestures, UNIT_NAMES)
    whole = sum(gestures["happiness"].values())
    expected = {("V1", "anger"): 0.0, ("V1", "happiness"): 0.2 * whole, ("V2", "happiness"): 0.6 * whole}
    assert found.set_index(["subject", "expression"])["loss"].to_dict() == pytest.approx(expected, abs=1e-5)


def written(folder: Path, table: pd.DataFrame, lost: pd.DataFrame | None, virtual: bool = True) -> str:
    weights = gate_by_expression(table, resamples=100, seed=0, **NAMES)
    told = follows_loss(table, lost, resamples=100, seed=0, **NAMES)
    write_attention(
        weights, told, folder / "attention", cohort="c", virtual=virtual, permuted=False, backbone="untrained"
    )
    return (folder / "attention.md").read_text()


def test_the_table_shows_weights_and_whether_they_follow_what_is_lost(tmp_path):
    table = gates(np.multiply(0.3, LOST), noise=0.005)
    text = written(tmp_path, table, losses(table))
    before = text.split("\n## ")[0]
    assert "Mid/late: rank correlation of weight and lost movement over 6 expressions 1.00" in before
    assert "(p = 0.003, 8 subjects): follows what is lost." in before
    (line,) = [line for line in text.splitlines() if line.startswith("| Mid/late | happiness |")]
    assert line.split(" | ")[2] == "**more than the others**"
    read = pd.read_csv(tmp_path / "attention.csv")
    assert read["kind"].value_counts().to_dict() == {"weight": 18, "followed": 3}
    people = written(tmp_path, table, None, virtual=False)
    assert "is known of virtual patients only" in people
    assert "Lost movement:" not in people


def test_the_figure_has_a_panel_for_the_truth_where_it_is_known(tmp_path):
    table = gates(np.multiply(0.3, LOST))
    weights = gate_by_expression(table, resamples=100, seed=0, **NAMES)
    lost = losses(table).merge(table[["subject", "label"]].drop_duplicates(), on="subject")
    heights = []
    for name, known in (("one", None), ("two", lost)):
        attention_figure(weights, known, caption="virtual_parkinson: rendered", stem=tmp_path / name, **NAMES)
        heights.append(imread(tmp_path / f"{name}.png").shape[0])
        text = (tmp_path / f"{name}.svg").read_text()
        assert all(word in text for word in (*EXPRESSIONS, *CLASSES, "virtual_parkinson: rendered"))
        assert ("lost movement" in text) == (known is not None)
    assert heights[1] > 1.3 * heights[0]


def test_the_figure_is_the_same_to_the_last_byte(tmp_path):
    weights = gate_by_expression(gates(), resamples=100, seed=0, **NAMES)
    for name in ("first", "second"):
        attention_figure(weights, None, caption="c", stem=tmp_path / name, **NAMES)
    for suffix in ("png", "svg"):
        assert (tmp_path / f"first.{suffix}").read_bytes() == (tmp_path / f"second.{suffix}").read_bytes()


def test_a_class_without_weights_is_not_in_the_figure(tmp_path):
    table = gates()
    weights = gate_by_expression(table[table["label"] != "Early"], resamples=100, seed=0, **NAMES)
    attention_figure(weights, None, caption="c", stem=tmp_path / "figure", **NAMES)
    text = (tmp_path / "figure.svg").read_text()
    assert "Mid/late (n = 8" in text
    assert "Early" not in text
