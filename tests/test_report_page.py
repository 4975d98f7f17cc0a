"""The report: what is in the results is on the page, nothing is loaded, and nothing in it can act."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
import pytest

from faceneuro.errors import InputError
from faceneuro.report.about import ABOUT
from faceneuro.report.drawing import drawing as draw
from faceneuro.report.html import MEANING, drawing, markdown, photograph, read_table_file, table, verdict
from faceneuro.report.page import PLOTS, write_report
from faceneuro.report.tables import Table, write_files
from running import ROOT

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Elements, ids, links and words of a page; fails where tags do not match."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def results(tmp_path):
    """A run of one study and the meta-analysis, as files."""
    tables = {}
    for name in ("claims", "als", "quality", "meta_analysis", "audits"):
        frame = pd.DataFrame({"cell": [1]})
        shown = Table("A table", ["Model", "Accuracy"], [["one | two", "0.50"], ["**holds**", ""]])
        write_files(tmp_path / name, frame, f"Table of {name}", [f"Lead of {name}."], [shown], ["A remark."])
        tables[name] = tmp_path / f"{name}.md"
    figures = {}
    for name in ("als_published", "als_roc", "meta_analysis_review_forest"):
        with draw(tmp_path / name, (3, 2), name, "virtual cohort") as figure:
            figure.subplots().plot([0, 1])
        figures[name] = tmp_path / f"{name}.svg"
    cv2.imwrite(str(tmp_path / "sheet.png"), np.full((2000, 3000, 3), 90, np.uint8))
    claims = pd.DataFrame(
        [
            ("als", "works on people it has not seen", "0.92", "0.50 [0.32, 0.68]", "does not hold", "22 people", True),
            ("als", "two branches are better than one", None, "+0.02", "not shown", "22 people", False),
            ("meta_analysis", "pools to <89> %", "89.25", "80.71", "does not follow", "25 rows", True),
        ],
        columns=["study", "claim", "published", "here", "verdict", "sure", "headline"],
    ).assign(
        reservations=["a gap", "", None], why="Because of <script>alert(1)</script> in Fig. 3. Then more.", paper=""
    )
    audits = pd.DataFrame(
        [
            ("als", "random frames held out, against subjects held out", "warn", "A gap of 0.50."),
            ("als", "subjects held out, against permuted labels", "ok", "Better than chance."),
            ("als", "faces", "fail", "Faces are lost."),
        ],
        columns=["study", "audit", "grade", "sentence"],
    )
    quality = pd.DataFrame(
        {"cohort": ["people"], "subject": ["S1"], "clip": ["c"], "verdict": ["partial"], "reason": ["dark"]}
    )
    manifest = {
        "recorded": "2026-01-01T00:00:00+00:00",
        "software": {
            "faceneuro": "0.1.0",
            "commit": None,
            "modified": None,
            "source_sha256": "abc",
            "snakemake": "9",
            "python": "3.12",
            "lock_sha256": "f" * 64,
            "packages": {"torch": "2.9"},
            "not_as_locked": [],
        },
        "configuration": {"file": "results/config.yaml", "sha256": "e" * 64},
        "inputs": {"cohorts": {"people": {"kind": "virtual", "subjects": 2, "clips": 4, "digest": "d1"}}},
        "machines": [],
        "total": {"jobs": 3, "cpu_s": 12.0, "first_job_started": None, "last_job_ended": None},
        "repeat": {"commands": ["snakemake --cores 2"], "notes": ["A note."]},
        "rules": {
            rule: {"jobs": 1, "wall_s": 2.0, "cpu_s": cpu, "longest_s": None, "max_rss_mib": 10, "devices": {"CPU": 1}}
            for rule, cpu in (("fast", 1.0), ("slow", 9.0))
        },
    }
    return {
        "claims": claims,
        "audits": audits,
        "quality": quality,
        "manifest": manifest,
        "tables": tables,
        "figures": figures,
        "sheets": {"people": tmp_path / "sheet.png"},
        "studies": {
            "als": {
                "tables": ["als"],
                "figures": ["als_published", "als_roc"],
                "cohorts": ["people"],
                "cohort": "people",
                "virtual": True,
                "permuted": False,
            },
            "meta_analysis": {"tables": ["meta_analysis"], "figures": ["meta_analysis_review_forest"]},
        },
    }


def written(results, tmp_path, **changes):
    write_report(tmp_path / "index.html", **results | changes)
    return (tmp_path / "index.html").read_text(encoding="utf-8")


def test_everything_that_was_found_is_on_the_page(results, tmp_path):
    page = Page(written(results, tmp_path))
    for claim in results["claims"].itertuples():
        for said in (claim.claim, claim.here, claim.verdict, claim.sure, *re.split(r"(?<=\.) (?=T)", claim.why)):
            assert said in page.text
    assert "22 people; a gap" in page.text
    for said in [*results["audits"]["sentence"], "people: 1 clip: 0 ok, 1 partial, 0 unusable (S1/c: dark)."]:
        assert said in page.text
    for name in results["tables"]:
        if name not in ("claims", "audits"):
            assert f"Lead of {name}." in page.text
    assert "virtual cohort, rendered faces, no patients" in page.text
    for study in results["studies"]:
        about = ABOUT[study]
        for said in (about.says, about.not_for, about.protocols, *(what for what, _ in about.fitted)):
            assert said in page.text


def test_the_first_table_answers_for_each_work_with_its_main_claim(results, tmp_path):
    text = written(results, tmp_path)
    first = text.split("<tbody>")[1].split("</tbody>")[0]
    rows = [re.sub(r"<[^>]+>", "|", row) for row in first.split("</tr>")[:-1]]
    assert len(rows) == 2
    assert "works on people it has not seen" in rows[0]
    assert "does not hold" in rows[0]
    assert "does not follow" in rows[1]
    assert "two branches" not in first
    assert "Because of" in first
    assert "Then more" not in first


def test_what_holds_for_another_reason_is_not_shown_as_if_it_held(results, tmp_path):
    claims = results["claims"].assign(verdict="holds", reservations=["untrained image backbones", "", None])
    first, second = (
        written(results, tmp_path, claims=claims).split("<tbody>")[part].split("</tbody>")[0] for part in (1, 2)
    )
    assert first.count('verdict doubtful">holds with reservations<') == 1
    assert first.count('verdict good">holds<') == 1
    assert second.count('verdict good">holds<') == 1


def test_nothing_is_loaded_and_what_is_shown_cannot_act(results, tmp_path):
    text = written(results, tmp_path)
    page = Page(text)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    assert not any("src" in script for script in page.all("script"))
    assert len(page.all("script")) == 1
    assert "alert(1)" in page.text
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttp", text)
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    outward = {link["href"] for link in page.all("a") if not link["href"].startswith("#")}
    assert outward <= {about.link for about in ABOUT.values()}


def test_places_are_named_once_and_every_link_arrives(results, tmp_path):
    page = Page(written(results, tmp_path))
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")} <= set(names)
    labels = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert labels <= set(names)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_pictures_say_what_they_show_and_people_are_only_shown_where_nobody_is_real(results, tmp_path):
    page = Page(written(results, tmp_path))
    texts = [image["alt"] for image in page.all("img")]
    assert all(len(text) > 20 for text in texts)
    assert any("Virtual people" in text for text in texts)
    real = {**results["studies"]["als"], "virtual": False}
    studies = {**results["studies"], "als": real}
    cohort = results["manifest"]["inputs"]["cohorts"]["people"] | {"kind": "own_videos"}
    manifest = results["manifest"] | {"inputs": {"cohorts": {"people": cohort}}}
    page = Page(written(results, tmp_path, studies=studies, sheets={}, manifest=manifest))
    assert not any("Virtual people" in image["alt"] for image in page.all("img"))
    assert "Some recordings show real people; none of them is shown here." in page.text
    assert "Every face in this run was rendered" not in page.text


def test_a_figure_of_faces_is_left_out_where_anybody_is_real(results, tmp_path):
    with draw(tmp_path / "synthesis_grid", (3, 2), "t", "c") as figure:
        figure.subplots()
    figures = results["figures"] | {"synthesis_grid": tmp_path / "synthesis_grid.svg"}
    study = {**results["studies"]["als"], "figures": ["synthesis_grid"]}
    for sheets, there in ((results["sheets"], True), ({}, False)):
        text = written(results, tmp_path, studies={"synthesis": study}, figures=figures, sheets=sheets)
        assert any("Synthetic faces" in image["alt"] for image in Page(text).all("img")) == there


def test_a_run_without_audits_or_studies_has_a_page(results, tmp_path):
    only = {"meta_analysis": results["studies"]["meta_analysis"]}
    tables = {name: file for name, file in results["tables"].items() if name not in ("als", "audits")}
    page = Page(written(results, tmp_path, studies=only, tables=tables, audits=None))
    assert ABOUT["meta_analysis"].name in page.text
    assert ABOUT["als"].name not in page.text


def test_a_run_that_only_looked_through_recordings_has_a_page(results, tmp_path):
    tables = {"quality": results["tables"]["quality"]}
    page = Page(written(results, tmp_path, studies={}, tables=tables, claims=None, audits=None, figures={}))
    assert "this configuration has no study and no review" in page.text
    assert "Lead of quality." in page.text
    assert "Every face in this run was rendered" in page.text


def test_what_took_longest_comes_first(results, tmp_path):
    text = Page(written(results, tmp_path)).text
    assert text.index("slow") < text.index("fast")


def test_the_same_results_give_the_same_page(results, tmp_path):
    assert written(results, tmp_path) == written(results, tmp_path)


def test_a_table_file_is_read_as_it_was_written(tmp_path):
    shown = [
        Table("First", ["Model", "Verdict", "n"], [["a | b <i>", "**does not hold**", "12"]], 2),
        Table("Second", ["x"], [["**bold words**"]]),
    ]
    write_files(tmp_path / "t", pd.DataFrame({"a": [1]}), "Title", ["One.", "Two."], shown, ["Remark."])
    file = read_table_file(tmp_path / "t.md")
    assert file.title == "Title"
    assert [str(part).strip() for part in file.lead] == ["<p>One.</p>", "<p>Two.</p>"]
    assert [heading for heading, _ in file.sections] == ["First", "Second"]
    first, second = (Page(str(body)) for _, body in file.sections)
    assert first.text == "Model Verdict n a | b <i> does not hold 12"
    assert [cell.get("class") for cell in first.all("td")] == [None, None, "number"]
    assert first.all("strong") == [{"class": "verdict bad"}]
    assert second.all("strong") == [{}]
    assert "Remark." in file.remarks


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "t.md").write_text("no title\n")
    with pytest.raises(InputError, match=r"t\.md does not begin with a title"):
        read_table_file(tmp_path / "t.md")


def test_a_picture_keeps_its_shape_and_is_no_wider_than_a_page(tmp_path):
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((1000, 2800, 3), np.uint8))
    picture = photograph(tmp_path / "wide.png", "wide")
    assert (picture.width, picture.height) == (1400, 500)
    with draw(tmp_path / "figure", (3, 2), "t", "c") as figure:
        figure.subplots()
    drawn = drawing(tmp_path / "figure.svg", "figure")
    pixels = cv2.imread(str(tmp_path / "figure.png"))
    # The PNG has 200 dots an inch, the page 96.
    assert (drawn.width, drawn.height) == pytest.approx((pixels.shape[1] * 0.48, pixels.shape[0] * 0.48), abs=2)
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(InputError, match=r"bad\.png is no picture"):
        photograph(tmp_path / "bad.png", "bad")


def test_verdicts_are_words_before_they_are_colours():
    for word in MEANING:
        assert word in verdict(word)
    assert table(["A"], [["**ok**"]], "c").count("verdict good") == 1
    assert "<script>" not in markdown("<script>x</script>")
    assert "<script>" not in table(["<script>"], [["<script>"]], '"<script>')


def test_every_figure_of_a_run_has_words_for_it():
    """Names of figures are in the rules; each ends as one of the page's."""
    common = (ROOT / "workflow" / "rules" / "common.smk").read_text()
    names = re.findall(r'"(\w+)"', re.search(r"figures = \{(.*?)\}", common, re.DOTALL)[1])
    names += re.findall(r'"(\w+)"', re.search(r"figures = \((.*?)\)", common, re.DOTALL)[1])
    assert set(names) - {"als", "palsy", "parkinson", "synthesis"} <= set(PLOTS)
    assert set(ABOUT) == {"als", "palsy", "parkinson", "synthesis", "meta_analysis"}
