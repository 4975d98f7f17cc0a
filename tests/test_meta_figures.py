import itertools
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from faceneuro.report import meta_figures
from faceneuro.report.meta_figures import PUBLISHED, REACH, place_labels

CAPTION = "effect sizes made up for a test"
NOTHING_FILLED = pd.DataFrame({"accuracy": [], "se": []})
DAGGER = "†"


def effects(sizes=(4, 1, 3), seed: int = 0) -> pd.DataFrame:
    """Made-up effect sizes, ``sizes[i]`` in block i, and what analyses of them might have found."""
    random = np.random.default_rng(seed)
    n = sum(sizes)
    block = np.repeat(np.arange(len(sizes)), sizes)
    se = random.uniform(0.8, 7, n)
    accuracy = random.uniform(40, 99, n)
    change = random.normal(0, 1, n)
    return pd.DataFrame(
        {
            "study": [f"Ahmedt-Aristizabal and {index} others" for index in range(n)],
            "block": [f"block_{index}" for index in block],
            "group": [f"Condition {index}" for index in block],
            "accuracy": accuracy,
            "ci_low": accuracy - 1.96 * se,
            "ci_high": accuracy + 1.96 * se,
            "se": se,
            "weight": 100 * se**-2 / (se**-2).sum(),
            "recovered": False,
            "origin": PUBLISHED,
            "loo_estimate": 80 + change,
            "loo_ci_low": 73 + change,
            "loo_ci_high": 88 + change,
            "baujat_contribution": random.exponential(20, n),
            "baujat_influence": random.exponential(2, n),
        }
    )


def pooled(k: int, seed: int = 0) -> dict[str, float]:
    random = np.random.default_rng(seed)
    estimate, half = random.uniform(70, 90), random.uniform(5, 15)
    found = {"k": k, "estimate": estimate, "ci_low": estimate - half, "ci_high": estimate + half, "tau2": 0.0}
    several = {"i2": 98.58, "h2": 70.31, "q": 417.74, "q_df": k - 1, "q_p_value": 1e-9, "p_value": 0.0}
    if k == 1:
        several = dict.fromkeys(several, np.nan) | {"q": 0.0, "q_df": 0}
    return found | several


def subtotals(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"block": key, "group": block["group"].iloc[0]} | pooled(len(block), seed)
            for seed, (key, block) in enumerate(rows.groupby("block", sort=False), start=10)
        ]
    )


def overall(rows: pd.DataFrame) -> dict[str, float]:
    blocks = rows["block"].nunique()
    between = {"q_between": 44.73, "q_between_df": blocks - 1, "q_between_p_value": 0.02}
    if blocks == 1:
        between |= {"q_between": np.nan, "q_between_p_value": np.nan}
    return pooled(len(rows), 99) | {"pi_low": 41.0, "pi_high": 118.0} | between


def forest(rows: pd.DataFrame, stem: Path, **options) -> None:
    options = {"subtotals": subtotals(rows), "overall": overall(rows)} | options
    meta_figures.forest(rows, caption=CAPTION, stem=stem, **options)


def draw_all(rows: pd.DataFrame, folder: Path, filled: pd.DataFrame = NOTHING_FILLED) -> None:
    forest(rows, folder / "forest")
    meta_figures.funnel(rows, 80.0, 300.0, filled, CAPTION, folder / "funnel")
    meta_figures.galbraith(rows, 80.0, CAPTION, folder / "galbraith")
    meta_figures.leave_one_out(rows, overall(rows), CAPTION, folder / "leave_one_out")
    meta_figures.baujat(rows, CAPTION, folder / "baujat")


def written(stem: Path) -> list[str]:
    """All texts of an SVG."""
    tree = ElementTree.parse(f"{stem}.svg")
    return ["".join(element.itertext()).strip() for element in tree.iter("{http://www.w3.org/2000/svg}text")]


def estimate(row, prefix: str = "ci", value: str = "accuracy") -> str:
    low, high = (getattr(row, f"{prefix}_{end}") for end in ("low", "high"))
    return f"{getattr(row, value):.2f} [{low:.2f}, {high:.2f}]".replace("-", "\N{MINUS SIGN}")


def extents(figure: Figure) -> list[tuple[str, Bbox]]:
    """Where the texts of a figure are, in pixels."""
    # A legend is laid out when it is drawn, last for the SVG.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    # A tick outside the limits of an axis has a text that is not drawn.
    for axes in [*figure.axes, *(child for parent in figure.axes for child in parent.child_axes)]:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not low <= tick.get_loc() <= high:
                    texts = [text for text in texts if text not in (tick.label1, tick.label2)]
    return [(text.get_text(), Text.get_window_extent(text, renderer)) for text in texts]


