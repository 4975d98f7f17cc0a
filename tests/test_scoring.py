"""What is said of a recording of somebody whom no model was trained on; test_workflow.py runs the whole of it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from faceneuro import scoring
from faceneuro.errors import InputError
from faceneuro.evaluation.measurement import excursions, validate
from faceneuro.features.circumstances import circumstances
from faceneuro.features.points import CHIN, FACE_SIDE, FOREHEAD, MEASURED
from faceneuro.features.quality import VERDICTS, accepted
from faceneuro.report.score import Findings, row_of, write_score, write_scores
from faceneuro.scoring.judgement import comparisons, measurement_errors, people_alike, verdict
from faceneuro.scoring.recordings import recording, recordings
from faceneuro.studies import als, palsy
from faceneuro.tables import CIRCUMSTANCES, MANIFEST, SCORES, VOTES, read_table, write_table
from test_measurement import everything, tables


def touch(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return str(folder)


def test_the_models_that_score_are_the_papers_own():
    assert {"als": als.PUBLISHED_MODEL, "palsy": palsy.PUBLISHED_MODEL} == scoring.MODELS


def test_one_file_goes_by_any_name(tmp_path):
    video = str(Path(touch(tmp_path, "visit 1.MOV")) / "visit 1.MOV")
    found = recordings(video, "open")
    (own_name,) = found["clips"]
    assert re.fullmatch("[A-Za-z0-9_-]+", own_name)
    for name in ("anything", own_name):
        row = recording(found, name, video)
        assert set(row) == set(MANIFEST.names)
        assert (row["subject"], row["clip"], row["task"]) == (name, "visit 1.MOV", "open")
        assert row["path"] == video
        assert row["group"] is row["problem"] is None


def test_another_state_of_the_file_is_another_row(tmp_path):
    video = str(Path(touch(tmp_path, "a.mp4")) / "a.mp4")
    before = recording(recordings(video, None), "a", video)["digest"]
    Path(video).write_bytes(b"longer than before")
    assert recording(recordings(video, None), "a", video)["digest"] != before


def test_a_folder_gives_every_video_a_safe_name_of_its_own_and_says_what_is_none(tmp_path):
    names = ["a.mp4", "a.mov", "b c.mp4", "day/a.mp4", "Ärztin.mp4", "007.mp4"]
    folder = touch(tmp_path, *names, "notes.txt", ".DS_Store", ".hidden.mp4")
    (tmp_path / "link.mp4").symlink_to("/etc/hostname")
    found = recordings(folder, None)
    assert len(found["clips"]) == len({name.lower() for name in found["clips"]}) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9_-]+", name) for name in found["clips"])
    assert {row["path"] for row in found["clips"].values()} == {str(tmp_path / name) for name in names}
    assert all(row["subject"] == name for name, row in found["clips"].items())
    assert "007" in found["clips"]
    assert set(found["left_out"]) == {"notes.txt", "link.mp4"}
    assert "not that of a video" in found["left_out"]["notes.txt"]
    assert "not followed" in found["left_out"]["link.mp4"]


def test_what_cannot_be_scored_is_one_sentence_that_names_the_key(tmp_path):
    with pytest.raises(InputError, match=r"^config key video: there is no file or folder .*missing; check the path"):
        recordings(str(tmp_path / "missing"), None)
    with pytest.raises(
        InputError, match=r"^config key video: there is no video in the folder .*; give --config video="
    ):
        recordings(touch(tmp_path, "notes.txt"), None)
    with pytest.raises(
        InputError, match=r"^config key video: .*notes.txt: the ending is not that of a video .* convert"
    ):
        recordings(str(tmp_path / "notes.txt"), None)
    with pytest.raises(InputError, match=r"^config key video: it does not say which recording to score; give --config"):
        recording(recordings(None, None), "x", None)
    folder = touch(tmp_path, "a.mp4", "b.mp4")
    with pytest.raises(InputError, match=r"^config key video: .* is called 'c'; there are a, b; `snakemake score`"):
        recording(recordings(folder, None), "c", folder)


def test_a_verdict_is_accepted_down_to_the_least():
    assert [accepted(each, "ok") for each in VERDICTS] == [True, False, False]
    assert [accepted(each, "partial") for each in VERDICTS] == [True, True, False]


def test_excursions_are_those_that_are_validated():
    landmarks, truth = tables(2, everything)
    timed = [row | {"time_s": row["frame"] / 25} for row in landmarks]
    found = excursions(timed, MEASURED)
    assert list(found.columns) == ["cohort", "subject", "clip", "frame", "time_s", "measure", "side", "value"]
    one = found.query("subject == 'S1' and measure == 'mouth corner rise'").set_index(["side", "frame"])["value"]
    # The corner rises by 12 % of the iris distance, at the height of the movement.
    assert one["left"].max() == pytest.approx(100 * 0.12 * 1.0, abs=0.2)
    assert one["left"].loc[:2].abs().max() < 0.7
    validated = validate(landmarks, truth, MEASURED, resamples=10)
    assert set(map(tuple, found[["measure", "side"]].to_numpy())) == set(
        map(tuple, validated[["measure", "side"]].to_numpy())
    )
    assert excursions([row | {"found": False} for row in timed], MEASURED).empty


def test_circumstances_are_medians_over_the_frames_with_a_face(tmp_path):
    manifest = pd.DataFrame({"cohort": "c", "subject": ["s", "t"], "clip": "k", "task": ["open", None]})
    decoding = manifest[["cohort", "subject", "clip"]].assign(fps=[25.0, None], width=[200, None], height=[100, None])
    rows = []
    for frame, shift in enumerate([0, 2, 50]):
        points = np.zeros((478, 3))
        points[FACE_SIDE["right"], 0], points[FACE_SIDE["left"], 0] = 40 + shift, 100 + shift
        points[FOREHEAD, 1], points[CHIN, 1] = 20, 80
        about = {"height": 100, "width": 200, "found": frame < 2, "landmarks": points.ravel()}
        rows.append({"cohort": "c", "subject": "s", "clip": "k", "frame": frame} | about)
    write_table(circumstances(manifest, decoding, rows), tmp_path / "c.parquet", CIRCUMSTANCES)
    first, second = read_table(tmp_path / "c.parquet").to_dict("records")
    assert (first["task"], first["fps"], first["width"], first["height"]) == ("open", 25, 200, 100)
    assert (first["face_width"], first["face_x"], first["face_y"]) == pytest.approx((0.3, 0.355, 0.5))
    assert pd.isna(second["task"])
    assert np.isnan([second["fps"], second["face_width"]]).all()


def votes(*folds: list[float]) -> pd.DataFrame:
    rows = [{"fold": fold, "probability": value} for fold, values in enumerate(folds) for value in values]
    return pd.DataFrame(rows, columns=["fold", "probability"])


def test_models_have_one_vote_each():
    found = verdict(votes([0.2, 0.4], [0.9, 0.7], [0.5, 0.5]))
    assert (found.probability, found.lowest, found.highest) == pytest.approx((1.6 / 3, 0.3, 0.8))
    assert (found.folds, found.samples) == (3, 2)
    assert verdict(votes()) is None


def people(scores: list[float], ill: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"probability": scores, "ill": ill})


def test_people_alike_are_those_of_the_same_bin():
    scores = np.linspace(0.05, 0.95, 20)
    # Four bins of five: in the third, 2 of 5 are ill.
    study = people(scores, [*[False] * 10, True, False, True, False, False, *[True] * 5])
    found = people_alike(study, 0.6)
    assert (found.people, found.ill) == (5, 2)
    assert (found.lowest, found.highest) == pytest.approx((scores[10], scores[14]))
    wilson = binomtest(2, 5).proportion_ci(method="wilson")
    assert (found.ci_low, found.ci_high) == pytest.approx((wilson.low, wilson.high))
    assert found.inside
    assert (people_alike(study, 0.999).ill, people_alike(study, 0.999).inside) == (5, False)
    # Everybody got the same: one bin holds them all, wherever the recording is.
    assert people_alike(people([0.5] * 20, [True, False] * 10), 0.1).people == 20


def cohort(**columns) -> pd.DataFrame:
    usual = {"task": "open", "fps": 25.0, "width": 640, "height": 480, "face_width": 0.3, "face_x": 0.5, "face_y": 0.5}
    return pd.DataFrame({"cohort": "c", "subject": ["a", "b"], "clip": "k", **usual, **columns})


def test_a_recording_is_compared_with_what_the_models_have_met():
    own = cohort(face_width=0.5, task="smile").to_dict("records")[0]
    found = {each.what: each for each in comparisons(own, cohort(face_width=[0.2, 0.4]))}
    assert found["task"].inside is False
    assert found["frames per second"].inside
    # 0.5 is beyond 0.2 to 0.4 by half of the range; 0.44 by less than a quarter.
    assert found["width of the face, of the picture's"].inside is False
    assert found["width of the face, of the picture's"].range == "20 % to 40 %"
    near = comparisons(own | {"face_width": 0.44, "task": None, "fps": None}, cohort(face_width=[0.2, 0.4]))
    assert {each.what: each.inside for each in near} == {
        "task": None,
        "frames per second": None,
        "width of the picture, pixels": True,
        "height of the picture, pixels": True,
        "width of the face, of the picture's": True,
        "middle of the face, from the left": True,
        "middle of the face, from the top": True,
    }


def validation(path: Path) -> Path:
    rows = [
        ("mine", "lid opening", "left", "mae", 0.5),
        ("mine", "lid opening", "left", "slope", 0.9),
        ("other", "lid opening", "left", "mae", 0.7),
        ("third", "lid opening", "left", "mae", 0.6),
    ]
    pd.DataFrame(rows, columns=["cohort", "measure", "side", "quantity", "value"]).to_csv(path, index=False)
    return path


def test_the_stated_error_is_of_the_studys_cohort_or_else_the_largest(tmp_path):
    path = validation(tmp_path / "v.csv")
    own = measurement_errors(path, ["mine"])
    assert own.loc[("lid opening", "left")].to_dict() == {"error": 0.5, "cohort": "mine"}
    assert measurement_errors(path, ["real"]).loc[("lid opening", "left"), "error"] == 0.7
    assert measurement_errors(None, ["mine"]).empty


@pytest.fixture
def found() -> Findings:
    """A recording that was scored: the left lid opens by 5 %, the right one does not."""
    frames = pd.DataFrame({"frame": range(12), "time_s": np.arange(12) / 25})
    sides = [
        frames.assign(measure="lid opening", side=side, value=np.linspace(0, reach, 12))
        for side, reach in (("left", 5.0), ("right", 0.0))
    ]
    study = people(list(np.linspace(0.05, 0.95, 20)), [False] * 10 + [True] * 10)
    audits = pd.DataFrame(
        {
            "audit": ["probabilities of subjects, against what they have", "another"],
            "quantity": ["brier", "roc_auc"],
            "grade": ["ok", "ok"],
            "verdict": ["ok", "ok"],
            "sentence": ["Brier score of dual_branch 0.12 [0.05, 0.20].", "Something is odd."],
        }
    )
    index = pd.MultiIndex.from_product([["lid opening"], ["left", "right"]], names=["measure", "side"])
    voted = verdict(votes([0.6] * 12, [0.9] * 12))
    return Findings(
        recording="visit",
        study={"name": "als", "model": "dual_branch", "positive": "ALS", "cohort": "virtual_als", "virtual": True}
        | {"permuted": False},
        quality={"clip": "visit <1>.mp4", "verdict": "ok", "reason": None}
        | {"frames_read": 12, "frames_kept": 12, "faces_found": 12},
        circumstances={},
        comparisons=comparisons(cohort().to_dict("records")[0], cohort()),
        excursions=pd.concat(sides, ignore_index=True),
        errors=pd.DataFrame({"error": 1.0, "cohort": "virtual_als"}, index=index),
        votes=voted,
        alike=people_alike(study, voted.probability),
        people=study,
        audits=audits,
    )


def page_of(found: Findings, folder: Path) -> str:
    write_score(found, folder / "page.html")
    return (folder / "page.html").read_text()


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script|svg).*?</\1>", " ", page)).split())


def test_the_page_says_first_what_the_recording_is_worth_and_that_this_is_no_diagnosis(found, tmp_path):
    page = page_of(found, tmp_path)
    assert re.findall(r'<section id="(\w+)"', page) == [
        *("quality", "purpose", "movement", "probability", "audits", "origin")
    ]
    text = text_of(page)
    assert "What it says is no diagnosis" in text
    assert "trained on virtual patients" in text
    assert "Probability of ALS: 0.75 , the mean of 2 models" in text
    assert "single models say from 0.60 to 0.90" in text
    assert "20 subjects, of whom 10 are ill" in text
    assert "5 of these 5 are ill (ALS): 100 % (95 % interval 57 to 100 %" in text
    assert "Brier score of dual_branch 0.12 [0.05, 0.20]." in text
    assert "Something is odd." in text
    # A name is text, whatever is in it, and nothing is fetched or shown of the face.
    assert "visit &lt;1&gt;.mp4" in page
    assert "<img" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_drawing_has_both_sides_their_error_and_words_for_them(found, tmp_path):
    page = page_of(found, tmp_path)
    (text,) = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert text.startswith("lid opening over time: left furthest from rest at 0.44 s, +5.0 % (stated error ±1.0 %)")
    assert sorted(re.findall(r'<polyline class="(\w+)"', page)) == ["left", "right"]
    assert sorted(re.findall(r'<polygon class="band (\w+)"', page)) == ["left", "right"]
    points = re.search(r'<polyline class="left" points="([^"]+)"', page)[1].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert len(heights) == 12
    assert np.allclose(np.diff(heights), np.diff(heights)[0], atol=0.11)
    assert np.diff(heights)[0] < 0
    assert re.search(r"left less right</td><td[^>]*>0.44 s</td><td[^>]*>\+5.0</td><td[^>]*>2.0</td>", page)
    assert "beyond it" in page
    known_by_nobody = page_of(replace(found, errors=measurement_errors(None, [])), tmp_path)
    assert "<polygon" not in known_by_nobody
    assert "The error of measurement is not known" in known_by_nobody


def test_a_gap_without_a_face_is_a_gap_in_the_line(found, tmp_path):
    missed = found.excursions[~found.excursions["frame"].isin([5, 6])]
    page = page_of(replace(found, excursions=missed), tmp_path)
    assert sorted(re.findall(r'<polyline class="(\w+)"', page)) == ["left", "left", "right", "right"]


def test_a_recording_unlike_the_cohorts_is_said_to_be(found, tmp_path):
    unlike = comparisons(cohort(fps=60.0).to_dict("records")[0], cohort())
    text = text_of(page_of(replace(found, comparisons=unlike), tmp_path))
    assert "frames per second: 60, trained on 25" in text
    assert "Do not rely on what follows" in text
    assert "Do not rely" not in text_of(page_of(found, tmp_path))


def test_models_that_disagree_and_audits_with_an_alarm_are_reasons_not_to_rely_on_them(found, tmp_path):
    torn = replace(found, votes=verdict(votes([0.1] * 12, [0.9] * 12)))
    assert "Do not rely on what follows: The models do not agree" in text_of(page_of(torn, tmp_path))
    alarmed = found.audits.assign(grade=["fail", "warn"], verdict=["by background", "by chance"])
    text = text_of(page_of(replace(found, audits=alarmed), tmp_path))
    assert "Audits of the study raise alarms: by background; by chance." in text
    assert "do not agree" not in text


def refused(found: Findings) -> Findings:
    reason = "no face was found in any of 12 frames; check that the face is upright"
    quality = found.quality | {"verdict": "unusable", "reason": reason, "faces_found": 0}
    return replace(found, quality=quality, votes=None, alike=None, excursions=found.excursions[:0])


def test_a_refused_recording_has_neither_a_probability_nor_a_movement(found, tmp_path):
    page = page_of(refused(found), tmp_path)
    text = text_of(page)
    assert "refused This recording is not scored" in text
    assert "no face was found in any of 12 frames; check that the face is upright" in text
    assert "What it says is no diagnosis" in text
    assert re.findall(r'<section id="(\w+)"', page) == ["quality", "purpose", "origin"]
    assert "<svg" not in page
    assert not re.search(r"0\.\d\d|probability of", text.replace("faceneuro 0.1.0", ""), re.IGNORECASE)
    row = row_of(refused(found))
    assert row["outcome"] == "refused"
    assert "probability" not in row


def test_the_table_keeps_the_good_and_says_why_others_were_not_scored(found, tmp_path):
    rows = [row_of(found), row_of(refused(replace(found, recording="007")))]
    write_table(rows, tmp_path / "rows.parquet", SCORES)
    scores = read_table(tmp_path / "rows.parquet")
    write_scores(scores, {"notes.txt": "the ending is not that of a video"}, found.study, tmp_path / "table")
    table = pd.read_csv(tmp_path / "table.csv", dtype={"recording": str}).set_index("file")
    assert table["outcome"].tolist() == ["scored", "refused", "left out"]
    assert table["recording"].tolist()[:2] == ["visit", "007"]
    assert table["probability"].tolist()[0] == pytest.approx(0.75)
    assert table["probability"].isna().tolist() == [False, True, True]
    assert table.loc["notes.txt", "reason"] == "the ending is not that of a video"
    text = (tmp_path / "table.md").read_text()
    assert "no diagnosis" in text
    assert "1 scored, 1 refused, 1 left out" in text
    assert "virtual cohort, rendered faces, no patients" in text
    assert "| 0.75 | 0.60 to 0.90 | 5 of 5 [0.57, 1.00] |" in text


def test_votes_have_no_label():
    assert "label" not in VOTES.names
