import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceneuro.errors import InputError
from faceneuro.meta.effects import COLUMNS, SCALES, from_scale, on_scale, read_studies, remarks

HEADER = "study,subgroup,accuracy_pct,ci_low_pct,ci_high_pct\n"
GOOD = HEADER + "A,ALS,90,85,95\nB,ALS,80,70,90\n"
Z = 1.959963984540054


@pytest.fixture
def read(tmp_path):
    def write_and_read(text: str | bytes, **options) -> pd.DataFrame:
        path = tmp_path / "studies.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_studies(path, **options)

    return write_and_read


def table(*rows: str, header: str = HEADER) -> str:
    return header + "".join(f"{row}\n" for row in rows)


FILES = {
    "empty": ("", "is empty; it needs a header"),
    "only comments": ("# nothing here\n\n", "is empty; it needs a header"),
    "no rows": (HEADER, "has a header but no rows; add a line for each study"),
    "Latin letters in another code": ("study,accuracy_pct,n\nMüller,90,10\n".encode("latin-1"), "save it again as"),
    "a spreadsheet": (b"PK\x03\x04\0\0", "is not a text file; save it again as 'CSV UTF-8'"),
    "tabs": ("study\taccuracy_pct\tn\nA\t90\t10\n", "line 1: the header .* separate the columns by commas"),
    "quotes that do not close": (table('"A,ALS,90,85,95'), "line 2.*cells"),
    "no study": ("accuracy_pct,n\n90,10\n", r"column study is missing \(there are accuracy_pct, n\); add it"),
    "no accuracy": ("study,accuracy,n\nA,90,10\n", "column accuracy_pct is missing .*add it, with the accuracies"),
    "no precision": ("study,accuracy_pct\nA,90\n", "columns ci_low_pct and ci_high_pct are missing.* add the limits"),
    "one limit": ("study,accuracy_pct,ci_low_pct\nA,90,80\n", "column ci_high_pct is missing;.* so add it"),
    "a column twice": ("study,accuracy_pct,n,n\nA,90,10,10\n", "column n is there 2 times; remove all but one"),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_table_is_named_with_a_remedy(read, text, message):
    with pytest.raises(InputError, match=message) as raised:
        read(text)
    assert all("studies.csv" in line for line in str(raised.value).splitlines())


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.csv does not exist; give the CSV file"):
        read_studies(tmp_path / "absent.csv")
    with pytest.raises(InputError, match=r"cannot be read; give the CSV file"):
        read_studies(tmp_path)


VARIANCE = "study,accuracy_pct,variance_pct2\n"
COUNT = "study,accuracy_pct,n\n"
YEAR = "study,accuracy_pct,n,year\n"

# Header, rows; line, study and column that must be named; the remedy.
ROWS = {
    "not a number": (HEADER, ["A,ALS,ninety,85,95"], 2, "A", "accuracy_pct", "'ninety' is not a number; write 95.2"),
    "nan": (HEADER, ["A,ALS,nan,85,95"], 2, "A", "accuracy_pct", "leave the cell blank"),
    "decimal comma": (HEADER, ['A,ALS,"90,5",85,95'], 2, "A", "accuracy_pct", "is not a number; write 95.2"),
    "infinite": (HEADER, ["A,ALS,90,85,inf"], 2, "A", "ci_high_pct", "is not a number"),
    "no interval": (HEADER, ["A,ALS,90,,"], 2, "A", "ci_low_pct and ci_high_pct", "give the limits of its confidence"),
    "one limit": (HEADER, ["A,ALS,90,85,"], 2, "A", "ci_high_pct", "give both limits, or neither"),
    "no variance": (VARIANCE, ["A,90,"], 2, "A", "variance_pct2", "give the limits of its confidence"),
    "reversed": (HEADER, ["A,ALS,90,95,85"], 2, "A", "ci_low_pct", "is above the upper limit 85; swap them"),
    "zero width": (HEADER, ["A,ALS,90,90,90"], 2, "A", "ci_high_pct", "give the interval with more digits"),
    "negative variance": (VARIANCE, ["A,90,-4"], 2, "A", "variance_pct2", "-4 is not above 0; give the squared"),
    "zero variance": (VARIANCE, ["A,90,0"], 2, "A", "variance_pct2", "0 is not above 0; give the squared"),
    "twice": (
        HEADER,
        ["A,ALS,90,85,95", "# a comment", "A,ALS,80,70,90"],
        4,
        "A",
        "study",
        r"line 2 has the same name; .*'A \(a\)' and 'A \(b\)'",
    ),
    "outside": (
        HEADER,
        ["A,ALS,99,85,95"],
        2,
        "A",
        "accuracy_pct",
        "outside its confidence interval, 85 to 95; correct",
    ),
    "one fraction": (
        HEADER,
        ["A,ALS,90,85,95", "B,ALS,0.8,0.7,0.9"],
        3,
        "B",
        "accuracy_pct",
        "0.8 looks like a fraction, .*write 80",
    ),
    "below 0": (
        HEADER,
        ["A,ALS,-3,-5,-1"],
        2,
        "A",
        "accuracy_pct",
        "not between 0 and 100; give the accuracy in percent",
    ),
    "above 100": (HEADER, ["A,ALS,101,99,103"], 2, "A", "accuracy_pct", "101 is not between 0 and 100"),
    "no subgroup": (HEADER, ["A,,90,85,95"], 2, "A", "subgroup", "it is blank; give the subgroup a name"),
    "no name": (HEADER, [" ,ALS,90,85,95"], 2, "no name", "study", "it is blank; give the study a name"),
    "n of 0": (COUNT, ["A,90,0"], 2, "A", "n", "0 is not a positive whole number; give the number of subjects"),
    "n of a half": (COUNT, ["A,90,10.5"], 2, "A", "n", "10.5 is not a positive whole number"),
    "n below 0": (COUNT, ["A,90,-2"], 2, "A", "n", "-2 is not a positive whole number"),
    "long ago": (YEAR, ["A,90,20,23"], 2, "A", "year", "23 is not a year from 1900 to 2100; correct it or leave"),
    "part of a year": (YEAR, ["A,90,20,2020.5"], 2, "A", "year", "2020.5 is not a year"),
}


@pytest.mark.parametrize(("header", "rows", "line", "study", "column", "remedy"), ROWS.values(), ids=ROWS)
def test_what_is_wrong_in_a_row_is_named_by_file_line_study_and_column_with_a_remedy(
    read, header, rows, line, study, column, remedy
):
    with pytest.raises(InputError, match=remedy) as raised:
        read(table(*rows, header=header))
    assert str(raised.value).count("\n") == 0
    assert f"studies.csv, line {line} ({study}), column {column}: " in str(raised.value)


def test_a_row_with_too_few_cells_is_named(read):
    with pytest.raises(
        InputError, match=r"studies\.csv, line 3 \(B\): it has 4 cells, the header has 5 .*missing commas"
    ):
        read(table("A,ALS,90,85,95", "B,ALS,90,85"))


def test_fractions_throughout_are_one_mistake(read):
    message = r"studies\.csv, lines 2 to 3 \(A to B\), column accuracy_pct: no accuracy is above 1.*by 100, variances"
    with pytest.raises(InputError, match=message) as raised:
        read(table("A,ALS,0.9,0.85,0.95", "B,ALS,1,0.9,1.1"))
    assert str(raised.value).count("\n") == 0


def test_all_problems_of_a_file_are_said_at_once_in_the_order_of_its_lines(read):
    with pytest.raises(InputError) as raised:
        read(
            table(
                "A,ALS,0.9,85,95",
                "B,,90,95,85",
                "C,ALS,90,,",
                "B,ALS,200,x,95",
                "D,ALS,50,40,60",
            )
        )
    said = [line.partition("studies.csv, line ")[2] for line in str(raised.value).splitlines()]
    assert [line.partition(":")[0] for line in said] == [
        "2 (A), column accuracy_pct",
        "3 (B), column ci_low_pct",
        "3 (B), column subgroup",
        "4 (C), column ci_low_pct and ci_high_pct",
        "5 (B), column accuracy_pct",
        "5 (B), column ci_low_pct",
        "5 (B), column study",
    ]


def test_limits_give_the_variance_and_defaults_fill_the_rest(read):
    studies = read("# a comment\nstudy,accuracy_pct,ci_low_pct,ci_high_pct,colour\n\nA,90,80.2,99.8,red\n")
    assert tuple(studies.columns) == COLUMNS
    row = studies.iloc[0]
    assert row["variance"] == pytest.approx((9.8 / Z) ** 2)
    assert (row["subgroup"], row["block"], row["article"]) == ("all", "all", "A")
    assert (row["measure"], row["provenance"], row["row"]) == ("accuracy", "printed", 4)
    assert row["n"] is pd.NA
    assert row["year"] is pd.NA


def test_limits_at_another_level_have_another_variance(read):
    assert read(GOOD, level=0.9)["variance"].iloc[0] == pytest.approx((5 / 1.6448536269514722) ** 2)


def test_a_variance_gives_symmetric_limits(read):
    row = read(table("A,90,4", header=VARIANCE)).iloc[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((90 - 2 * Z, 90 + 2 * Z))
    assert row["variance"] == 4


def test_a_number_of_subjects_gives_wilsons_interval(read):
    # By hand for 8 of 10: z^2 = 3.841459, centre (0.8 + 0.1920729) / 1.3841459 = 0.7167402, half width
    # 1.959964 sqrt(0.016 + 0.00960365) / 1.3841459 = 0.2265777.
    studies = read(table("A,80,10", "B,100,25", "C,0,25", header=COUNT))
    assert studies.loc[0, "ci_low"] == pytest.approx(49.01625, abs=1e-4)
    assert studies.loc[0, "ci_high"] == pytest.approx(94.33179, abs=1e-4)
    assert studies.loc[0, "variance"] == pytest.approx((22.65777 / Z) ** 2, rel=1e-6)
    assert studies.loc[1, "ci_high"] == 100
    assert studies.loc[2, "ci_low"] == 0
    assert (studies["variance"] > 0).all()


def test_a_blank_accuracy_is_a_missing_value(read):
    header = "study,accuracy_pct,ci_low_pct,ci_high_pct,variance_pct2,n\n"
    studies = read(table("A,90,85,95,,", "B,,,,,20", "C,,,,9,", "D,,60,80,,", header=header))
    assert studies["accuracy"].isna().tolist() == [False, True, True, True]
    assert studies["ci_low"].isna().tolist() == studies["ci_high"].isna().tolist() == [False, True, True, True]
    np.testing.assert_allclose(studies["variance"][1:], [np.nan, 9, (10 / Z) ** 2])
    assert studies["n"].isna().tolist() == [True, False, True, True]


def test_given_columns_are_kept_and_semicolons_separate_as_well(read):
    header = "study;accuracy_pct;n;subgroup;subgroup_block;article;year;measure;provenance\n"
    row = read(table("A; 90;20.0;ALS;als_b;A 2020;2020;r_squared;recovered", header=header)).iloc[0]
    assert (row["subgroup"], row["block"], row["article"], row["year"]) == ("ALS", "als_b", "A 2020", 2020)
    assert (row["measure"], row["provenance"], row["n"]) == ("r_squared", "recovered", 20)


def test_a_quoted_cell_does_not_shift_the_line_numbers(read):
    studies = read(table('"A, and\nB",ALS,90,85,95', "# comment", "C,ALS,80,70,90"))
    assert studies["row"].tolist() == [2, 5]


def test_remarks_name_what_must_be_said(read):
    header = "study,subgroup,subgroup_block,accuracy_pct,variance_pct2,provenance\n"
    studies = read(
        table(
            "A,ALS,als_a,99,4,printed",
            "B,ALS,als_b,2,4,recovered",
            "C,ALS,als_b,90,4,",
            "D,palsy,palsy,80,4,",
            "E,palsy,palsy,,,",
            "F,stroke,stroke,,,",
            header=header,
        )
    )
    said = remarks(studies)
    assert [sentence.partition(":")[0] for sentence in said if "heterogeneity cannot be estimated" in sentence] == [
        "block als_a has one effect size (A)",
        "block palsy has one effect size (D)",
    ]
    for words in ("above 100 %", "(A)"), ("below 0 %", "(B)"), ("is missing", "(E, F)"), ("recovered", "(B)"):
        assert any(all(word in sentence for word in words) for sentence in said)
    assert "block stroke has no effect size: nothing can be pooled" in said


def test_nothing_is_remarked_where_nothing_is_remarkable(read):
    assert remarks(read(GOOD)) == []


def studies_of(accuracy, variance=1.0, n=None) -> pd.DataFrame:
    accuracy = np.atleast_1d(np.asarray(accuracy, float))
    n = [pd.NA] * len(accuracy) if n is None else np.atleast_1d(n)
    return pd.DataFrame(
        {"accuracy": accuracy, "variance": np.broadcast_to(variance, len(accuracy)), "n": pd.array(n, "Int64")}
    )


@given(st.lists(st.floats(0.01, 99.99), min_size=1, max_size=5), st.sampled_from(["raw", "logit"]))
def test_a_scale_leads_back_to_percent(accuracies, scale):
    effects, _, used = on_scale(studies_of(accuracies), scale)
    assert used.all()
    np.testing.assert_allclose(from_scale(effects, scale), accuracies, rtol=1e-9)


@given(st.floats(1, 99), st.floats(0.01, 50))
def test_the_logits_variance_is_that_of_the_delta_method(accuracy, variance):
    step = 1e-4
    (_, centre, _), variances, _ = on_scale(studies_of([accuracy - step, accuracy, accuracy + step], variance), "logit")
    low, high = (on_scale(studies_of(accuracy + sign * step), "logit")[0][0] for sign in (-1, 1))
    assert variances[1] == pytest.approx(variance * ((high - low) / (2 * step)) ** 2, rel=1e-5)
    assert centre == pytest.approx(math.log(accuracy / (100 - accuracy)))


def test_a_bound_has_a_logit_only_if_n_is_known():
    effects, variances, used = on_scale(studies_of([0, 100, 0, 90], n=[9, 9, pd.NA, pd.NA]), "logit")
    assert used.tolist() == [True, True, False, True]
    np.testing.assert_allclose(effects[:2], [math.log(0.5 / 9.5), math.log(9.5 / 0.5)])
    np.testing.assert_allclose(variances[:2], 1 / 0.5 + 1 / 9.5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_millers_inverse_undoes_the_freeman_tukey_transformation(counts):
    x, n = counts
    effects, variances, _ = on_scale(studies_of(100 * x / n, n=n), "freeman_tukey")
    assert variances[0] == pytest.approx(1 / (4 * n + 2))
    assert from_scale(effects, "freeman_tukey", n)[0] == pytest.approx(100 * x / n, abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 17, 1000])
def test_none_and_all_of_n_come_back_exactly(n):
    effects, _, _ = on_scale(studies_of([0, 100], n=[n, n]), "freeman_tukey")
    assert from_scale(effects, "freeman_tukey", n).tolist() == [0, 100]
    assert from_scale([effects[0] - 0.1, effects[1] + 0.1], "freeman_tukey", n).tolist() == [0, 100]


def test_rows_without_n_have_no_arcsine():
    effects, _, used = on_scale(studies_of([90, 80], n=[pd.NA, 10]), "freeman_tukey")
    assert used.tolist() == [False, True]
    assert effects.shape == (1,)


def test_the_harmonic_mean_of_n_is_used():
    assert from_scale(1.2, "freeman_tukey", [10, 30]) == from_scale(1.2, "freeman_tukey", 15)


@given(st.floats(-50, 50), st.sampled_from(["logit", "freeman_tukey"]), st.floats(1, 1e5))
def test_percentages_stay_between_0_and_100(value, scale, n):
    assert 0 <= from_scale(value, scale, n) <= 100


@pytest.mark.parametrize("scale", SCALES)
def test_missing_accuracies_are_not_used_and_nan_stays_nan(scale):
    effects, variances, used = on_scale(studies_of([np.nan, 90], n=[10, 10]), scale)
    assert used.tolist() == [False, True]
    assert np.isfinite([*effects, *variances]).all()
    assert np.isnan(from_scale(np.nan, scale, 10))


@pytest.mark.parametrize("numbers", [np.array([10.0, np.nan]), np.array([10, None], object)])
def test_numbers_of_subjects_may_come_from_any_table(numbers):
    studies = studies_of([90, 80]).assign(n=numbers)
    assert on_scale(studies, "freeman_tukey")[2].tolist() == [True, False]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="no scale probit"):
        on_scale(studies_of(90), "probit")
    with pytest.raises(ValueError, match="no scale probit"):
        from_scale(1.0, "probit")
    with pytest.raises(ValueError, match="needs n"):
        from_scale(1.0, "freeman_tukey")