def overlaps(boxes: list[tuple[str, Bbox]], others: list[tuple[str, Bbox]] | None = None) -> list[tuple[str, str]]:
    pairs = itertools.combinations(boxes, 2) if others is None else itertools.product(boxes, others)
    # Extents reach to the tallest letters of a font; half a pixel is no overlap to the eye.
    return [
        (one, other)
        for (one, box), (other, other_box) in pairs
        if min(box.x1, other_box.x1) - max(box.x0, other_box.x0) > 0.5
        and min(box.y1, other_box.y1) - max(box.y0, other_box.y0) > 0.5
    ]


def intervals(figure: Figure) -> list[tuple[str, Bbox]]:
    """Where the intervals, marks and diamonds of a forest plot are, in pixels."""
    axes = figure.axes[0]
    found = []
    for line in axes.lines:
        (x0, x1), (y0, y1) = line.get_xdata()[[0, -1]], line.get_ydata()[[0, -1]]
        if y0 == y1 and line.get_transform() == axes.transData:
            found.append(("interval", Bbox(axes.transData.transform([(x0, y0), (x1, y1)])).padded(1)))
    for patch in axes.patches:
        if isinstance(patch, Polygon):
            found.append(("diamond", patch.get_window_extent()))
    for marks in axes.collections:
        if isinstance(marks, PathCollection):
            side = np.sqrt(marks.get_sizes()[0]) / 72 * figure.dpi
            found.append(("mark", Bbox.from_bounds(*marks.get_offsets()[0], 0, 0).transformed(axes.transData)))
            found[-1] = ("mark", found[-1][1].padded(side / 2))
    return found


@pytest.mark.parametrize("sizes", [(4, 1, 3), (1, 1), (2,), (8,) * 7 + (1, 3)])
def test_a_forest_plot_has_every_study_and_every_interval_once(tmp_path, drawn, sizes):
    rows = effects(sizes)
    forest(rows, tmp_path / "forest")
    texts = written(tmp_path / "forest")
    for row in rows.itertuples():
        assert texts.count(row.study) == 1
        assert texts.count(estimate(row)) == 1
        assert f"{row.weight:.2f} %" in texts
    for pool in subtotals(rows).itertuples():
        assert texts.count(estimate(pool, value="estimate")) == (pool.k > 1)
    assert [text for text in texts if text in set(rows["group"])] == list(rows["group"].unique())
    assert texts.count(estimate(pd.Series(overall(rows)), value="estimate")) == 1
    assert texts.count("[41.00, 118.00]") == 1
    assert any("impossible: above 100 %" in text for text in texts)
    assert CAPTION in texts
    assert not any("nan" in text for text in texts)
    lines = [text.get_position()[1] for text in drawn[0].axes[0].texts if text.get_text() in set(rows["study"])]
    assert lines == sorted(set(lines))
    assert len(lines) == len(rows)


def test_a_forest_plot_grows_with_its_rows(tmp_path, drawn):
    for sizes in ((2,), (4, 4), (12, 12)):
        forest(effects(sizes), tmp_path / "forest")
    heights = [figure.get_figheight() for figure in drawn]
    assert heights == sorted(set(heights))
    widths = [figure.get_figwidth() for figure in drawn]
    assert max(widths) < 7.5


@pytest.mark.parametrize("sizes", [(4, 1, 3), (2,), (6, 1, 2, 3, 4, 3, 1, 5), (30, 30)])
def test_no_text_of_a_forest_plot_hides_another_or_an_interval(tmp_path, drawn, sizes):
    rows = effects(sizes)
    rows.loc[0, "study"] = "Wilhelmina-Alexandrovna Featherstonehaugh-Cholmondeley and the WIDE group et al."
    rows["recovered"] = rows.index % 3 == 0
    rows.loc[1, "origin"] = "virtual cohort"
    forest(rows, tmp_path / "forest")
    (figure,) = drawn
    texts = extents(figure)
    assert len(texts) > 3 * len(rows)
    assert overlaps(texts) == []
    marks = intervals(figure)
    assert len(marks) > 2 * len(rows)
    assert overlaps(texts, marks) == []


@pytest.mark.parametrize("sizes", [(2,), (6, 1, 2, 3, 4, 3, 1, 5)])
def test_no_text_of_the_other_figures_hides_another(tmp_path, drawn, sizes):
    filled = pd.DataFrame({"accuracy": [104.0, 121.0], "se": [2.0, 6.0]})
    draw_all(effects(sizes), tmp_path, filled)
    assert len(drawn) == 5
    for figure in drawn[1:]:
        assert overlaps(extents(figure)) == []


