"""The synthesis study's table, its claims and its figures."""

import subprocess
import sys
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.evaluation.intervals import percentile_interval
from faceneuro.report import synthesis_figures
from faceneuro.report.synthesis import (
    BEYOND,
    COMPARISONS,
    EXACT,
    IMAGES,
    NAMES,
    OURS,
    PEOPLE,
    PRINTED,
    PUBLISHED_UNET,
    SOURCES,
    SUBSTITUTES,
    TRANSFERRED,
    Made,
    Parameters,
    judge_claims,
    parameters_of,
    people_of,
    row_differences,
    synthesis_table,
    write_synthesis,
)
from faceneuro.report.synthesis_figures import examples, loss_curves, sample_grid
from faceneuro.studies.synthesis import LINES
from faceneuro.synthesis import ROWS, TRIVIAL
from faceneuro.synthesis.extractors import KINDS, Extractors, build_extractor
from faceneuro.synthesis.generator import Generator, save_generator
from faceneuro.synthesis.losses import FIRST, LOSSES
from faceneuro.synthesis.metrics import OWN, STANDS_FOR
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.transfer import HIGHER_IS_BETTER, LEAST, MEASURES, SCORES, People, summarise
from faceneuro.synthesis.trivial import contests
from faceneuro.synthesis.unet import PUBLISHED_PARAMETERS

PUBLISHED = Path(__file__).parents[1] / "resources" / "published" / "synthesis_table1.csv"
PATIENTS, IDENTITIES, TURNS = 8, 10, 2
MADE = Made("demo", 32, 2500, 25)
VGG = "VGG16, published weights"

# How good each row is at what it should be (nearer to the images, better in transfer), in deviations of the noise.
SKILLS = {
    "dcface_3x3": 0.0,
    "dcface_5x5": 0.0,
    "ccfexp_no_landmarks": 1.0,
    "ccfexp_no_fusion": 1.0,
    "ccfexp_no_cycle": 1.0,
    "ccfexp": 2.5,
    "copy_identity": -1.0,
    "copy_style": -1.0,
    "landmark_warp": 0.5,
}
SCALES = {"psnr": (16, 1.0), "ssim": (0.4, 0.05), "identity_cosine": (0.5, 0.1), "face_found": (0.9, 0.01)}
BASE = (0.5, 0.05)
OWN_DISTANCES = {"lpips": "own_distance", "pl": "own_loss"}


def pairs(patients: int = PATIENTS, held_out=True) -> pd.DataFrame:
    """Each patient's palsy given to other people, two of them a turn."""
    rows = []
    for number in range(patients * TURNS):
        patient, turn = number % patients, number // patients
        row = {"pair": number, "identity": number, "style": 100 + number, "own": None, "held_out": held_out}
        for part, subject in (("identity", f"I{(patient + 3 * turn) % IDENTITIES}"), ("style", f"P{patient}")):
            row |= {f"{part}_cohort": "c", f"{part}_subject": subject, f"{part}_clip": "smile", f"{part}_frame": 0}
        rows.append(row)
    return pd.DataFrame(rows)


def scores(skills: dict[str, float], count: int, features: str, target: bool) -> pd.DataFrame:
    """Scores of rows by their skills; what is hard for one row is hard for all."""
    printed = [(OWN_DISTANCES.get(m, m) if features == OWN else m, r) for m, r in PRINTED if m != "afid"]
    keys = [*printed, *TRANSFERRED, *(EXACT if target else ())]
    rows = []
    for place, (row, skill) in enumerate(skills.items()):
        for turn, (metric, against) in enumerate(keys):
            base, noise = SCALES.get(metric, BASE)
            shared = np.random.default_rng([turn, 1]).normal(0, 1, count)
            own = np.random.default_rng([turn, 2, place]).normal(0, 0.5, count)
            sign = 1 if metric in HIGHER_IS_BETTER else -1
            by = features if metric.startswith(("own", "lpips", "pl")) else "pixels"
            values = base + noise * (shared + own + sign * skill)
            rows += [(row, pair, metric, against, value, by) for pair, value in enumerate(values)]
    return pd.DataFrame(rows, columns=SCORES)


