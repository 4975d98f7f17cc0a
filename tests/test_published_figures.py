"""Figures of published numbers beside those found here: what is drawn is what the tables say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faceneuro.report.parkinson import NAMES, PRINTED
from faceneuro.report.published_figures import ASIDE, DAGGER, PSNR, STUDIES, published_figure
from faceneuro.report.synthesis import PRINTED as SYNTHESIS_PRINTED

VIRTUAL = "virtual cohort, rendered faces, no patients"
COHORT = {"kind": "row", "cohort": "virtual_people", "cohort_note": VIRTUAL}
NAN = float("nan")


def numbers(place: int, run: bool = True, printed: bool = True, scale: float = 1.0) -> dict:
    """A published number and one found here with its interval, another for every place."""
    value = scale * (0.4 + 0.01 * place)
    found = {"reproduced": value, "ci_low": value - 0.1 * scale, "ci_high": value + 0.05 * scale}
    return (found if run else dict.fromkeys(found, NAN)) | {
        "published": scale * (0.9 - 0.01 * place) if printed else NAN
    }


def als_table() -> pd.DataFrame:
    cells = [("Healthy", "recall"), ("ALS", "f1"), ("ALS", "support"), ("accuracy", "accuracy"), ("macro avg", "f1")]
    cells += [("ROC AUC", "roc_auc"), ("Brier score", "brier")]
    rows = []
    for view, (protocol, level) in enumerate([("published", "frame"), ("grouped", "frame"), ("grouped", "subject")]):
        for model in ("flow_only", "dual_branch"):
            for place, (row, metric) in enumerate(cells):
                about = {"protocol": protocol, "level": level, "aggregation": "pooled", "model": model, "row": row}
                known = model == "dual_branch" and row not in ("ROC AUC", "Brier score")
                rows.append(
                    COHORT | about | {"metric": metric, "n_subjects": 22} | numbers(10 * view + place, printed=known)
                )
    # A claim has columns of its own, of the same name as a number of the figure.
    return pd.DataFrame([*rows, {"kind": "claim", "here": "accuracy 0.50"}])


def palsy_table() -> pd.DataFrame:
    rows = []
    lines = [(1, "rgb_resnet", "untrained backbone"), (2, "fastervit", "no licence"), (3, "fnn", NAN)]
    for place, (number, model, note) in enumerate([*lines, (NAN, "control", ""), (NAN, "gated", "not run")]):
        run = model not in ("fastervit", "gated")
        for metric, level, aggregation in (
            ("f1", "frame", "fold_mean"),
            ("f1", "subject", "pooled"),
            ("roc_auc", "subject", "pooled"),
        ):
            about = {"row": number, "modality": "RGB", "network": f"N{place}", "model": model, "note": note}
            about |= {"metric": metric, "level": level, "aggregation": aggregation}
            known = number == number and metric == "f1"
            shift = 0 if (metric, level) == ("f1", "frame") else 20 if metric == "roc_auc" else 40
            rows.append(COHORT | about | numbers(place + shift, run, known, 100))
    return pd.DataFrame(rows)


def parkinson_table() -> pd.DataFrame:
    rows = []
    for place, (row, model) in enumerate([("Swin", "swin"), ("Ours", "attention_fusion"), (NAN, "ordinal")]):
        for turn, metric in enumerate(PRINTED):
            for aggregation in ("pooled", "fold_mean"):
                about = {"row": row, "name": f"Name {model}", "model": model, "note": NAN, "metric": metric}
                about |= {"level": "subject", "aggregation": aggregation}
                shift = 3 * turn + 20 * (aggregation == "pooled")
                rows.append(COHORT | about | numbers(place + shift, printed=row == row))
    return pd.DataFrame(rows)


def synthesis_table() -> pd.DataFrame:
    stand_in = {"afid": "own_kid"}
    rows = []
    for place, (row, model) in enumerate([(1, "dcface_3x3"), (6, "ccfexp"), (NAN, "copy_identity")]):
        for turn, (metric, reference) in enumerate(SYNTHESIS_PRINTED):
            about = {"row": row, "name": f"Name {model}", "model": model, "note": ""}
            about |= {"metric": stand_in.get(metric, metric), "reference": reference}
            scale = 20.0 if metric == "psnr" else 1.0
            found = numbers(place + 3 * turn, model != "dcface_3x3", row == row, scale)
            if (model, metric, reference) == ("copy_identity", "psnr", "identity"):
                found |= dict.fromkeys(("reproduced", "ci_low", "ci_high"), 100.0)
            rows.append(COHORT | about | found)
    return pd.DataFrame(rows)


def review_table() -> pd.DataFrame:
    said = {"kind": "claim", "about": "All, abstract", "claimed": 89.25, "claimed_low": 88.75, "claimed_high": 89.73}
    said |= {"recomputed": 80.71, "ci_low": 73.34, "ci_high": 88.09}
    plain = {
        "kind": "claim",
        "about": "Dementia",
        "claimed": 99.0,
        "recomputed": 77.85,
        "ci_low": 66.1,
        "ci_high": 89.6,
    }
    return pd.DataFrame([said, {"kind": "claim", "about": "", "claimed": NAN}, plain, {"kind": "number"}])


TABLES = {
    "als": als_table,
    "palsy": palsy_table,
    "parkinson": parkinson_table,
    "synthesis": synthesis_table,
    "meta_analysis": review_table,
}


def marks(axes: Axes, name: str) -> list[float]:
    (line,) = [line for line in axes.lines if line.get_gid() == name]
    assert len(set(np.round(line.get_ydata(), 6))) == len(line.get_ydata())
    return list(line.get_xdata())


def intervals(axes: Axes, side: int) -> dict[float, tuple[float, float]]:
    """Both ends of the intervals on one side of the lines' middles (-1 published, 1 here), by place."""
    ends = {}
    for collection in axes.collections:
        # One without an interval has no ends.
        for (left, y), (right, _) in filter(len, collection.get_segments()):
            place = round(y - side * ASIDE, 6)
            if place == int(place):
                ends[int(place)] = (left, right)
    return ends


