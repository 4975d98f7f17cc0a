"""The review of Yoonesi et al. 2025: its forest plot recomputed, its claims judged, this pipeline's results added."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from faceneuro.errors import InputError
from faceneuro.meta.analysis import analyse, describe_rows, filled_effects
from faceneuro.meta.effects import read_studies
from faceneuro.report.meta_analysis import write_judgement, write_pooled, write_rows
from faceneuro.studies.meta_analysis import (
    DIFFERENT,
    EQUAL,
    ROUNDING,
    gather,
    own_effect,
    read_printed,
    reproduce,
    shortest_errors,
)
from faceneuro.studies.meta_claims import FAILS, FOLLOWS, PARTLY, UNKNOWN, Review, judge
from faceneuro.tables import EFFECT_ROWS, EFFECTS, METRICS, POOLED, read_table, write_table

PUBLISHED = Path(__file__).resolve().parents[1] / "resources" / "published"
STUDIES = PUBLISHED / "meta_analysis_studies.csv"
SETTINGS = {"method": "REML", "test": "z", "imputations": 20, "seed": 1}


@pytest.fixture(scope="module")
def review() -> Review:
    statistics = read_printed(PUBLISHED / "meta_analysis_statistics.csv")
    return Review(read_studies(STUDIES), statistics, read_printed(PUBLISHED / "meta_analysis_table2.csv"))


@pytest.fixture(scope="module")
def weights() -> pd.Series:
    return read_printed(STUDIES).set_index("study")["weight_pct"]


@pytest.fixture(scope="module")
def numbers(review, weights) -> pd.DataFrame:
    return reproduce(review.studies, review.printed, weights)


@pytest.fixture(scope="module")
def claims(review) -> pd.DataFrame:
    return judge(review)


@pytest.fixture(scope="module")
def effects() -> pd.DataFrame:
    return gather([STUDIES], True, {}, {})


def test_every_number_of_the_forest_plot_is_recomputed(review, numbers):
    printed = review.printed[review.printed["where"] == "fig3"].drop(columns=["where", "subgroup_block"])
    assert len(numbers) == int((printed != "").sum().sum()) + 25
    assert set(numbers["block"]) == {*review.studies["block"], "overall", "group_differences", "weights"}
    np.testing.assert_allclose(numbers["difference"], numbers["recomputed"] - numbers["printed"].astype(float))


def test_every_number_but_one_is_equal_or_explained_by_rounding(numbers):
    assert numbers["verdict"].isin([EQUAL, ROUNDING, DIFFERENT]).all()
    apart = numbers[numbers["verdict"] == DIFFERENT]
    # The Q of one block of three legible rows contradicts the tau2 and H2 that are printed beside it.
    assert apart[["block", "statistic"]].to_numpy().tolist() == [["dementia_b", "q"]]
    assert not apart["recovered"].any()
    estimates = numbers[numbers["statistic"].isin(["k", "estimate", "ci_low", "ci_high", "i2_pct", "q_df"])]
    assert (estimates["verdict"] == EQUAL).all()


def test_round_standard_errors_give_the_plot_almost_to_the_last_digit(review, numbers):
    errors = shortest_errors(review.studies)
    legible = review.studies["provenance"] != "recovered"
    half = stats.norm.ppf(0.975) * errors[legible]
    assert (abs(half - (review.studies["ci_high"] - review.studies["ci_low"])[legible] / 2) <= 0.005 + 1e-9).all()
    apart = numbers[~numbers["shortest_equal"]].set_index(["block", "statistic"])
    assert sorted(apart.index) == [("dementia_b", "q"), ("group_differences", "q")]
    assert abs(apart.loc[("group_differences", "q"), "shortest"] - 44.725) < 1e-5


def test_a_number_that_rounding_cannot_explain_is_not_excused(review, weights):
    printed = review.printed.copy()
    stroke = (printed["where"] == "fig3") & (printed["subgroup_block"] == "stroke")
    for name, text, verdict in (
        ("estimate", "90.47", DIFFERENT),
        ("estimate", "90.45", ROUNDING),
        ("h2", "152.00", DIFFERENT),
    ):
        changed = printed.copy()
        changed.loc[stroke, name] = text
        found = reproduce(review.studies, changed[stroke], weights).set_index(["block", "statistic"])
        assert found.loc[("stroke", name), "verdict"] == verdict


def test_totals_with_recovered_rows_are_marked(numbers):
    marked = numbers.groupby("block")["recovered"].all()
    assert marked[["dementia_a", "bells_palsy_b", "functional", "motor", "overall"]].all()
    assert not marked[["bells_palsy_a", "dementia_b", "stroke", "genetic"]].any()


def verdict_of(claims: pd.DataFrame, words: str) -> pd.Series:
    found = claims[claims["claim"].str.contains(words, regex=False)]
    assert len(found) == 1, words
    return found.iloc[0]


@pytest.mark.parametrize(
    ("words", "verdict", "evidence"),
    [
        ("89.25 % (95 % CI", FAILS, "80.71 % [73.34, 88.09]"),
        ("All rows pool to 80.71 %", FOLLOWS, "80.71 %"),
        ("accuracy for dementia is 99 %", FAILS, "77.49 %"),
        ("accuracy for Bell's palsy is 93.7 %", PARTLY, "Zhu"),
        ("ALS and stroke have a lower accuracy, 73.2 %", FAILS, "90.44 %"),
        ("107.65 %", FAILS, "8 of 25 rows and 4 pooled blocks"),
        ("lowest accuracy is 1.8 %", FAILS, "18.00 %"),
        ("highest accuracy is 94.8 %", FAILS, "99.80 %"),
        ("includes 24 studies", FAILS, "25 effect sizes from 22 articles"),
        ("28 studies were included", FAILS, "28 rows from 24 articles"),
        ("more than chance", FOLLOWS, "24 df"),
        ("(Q - df) / Q", FAILS, "98.49 %"),
        ("differs significantly", PARTLY, "merged 44.53 on 5 df"),
        ("Publication bias", UNKNOWN, "Egger"),
    ],
)
def test_the_claims_are_judged_by_the_reviews_own_numbers(claims, words, verdict, evidence):
    claim = verdict_of(claims, words)
    assert claim["verdict"] == verdict
    assert evidence in claim["evidence"]


def test_the_verdicts_follow_the_data(review):
    """On data that bear a claim out, the claim follows; the sentences are computed, not written."""
    studies = review.studies.copy()
    names = ["accuracy", "ci_low", "ci_high"]
    studies[names] = 89.25 + 0.1 * (studies[names] - studies["accuracy"].mean())
    studies["variance"] *= 0.01
    honest = judge(Review(studies, review.printed, review.included))
    assert verdict_of(honest, "89.25 % (95 % CI")["verdict"] == FOLLOWS
    assert "18.00 %" not in verdict_of(honest, "lowest accuracy")["evidence"]
    calm = review.studies.copy()
    calm["accuracy"] = 81.0 + np.linspace(-1, 1, len(calm))
    judged = judge(Review(calm, review.printed, review.included))
    assert verdict_of(judged, "funnel plot.")["verdict"] == FOLLOWS
    assert verdict_of(judged, "Galbraith")["verdict"] == FOLLOWS
    assert verdict_of(judged, "more than chance")["verdict"] == FAILS
    assert verdict_of(judged, "consistently high")["verdict"] == FOLLOWS
    assert verdict_of(judged, "predictive capability")["verdict"] == FOLLOWS
    low = review.studies.copy()
    low.loc[low["study"] == "Andrea Bandini et al.", "accuracy"] = 1.8
    assert verdict_of(judge(Review(low, review.printed, review.included)), "lowest accuracy")["verdict"] == FOLLOWS
    fewer = Review(review.studies, review.printed, review.included.assign(article=list("ab") * 14))
    assert "from 2 articles" in verdict_of(judge(fewer), "28 studies were included")["evidence"]


def test_every_claim_has_a_place_and_a_sentence(claims):
    assert claims["verdict"].isin([FOLLOWS, PARTLY, FAILS, UNKNOWN]).all()
    assert claims[["where", "claim", "verdict", "evidence"]].map(str.strip).ne("").all(axis=None)
    assert claims["evidence"].str.endswith((".", ")")).all()
    assert not claims["evidence"].str.contains("nan|None", regex=True).any()


def test_claims_about_a_number_have_it_beside_what_the_rows_give(review, claims):
    numbers = claims[claims["about"] != ""].set_index("about")
    assert list(numbers.index) == [
        "All, abstract",
        "All, Fig. 3",
        "Dementia, abstract",
        "Bell's palsy, abstract",
        "ALS and stroke, abstract",
    ]
    for place in ("All, abstract", "All, Fig. 3"):
        row = numbers.loc[place, ["recomputed", "ci_low", "ci_high"]].astype(float)
        assert list(row) == pytest.approx([80.71, 73.34, 88.09], abs=0.01)
        assert f"{row['recomputed']:.2f} % [{row['ci_low']:.2f}" in numbers.loc[place, "evidence"]
    assert numbers["claimed"].tolist() == [89.25, 80.71, 99, 93.7, 73.2]
    assert numbers["claimed_low"].notna().tolist() == [True, True, False, False, False]
    assert claims["headline"].tolist() == [True] + [False] * (len(claims) - 1)


def test_a_collection_is_pooled_in_every_way(effects):
    pooled = analyse(effects, **SETTINGS)
    assert set(pooled.columns) <= set(POOLED.names)
    kinds = set(pooled["analysis"])
    assert kinds == {
        "main", "estimator", "scale", "block", "subgroup", "three_level", "missing", "sensitivity", "bias", "moderator",
        "cumulative",
    }  # fmt: skip
    logit = pooled[pooled["scale"] == "logit"].dropna(subset=["estimate"])
    assert logit[["estimate", "ci_low", "ci_high"]].to_numpy().max() < 100
    merged = pooled.query("analysis == 'subgroup' and scale == 'raw'").set_index("group")
    assert merged.loc["Dementia", "k"] == 9
    assert merged.loc["Bell's palsy", "k"] == 3
    printed = pooled.query("analysis == 'sensitivity' and group == 'printed rows only'").iloc[0]
    assert printed["k"] == 19
    assert pooled.query("analysis == 'missing' and group == 'imputed'").iloc[0]["k"] == 25
    assert "22 articles" in pooled.query("analysis == 'three_level' and scale == 'raw'").iloc[0]["note"]
    last = pooled.query("analysis == 'cumulative'").iloc[-1]
    assert last["estimate"] == pytest.approx(pooled.iloc[0]["estimate"])


def test_two_effect_sizes_are_enough_to_pool_and_one_is_said_as_it_is(effects, tmp_path):
    for k in (1, 2, 3):
        few = effects.head(k)
        pooled, rows = analyse(few, **SETTINGS), describe_rows(few, "REML", "z")
        write_pooled(tmp_path / f"few{k}", pooled, rows, "few")
        write_rows(tmp_path / f"rows{k}", rows, "few")
        text = (tmp_path / f"few{k}.md").read_text() + (tmp_path / f"rows{k}.md").read_text()
        assert "nan" not in text
        assert pooled.iloc[0]["k"] == k
        assert filled_effects(few, "REML").empty


def test_rows_know_their_weight_and_influence(effects):
    rows = describe_rows(effects, "REML", "z")
    assert set(rows.columns) == set(EFFECT_ROWS.names)
    assert rows["weight"].sum() == pytest.approx(100)
    assert rows["weight_fixed"].sum() == pytest.approx(100)
    assert rows.loc[rows["cook"].idxmax(), "study"] == "Andrea Bandini et al."
    missing = effects.copy()
    missing.loc[3, ["accuracy", "ci_low", "ci_high"]] = np.nan
    rows = describe_rows(missing, "REML", "z")
    assert np.isnan(rows.loc[3, "weight"])
    assert rows["weight"].sum() == pytest.approx(100)


def metrics(tmp_path: Path, accuracy: float, low: float, high: float, protocol: str = "grouped") -> Path:
    row = {
        "study": "als", "protocol": protocol, "model": "dual_branch", "metric": "accuracy", "level": "subject",
        "aggregation": "pooled", "value": accuracy, "ci_low": low, "ci_high": high, "n": 20, "n_subjects": 20,
    }  # fmt: skip
    write_table([row], tmp_path / f"{protocol}{accuracy}.parquet", METRICS)
    return tmp_path / f"{protocol}{accuracy}.parquet"


VIRTUAL = {"cohort": "virtual_als", "virtual": True, "permuted": False}


def test_results_of_this_pipeline_enter_and_can_be_left_out(tmp_path, effects):
    living = gather([STUDIES], True, {"als": metrics(tmp_path, 0.7, 0.5, 0.9)}, {"als": VIRTUAL})
    assert living.columns.tolist() == EFFECTS.names
    own = living.iloc[-1]
    assert own[["accuracy", "ci_low", "ci_high"]].tolist() == pytest.approx([70, 50, 90])
    assert own["variance"] == pytest.approx((40 / (2 * stats.norm.ppf(0.975))) ** 2)
    assert own["origin"] == "virtual cohort virtual_als"
    pooled = analyse(living, **SETTINGS)
    assert pooled.iloc[0]["k"] == 26
    without = pooled.query("analysis == 'sensitivity'").set_index("group")
    alone = analyse(effects, **SETTINGS).iloc[0]
    for name in ("published rows only", "recordings of people only"):
        assert without.loc[name, "estimate"] == pytest.approx(alone["estimate"])
    write_pooled(tmp_path / "living", pooled, describe_rows(living, "REML", "z"), "living")
    lead = (tmp_path / "living.md").read_text().split("##")[0]
    assert "virtual cohort" in lead
    assert "no patients" in lead


def test_a_perfect_score_of_few_people_is_not_certain(tmp_path):
    row = own_effect("als", read_table(metrics(tmp_path, 1.0, 1.0, 1.0)), VIRTUAL)
    low, high = stats.binomtest(20, 20).proportion_ci(method="wilson")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((100 * low, 100 * high))


def test_a_study_that_holds_nobody_out_does_not_enter(tmp_path, caplog):
    only_random = metrics(tmp_path, 0.9, 0.8, 1.0, protocol="published")
    assert len(gather([STUDIES], True, {"als": only_random}, {"als": VIRTUAL})) == 25
    assert "holds nobody out" in caplog.text
    with pytest.raises(InputError, match="no effect size"):
        gather([], False, {"als": only_random}, {"als": VIRTUAL})


def test_shuffled_labels_are_said(tmp_path):
    row = own_effect("als", read_table(metrics(tmp_path, 0.5, 0.3, 0.7)), VIRTUAL | {"permuted": True})
    assert "labels permuted" in row["origin"]


def test_one_name_in_two_tables_is_refused(tmp_path):
    own = tmp_path / "mine.csv"
    own.write_text("study,accuracy_pct,ci_low_pct,ci_high_pct\nZhu et al.,90,80,95\n")
    with pytest.raises(InputError, match=r"mine\.csv.*'Zhu et al\.'.*\(a\) and \(b\)"):
        gather([STUDIES, own], True, {}, {})


def test_a_table_without_any_accuracy_is_refused(tmp_path):
    own = tmp_path / "mine.csv"
    own.write_text("study,accuracy_pct,n\nOne,,20\nTwo,,30\n")
    with pytest.raises(InputError, match=r"mine\.csv: column accuracy_pct is blank in every row"):
        gather([own], False, {}, {})


def test_the_table_says_first_what_does_not_follow(tmp_path, review, claims, numbers, effects):
    pooled = analyse(effects, **SETTINGS)
    write_judgement(tmp_path / "table", review.studies, claims, numbers, pooled, ["a remark"])
    text = (tmp_path / "table.md").read_text()
    lead = text.split("## ")[0]
    assert f"Of {len(claims)} claims" in lead
    assert "Its headline does not follow" in lead
    assert "25 rows, of which 6 are illegible" in lead
    assert text.index("89.25 %") < text.index("## Fig. 3, recomputed")
    assert "dementia_b Q 65.88, printed 65.66 (not reproducible)" in text
    assert text.rstrip().endswith("- a remark")
    written = pd.read_csv(tmp_path / "table.csv")
    assert (written["kind"] == "claim").sum() == len(claims)
    assert (written["kind"] == "number").sum() == len(numbers)
    tex = (tmp_path / "table.tex").read_text()
    assert tex.count(r"\begin{longtable}") == 1
    assert tex.count("{") == tex.count("}")
    assert r"\textbf{does not follow}" in tex