def sets(skills: dict[str, float], metric: str) -> pd.DataFrame:
    """One distance of sets per row, smaller for the better ones."""
    by = OWN if metric.startswith("own") else "Inception, published weights"
    rows = [
        {"row": row, "metric": metric, "against": "test images", "value": 10 - skill, "n": 16, "features": by}
        for row, skill in skills.items()
    ]
    return pd.DataFrame(rows, columns=["row", "metric", "against", "value", "n", "features"])


class Study:
    """Everything that the table is made of, of rows with these skills."""

    def __init__(self, skills, without, features, metric, patients, target, lines, notes, virtual, better_sets):
        skills = {name: skill for name, skill in {**SKILLS, **dict(skills)}.items() if name not in without}
        self.pairs = pairs(patients)
        self.people = people_of(self.pairs)
        self.scores = scores(skills, len(self.pairs), features, target)
        self.summary = summarise(self.scores, self.people, 100, 0)
        self.sets = sets(skills | dict(better_sets), metric)
        self.cohort = {"cohort": "virtual_faces" if virtual else "clinic", "virtual": virtual, "notes": dict(notes)}
        self.frame = synthesis_table(self.summary, self.sets, PUBLISHED, lines, **self.cohort)
        self.differences = row_differences(self.scores, self.people, 100, 0)
        self.claims = judge_claims(self.frame, self.differences)

    @cached_property
    def contests(self) -> pd.DataFrame:
        return contests(self.scores, self.people, 100, 0)

    def write(self, folder: Path, suffix: str = "md", made: Made = MADE, wanted=None, parameters=None) -> str:
        wanted = self.pairs if wanted is None else wanted
        results = self.frame, self.differences, self.claims, self.contests
        write_synthesis(*results, wanted, made, folder / "synthesis", parameters)
        return (folder / f"synthesis.{suffix}").read_text()


@cache
def _study(*arguments) -> Study:
    return Study(*arguments)


def study(
    without=(),
    features=OWN,
    metric="own_kid",
    patients=PATIENTS,
    target=True,
    lines=LINES,
    notes=(),
    virtual=True,
    better_sets=(),
    **skills,
) -> Study:
    arguments = (tuple(skills.items()), tuple(without), features, metric, patients, target, tuple(lines))
    return _study(*arguments, tuple(notes), virtual, tuple(better_sets))


def cell(frame: pd.DataFrame, **where) -> pd.Series:
    (index,) = frame.index[(frame[list(where)] == pd.Series(where)).all(axis=1)]
    return frame.loc[index]


def judged(claims: pd.DataFrame, words: str) -> pd.Series:
    (index,) = claims.index[claims["claim"].str.startswith(words)]
    return claims.loc[index]


def lead(text: str) -> str:
    return text.split("\n## ")[0]


def line_of(text: str, heading: str, begins: str) -> list[str]:
    """The cells of a line of one table."""
    (part,) = [part for part in text.split("\n## ") if part.startswith(heading)]
    (line,) = [line for line in part.splitlines() if line.startswith(f"| {begins} |")]
    return [each.strip() for each in line.strip("|").split("|")]


# Numbers


def test_each_cell_holds_the_printed_and_the_recomputed_number():
    found = study()
    row = cell(found.frame, model=OURS, metric="psnr", reference="style")
    mine = found.scores.query("row == 'ccfexp' and metric == 'psnr' and against == 'style'")
    assert (row["row"], row["published"]) == (6, 16.36)
    assert row["reproduced"] == pytest.approx(mine["value"].mean())
    assert row["ci_low"] < row["reproduced"] < row["ci_high"]
    assert (row["n"], row["n_subjects"]) == (len(mine), found.people.stack().nunique())
    assert row["features"] == "pixels"
    found = study(metric="afid", features=VGG)
    row = cell(found.frame, model=OURS, metric="afid")
    assert row["published"] == 43.76
    assert row["reproduced"] == pytest.approx(7.5)
    assert pd.isna(row["ci_low"])


def test_all_six_printed_rows_are_taken_as_they_are():
    printed = pd.read_csv(PUBLISHED, comment="#").set_index("row")
    frame = study(metric="afid", features=VGG).frame
    assert {line[2] for line in LINES} == {*ROWS, *TRIVIAL}
    for number in range(1, 7):
        cells = frame[frame["row"] == number].set_index(["metric", "reference"])["published"]
        for key, column in PRINTED.items():
            assert cells[key] == printed.loc[number, column]
    assert frame.loc[frame["row"].isna(), "published"].isna().all()
    assert frame["published"].notna().sum() == 6 * 9