def same(found, wanted) -> bool:
    return np.allclose(np.asarray(found, float), np.asarray(wanted, float), equal_nan=True)


def draw(study: str, folder: Path, figures: list[Figure]) -> list[Axes]:
    published_figure(study, TABLES[study](), folder / study)
    return figures[-1].axes


def names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


def test_each_protocol_of_the_als_study_has_a_panel_with_the_same_published_numbers(drawn, tmp_path):
    panels = draw("als", tmp_path, drawn)
    table = als_table()
    mine = table[(table["model"] == "dual_branch") & ~table["row"].isin(["macro avg", "Brier score"])]
    mine = mine[mine["metric"] != "support"]
    assert names(panels[0]) == ["Healthy, recall", "ALS, F1", "Accuracy", "ROC AUC"]
    titles = ["Random frames held out", "Subjects held out,\nby frame", "Subjects held out,\nby subject"]
    assert [axes.get_title().strip() for axes in panels] == titles
    for axes, (_, rows) in zip(panels, mine.groupby(["protocol", "level"], sort=False), strict=True):
        assert same(marks(axes, "published"), rows["published"])
        assert same(marks(axes, "here"), rows["reproduced"])
        ends = rows[["ci_low", "ci_high"]].to_numpy()
        assert same(list(intervals(axes, 1).values()), ends)
        assert intervals(axes, -1) == {}


