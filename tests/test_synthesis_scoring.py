"""Scores of the rows of the synthesis study, and the data set that is given away."""

import numpy as np
import pandas as pd
import pytest
import torch

from faceneuro.errors import InputError
from faceneuro.features.crops import encode
from faceneuro.report.extractors import write_extractors
from faceneuro.studies.synthesis import Faces, pairs
from faceneuro.synthesis import TRIVIAL
from faceneuro.synthesis.dataset import (
    METADATA,
    copy_pictures,
    dataset_pairs,
    folder_of,
    licence_note,
    metadata_of,
    write_datasheet,
)
from faceneuro.synthesis.extractors import build_extractor
from faceneuro.synthesis.metrics import OwnDistances, OwnVectors
from faceneuro.synthesis.scoring import (
    HEALTHY_GRADE,
    Batches,
    Networks,
    Seen,
    Trial,
    called,
    grader_of,
    load_seen,
    of_model,
    of_trivial,
    pictures_of_row,
    scaled,
    score,
    score_set,
    see,
    see_study,
    transfer_pairs,
)
from faceneuro.synthesis.sizes import SIZES
from faceneuro.tables import PAIRS, SYNTHETIC, targets_schema, write_table

PIXELS = SIZES["smoke"].pixels
POSITIVE = "palsy"
SHOWN = np.array([[0.2 + 0.6 * (k % 9) / 8, 0.2 + 0.6 * (k // 9) / 8] for k in range(68)])
"""Where points stand in a face that nobody moved: anywhere, but the eyes' corners apart."""


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Four patients and two others, of whom two and one are learnt from, two images each."""
    random = np.random.default_rng(0)
    rows = [
        {"cohort": "c", "subject": f"{group[0]}{number}", "clip": f"{group[0]}{number}_{task}", "frame": 0}
        | {"group": group, "task": task, "severity": 2.0 + number if group == POSITIVE else 0.0}
        | {"side": "left" if group == POSITIVE else "none", "role": "train" if number % 2 else "test"}
        for group, count in ((POSITIVE, 4), ("healthy", 2))
        for number in range(count)
        for task in ("rest", "smile_open")
    ]
    images = random.integers(0, 256, (len(rows), PIXELS, PIXELS, 3), np.uint8)
    points = SHOWN + random.normal(0, 0.01, (len(rows), 68, 2))
    return Faces(images, points.astype(np.float32), pd.DataFrame(rows))


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Untrained ones."""
    torch.manual_seed(0)
    return Networks(*(build_extractor(kind, SIZES["smoke"]).eval() for kind in ("identity", "landmarks")))


@pytest.fixture(scope="module")
def paired(faces) -> pd.DataFrame:
    return pd.DataFrame(pairs(faces, positive=POSITIVE, per_image=1, seed=1))


@pytest.fixture(scope="module")
def study(faces, networks, paired, tmp_path_factory) -> Trial:
    """Targets of all pairs but one, the last one first."""
    folder = tmp_path_factory.mktemp("targets")
    random = np.random.default_rng(1)
    targets = [
        {"pair": number, "severity": 3.0, "side": "left", "matrix": np.zeros(6), "points": np.zeros(136)}
        | {"png": encode(random.integers(0, 256, (112, 112, 3), np.uint8)), "units": np.zeros(2), "truth": np.zeros(4)}
        for number in reversed(range(1, len(paired)))
    ]
    write_table(targets, folder / "targets.parquet", targets_schema(2, 2))
    see_study(faces, len(paired), folder / "targets.parquet", networks, folder / "seen.safetensors", 3)
    seen, points = load_seen(folder / "seen.safetensors")
    return Trial(faces, paired, seen, POSITIVE, True, folder / "targets.parquet", points)


def test_what_is_seen_does_not_depend_on_the_batch(faces, networks):
    one, three = (see(Batches(faces.images.__getitem__, range(len(faces)), size), networks) for size in (1, 3))
    np.testing.assert_allclose(one.points, three.points, atol=1e-5)
    np.testing.assert_allclose(one.embeddings, three.embeddings, atol=1e-5)
    assert len(Batches(faces.images.__getitem__, range(len(faces)), 5)) == 3


def test_pictures_are_scaled_as_the_study_scales_them(faces):
    rows = [3, 1]
    np.testing.assert_array_equal(scaled([faces.images[row] for row in rows]).numpy(), faces.scaled(rows))


def test_targets_that_were_not_photographed_have_no_points(study):
    found = np.isfinite(study.target_points).all(axis=(1, 2))
    assert not found[0]
    assert found[1:].all()


def test_without_targets_there_are_none(faces, networks, tmp_path):
    see_study(faces, 4, None, networks, tmp_path / "seen.safetensors", 8)
    seen, targets = load_seen(tmp_path / "seen.safetensors")
    assert targets is None
    assert len(seen.points) == len(seen.embeddings) == len(faces)


def test_trivial_rows_go_there_and_back(faces, paired):
    for place, pair in enumerate(paired.to_dict("records")):
        identity, style, own = (faces.images[pair[name]] for name in ("identity", "style", "own"))
        kept = of_trivial("copy_identity", faces, paired)
        np.testing.assert_array_equal(kept.there(place), identity)
        np.testing.assert_array_equal(kept.back(place), own)
        shown = of_trivial("copy_style", faces, paired)
        np.testing.assert_array_equal(shown.there(place), style)
        np.testing.assert_array_equal(shown.back(place), style)
        warp = pictures_of_row("landmark_warp", faces, paired)
        assert warp.there(place).shape == identity.shape
        assert not np.array_equal(warp.there(place), identity)
        assert not np.array_equal(warp.back(place), warp.there(place))


def scores_of(row: str, study: Trial, networks: Networks, drawn=None, batch_size=3) -> pd.DataFrame:
    drawn = drawn or of_trivial(row, study.faces, study.pairs)
    kept = {"grader": grader_of(study), "batch_size": batch_size}
    return pd.DataFrame(score(row, drawn, study, networks, OwnDistances(networks.identity), **kept))


def test_scores_are_those_of_their_own_pair(study, networks):
    found = {row: scores_of(row, study, networks) for row in TRIVIAL}
    values = {row: table.set_index(["metric", "against", "pair"])["value"].sort_index() for row, table in found.items()}
    everybody = range(len(study.pairs))
    assert (values["copy_identity"]["psnr", "identity"] == 100).all()
    assert (values["copy_style"]["psnr", "style"] == 100).all()
    assert sorted(values["copy_style"]["psnr", "identity"].index) == list(everybody)
    # The first pair has no target, and the others' are found by their number, not by their place in the file.
    assert sorted(values["copy_style"]["psnr", "target"].index) == list(everybody)[1:]
    np.testing.assert_allclose(values["copy_identity"]["identity_cosine", "identity"], 1, atol=1e-5)
    np.testing.assert_allclose(values["copy_style"]["asymmetry_error", "style"], 0, atol=1e-6)
    assert (values["copy_identity"]["asymmetry_error", "style"] > 0).all()


def test_scores_do_not_depend_on_the_batch(study, networks):
    some, others = (scores_of("landmark_warp", study, networks, batch_size=size) for size in (2, 5))
    keys = ["metric", "against", "pair"]
    some, others = (table.sort_values(keys, ignore_index=True) for table in (some, others))
    pd.testing.assert_frame_equal(some, others, atol=1e-4)


def test_a_model_that_returns_the_target_is_perfect_against_it(study, networks):
    from faceneuro.features.crops import decode
    from faceneuro.studies.synthesis import resampled
    from faceneuro.synthesis.scoring import Drawn
    from faceneuro.tables import read_rows

    known = {row["pair"]: resampled(decode(row["png"]), PIXELS) for row in read_rows(study.targets, ["pair", "png"])}
    known[0] = study.faces.images[0]
    values = scores_of("ccfexp", study, networks, Drawn(known.__getitem__, known.__getitem__))
    values = values.set_index(["metric", "against"])["value"]
    assert (values["psnr", "target"] == 100).all()
    np.testing.assert_allclose(values["landmark_error", "target"], 0, atol=1e-5)


def test_people_without_palsy_have_the_lowest_grade_where_grades_are_known(study, faces):
    healthy = (faces.keys["group"] == "healthy").to_numpy()
    assert (study.grades[healthy] == HEALTHY_GRADE).all()
    assert (study.grades[~healthy] == faces.keys["severity"][~healthy]).all()
    assert transfer_pairs(study).grade.tolist() == study.grades[study.pairs["style"]].tolist()
    unknown = Trial(faces, study.pairs, study.seen, POSITIVE)
    assert (unknown.grades == faces.keys["severity"]).all()


def test_no_grade_is_read_where_none_is_known(study, faces):
    nothing = Faces(faces.images, faces.points, faces.keys.assign(severity=np.nan))
    assert grader_of(Trial(nothing, study.pairs, study.seen, POSITIVE)) is None


def test_a_grade_is_read_only_where_the_reader_beats_the_mean(study, faces, caplog):
    """Here the eyes of a face are the less alike the higher its grade is; then grades are shuffled."""
    points = np.repeat(SHOWN[None], len(faces), 0)
    points[:, [37, 38], 0] += 0.5 * study.grades[:, None]
    told = Trial(faces, study.pairs, Seen(points, study.seen.embeddings), POSITIVE, True)
    grader = grader_of(told)
    np.testing.assert_allclose(grader.read(points, faces.keys["task"]), study.grades, atol=1.0)
    noise = np.random.default_rng(3).normal(0, 1, points.shape)
    assert grader_of(Trial(faces, study.pairs, Seen(noise, study.seen.embeddings), POSITIVE, True)) is None
    assert "grades are not scored" in caplog.text


def test_a_copied_style_comes_back_as_the_very_set(study, networks):
    vectors = OwnVectors(networks.identity, SIZES["smoke"].dim)
    found = {
        row: score_set(row, of_trivial(row, study.faces, study.pairs), study, vectors, batch_size=3) for row in TRIVIAL
    }
    assert {each["metric"] for each in found.values()} == {"own_kid"}
    assert found["copy_style"]["n"] == len(study.pairs["style"].unique())
    # Equal sets: the kernel distance is unbiased, and so at most zero.
    assert found["copy_style"]["value"] < 1e-6
    alone = Trial(study.faces, study.pairs.assign(own=pd.NA), study.seen, POSITIVE)
    assert (
        score_set("copy_style", of_trivial("copy_style", study.faces, alone.pairs), alone, vectors, batch_size=3)
        is None
    )


def test_pictures_of_a_model_are_found_by_their_table(faces, paired, tmp_path):
    rows = []
    for number in reversed(range(len(paired))):
        file = f"{number:06d}.png"
        (tmp_path / "there").mkdir(exist_ok=True)
        (tmp_path / "there" / file).write_bytes(encode(faces.images[number]))
        rows.append({"pair": number, "file": file})
    index = tmp_path / "there.parquet"
    held = {name: paired.iloc[0][name] for name in SYNTHETIC.names if name.startswith(("identity_", "style_", "held"))}
    write_table([row | held for row in rows], index, SYNTHETIC)
    drawn = of_model(index, index)
    assert folder_of(index) == tmp_path / "there"
    for number in range(len(paired)):
        np.testing.assert_array_equal(drawn.there(number), faces.images[number])


def test_networks_are_called_by_their_origin():
    assert called("identity", None) == "identity network, trained here"
    assert called("landmarks", "/a/mobile.safetensors") == "landmarks network, mobile.safetensors"


# The data set


def test_people_take_turns_in_the_data_set(faces, tmp_path):
    rows = pd.DataFrame(dataset_pairs(faces, POSITIVE, 24, seed=1))
    assert rows["pair"].tolist() == list(range(24))
    assert rows["style"].value_counts().tolist() == [3] * 8
    assert not rows.duplicated(["identity", "style"]).any()
    assert (faces.person[rows["identity"]] != faces.person[rows["style"]]).all()
    held = [(faces.keys.iloc[list(pair)]["role"] == "test").all() for pair in rows[["identity", "style"]].to_numpy()]
    assert rows["held_out"].tolist() == held
    fewer = pd.DataFrame(dataset_pairs(faces, POSITIVE, 5, seed=1))
    pd.testing.assert_frame_equal(fewer, rows.head(5))
    write_table(rows, tmp_path / "pairs.parquet", PAIRS)


def test_all_pairs_can_be_had_and_not_one_more(faces):
    most = 8 * (len(faces) - 2)
    rows = pd.DataFrame(dataset_pairs(faces, POSITIVE, most, seed=1))
    assert len(rows.drop_duplicates(["identity", "style"])) == most
    with pytest.raises(InputError, match=f"studies.synthesis.dataset.images: {most + 1}, .* make {most} pairs"):
        dataset_pairs(faces, POSITIVE, most + 1, seed=1)


def test_a_data_set_of_real_people_may_not_be_published():
    real = licence_note(False, "clinic", ["identity (adaface.safetensors)"])
    assert "DO NOT PUBLISH" in real
    assert "adaface.safetensors" in real
    virtual = licence_note(True, "virtual_faces", [])
    assert "may be passed on" in virtual
    assert "read from files" not in virtual


def test_the_datasheet_counts_what_is_there(faces, tmp_path):
    rows = dataset_pairs(faces, POSITIVE, 8, seed=1)
    made = {"row": "ccfexp", "size": "smoke", "back": False, "seed": 1, "steps": 2, "eta": 1.0}
    index = pd.DataFrame([row | made | {"file": f"{row['pair']:06d}.png"} for row in rows])[SYNTHETIC.names]
    (tmp_path / "made").mkdir()
    for file in index["file"]:
        (tmp_path / "made" / file).write_bytes(encode(faces.images[0]))
    copy_pictures(index, tmp_path / "made", tmp_path / "images")
    table = metadata_of(index, pd.DataFrame(rows), faces)
    assert list(table) == METADATA
    assert all((tmp_path / file).is_file() for file in table["file"])
    shown = faces.keys.iloc[[row["style"] for row in rows]]
    assert table["task"].tolist() == shown["task"].tolist()
    assert table["severity"].tolist() == shown["severity"].tolist()
    quality = pd.DataFrame([{"network": "identity", "metric": "verification_auc", "value": 0.9, "chance": 0.5}])
    write_datasheet(table, {"Made by": "a test"}, "A LICENCE.", tmp_path / "sheet.md", quality)
    text = (tmp_path / "sheet.md").read_text()
    assert "**A LICENCE.**" in text
    assert "8 pictures" in text
    assert f"one of {table['style_subject'].nunique()} patients" in text
    assert "verification_auc 0.900 on people held out (chance 0.500)" in text


def test_the_table_of_extractors_says_what_was_not_tested(tmp_path):
    rows = [
        {"network": "identity", "metric": "verification_auc", "value": None, "chance": 0.5, "images": 4, "people": 2},
        {"network": "landmarks", "metric": "landmark_error", "value": 3.2, "chance": 4.5, "images": 4, "people": 2},
    ]
    own = {"identity": None, "expression": "/files/face.pt", "landmarks": None}
    write_extractors(pd.DataFrame(rows), own, tmp_path / "extractors", "clinic", False)
    text = (tmp_path / "extractors.md").read_text()
    assert "too little held out" in text
    assert "3.200" in text
    assert "expression (face.pt)" in text.split("## ")[0]
    assert "recordings of people" in text