def test_every_line_has_all_metrics_whether_it_was_run_or_not():
    without = ("ccfexp_no_cycle", "landmark_warp")
    frame = study(without).frame
    assert frame.groupby("model").size().nunique() == 1
    assert set(frame["model"]) == set(SKILLS)
    run = ~frame["model"].isin(without)
    assert frame.loc[run, "reproduced"].notna().all()
    assert frame.loc[~run, "reproduced"].isna().all()


def test_what_stands_in_is_known_by_its_name_and_is_beside_the_printed_number():
    assert {name: metric for metric, names in SUBSTITUTES.items() for name in names} == STANDS_FOR
    frame = study().frame
    assert not set(frame["metric"]) & set(SUBSTITUTES)
    assert cell(frame, model=OURS, metric="own_kid")["published"] == 43.76
    assert cell(frame, model=OURS, metric="own_distance", reference="style")["published"] == 0.33
    assert cell(frame, model="dcface_5x5", metric="own_loss", reference="identity")["published"] == 0.26


@pytest.mark.parametrize("metric", SUBSTITUTES["afid"])
def test_nothing_but_the_aligned_fid_is_called_so(tmp_path, metric):
    text = study(metric=metric).write(tmp_path)
    (header,) = [line for line in text.splitlines() if line.startswith("| Row | Model | aFID: published")]
    assert f"| {NAMES[metric]}: here |" in header
    assert "FID" not in NAMES[metric]
    assert "aFID: here" not in text
    assert "LPIPS, style: published | Own-feature distance, style: here" in text
    assert "LPIPS, style: here" not in text


def test_a_row_without_a_line_is_shown_all_the_same():
    frame = study(lines=LINES[:-1]).frame
    assert frame["model"].iloc[-1] == frame["name"].iloc[-1] == "landmark_warp"
    assert frame["row"].isna().iloc[-1]


def test_what_makes_no_table_is_refused():
    found = study()
    with pytest.raises(ValueError, match="has no row 7"):
        synthesis_table(found.summary, found.sets, PUBLISHED, [(7, "GAN", "gan")], **found.cohort)
    with pytest.raises(ValueError, match="no score of any row"):
        synthesis_table(found.summary[:0], found.sets[:0], PUBLISHED, LINES, **found.cohort)


def test_without_sets_there_is_no_distance_of_them(tmp_path):
    found = study()
    frame = synthesis_table(found.summary, found.sets[:0], PUBLISHED, LINES, **found.cohort)
    row = cell(frame, model=OURS, metric="afid")
    assert row["published"] == 43.76
    assert pd.isna(row["reproduced"])
    claims = judge_claims(frame, found.differences)
    assert judged(claims, "Cycle")["verdict"] == "holds"
    assert "aFID of" not in judged(claims, "Cycle")["evidence"]


def test_the_weights_of_a_generator_are_counted_from_its_file(tmp_path):
    size = SIZES["smoke"]
    generator = Generator("dcface_5x5", "smoke", Extractors(*(build_extractor(kind, size) for kind in KINDS)))
    save_generator(generator, tmp_path / "model.safetensors")
    extractors = {id(value) for value in generator.extractors.parameters()}
    whole = sum(value.numel() for value in generator.parameters() if id(value) not in extractors)
    unet = sum(value.numel() for value in generator.unet.parameters())
    assert parameters_of(tmp_path / "model.safetensors") == Parameters(whole, unet)
    assert pytest.approx(PUBLISHED_PARAMETERS / 1e6) == PUBLISHED_UNET


# Differences


