from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.evaluation.metrics import evaluate
from faceneuro.evaluation.paired import paired_differences
from faceneuro.report.palsy import METRICS, PAIRS, judge_claims, palsy_table, write_palsy
from faceneuro.report.tables import latex_text

PUBLISHED = Path(__file__).parents[1] / "resources" / "published" / "palsy_table1.csv"
CLASSES = ("Healthy", "Palsy")
LINES = (
    (3, "Handcrafted features (29)", "FNN", "handcrafted_fnn"),
    (4, "RGB", "ResNet50", "rgb_resnet"),
    (5, "RGB", "FasterViT", "rgb_fastervit"),
    (6, "RGB", "MLP-Mixer", "rgb_mixer"),
    (10, "Handcrafted + RGB", "Early fusion (MLP-Mixer + FNN)", "early_rgb"),
    (12, "Handcrafted + RGB", "Late fusion (MLP-Mixer + FNN)", "late_rgb"),
    (None, "Surroundings", "MLP-Mixer", "surroundings_mixer"),
    (None, "Shuffled measures", "FNN", "shuffled_fnn"),
)
SKILLS = {
    "handcrafted_fnn": 1.0,
    "rgb_resnet": 0.2,
    "rgb_mixer": 1.2,
    "early_rgb": 2.5,
    "late_rgb": 1.2,
    "surroundings_mixer": 0.0,
    "shuffled_fnn": 0.0,
}
"""How well each model tells the classes apart, in deviations of its own noise; a fold has a patient and a healthy."""


def predictions(skills: dict[str, float], patients: int = 10, frames: int = 8) -> pd.DataFrame:
    random = np.random.default_rng(4)
    noise = random.normal(0, 0.7, (2 * patients, frames))
    rows = []
    for place, (model, skill) in enumerate(skills.items()):
        own = np.random.default_rng(place).normal(0, 0.5, (2 * patients, frames))
        for number in range(2 * patients):
            positive = number % 2
            for frame in range(frames):
                score = skill * (positive - 0.5) * 2 + noise[number, frame] + own[number, frame]
                rows.append(
                    {
                        "study": "palsy",
                        "protocol": "grouped",
                        "model": model,
                        "fold": number // 2,
                        "cohort": "virtual_palsy",
                        "subject": f"s{number:02}",
                        "clip": f"s{number:02}_{frame % 2}",
                        "frame": frame,
                        "label": CLASSES[positive],
                        "probability": 1 / (1 + np.exp(-score)),
                    }
                )
    return pd.DataFrame(rows)


@cache
def _evaluated(skills: tuple) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = predictions(dict(skills))
    return evaluate(table, CLASSES, 100, 0), paired_differences(table, PAIRS, tuple(METRICS.values()), CLASSES, 100, 0)


def study(without=(), notes=None, lines=LINES, virtual=True, permuted=False, **skills) -> tuple[pd.DataFrame, ...]:
    """Table, differences and claims of models with these skills."""
    skills = {name: skill for name, skill in {**SKILLS, **skills}.items() if name not in without}
    metrics, differences = _evaluated(tuple(skills.items()))
    cohort = {"cohort": "virtual_palsy" if virtual else "clinic", "virtual": virtual, "permuted": permuted}
    frame = palsy_table(metrics, PUBLISHED, lines, notes=notes, **cohort)
    return frame, differences, judge_claims(frame, differences)


def text_of(folder: Path, *found: pd.DataFrame, suffix: str = "md") -> str:
    write_palsy(*found, folder / "palsy")
    return (folder / f"palsy.{suffix}").read_text()


def cell(frame: pd.DataFrame, **where) -> pd.Series:
    (index,) = frame.index[(frame[list(where)] == pd.Series(where)).all(axis=1)]
    return frame.loc[index]


def judged(claims: pd.DataFrame, words: str) -> pd.Series:
    (index,) = claims.index[claims["claim"].str.contains(words)]
    return claims.loc[index]


