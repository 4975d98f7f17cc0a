from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from sklearn.metrics import confusion_matrix, roc_auc_score

from faceneuro.evaluation.audits import held_out, reliability
from faceneuro.evaluation.metrics import class_probabilities, evaluate, units
from faceneuro.report.figures import VIEWS, calibration_curve, confusion_matrices, roc_curves
from test_metrics import CLASSES, STAGES, predictions, stages

BY_SUBJECT = (("grouped", "subject"),)
CAPTION = "virtual cohort, rendered faces"
MODELS = ("attention_fusion", "swin")


@pytest.fixture(scope="module")
def severity() -> pd.DataFrame:
    """Two models of three classes."""
    return pd.concat([stages(place, (9, 6, 5)).assign(model=model) for place, model in enumerate(MODELS)])


def numbers(axes: Axes) -> dict[tuple[float, float], str]:
    """What is written into the cells, by (row, column)."""
    return {text.get_position()[::-1]: text.get_text() for text in axes.texts}


def test_a_confusion_matrix_has_a_cell_for_every_pair_of_classes(severity, drawn, tmp_path):
    classes = STAGES[:3]
    confusion_matrices(severity, "swin", classes, CAPTION, tmp_path / "confusion", BY_SUBJECT)
    (axes,) = drawn[0].axes
    tested = units(severity[severity["model"] == "swin"], "subject")
    guess = [classes[place] for place in class_probabilities(tested).argmax(axis=1)]
    counts = confusion_matrix(tested["label"], guess, labels=classes)
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert numbers(axes) == {at: f"{count}\n{shares[at]:.0%}" for at, count in np.ndenumerate(counts)}
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert tuple(label.get_text() for label in labels) == classes
    assert axes.get_title() == "subjects held out,\nby subject (n = 20)"


def test_each_of_three_classes_has_a_curve_against_the_rest(severity, drawn, tmp_path):
    classes = STAGES[:3]
    metrics = evaluate(severity, classes, 50, 0)
    roc_curves(severity, metrics, classes, CAPTION, tmp_path / "roc", BY_SUBJECT)
    panels, legends = drawn[0].axes[:3], drawn[0].axes[3:]
    assert [axes.get_title().splitlines()[0] for axes in panels] == [f"{name}:" for name in classes]
    of_subjects = metrics[(metrics["level"] == "subject") & (metrics["aggregation"] == "pooled")]
    for name, place, axes, below in zip(classes, range(3), panels, legends, strict=True):
        curves = {line.get_label().split()[0]: line for line in axes.lines[1:]}
        assert tuple(curves) == MODELS
        rows = of_subjects[of_subjects["metric"] == f"roc_auc/{name}"].set_index("model")
        written = [text.get_text() for text in below.get_legend().get_texts()]
        for text, model in zip(written, MODELS, strict=True):
            tested = units(severity[severity["model"] == model], "subject")
            area = roc_auc_score(tested["label"] == name, class_probabilities(tested)[:, place])
            assert np.trapezoid(curves[model].get_ydata(), curves[model].get_xdata()) == pytest.approx(area)
            row = rows.loc[model]
            assert text == f"{model}  {area:.2f} [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"


def test_panels_are_those_that_are_asked_for_and_have_predictions(severity, drawn, tmp_path):
    both = pd.concat([severity, severity.assign(protocol="published")])
    classes = STAGES[:3]
    metrics = evaluate(both, classes, 5, 0)
    for table, views, count in ((both, VIEWS, 3), (severity, VIEWS, 2), (both, BY_SUBJECT, 1), (both, VIEWS[:2], 2)):
        confusion_matrices(table, "swin", classes, CAPTION, tmp_path / "confusion", views)
        roc_curves(table, metrics, classes, CAPTION, tmp_path / "roc", views)
        confusion, roc = drawn[-2:]
        assert len(confusion.axes) == count
        # A class has two axes: the curves and their legend.
        assert len(roc.axes) == 2 * 3 * count


def test_two_classes_have_one_curve_and_the_positive_class_is_named(drawn, tmp_path):
    table = predictions(1, per_class=6)
    metrics = evaluate(table, CLASSES, 20, 0)
    roc_curves(table, metrics, CLASSES, CAPTION, tmp_path / "roc")
    confusion_matrices(table, "m", CLASSES, CAPTION, tmp_path / "confusion")
    roc, confusion = drawn
    assert len(roc.axes) == 2 * 2
    assert roc.axes[0].get_ylabel() == "true positive rate (ALS)"
    tested = units(table, "subject")
    curve = roc.axes[1].lines[1]
    area = roc_auc_score(tested["label"] == "ALS", tested["probability"])
    assert np.trapezoid(curve.get_ydata(), curve.get_xdata()) == pytest.approx(area)
    counts = confusion_matrix(tested["label"] == "ALS", tested["probability"] > 0.5)
    cells = {at: int(text.split()[0]) for at, text in numbers(confusion.axes[1]).items()}
    assert cells == dict(np.ndenumerate(counts))


def draw(table: pd.DataFrame, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    metrics = evaluate(table, STAGES[:3], 20, 0)
    confusion_matrices(table, "swin", STAGES[:3], CAPTION, folder / "confusion", BY_SUBJECT)
    roc_curves(table, metrics, STAGES[:3], CAPTION, folder / "roc", BY_SUBJECT)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_figures_of_three_classes_are_equal_at_a_second_drawing_and_name_the_cohort(severity, tmp_path):
    first = draw(severity, tmp_path / "first")
    assert list(first) == [f"{name}.{kind}" for name in ("confusion", "roc") for kind in ("png", "svg")]
    assert draw(severity.sample(frac=1, random_state=0), tmp_path / "second") == first
    assert all(CAPTION.encode() in content for name, content in first.items() if name.endswith("svg"))


def test_the_calibration_curve_shows_the_bins_and_every_subject(severity, drawn, tmp_path):
    calibration_curve(severity, "swin", STAGES[:3], CAPTION, tmp_path / "calibration", resamples=50, seed=1)
    (axes,) = drawn[0].axes
    people = held_out(severity, "swin", STAGES[0])
    bins = reliability(people, 50, 1)
    points = next(line for line in axes.lines if line.get_marker() == "o")
    assert np.allclose(points.get_xydata(), bins[["probability", "share"]])
    assert [text.get_text() for text in axes.texts] == [str(n) for n in bins["n"]]
    ticks = [line for line in axes.lines if line.get_marker() == "|"]
    assert sorted(len(line.get_xdata()) for line in ticks) == sorted(people["ill"].value_counts())


def test_without_subjects_held_out_the_calibration_curve_says_so(severity, drawn, tmp_path):
    calibration_curve(
        severity.assign(protocol="published"), "swin", STAGES[:3], CAPTION, tmp_path / "c", resamples=50, seed=1
    )
    assert "no subject was held out" in drawn[0].axes[0].texts[0].get_text()
