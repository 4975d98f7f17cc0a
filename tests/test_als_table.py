import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.evaluation.metrics import evaluate
from faceneuro.evaluation.paired import COLUMNS
from faceneuro.report import figures
from faceneuro.report.als import judge_claims
from faceneuro.report.classification import classification_table, write_classification
from faceneuro.report.tables import latex_text
from faceneuro.studies.als import CLASSES, PUBLISHED_MODEL, TABLE_ROWS

PUBLISHED = Path(__file__).parents[1] / "resources" / "published" / "als_table1.csv"


def predictions(protocols=("published", "grouped"), models=("dual_branch", "flow_only"), seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows = []
    for protocol in protocols:
        for model in models:
            for number in range(12):
                positive = number % 2
                lean = random.normal(1.2 * (positive - 0.5), 0.5)
                for frame in range(6):
                    rows.append(
                        {
                            "study": "als",
                            "protocol": protocol,
                            "model": model,
                            "fold": 0 if protocol == "published" else number // 4,
                            "cohort": "virtual_als",
                            "subject": f"s{number:02}",
                            "clip": f"s{number:02}_{frame % 2}",
                            "frame": frame,
                            "label": CLASSES[positive],
                            "probability": float(1 / (1 + np.exp(-random.normal(lean, 1)))),
                        }
                    )
    return pd.DataFrame(rows)


def table(found: pd.DataFrame, **options) -> pd.DataFrame:
    options = {
        "published_model": PUBLISHED_MODEL,
        "cohort": "virtual_als",
        "virtual": True,
        "permuted": False,
    } | options
    return classification_table(evaluate(found, CLASSES, 100, 0), PUBLISHED, TABLE_ROWS, **options)


def write(frame: pd.DataFrame, stem: Path, title: str = "ALS") -> None:
    """As the study does where no models were compared in pairs."""
    none = pd.DataFrame(columns=COLUMNS)
    write_classification(frame, none, judge_claims(frame, none), stem, title)


def cell(frame: pd.DataFrame, **where) -> pd.Series:
    (index,) = frame.index[(frame[list(where)] == pd.Series(where)).all(axis=1)]
    return frame.loc[index]


def test_each_cell_holds_the_printed_and_the_recomputed_number():
    found = predictions()
    frame = table(found)
    base = {"protocol": "grouped", "model": "dual_branch", "level": "frame", "aggregation": "pooled"}
    mine = found[(found["protocol"] == "grouped") & (found["model"] == "dual_branch")]
    hits = (mine["probability"] > 0.5) & (mine["label"] == "ALS")
    recall = cell(frame, **base, row="ALS", metric="recall")
    assert recall["published"] == 0.89
    assert recall["reproduced"] == pytest.approx(hits.sum() / (mine["label"] == "ALS").sum())
    assert recall["ci_low"] <= recall["reproduced"] <= recall["ci_high"]
    accuracy = cell(frame, **base, row="accuracy", metric="accuracy")
    assert accuracy["published"] == 0.92
    assert accuracy["n_subjects"] == 12
    assert cell(frame, **base, row="weighted avg", metric="support")["published"] == 338
    assert cell(frame, **base, row="Healthy", metric="support")["reproduced"] == 36


def test_only_the_published_model_has_printed_numbers_and_all_else_is_complete():
    frame = table(predictions())
    assert set(frame.loc[frame["published"].notna(), "model"]) == {"dual_branch"}
    assert list(frame.columns[:6]) == ["study", "row", "metric", "published", "reproduced", "ci_low"]
    views = frame[frame["aggregation"] == "pooled"].groupby(["protocol", "model", "level"]).size()
    assert views.to_dict() == {key: len(TABLE_ROWS) + 3 for key in views.index}
    assert len(views) == 2 * 2 * 3


def test_the_csv_keeps_every_digit(tmp_path):
    frame = table(predictions())
    write(frame, tmp_path / "als")
    read = pd.read_csv(tmp_path / "als.csv")
    rows = read[read["kind"] == "row"]
    np.testing.assert_array_equal(rows["reproduced"], frame["reproduced"])
    assert (rows["published"].notna() == frame["published"].notna().to_numpy()).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["als.csv", "als.md", "als.tex"]


def test_the_readable_table_puts_the_printed_number_beside_both_protocols(tmp_path):
    frame = table(predictions())
    write(frame, tmp_path / "als")
    text = (tmp_path / "als.md").read_text()
    views = "Random frames held out | Subjects held out, by frame | Subjects held out, by subject"
    assert f"| Row | Metric | Published | {views} |" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| ALS | recall")]
    cells = [part.strip() for part in line.strip("|").split("|")]
    assert cells[2] == "0.89"
    base = {"model": "dual_branch", "aggregation": "pooled", "row": "ALS", "metric": "recall"}
    for text_cell, (protocol, level) in zip(cells[3:], figures.VIEWS, strict=True):
        value = cell(frame, **base, protocol=protocol, level=level)
        assert text_cell == f"{value['reproduced']:.2f} [{value['ci_low']:.2f}, {value['ci_high']:.2f}]"
    (supports,) = [line for line in text.splitlines() if line.startswith("| Healthy | support")]
    assert supports == "| Healthy | support | 169 | 36 | 36 | 6 |"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Cohort virtual_als: virtual cohort, rendered faces, no patients; 12 subjects."),
        ({"virtual": False, "cohort": "neuroface"}, "Cohort neuroface: recordings of people; 12 subjects."),
        ({"permuted": True}, "no patients; negative control, labels permuted over subjects; 12 subjects."),
    ],
)
def test_the_table_says_whose_numbers_these_are(tmp_path, options, words):
    write(table(predictions(), **options), tmp_path / "als")
    assert words in (tmp_path / "als.md").read_text()
    assert latex_text(words) in (tmp_path / "als.tex").read_text()
    assert words.split(": ")[-1].split(";")[0] in (tmp_path / "als.csv").read_text()