def test_each_cell_holds_the_printed_and_the_recomputed_number_in_percent():
    frame, _, _ = study()
    mine = predictions(SKILLS).query("model == 'early_rgb'")
    found = mine["probability"] > 0.5
    true = mine["label"] == "Palsy"
    recalls = found[true].groupby(mine["fold"]).mean()
    base = {"model": "early_rgb", "metric": "recall", "level": "frame"}
    row = cell(frame, **base, aggregation="fold_mean")
    assert (row["row"], row["published"]) == (10, 98.30)
    assert row["reproduced"] == pytest.approx(100 * recalls.mean())
    assert row["ci_low"] <= row["reproduced"] <= row["ci_high"]
    assert cell(frame, **base, aggregation="pooled")["reproduced"] == pytest.approx(100 * found[true].mean())
    assert (row["n"], row["n_subjects"]) == (len(mine), 20)
    area = cell(frame, model="early_rgb", metric="roc_auc", level="subject", aggregation="pooled")
    assert pd.isna(area["published"])
    assert 50 < area["reproduced"] <= 100


@pytest.mark.parametrize("without", [(), ("rgb_mixer",), tuple(SKILLS)[1:]])
def test_every_line_has_all_its_rows_whether_it_was_run_or_not(without):
    frame, _, _ = study(without)
    counts = frame.groupby("model").size()
    assert counts.to_dict() == dict.fromkeys((line[3] for line in LINES), len(METRICS) * 2 * 2)
    assert frame.loc[frame["model"].isin([*without, "rgb_fastervit"]), "reproduced"].isna().all()
    assert frame.loc[~frame["model"].isin([*without, "rgb_fastervit"]), "reproduced"].notna().all()
    printed = frame[frame["row"].notna() & (frame["metric"] != "roc_auc")]
    assert printed["published"].notna().all()
    assert frame.loc[frame["row"].isna() | (frame["metric"] == "roc_auc"), "published"].isna().all()


def test_all_thirteen_printed_rows_are_taken_as_they_are():
    printed = pd.read_csv(PUBLISHED, comment="#")
    lines = [(row.row, row.modality, row.model, f"m{row.row}") for row in printed.itertuples()]
    frame, _, _ = study(lines=lines)
    shown = frame[(frame["level"] == "frame") & (frame["aggregation"] == "fold_mean")]
    for row in printed.itertuples():
        cells = shown[shown["row"] == row.row].set_index("metric")["published"]
        assert [cells["f1"], cells["precision"], cells["recall"]] == [row.f1, row.precision, row.recall]


def test_a_model_without_a_line_is_shown_all_the_same():
    frame = study(lines=LINES[:-1])[0]
    assert cell(frame, model="shuffled_fnn", metric="f1", level="frame", aggregation="pooled")["network"] == (
        "shuffled_fnn"
    )
    assert frame["model"].iloc[-1] == "shuffled_fnn"


def test_what_makes_no_table_is_refused():
    metrics, _ = _evaluated(tuple(SKILLS.items()))
    cohort = {"cohort": "c", "virtual": True, "permuted": False}
    with pytest.raises(ValueError, match="one study and protocol, not 2"):
        palsy_table(pd.concat([metrics, metrics.assign(protocol="other")]), PUBLISHED, LINES, **cohort)
    with pytest.raises(ValueError, match="has no row 14"):
        palsy_table(metrics, PUBLISHED, [(14, "RGB", "CNN", "rgb_cnn")], **cohort)


def test_the_readable_table_shows_fold_means_by_frame_and_the_area_over_subjects(tmp_path):
    frame, *rest = study()
    text = text_of(tmp_path, frame, *rest)
    (line,) = [line for line in text.splitlines() if line.startswith("| 10 |")]
    shown = [part.strip() for part in line.strip("|").split("|")]
    assert shown[:3] == ["10", "Handcrafted + RGB", "Early fusion (MLP-Mixer + FNN)"]
    assert shown[3::2][:3] == ["96.00", "94.80", "98.30"]
    for text_cell, metric in zip(shown[4:9:2], ("f1", "precision", "recall"), strict=True):
        row = cell(frame, model="early_rgb", metric=metric, level="frame", aggregation="fold_mean")
        assert text_cell == f"{row['reproduced']:.1f} [{row['ci_low']:.1f}, {row['ci_high']:.1f}]"
    area = cell(frame, model="early_rgb", metric="roc_auc", level="subject", aggregation="pooled")
    assert shown[9] == f"{area['reproduced']:.1f} [{area['ci_low']:.1f}, {area['ci_high']:.1f}]"
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert [heading.split(",")[0] for heading in headings] == [
        "## Results",
        "## Beyond the paper",
        "## Claims and controls",
        "## Paired differences",
        "## How to read this",
    ]