def test_rows_of_the_palsy_paper_are_there_if_not_run_and_others_only_if_they_were(drawn, tmp_path):
    f1, area = draw("palsy", tmp_path, drawn)
    assert names(f1) == [f"1  RGB: N0 {DAGGER}", "2  RGB: N1, not run", "3  RGB: N2", "RGB: N3"]
    colours = {text.get_color() for text in f1.get_yticklabels()[::2]}, f1.get_yticklabels()[1].get_color()
    assert colours[1] not in colours[0]
    table = palsy_table().query("model != 'gated'")
    shown = table.query("metric == 'f1' and aggregation == 'fold_mean'")
    assert same(marks(f1, "published"), shown["published"])
    assert same(marks(f1, "here"), shown["reproduced"])
    assert set(intervals(f1, 1)) == {0, 2, 3}
    areas = table.query("metric == 'roc_auc'")
    assert same(marks(area, "here"), areas["reproduced"])
    assert np.isnan(marks(area, "published")).all()
    assert "random weights" in drawn[-1].legends[0].get_title().get_text()


def test_the_parkinson_rows_are_in_the_papers_order_in_every_metric(drawn, tmp_path):
    panels = draw("parkinson", tmp_path, drawn)
    assert [axes.get_title() for axes in panels] == [NAMES[metric] for metric in PRINTED]
    assert names(panels[0]) == ["Name swin", "Name attention_fusion", "Name ordinal"]
    table = parkinson_table().query("aggregation == 'fold_mean'")
    for axes, metric in zip(panels, PRINTED, strict=True):
        rows = table[table["metric"] == metric]
        assert same(marks(axes, "published"), rows["published"])
        assert same(marks(axes, "here"), rows["reproduced"])
        assert same(list(intervals(axes, 1).values()), rows[["ci_low", "ci_high"]])
    assert not drawn[-1].legends[0].get_title().get_text()


def test_numbers_of_another_quantity_are_not_put_beside_what_stands_in_for_it(drawn, tmp_path):
    panels = draw("synthesis", tmp_path, drawn)
    assert names(panels[0]) == ["1  Name dcface_3x3, not run", "6  Name ccfexp", "Name copy_identity"]
    assert panels[0].get_title() == "Own-feature KID\n(in place of aFID)"
    assert np.isnan(marks(panels[0], "published")).all()
    table = synthesis_table()
    for axes, (metric, reference) in zip(panels[1:], list(SYNTHESIS_PRINTED)[1:], strict=True):
        rows = table[(table["metric"] == metric) & (table["reference"] == reference)]
        assert same(marks(axes, "published"), rows["published"])
        assert same(marks(axes, "here"), rows["reproduced"])


def test_what_lies_beyond_an_axis_is_an_arrow_with_its_number(drawn, tmp_path):
    psnr = draw("synthesis", tmp_path, drawn)[1]
    assert psnr.get_xlim() == PSNR
    (arrow,) = [line for line in psnr.lines if line.get_gid() == "beyond"]
    assert arrow.get_xdata()[0] < PSNR[1]
    assert round(arrow.get_ydata()[0] - ASIDE) == 2
    assert [text.get_text() for text in psnr.texts] == ["100"]


def test_what_the_review_says_has_an_interval_where_it_gives_one(drawn, tmp_path):
    (axes,) = draw("meta_analysis", tmp_path, drawn)
    assert names(axes) == ["All, abstract", "Dementia"]
    assert marks(axes, "published") == [89.25, 99.0]
    assert marks(axes, "here") == [80.71, 77.85]
    assert intervals(axes, -1) == {0: (88.75, 89.73)}
    assert intervals(axes, 1) == {0: (73.34, 88.09), 1: (66.1, 89.6)}


@pytest.mark.parametrize("study", STUDIES)
def test_figures_are_equal_at_a_second_drawing_and_name_the_cohort(study, tmp_path):
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        published_figure(study, TABLES[study](), folder / study)
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert sorted(first) == [f"{study}.png", f"{study}.svg"]
    assert first == second
    words = "no recording is involved" if study == "meta_analysis" else VIRTUAL
    assert words.encode() in first[f"{study}.svg"]
    assert (b"not run" in first[f"{study}.svg"]) == (study in ("palsy", "synthesis"))