@pytest.mark.parametrize("protocol", ["published", "grouped"])
def test_one_protocol_alone_gives_a_table_of_its_columns(tmp_path, protocol):
    write(table(predictions(protocols=[protocol])), tmp_path / "als")
    text = (tmp_path / "als.md").read_text()
    assert ("subjects held out, each judged once" in text) == (protocol == "grouped")
    assert ("Random frames held out" in text) == (protocol == "published")


def test_a_run_without_the_published_model_still_gives_a_table(tmp_path):
    write(table(predictions(models=["flow_only"])), tmp_path / "als")
    assert "Model flow_only" in (tmp_path / "als.md").read_text()


def test_every_character_reaches_latex_as_it_is():
    assert latex_text(r"a_b & 5 % of {x} ~ ^ \ # $") == (
        r"a\_b \& 5 \% of \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \# \$"
    )


def test_latex_is_balanced_and_has_no_bare_special_character(tmp_path):
    write(table(predictions()), tmp_path / "als", "ALS & 5 %")
    text = (tmp_path / "als.tex").read_text()
    assert text.count(r"\begin{") == text.count(r"\end{") == 6
    assert r"ALS \& 5 \%" in text
    assert "dual_branch" not in text
    for block in text.split(r"\begin{tabular}")[1:]:
        # A column of sentences has a width of its own.
        columns = re.sub(r"p\{.*?\}", "p", block.splitlines()[0]).strip("{}")
        rows = block[block.index(r"\midrule") : block.index(r"\bottomrule")].splitlines()[1:]
        assert all(row.count(" & ") == len(columns) - 1 for row in rows if row)


def history() -> pd.DataFrame:
    rows = []
    for protocol, folds in (("published", 1), ("grouped", 5)):
        for fold in range(folds):
            for epoch in range(1, 21):
                for part, gap in (("train", 0.0), ("validation", 0.12 if protocol == "grouped" else 0.02)):
                    loss = 0.05 + gap * (1 + epoch / 20) + 0.65 * math.exp(-epoch / (5 + fold))
                    row = {"study": "als", "protocol": protocol, "model": "dual_branch", "fold": fold, "epoch": epoch}
                    rows.append(row | {"part": part, "loss": loss, "accuracy": 1 - loss / 1.5})
    return pd.DataFrame(rows)


def draw(folder: Path) -> dict[str, bytes]:
    found = predictions(models=("dual_branch", "landmarks_only", "flow_only", "logistic_regression"))
    caption = "virtual cohort virtual_als: rendered faces, no patients"
    figures.learning_curves(history(), "dual_branch", caption, folder / "curves")
    figures.confusion_matrices(found, "dual_branch", CLASSES, caption, folder / "confusion")
    figures.roc_curves(found, evaluate(found, CLASSES, 100, 0), CLASSES, caption, folder / "roc")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_figures_are_equal_at_a_second_drawing_and_name_the_cohort(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first = draw(tmp_path / "first")
    assert list(first) == [f"{name}.{kind}" for name in ("confusion", "curves", "roc") for kind in ("png", "svg")]
    assert draw(tmp_path / "second") == first
    for name, content in first.items():
        if name.endswith("svg"):
            assert b"rendered faces, no patients" in content