@pytest.mark.parametrize("recovered", [False, True])
def test_a_dagger_and_its_note_are_there_if_and_only_if_a_value_was_recovered(tmp_path, recovered):
    rows = effects()
    rows.loc[2, "recovered"] = recovered
    forest(rows, tmp_path / "forest")
    meta_figures.leave_one_out(rows, overall(rows), CAPTION, tmp_path / "loo")
    for name in ("forest", "loo"):
        marked = [text for text in written(tmp_path / name) if DAGGER in text]
        assert len(marked) == (2 if recovered else 0)
        assert any(text.startswith(rows.loc[2, "study"]) for text in marked) == recovered
        assert any("illegible, solved from the totals" in text for text in marked) == recovered


def test_recovered_values_and_other_origins_differ_in_shape_or_filling_without_colour(tmp_path, drawn):
    rows = effects((4, 4))
    rows["recovered"] = [False, True] * 4
    rows["origin"] = np.repeat([PUBLISHED, "virtual cohort", "own recordings", "another"], 2)
    draw_all(rows, tmp_path)
    for figure in drawn:
        marks = [item for item in figure.axes[0].collections if isinstance(item, PathCollection)]
        looks = {
            (mark.get_paths()[0].vertices.tobytes(), tuple(mark.get_facecolor()[0]) == (1, 1, 1, 1)) for mark in marks
        }
        assert len(looks) == 8
    for name in ("forest", "funnel", "galbraith", "leave_one_out", "baujat"):
        texts = written(tmp_path / name)
        assert "virtual cohort, not from the publication" in texts
        assert "as published" in texts


def test_the_area_of_a_square_is_in_proportion_to_its_weight(tmp_path, drawn):
    rows = effects((4, 3))
    forest(rows, tmp_path / "forest")
    marks = [item for item in drawn[0].axes[0].collections if isinstance(item, PathCollection)]
    areas = np.array([mark.get_sizes()[0] for mark in marks])
    np.testing.assert_allclose(areas / areas.max(), rows["weight"] / rows["weight"].max())
    np.testing.assert_allclose([mark.get_offsets()[0, 0] for mark in marks], rows["accuracy"])


def test_what_lies_beyond_a_forest_plot_is_cut_with_arrowheads_and_printed_in_full(tmp_path, drawn):
    rows = effects((2, 3))
    wide = subtotals(rows).assign(ci_low=-250.0, ci_high=400.0)
    forest(rows, tmp_path / "forest", subtotals=wide)
    axes = drawn[0].axes[0]
    assert axes.get_xlim() == REACH
    heads = [line.get_marker() for line in axes.lines if line.get_marker() in ("<", ">")]
    assert sorted(heads) == ["<", "<", ">", ">"]
    texts = written(tmp_path / "forest")
    assert sum("[\N{MINUS SIGN}250.00, 400.00]" in text for text in texts) == 2
    assert {"impossible: below 0 %", "impossible: above 100 %"} <= set(texts)


def test_an_effect_size_without_a_value_is_named_and_not_drawn(tmp_path, drawn):
    rows = effects((3, 2))
    absent = rows.columns.difference(["study", "block", "group", "recovered", "origin"])
    rows.loc[1, absent] = np.nan
    draw_all(rows, tmp_path)
    texts = written(tmp_path / "forest")
    assert texts.count("no value") == 1
    assert rows.loc[1, "study"] in texts
    for name in ("forest", "funnel", "galbraith", "leave_one_out", "baujat"):
        assert not any("nan" in text for text in written(tmp_path / name))


def test_names_are_printed_as_they_are(tmp_path):
    names = [r"$\alpha_1$ & sons", "a_b^c {d} 100 %", "_hidden et al.", "Åström & Łukasz <β> \\$", "two\nlines"]
    rows = effects((3, 2)).assign(study=names, origin="$their_own$ cohort", baujat_influence=1.0)
    meta_figures.baujat(rows.iloc[:3], CAPTION, tmp_path / "baujat")
    forest(rows, tmp_path / "forest")
    meta_figures.leave_one_out(rows, overall(rows), CAPTION, tmp_path / "loo")
    # Far from the line, so that all are labelled.
    meta_figures.galbraith(rows.assign(se=0.5), 20.0, CAPTION, tmp_path / "galbraith")
    for name in ("forest", "loo", "galbraith"):
        texts = written(tmp_path / name)
        assert [texts.count(" ".join(study.split())) for study in names] == [1] * 5
        assert "$their_own$ cohort, not from the publication" in texts
    assert set(names[:3]) < set(written(tmp_path / "baujat"))


def test_figures_are_equal_at_a_second_drawing(tmp_path):
    contents = []
    for name in ("first", "second"):
        rows = effects()
        rows["recovered"] = rows.index == 2
        draw_all(rows, tmp_path / name, pd.DataFrame({"accuracy": [104.0], "se": [2.0]}))
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert len(contents[0]) == 10
    assert contents[0] == contents[1]