def test_what_was_not_run_says_so_and_why(tmp_path):
    notes = {"rgb_fastervit": "not run: the optional package fastervit is not installed"}
    frame, *rest = study(["late_rgb"], notes)
    text = text_of(tmp_path, frame, *rest)
    (line,) = [line for line in text.splitlines() if line.startswith("| 5 |")]
    shown = [part.strip() for part in line.strip("|").split("|")]
    assert shown[3:] == ["84.00", "not run", "89.90", "", "81.50", "", ""]
    assert "- Not run: row 5 (rgb_fastervit): the optional package fastervit is not installed." in text
    assert "- Not run: row 12 (late_rgb): not among the models of this run." in text
    assert frame.loc[frame["model"] == "rgb_fastervit", "note"].eq(notes["rgb_fastervit"]).all()


def lead(text: str) -> str:
    return text.split("\n## ")[0]


@pytest.mark.parametrize("suffix", ["md", "tex"])
def test_virtual_and_untrained_are_said_before_the_first_table(tmp_path, suffix):
    found = study(notes={"rgb_mixer": "untrained", "early_rgb": "untrained", "rgb_fastervit": "untrained"})
    text = text_of(tmp_path, *found, suffix=suffix)
    before = text.split(r"\begin{tabular}" if suffix == "tex" else "\n|")[0]
    plain = before.replace("\\", "")
    assert "virtual cohort, rendered faces, no patients; 20 subjects" in plain
    assert "are untrained, random weights instead of ImageNet's: 6 (rgb_mixer), 10 (early_rgb)." in plain


def test_neither_is_said_where_it_does_not_apply(tmp_path):
    notes = {"rgb_mixer": "timm/mixer_b16_224.miil_in21k_ft_in1k", "rgb_fastervit": "untrained"}
    text = text_of(tmp_path, *study(virtual=False, notes=notes))
    assert "Cohort clinic: recordings of people" in lead(text)
    assert "virtual" not in text
    assert "untrained" not in lead(text)
    assert "- Of rgb_mixer: timm/mixer_b16_224.miil_in21k_ft_in1k." in text
    assert "negative control, labels permuted" in lead(text_of(tmp_path, *study(permuted=True)))


def test_fusion_holds_where_it_is_better_than_both_branches():
    _, differences, claims = study()
    claim = judged(claims, "beats both")
    assert claim["verdict"] == "holds"
    gap = cell(
        differences, model_a="early_rgb", model_b="rgb_mixer", metric="f1/Palsy", level="frame", aggregation="fold_mean"
    )
    assert (
        f"{100 * gap['difference']:+.1f} [{100 * gap['ci_low']:.1f}, {100 * gap['ci_high']:.1f}]" in claim["evidence"]
    )
    assert claim["evidence"].endswith("Published: 96.00 against 82.80 and 89.00.")
    gain = judged(claims, "larger than its uncertainty")
    assert gain["verdict"] == "holds"
    assert "the interval lies above zero" in gain["evidence"]
    assert gain["evidence"].endswith("Published: +7.00, no interval.")
    assert judged(claims, "late fusion")["verdict"] == "holds"


def test_fusion_fails_where_one_branch_is_better():
    _, _, claims = study(early_rgb=0.6)
    assert judged(claims, "beats both")["verdict"] == "does not hold"
    gain = judged(claims, "larger than its uncertainty")
    assert gain["verdict"] == "does not hold"
    assert "Against rgb_mixer, the better branch here" in gain["evidence"]
    assert "Against handcrafted_fnn, the better" in judged(study(rgb_mixer=0.5)[2], "uncertainty")["evidence"]


def test_a_gain_within_its_interval_is_not_shown():
    _, _, claims = study(early_rgb=1.7)
    claim = judged(claims, "beats both")
    assert claim["verdict"] == "not shown"
    gain = judged(claims, "larger than its uncertainty")
    assert gain["verdict"] == "does not hold"
    assert "the interval lies around zero" in gain["evidence"]


def test_the_mixer_beats_the_resnet_or_not():
    assert judged(study()[2], "MLP-Mixer")["verdict"] == "holds"
    assert judged(study(rgb_resnet=1.2, rgb_mixer=0.2)[2], "MLP-Mixer")["verdict"] == "does not hold"


def test_the_verdict_changes_when_the_background_predicts_the_label(tmp_path):
    quiet, loud = study(), study(surroundings_mixer=1.0)
    assert judged(quiet[2], "without the face")["verdict"] == "ok"
    alarm = judged(loud[2], "without the face")
    assert alarm["verdict"] == "the background predicts the label"
    assert "above 50 with its whole interval; of the face crops," in alarm["evidence"]
    assert "patients from others: the background predicts the label." in lead(text_of(tmp_path, *loud))
    assert "patients from others: ok." in lead(text_of(tmp_path, *quiet))


