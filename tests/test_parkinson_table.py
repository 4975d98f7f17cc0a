from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.evaluation.metrics import evaluate
from faceneuro.evaluation.paired import paired_differences
from faceneuro.evaluation.sources import AUDITS, BACKGROUND_TELLS_CLASS, Probe, probe_audit
from faceneuro.report.parkinson import (
    COMPARED,
    METRICS,
    PAIRS,
    RECALLS,
    SUPPORTS,
    judge_claims,
    parkinson_table,
    write_parkinson,
)
from faceneuro.report.tables import latex_text
from faceneuro.studies.parkinson import CLASSES, LINES

PUBLISHED = Path(__file__).parents[1] / "resources" / "published" / "parkinson_table1.csv"
SIZES = (30, 12, 12)
NOISE = 0.6
SKILLS = {
    "mobilenetv4": (0.3, 0.0),
    "swin": (0.0, 9.0),
    "efficientnetv2": (0.4, 0.0),
    "concatenation": (0.6, 0.0),
    "unbalanced": (1.4, 0.9),
    "attention_fusion": (1.4, 0.0),
    "ordinal": (1.9, 0.0),
}
"""How well each model tells the classes apart, in deviations of the noise, and how much it leans towards the first."""


def predictions(skills: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """Logits are a model's skill at the true class, less of it at classes farther off, plus noise of two kinds."""
    random = np.random.default_rng(3)
    labels = np.repeat(range(3), SIZES)
    noise = random.normal(0, NOISE, (len(labels), 3))
    near = -np.abs(np.subtract.outer(range(3), range(3)))
    parts = []
    for place, (model, (skill, lean)) in enumerate(skills.items()):
        own = np.random.default_rng(place).normal(0, NOISE / 2, noise.shape)
        logits = skill * near[labels] + lean * np.array([1, 0, 0]) + noise + own
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        people = pd.DataFrame({"study": "parkinson", "protocol": "grouped", "model": model}, index=range(len(labels)))
        people = people.assign(
            fold=np.arange(len(labels)) % 3,
            cohort="virtual_parkinson",
            subject=[f"s{number:02}" for number in range(len(labels))],
            clip="expressions",
            frame=0,
            label=[CLASSES[label] for label in labels],
            probabilities=list(shares),
        )
        parts.append(people)
    return pd.concat(parts, ignore_index=True)


@cache
def _evaluated(skills: tuple) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = predictions(dict(skills))
    return evaluate(table, CLASSES, 100, 0), paired_differences(table, PAIRS, COMPARED, CLASSES, 100, 0)


def study(without=(), virtual=True, permuted=False, lines=LINES, notes=None, not_run=None, **skills):
    """Table, differences and claims of models with these skills."""
    skills = {name: skill for name, skill in {**SKILLS, **skills}.items() if name not in without}
    metrics, differences = _evaluated(tuple(skills.items()))
    cohort = {"cohort": "virtual_parkinson" if virtual else "clinic", "virtual": virtual, "permuted": permuted}
    frame = parkinson_table(metrics, PUBLISHED, lines, notes=notes, not_run=not_run, **cohort)
    return frame, differences, judge_claims(frame, differences)


NO_AUDITS = pd.DataFrame(columns=AUDITS)


def audits(p_value: float) -> pd.DataFrame:
    return probe_audit(BACKGROUND_TELLS_CLASS, Probe(("Non-PD", "PD"), (), 0.61, 0.48, 0.72, 0.5, p_value, 54))


def text_of(folder: Path, *found: pd.DataFrame, audits: pd.DataFrame = NO_AUDITS, suffix: str = "md") -> str:
    write_parkinson(*found, audits, folder / "parkinson")
    return (folder / f"parkinson.{suffix}").read_text()


def lead(text: str) -> str:
    return text.split("\n## ")[0]


def cell(frame: pd.DataFrame, **where) -> pd.Series:
    (index,) = frame.index[(frame[list(where)] == pd.Series(where)).all(axis=1)]
    return frame.loc[index]


def judged(claims: pd.DataFrame, words: str) -> pd.Series:
    (index,) = claims.index[claims["claim"].str.contains(words, regex=False)]
    return claims.loc[index]


def shown_line(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [part.strip() for part in line.strip("|").split("|")]


def test_the_names_of_classes_and_models_are_the_study_s():
    assert [name.removeprefix("recall/") for name in RECALLS] == list(CLASSES)
    assert [name.removeprefix("support/") for name in SUPPORTS] == list(CLASSES)
    assert set(np.ravel(PAIRS)) == {model for *_, model in LINES}


def test_each_cell_holds_the_printed_and_the_recomputed_number():
    frame, _, _ = study()
    mine = predictions(SKILLS).query("model == 'attention_fusion'")
    right = np.stack(mine["probabilities"]).argmax(axis=1) == [CLASSES.index(label) for label in mine["label"]]
    base = {"model": "attention_fusion", "metric": "accuracy", "level": "subject"}
    row = cell(frame, **base, aggregation="fold_mean")
    assert (row["row"], row["published"]) == ("Ours", 0.8354)
    by_fold = pd.Series(right, mine.index).groupby(mine["fold"]).mean()
    assert row["reproduced"] == pytest.approx(by_fold.mean())
    assert row["ci_low"] <= row["reproduced"] <= row["ci_high"]
    assert cell(frame, **base, aggregation="pooled")["reproduced"] == pytest.approx(right.mean())
    recalls = [right[mine["label"] == label].mean() for label in CLASSES]
    g_mean = cell(frame, model="attention_fusion", metric="g_mean", aggregation="pooled")
    assert g_mean["reproduced"] == pytest.approx(np.cbrt(np.prod(recalls)))
    assert (row["n"], row["n_subjects"]) == (54, 54)
    assert pd.isna(cell(frame, model="ordinal", metric="g_mean", aggregation="fold_mean")["published"])
    assert pd.isna(cell(frame, model="attention_fusion", metric="mae", aggregation="pooled")["published"])


@pytest.mark.parametrize("without", [(), ("swin",), tuple(SKILLS)[1:]])
def test_every_line_has_all_its_rows_whether_it_was_run_or_not(without):
    frame, _, _ = study(without)
    counts = frame.groupby("model").size()
    assert counts.to_dict() == dict.fromkeys(SKILLS, len(METRICS) * 2)
    missing = frame["model"].isin(without)
    assert frame.loc[missing, "reproduced"].isna().all()
    assert frame.loc[~missing & ~frame["metric"].isin(SUPPORTS), "reproduced"].notna().all()


def test_all_six_printed_rows_are_taken_as_they_are():
    frame, _, _ = study()
    printed = pd.read_csv(PUBLISHED, comment="#")
    assert len(printed) == 6
    shown = frame[frame["aggregation"] == "fold_mean"]
    for row in printed.itertuples():
        cells = shown[shown["row"] == row.method].set_index("metric")["published"]
        assert [cells["roc_auc"], cells["g_mean"], cells["f1/macro"], cells["accuracy"]] == list(row[2:])


def test_a_model_without_a_line_is_shown_all_the_same():
    frame, _, _ = study(lines=LINES[:-1])
    assert frame["model"].iloc[-1] == "ordinal"
    assert frame["name"].iloc[-1] == "ordinal"


def test_what_makes_no_table_is_refused():
    metrics, _ = _evaluated(tuple(SKILLS.items()))
    cohort = {"cohort": "c", "virtual": True, "permuted": False}
    with pytest.raises(ValueError, match="one study and protocol, not 2"):
        parkinson_table(pd.concat([metrics, metrics.assign(protocol="sources")]), PUBLISHED, LINES, **cohort)
    with pytest.raises(ValueError, match="has no row ViT"):
        parkinson_table(metrics, PUBLISHED, [("ViT", "ViT", "vit")], **cohort)


def test_the_readable_table_shows_fold_means_beside_the_printed_numbers(tmp_path):
    frame, *rest = study()
    text = text_of(tmp_path, frame, *rest)
    shown = shown_line(text, "Attention fusion, adaptive focal loss")
    assert shown[1:3] == ["Ours", "0.8816"]
    for place, metric in enumerate(("roc_auc", "g_mean", "f1/macro", "accuracy")):
        row = cell(frame, model="attention_fusion", metric=metric, aggregation="fold_mean")
        assert shown[3 + 2 * place] == f"{row['reproduced']:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    assert shown_line(text, "Attention fusion, ordinal (CORN)")[1:3] == ["beyond it", ""]
    headings = [line.removeprefix("## ").split(",")[0] for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "Results",
        "The same subjects",
        "By class",
        "Claims",
        "Paired differences",
        "How to read this",
    ]


def test_what_was_not_run_says_so_and_why(tmp_path):
    frame, *rest = study(["swin", "efficientnetv2"], not_run={"swin": "no weights could be loaded"})
    text = text_of(tmp_path, frame, *rest)
    assert shown_line(text, "Swin Transformer")[1:] == [
        *("Swin-Transformer", "0.7954", "not run", "0.0238", "", "0.2594", "", "0.6369", "")
    ]
    assert "- Not run: Swin-Transformer (swin): no weights could be loaded." in text
    assert "- Not run: EfficientNetV2 (efficientnetv2): not among the models of this run." in text
    assert set(frame.loc[frame["model"] == "swin", "note"]) == {"not run: no weights could be loaded"}


@pytest.mark.parametrize("suffix", ["md", "tex"])
def test_cohort_and_untrained_backbones_are_said_before_the_first_table(tmp_path, suffix):
    found = study(notes={"swin": "untrained backbone, small size", "ordinal": "trained on expressions before"})
    text = text_of(tmp_path, *found, suffix=suffix)
    before = text.split(r"\begin{tabular}" if suffix == "tex" else "\n|")[0].replace("\\", "")
    assert "virtual cohort, rendered faces, no patients; 54 subjects (30 Non-PD, 12 Early, 12 Mid/late)" in before
    assert "are untrained, random weights instead of ImageNet's: swin." in before
    if suffix == "md":
        assert "- Of ordinal: trained on expressions before." in text


def test_neither_is_said_where_it_does_not_apply(tmp_path):
    text = text_of(tmp_path, *study(virtual=False, notes={"swin": "published weights"}))
    assert "Cohort clinic: recordings of people" in lead(text)
    assert "virtual" not in text
    assert "untrained" not in text
    assert "negative control, labels permuted" in lead(text_of(tmp_path, *study(permuted=True)))


def test_a_model_that_calls_everybody_by_one_class_is_named(tmp_path):
    frame, *rest = study()
    assert "These models call everybody by one class: swin (Non-PD)." in lead(text_of(tmp_path, frame, *rest))
    text = text_of(tmp_path, *study(swin=(1.0, 0.0)))
    assert "call everybody by one class" not in text
    # The macro F1 of three classes, of which one is always said: (2a / (1 + a)) / 3.
    collapsed = cell(frame, model="swin", metric="f1/macro", aggregation="pooled")["reproduced"]
    assert collapsed == pytest.approx(2 * (30 / 54) / (1 + 30 / 54) / 3)
    assert f"calling everybody Non-PD has accuracy 0.56, F1 {collapsed:.2f}" in text


def test_what_follows_from_the_printed_table_is_computed(tmp_path):
    text = text_of(tmp_path, *study())
    assert "The printed F1 of Swin-Transformer, 0.2594, is that of calling everybody by the most common class" in text
    assert "a = 0.6369, (2a / (1 + a)) / 3 = 0.2594" in text
    assert "with the paper's 145 patients, there are some 399 subjects" in text
    assert "The printed G-Mean of Swin-Transformer, 0.0238, is more than such a predictor's 0, and less than" in text
    assert "as in print MobileNetV4 (0.6644 and 0.3814) and Ours w/o ACB (0.6093 and 0.3318)." in text
    assert (
        "Ours w/o ACB has the higher ROC AUC (0.8717 against 0.8696) and Accuracy (0.8293 against 0.8197); "
        "Ours w/o AFF has the higher G-Mean (0.5402 against 0.3318) and F1 (0.6507 against 0.6093)."
    ) in text
    assert (
        "ROC AUC +0.0099 (Ours w/o ACB), G-Mean +0.0348 (Ours w/o AFF), F1 +0.0074 (MobileNetV4), "
        "Accuracy +0.0061 (Ours w/o ACB)"
    ) in text


def test_other_printed_numbers_give_other_sentences(tmp_path):
    rows = pd.read_csv(PUBLISHED, comment="#")
    rows.loc[rows["method"] == "Swin-Transformer", "f1"] = 0.2596
    rows.loc[rows["method"] == "Ours w/o ACB", ["auc", "accuracy"]] = 0.5
    rows.loc[rows["g_mean"] < 0.5, "g_mean"] = 0.5
    rows.to_csv(tmp_path / "printed.csv", index=False)
    metrics, differences = _evaluated(tuple(SKILLS.items()))
    frame = parkinson_table(metrics, tmp_path / "printed.csv", LINES, cohort="c", virtual=True, permuted=False)
    text = text_of(tmp_path, frame, differences, judge_claims(frame, differences))
    assert "is that of calling everybody" not in text
    assert "Where a fold misses a class" not in text
    assert "Ours w/o ACB has the higher" not in text
    assert "Ours w/o AFF has the higher ROC AUC (0.8696 against 0.5000), G-Mean" in text


@pytest.mark.parametrize("accuracy", [0.34, 0.5, 0.6369, 0.8])
def test_a_majority_predictor_s_row_is_recognised_at_any_accuracy(tmp_path, accuracy):
    # Counts of three classes and scikit-learn's F1: nothing of the formula under test.
    from sklearn.metrics import f1_score

    truth = np.repeat([0, 1, 2], [round(10000 * accuracy), 1000, 9000 - round(10000 * accuracy)])
    f1 = f1_score(truth, np.zeros_like(truth), average="macro", zero_division=0)
    rows = pd.read_csv(PUBLISHED, comment="#")
    place = rows["method"] == "EfficientNetV2"
    rows.loc[place, ["accuracy", "f1"]] = [round(accuracy, 4), round(f1, 4)]
    rows.to_csv(tmp_path / "printed.csv", index=False)
    metrics, differences = _evaluated(tuple(SKILLS.items()))
    frame = parkinson_table(metrics, tmp_path / "printed.csv", LINES, cohort="c", virtual=True, permuted=False)
    text = text_of(tmp_path, frame, differences, judge_claims(frame, differences))
    assert f"The printed F1 of EfficientNetV2, {f1:.4f}, is that of calling everybody" in text


def test_claims_hold_where_ours_is_better_by_more_than_its_interval():
    _, differences, claims = study(swin=(0.0, 0.0))
    assert judged(claims, "fusion helps")["verdict"] == "holds"
    assert judged(claims, "three baselines")["verdict"] == "holds"
    gap = cell(
        differences,
        model_a="attention_fusion",
        model_b="concatenation",
        metric="f1/macro",
        level="subject",
        aggregation="pooled",
    )
    evidence = judged(claims, "fusion helps")["evidence"]
    assert f"difference {gap['difference']:+.2f} [{gap['ci_low']:.2f}, {gap['ci_high']:.2f}]" in evidence
    assert "Published: 0.6718 against 0.6507." in evidence
    assert "Differences from concatenation in other metrics: ROC AUC +" in evidence
    assert "Published: 0.6718 against 0.6644, 0.2594 and 0.6221." in judged(claims, "three baselines")["evidence"]


def test_claims_fail_where_the_other_model_is_better():
    _, _, claims = study(concatenation=(2.5, 0.0), efficientnetv2=(2.5, 0.0))
    assert judged(claims, "fusion helps")["verdict"] == "does not hold"
    assert judged(claims, "three baselines")["verdict"] == "does not hold"


def test_a_difference_within_its_interval_is_not_shown():
    _, _, claims = study(concatenation=(1.6, 0.0))
    assert judged(claims, "fusion helps")["verdict"] == "not shown"


def test_balancing_is_judged_by_g_mean_and_by_the_recalls_of_both_stages():
    _, _, claims = study(unbalanced=(1.4, 2.5))
    assert judged(claims, "higher G-Mean")["verdict"] == "holds"
    stages = judged(claims, "rare classes")
    assert stages["verdict"] == "holds"
    assert "Recall: Early of attention_fusion" in stages["evidence"]
    assert "Recall: Mid/late of attention_fusion" in stages["evidence"]
    equal = study(unbalanced=SKILLS["attention_fusion"])[2]
    assert judged(equal, "rare classes")["verdict"] in ("not shown", "does not hold")


def test_the_ordinal_head_is_judged_by_kappa_and_by_a_smaller_error():
    better, worse = study(ordinal=(4.0, 0.0))[2], study(ordinal=(0.3, 0.0))[2]
    claim = judged(better, "ordinal head")
    assert claim["verdict"] == "holds"
    # The error is smaller, so the difference that is shown is negative.
    assert "Mean error of ordinal" in claim["evidence"]
    assert ", difference -0." in claim["evidence"].split("Mean error of ordinal")[1]
    assert judged(worse, "ordinal head")["verdict"] == "does not hold"


def test_claims_about_what_was_not_run_say_so(tmp_path):
    found = study(["concatenation", "swin"], not_run={"swin": "no weights"})
    claims = found[2]
    assert judged(claims, "fusion helps")[["verdict", "evidence"]].tolist() == ["not run", "Not run: concatenation."]
    baselines = judged(claims, "three baselines")
    assert baselines["verdict"] == "not run"
    assert "of mobilenetv4" in baselines["evidence"]
    assert baselines["evidence"].endswith("Not run: swin (no weights).")
    assert "Of 4 claims of the paper: " in lead(text_of(tmp_path, *found))
    assert "2 were not run" in lead(text_of(tmp_path, *found))


def test_one_baseline_that_is_better_decides_even_if_another_was_not_run():
    claims = study(["swin"], mobilenetv4=(2.5, 0.0))[2]
    assert judged(claims, "three baselines")["verdict"] == "does not hold"


def test_models_that_were_not_compared_are_named():
    frame, differences, _ = study()
    claims = judge_claims(frame, differences[differences["model_b"] != "concatenation"])
    assert judged(claims, "fusion helps")["evidence"] == "attention_fusion was not compared with concatenation."


def test_which_way_round_a_pair_was_computed_does_not_matter():
    frame, differences, claims = study()
    turned = differences.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    turned = turned.assign(
        difference=-differences["difference"], ci_low=-differences["ci_high"], ci_high=-differences["ci_low"]
    )
    pd.testing.assert_frame_equal(judge_claims(frame, turned), claims)


def test_one_model_alone_gives_a_table(tmp_path):
    text = text_of(tmp_path, *study(tuple(SKILLS)[1:]))
    assert "Not run: attention_fusion." in lead(text)
    assert "Of 4 claims of the paper: 4 were not run." in lead(text)
    assert "## Paired differences" not in text


def test_the_verdict_changes_when_the_background_gives_the_class_away(tmp_path):
    found = study()
    quiet, loud = (text_of(tmp_path, *found, audits=audits(p)) for p in (0.3, 0.005))
    assert "What else than the disease could explain it: ok." in lead(quiet)
    assert "What else than the disease could explain it: the background gives the class away." in lead(loud)
    (line,) = [line for line in loud.splitlines() if line.startswith("| patient or not, from the background alone")]
    assert "| **the background gives the class away** |" in line
    assert "told apart better than by chance" in line
    assert "What else" not in text_of(tmp_path, *found)


def test_audits_that_were_written_and_read_give_the_same_files(tmp_path):
    found, made = study(), audits(0.005)
    first = [text_of(tmp_path, *found, audits=made, suffix=suffix) for suffix in ("md", "tex", "csv")]
    made.to_csv(tmp_path / "audits.csv", index=False)
    read = pd.read_csv(tmp_path / "audits.csv")
    assert [text_of(tmp_path, *found, audits=read, suffix=suffix) for suffix in ("md", "tex", "csv")] == first


def test_the_csv_keeps_rows_differences_claims_and_audits_with_every_digit(tmp_path):
    frame, differences, claims = study()
    text_of(tmp_path, frame, differences, claims, audits=audits(0.3))
    read = pd.read_csv(tmp_path / "parkinson.csv")
    sizes = {"row": len(frame), "difference": len(differences), "claim": len(claims), "audit": 1}
    assert read["kind"].value_counts().to_dict() == sizes
    rows, gaps = (read[read["kind"] == kind].reset_index(drop=True) for kind in ("row", "difference"))
    np.testing.assert_array_equal(rows["reproduced"], frame["reproduced"])
    np.testing.assert_array_equal(gaps["reproduced"], differences["difference"])
    assert read.loc[read["kind"] == "audit", "reproduced"].tolist() == [0.61]
    assert set(read["study"]) == {"parkinson"}


def test_latex_is_balanced_and_has_no_bare_special_character(tmp_path):
    text = text_of(tmp_path, *study(), audits=audits(0.3), suffix="tex")
    assert text.count(r"\begin{") == text.count(r"\end{") == 12
    assert "attention_fusion" not in text
    assert latex_text("attention_fusion") in text