def test_a_funnel_counts_in_words_what_lies_outside(tmp_path):
    rows = effects((4,)).assign(accuracy=[80.0, 85.0, 99.0, 40.0], se=[1.0, 2.0, 1.0, 2.0])
    (tmp_path / "filled").mkdir()
    meta_figures.funnel(rows, 80.0, 100.0, NOTHING_FILLED, CAPTION, tmp_path / "funnel")
    texts = written(tmp_path / "funnel")
    assert "3 of 4 outside the 95 % limits, 1 of 4 when these allow for τ²" in texts
    assert {f"within {level} % limits" for level in (90, 95, 99)} < set(texts)
    assert not any("trim-and-fill" in text for text in texts)
    filled = pd.DataFrame({"accuracy": [120.0], "se": [2.0]})
    meta_figures.funnel(rows, 80.0, 0.0, filled, CAPTION, tmp_path / "filled" / "funnel")
    texts = written(tmp_path / "filled" / "funnel")
    assert "3 of 4 outside the 95 % limits" in texts
    assert "added by trim-and-fill (1)" in texts


def test_a_funnel_is_deepest_at_the_bottom_and_shows_all_points(tmp_path, drawn):
    rows = effects()
    filled = pd.DataFrame({"accuracy": [140.0], "se": [9.0]})
    meta_figures.funnel(rows, 80.0, 100.0, filled, CAPTION, tmp_path / "funnel")
    axes = drawn[0].axes[0]
    bottom, top = axes.get_ylim()
    assert top == 0
    assert bottom > 9
    left, right = axes.get_xlim()
    assert left < rows["accuracy"].min()
    assert right > 140


def test_a_radial_plot_names_those_outside_its_band(tmp_path):
    rows = effects((5, 5))
    meta_figures.galbraith(rows, 80.0, CAPTION, tmp_path / "galbraith")
    outside = (rows["accuracy"] - 80).abs() > 2 * rows["se"]
    assert 0 < outside.sum() < 10
    texts = written(tmp_path / "galbraith")
    assert set(rows["study"]) & set(texts) == set(rows["study"][outside])
    assert f"{outside.sum()} of 10 outside the band, labelled" in texts
    meta_figures.galbraith(rows.assign(accuracy=80.0), 80.0, CAPTION, tmp_path / "galbraith")
    assert "0 of 10 outside the band, labelled" in written(tmp_path / "galbraith")


def test_leaving_one_out_begins_with_the_most_influential(tmp_path, drawn):
    rows = effects()
    total = overall(rows)
    meta_figures.leave_one_out(rows, total, CAPTION, tmp_path / "loo")
    change = rows["loo_estimate"] - total["estimate"]
    expected = rows["study"][change.abs().sort_values(ascending=False).index].tolist()
    shown = sorted(
        (text.get_position()[1], text.get_text())
        for text in drawn[0].axes[0].texts
        if text.get_text() in set(rows["study"])
    )
    assert [name for _, name in shown] == expected
    texts = written(tmp_path / "loo")
    for index, row in enumerate(rows.itertuples()):
        assert estimate(row, "loo_ci", "loo_estimate") in texts
        assert f"{change[index]:+.2f}".replace("-", "\N{MINUS SIGN}") in texts


def test_a_baujat_plot_names_the_most_extreme(tmp_path):
    rows = effects((10, 10))
    rows[["baujat_contribution", "baujat_influence"]] /= 100
    rows.loc[[3, 7, 8], "baujat_contribution"] = [50, 60, 70]
    rows.loc[[1, 12], "baujat_influence"] = [9, 8]
    meta_figures.baujat(rows, CAPTION, tmp_path / "baujat")
    assert set(written(tmp_path / "baujat")) & set(rows["study"]) == set(rows["study"][[1, 3, 7, 8, 12]])


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_placed_apart_off_the_marks_and_inside(seed):
    random = np.random.default_rng(seed)
    marks = random.uniform(40, 360, (40, 2))
    # Some coincide, as equal effect sizes do.
    marks[1] = marks[0]
    anchors = marks[:16]
    sizes = np.c_[random.uniform(40, 110, 16), np.full(16, 8.0)]
    centres = place_labels(anchors, sizes, marks, np.empty((0, 2)), (0, 0, 400, 400))
    low, high = centres - sizes / 2, centres + sizes / 2
    assert (low >= 0).all()
    assert (high <= 400).all()
    for one, other in itertools.combinations(range(16), 2):
        assert (low[one] >= high[other]).any() or (low[other] >= high[one]).any()
    assert not ((marks[None] > low[:, None]) & (marks[None] < high[:, None])).all(axis=2).any()
    again = place_labels(anchors, sizes, marks, np.empty((0, 2)), (0, 0, 400, 400))
    np.testing.assert_array_equal(centres, again)