def test_the_verdict_changes_when_shuffled_measures_predict_the_label():
    assert judged(study()[2], "measures of other frames")["verdict"] == "ok"
    loud = judged(study(shuffled_fnn=1.0)[2], "measures of other frames")
    assert loud["verdict"] == "shuffled measures predict the label"


def test_claims_about_what_was_not_run_say_so(tmp_path):
    notes = {"rgb_mixer": "not run: no weights", "surroundings_mixer": "not run"}
    frame, differences, claims = study(["rgb_mixer", "surroundings_mixer"], notes)
    for words in ("beats both", "uncertainty", "beats the ResNet", "without the face"):
        assert judged(claims, words)["verdict"] == "not run"
    assert judged(claims, "beats both")["evidence"] == "Not run: rgb_mixer (no weights)."
    assert judged(claims, "without the face")["evidence"] == "Not run: surroundings_mixer."
    assert judged(claims, "late fusion")["verdict"] == "holds"
    assert "Of 4 claims of the paper: 1 holds, 3 were not run." in lead(text_of(tmp_path, frame, differences, claims))


def test_claims_about_models_without_a_line_are_not_judged():
    claims = study(tuple(SKILLS)[1:], lines=LINES[:1])[2]
    assert claims["verdict"].eq("not run").all()
    assert judged(claims, "late fusion")["evidence"] == "Not run: early_rgb, late_rgb."


def test_models_that_were_not_compared_are_named():
    frame, differences, _ = study()
    kept = differences[(differences["model_b"] != "late_rgb")]
    claim = judged(judge_claims(frame, kept), "late fusion")
    assert (claim["verdict"], claim["evidence"]) == ("not run", "early_rgb was not compared with late_rgb.")


def test_which_way_round_a_pair_was_computed_does_not_matter():
    frame, differences, claims = study()
    turned = differences.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    turned = turned.assign(
        difference=-differences["difference"], ci_low=-differences["ci_high"], ci_high=-differences["ci_low"]
    )
    pd.testing.assert_frame_equal(judge_claims(frame, turned), claims)


def test_one_model_alone_gives_a_table(tmp_path):
    text = text_of(tmp_path, *study(tuple(SKILLS)[1:]))
    assert "Not run: early_rgb." in lead(text)
    assert "Of 4 claims of the paper: 4 were not run." in lead(text)
    assert "Paired differences," not in text


def test_the_remarks_say_why_the_printed_numbers_are_fold_means(tmp_path):
    printed = pd.read_csv(PUBLISHED, comment="#")
    lines = [(row.row, row.modality, row.model, f"m{row.row}") for row in printed.itertuples()]
    text = text_of(tmp_path, *study(lines=lines))
    assert "In 13 of 13 rows the printed F1 is below the harmonic mean" in text
    assert "In print, 1 of 4 fusions (row 10) has a higher F1 than the better of its branches." in text


def test_the_csv_keeps_rows_differences_and_claims_with_every_digit(tmp_path):
    frame, differences, claims = study()
    text_of(tmp_path, frame, differences, claims)
    read = pd.read_csv(tmp_path / "palsy.csv")
    assert read["kind"].value_counts().to_dict() == {
        "row": len(frame),
        "difference": len(differences),
        "claim": len(claims),
    }
    rows, gaps = (read[read["kind"] == kind].reset_index(drop=True) for kind in ("row", "difference"))
    np.testing.assert_array_equal(rows["reproduced"], frame["reproduced"])
    np.testing.assert_array_equal(gaps["reproduced"], 100 * differences["difference"])
    np.testing.assert_array_equal(gaps["p_value"], differences["p_value"])
    assert set(gaps["metric"]) == set(METRICS)
    assert set(rows["cohort_note"]) == {"virtual cohort, rendered faces, no patients"}
    assert list(read[read["kind"] == "claim"]["verdict"]) == list(claims["verdict"])


def test_latex_is_balanced_and_has_no_bare_special_character(tmp_path):
    found = study()
    text = text_of(tmp_path, *found, suffix="tex")
    assert text.count(r"\begin{") == text.count(r"\end{") == 8
    assert "early_rgb" not in text
    assert latex_text("early_rgb") in text