def test_a_difference_is_how_much_better_the_first_row_is_whichever_way_round_the_metric_is():
    found = study()
    for metric, reference, sign in (("psnr", "style", 1), ("landmark_error", "carried", -1)):
        mine = found.scores[(found.scores["metric"] == metric) & (found.scores["against"] == reference)]
        values = {name: mine.loc[mine["row"] == name, "value"].to_numpy() for name in (OURS, "dcface_5x5")}
        better = sign * (values[OURS] - values["dcface_5x5"])
        where = {"model_a": OURS, "model_b": "dcface_5x5", "metric": metric, "reference": reference}
        row = cell(found.differences, **where)
        assert row["difference"] == pytest.approx(better.mean())
        assert row["difference"] > 0
        means = People(found.people, 100, 0).means(np.arange(len(better)), better)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(percentile_interval(means[1:]))
        assert row["p_value"] == pytest.approx(0.01)
    assert set(found.differences[["model_a", "model_b"]].itertuples(index=False, name=None)) == set(COMPARISONS)


def test_a_row_against_itself_is_no_better():
    found = study()
    same = found.scores[found.scores["row"] == OURS].assign(row="twin")
    gaps = row_differences(pd.concat([found.scores, same]), found.people, 50, 0, [(OURS, "twin"), (OURS, "nobody")])
    assert set(gaps["model_b"]) == {"twin"}
    assert (gaps[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (gaps["p_value"] == 1).all()


def test_too_few_people_have_no_interval(tmp_path):
    found = study(patients=1)
    assert found.people.stack().nunique() < LEAST
    assert found.differences["difference"].notna().all()
    assert found.differences[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
    assert set(found.claims["verdict"]) <= {"not shown", "does not hold"}
    text = found.write(tmp_path)
    assert ", CCFExp too few people to tell. Of 4 claims" in lead(text)
    assert "are too few for an interval" in line_of(text, "Beside the trivial", "CCFExp")[1]


# Claims


def test_claims_hold_where_all_that_they_rest_on_is_better():
    claims = study(features=VGG, metric="afid").claims
    assert (claims["verdict"] == "holds").all()
    assert claims["claim"].str.startswith(BEYOND).tolist() == [False] * 4 + [True] * 4
    evidence = judged(claims, "Landmarks help")["evidence"]
    assert evidence.startswith(
        "aFID of ccfexp 7.50, of ccfexp_no_landmarks 9.00, without intervals. "
        "Published: aFID 43.76 against 50.47. PSNR, style of ccfexp "
    )
    assert "Published: PSNR, style 16.36 against 16.05. Published: SSIM, style 0.45 against 0.40." in evidence
    assert "Published: aFID 43.76 against 56.77 and 56.20." in judged(claims, "CCFExp beats")["evidence"]


def test_substitutes_decide_in_place_of_what_they_stand_for():
    evidence = judged(study().claims, "CCFExp beats DCFace")["evidence"]
    assert "Own-feature distance, identity of ccfexp" in evidence
    assert "LPIPS, identity of" not in evidence
    assert "Published: LPIPS, identity 0.31 against 0.37 and 0.34." in evidence


def test_a_claim_fails_with_the_worst_of_its_comparisons():
    claims = study(dcface_5x5=4.0).claims
    assert judged(claims, "CCFExp beats")["verdict"] == "does not hold"
    assert judged(claims, f"{BEYOND}: CCFExp")["verdict"] == "does not hold"
    assert judged(claims, "Landmarks help")["verdict"] == "holds"


def test_a_gain_within_its_interval_is_not_shown():
    found = study(ccfexp_no_cycle=2.2)
    gaps = found.differences.query("model_b == 'ccfexp_no_cycle'").set_index(["metric", "reference"])
    for claim, keys in (
        ("Cycle", [("psnr", "identity"), ("psnr", "style")]),
        (f"{BEYOND}: Cycle", [("landmark_error", "target"), ("asymmetry_error", "style")]),
    ):
        mine = gaps.loc[keys]
        assert (mine["difference"] > 0).all()
        assert (mine["ci_low"] <= 0).any()
        assert judged(found.claims, claim)["verdict"] == "not shown"


def test_a_distance_of_sets_can_refute_a_claim_and_not_make_it():
    refuted = study(better_sets=[("ccfexp_no_fusion", 3.0)]).claims
    assert judged(refuted, "Cross-fusion helps")["verdict"] == "does not hold"
    assert judged(refuted, f"{BEYOND}: Cross-fusion")["verdict"] == "holds"
    # Far better as a set, but not in what has an interval.
    alone = study(ccfexp_no_fusion=4.0, better_sets=[("ccfexp", 9.0)]).claims
    assert judged(alone, "Cross-fusion helps")["verdict"] == "does not hold"


def test_transfer_is_judged_by_the_exact_target_where_there_is_one():
    words = f"{BEYOND}: Landmarks carry"
    assert "(landmark error, true target and asymmetry error)" in judged(study().claims, words)["claim"]
    found = study(target=False)
    assert "(landmark error and asymmetry error)" in judged(found.claims, words)["claim"]
    assert judged(found.claims, words)["verdict"] == "holds"
    # People without a neutral face, in whom only the sides can be compared.
    few = found.scores[found.scores["against"] != "carried"]
    frame = synthesis_table(summarise(few, found.people, 50, 0), found.sets, PUBLISHED, LINES, **found.cohort)
    claims = judge_claims(frame, row_differences(few, found.people, 50, 0))
    assert judged(claims, words)["claim"].endswith("(asymmetry error).")
    assert judged(claims, words)["verdict"] == "holds"


def test_claims_about_what_was_not_run_say_so(tmp_path):
    found = study(["dcface_3x3", "ccfexp_no_cycle"], notes=[("ccfexp_no_cycle", "not run: out of time")])
    assert judged(found.claims, "Cycle")["verdict"] == "not run"
    assert judged(found.claims, "Cycle")["evidence"] == "Not run: ccfexp_no_cycle (out of time)."
    beats = judged(found.claims, "CCFExp beats")
    assert beats["verdict"] == "not run"
    assert "of dcface_5x5" in beats["evidence"]
    assert beats["evidence"].endswith("Not run: dcface_3x3.")
    text = found.write(tmp_path)
    assert "Of 4 claims of the paper: 2 hold, 2 were not run." in lead(text)
    assert line_of(text, "Results, published and here: sets", "5")[2:4] == ["45.69", "not run"]
    assert "- Not run: row 5 (ccfexp_no_cycle): out of time." in text
    # One that fails decides, though another was not run.
    assert judged(study(["dcface_3x3"], dcface_5x5=4.0).claims, "CCFExp beats")["verdict"] == "does not hold"


def test_without_the_papers_model_nothing_is_judged(tmp_path):
    found = study([OURS])
    assert (found.claims["verdict"] == "not run").all()
    assert "\n\nNot run: ccfexp. Measures of transfer" in lead(found.write(tmp_path))


def test_models_that_were_not_compared_are_named():
    found = study()
    kept = found.differences[found.differences["model_b"] != "ccfexp_no_fusion"]
    claim = judged(judge_claims(found.frame, kept), "Cross-fusion helps")
    assert (claim["verdict"], claim["evidence"]) == ("not run", "ccfexp was not compared with ccfexp_no_fusion.")


# What is read


def test_the_readable_tables_show_both_numbers_and_the_trivial_rows(tmp_path):
    found = study()
    text = found.write(tmp_path)
    cells = line_of(text, "Results, published and here: sets", "6")
    psnr = cell(found.frame, model=OURS, metric="psnr", reference="identity")
    assert cells[:4] == ["6", "CCFExp", "43.76", "7.5"]
    assert cells[4:6] == ["17.44", f"{psnr['reproduced']:.2f} [{psnr['ci_low']:.2f}, {psnr['ci_high']:.2f}]"]
    copies = [line.split("|") for line in text.splitlines() if line.startswith("|  | Trivial: the identity image | ")]
    assert [cells[3].strip() for cells in copies] == ["", ""]
    error = cell(found.frame, model="landmark_warp", metric="landmark_error", reference="carried")
    name = {model: name for _, name, model in LINES}["landmark_warp"]
    assert line_of(text, "Transfer", name)[1].startswith(f"{error['reproduced']:.3f} [")
    assert "## Against the exact target" in text
    assert "## Against the exact target" not in study(target=False).write(tmp_path)


def test_every_measure_of_the_verdict_is_in_a_table():
    assert {(measure.metric, measure.against) for measure in MEASURES} <= {*TRANSFERRED, *EXACT}
    assert {key[0] for key in (*PRINTED, *TRANSFERRED, *EXACT)} <= set(NAMES)


def test_a_verdict_says_of_every_row_whether_it_beats_the_trivial_ones(tmp_path):
    found = study(dcface_3x3=-3.0)
    text = found.write(tmp_path)
    assert line_of(text, "Beside the trivial", "CCFExp")[1].startswith("Beats the trivial rows in all measures")
    assert line_of(text, "Beside the trivial", "DCFace, 3 x 3")[1].startswith("Beats the trivial rows in no measure")
    (headline,) = [line for line in lead(text).splitlines() if line.startswith("Measures of transfer in which")]
    assert "every trivial row: DCFace, 3 x 3 in 0 of 9, DCFace, 5 x 5 in " in headline
    assert ", CCFExp in 9 of 9. Of 4 claims" in headline
    (part,) = [part for part in text.split("\n## ") if part.startswith("Beside the trivial")]
    assert part.count("\n| ") == 2 + len(ROWS)


@pytest.mark.parametrize("suffix", ["md", "tex"])
def test_what_must_be_known_is_said_before_the_first_table(tmp_path, suffix):
    text = study().write(tmp_path, suffix)
    before = text.split(r"\begin{tabular}" if suffix == "tex" else "\n|")[0].replace("\\", "")
    assert "virtual cohort, rendered faces, no patients; 16 pairs of 18 people" in before
    assert "the palsy of 8 is given to 10" in before
    assert "size demo, 32 x 32 pixels (2,500 steps of training, 25 of sampling); the paper's images have" in before
    assert "The 16 images of a set are no more than their features" in before
    assert (
        f"By {OWN}, for want of published networks: Own-feature KID, Own-feature distance and Own-feature loss, in "
        "place of aFID, LPIPS and PL." in before
    )


def test_nothing_is_excused_where_there_is_no_need(tmp_path):
    text = lead(study(features=VGG, metric="afid", virtual=False).write(tmp_path, made=Made("paper", 112, 25090, 50)))
    assert "Cohort clinic: recordings of people;" in text
    assert "size paper, 112 x 112 pixels: 25,090 steps" in text
    assert f"By {VGG}: LPIPS and PL." in text
    assert "By Inception, published weights: aFID." in text
    for word in ("own features", "KID", "learnt from", "pipeline runs", "public code"):
        assert word not in text


def test_what_was_learnt_from_or_made_as_released_is_said(tmp_path):
    found = study()
    some = found.pairs.assign(held_out=np.arange(len(found.pairs)) >= 3)
    text = found.write(tmp_path, made=Made("demo", 32, 2500, 25, as_released=True), wanted=some)
    assert "In 3 of 16 pairs somebody is shown whom the models have learnt from." in lead(text)
    assert "as the paper's public code does" in lead(text)
    assert "- As released: queries are not projected" in text


def test_the_remarks_say_what_follows_from_the_printed_table(tmp_path):
    text = study(copy_identity=5.0).write(tmp_path)
    assert "DCFace 5 x 5 is nearer to the style image than CCFExp in 4 of 4 columns: PSNR, style (19.39 against" in text
    assert "landmarks -6.71 aFID, +0.31 dB PSNR, +0.05 SSIM and +0.00 LPIPS" in text
    assert "cross-fusion -10.66 aFID" in text
    assert "cycle diffusion -1.93 aFID" in text
    assert "91,168 images of 313 people" in text
    assert "20,992 images of 148 people" in text
    assert "The copied identity's is 5, better than CCFExp's 7.5." in text
    assert "no better than CCFExp's" in study().write(tmp_path)
    assert sum(IMAGES.values()) - sum(count * each for count, each in SOURCES.values()) == 70176
    assert sum(PEOPLE.values()) == 313


def test_the_weights_stand_beside_the_published_ones(tmp_path):
    text = study().write(tmp_path, parameters={OURS: Parameters(1_234_567, 870_000)})
    assert line_of(text, "Millions of weights", "CCFExp") == ["CCFExp", "1.23", "0.87", "93.56"]
    assert "## Millions" not in study().write(tmp_path)


def test_the_csv_has_everything(tmp_path):
    found = study()
    found.write(tmp_path, parameters={OURS: Parameters(2, 1)})
    table = pd.read_csv(tmp_path / "synthesis.csv")
    kinds = table["kind"].value_counts()
    assert kinds["row"] == len(found.frame)
    assert kinds["difference"] == len(found.differences)
    assert kinds["contest"] == len(found.contests)
    assert (kinds["claim"], kinds["verdict"], kinds["parameters"]) == (8, len(ROWS), 1)
    contest = table[table["kind"] == "contest"].iloc[0]
    assert contest["against"] in TRIVIAL
    assert contest["reproduced"] == pytest.approx(found.contests["difference"].iloc[0])
    assert (table["study"] == "synthesis").all()


# Figures


def test_the_grid_has_a_line_per_pair_and_a_column_per_title(drawn, tmp_path):
    pictures = [np.full((8, 8, 3), shade, np.uint8) for shade in (10, 90, 200)]
    columns = {
        "identity": pictures,
        "CCFExp without landmarks": pictures[::-1],
        "exact target": [pictures[0], None, pictures[2]],
    }
    sample_grid(columns, ["a", "b", "c"], "virtual cohort", tmp_path / "grid")
    axes = np.array(drawn[0].axes).reshape(3, 3)
    for column, shown in enumerate(columns.values()):
        for row, picture in enumerate(shown):
            images = axes[row, column].get_images()
            assert len(images) == (picture is not None)
            if images:
                np.testing.assert_array_equal(images[0].get_array(), picture)
    assert [text.get_text() for text in axes[1, 2].texts] == ["none"]
    assert [each.get_title() for each in axes[0]] == ["identity", "CCFExp without\nlandmarks", "exact target"]
    assert [each.get_ylabel() for each in axes[:, 0]] == ["a", "b", "c"]
    assert {path.name for path in tmp_path.iterdir()} == {"grid.png", "grid.svg"}
    with pytest.raises(ValueError, match="style: 2 pictures of 3 pairs"):
        sample_grid({"style": pictures[:2]}, ["a", "b", "c"], "", tmp_path / "grid")


def test_examples_are_of_different_patients_from_mild_to_severe():
    table = pairs()
    grade = table["style_subject"].str[1:].astype(float)
    shown = examples(table, grade, 4)
    assert table["style_subject"].iloc[shown].nunique() == 4
    assert grade.iloc[shown].is_monotonic_increasing
    assert {grade.iloc[shown[0]], grade.iloc[shown[-1]]} == {0, PATIENTS - 1}
    assert len(set(examples(table, grade, 12))) == 12
    assert len(examples(table, np.full(len(table), np.nan), 99)) == len(table)


def test_loss_curves_have_a_line_per_model_and_pass(drawn, tmp_path):
    steps = np.arange(1, 501)
    rows = [
        {"model": model, "step": step, "gradient": 1.0}
        | dict.fromkeys(LOSSES if model == "ccfexp" else ("loss", "noise", "identity"), 1 / step)
        for model in ("ccfexp", "dcface_5x5")
        for step in steps
    ]
    history = pd.DataFrame(rows)
    loss_curves(history, "virtual cohort", tmp_path / "losses")
    panels = {axes.get_title(): axes for axes in drawn[0].axes}
    assert set(panels) == {"weighted sum", *FIRST, "norm of the gradient"}
    assert {title: len(axes.lines) for title, axes in panels.items()} == {
        "weighted sum": 2,
        "noise": 3,
        "identity": 3,
        "landmarks": 2,
        "norm of the gradient": 2,
    }
    line = panels["weighted sum"].lines[0]
    assert len(line.get_xdata()) == synthesis_figures.POINTS
    assert line.get_xdata()[-1] == 500
    np.testing.assert_allclose(line.get_ydata()[-1], np.mean([1 / 499, 1 / 500]))
    drawn[0].canvas.draw()
    written = [text.get_text() for axes in drawn[0].axes for text in axes.get_yticklabels(which="both")]
    assert "0.01" in written
    assert not any("$" in text for text in written)
    assert "second pass" in drawn[0].legends[0].get_title().get_text()


def test_a_single_step_is_drawn(drawn, tmp_path):
    loss_curves(pd.DataFrame([{"model": "ccfexp", "step": 1, "loss": 0.5}]), "", tmp_path / "losses")
    assert len(drawn[0].axes) == 1


def test_the_table_needs_no_torch():
    code = "import faceneuro.report.synthesis, faceneuro.report.synthesis_figures, faceneuro.report.augmentation, sys"
    found = subprocess.run([sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True)
    assert found.stdout.strip() == b"False"
