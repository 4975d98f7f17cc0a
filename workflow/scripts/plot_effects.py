"""Analyses and rows of a collection of effect sizes -> its five figures."""

from pathlib import Path

from faceneuro.report.meta_analysis import origin_note
from faceneuro.report.meta_figures import baujat, forest, funnel, galbraith, leave_one_out
from faceneuro.tables import read_table
from faceneuro.workflow import job

FIGURES = ("forest", "funnel", "galbraith", "leave_one_out", "baujat")

with job(snakemake):
    stems = {name: Path(snakemake.output[name][0]).with_suffix("") for name in FIGURES}
    pooled, rows = read_table(snakemake.input.pooled), read_table(snakemake.input.rows)
    rows["recovered"] = rows["provenance"] == "recovered"
    rows["group"] = rows["subgroup"].where(rows["provenance"] != "computed", rows["block"])
    main, differences = (
        pooled.iloc[0],
        pooled.query("analysis == 'block' and group == 'differences' and scale == 'raw'"),
    )
    fixed = pooled.query("analysis == 'estimator' and method == 'FE' and test == 'z'")["estimate"].iloc[0]
    subtotals = pooled.query("analysis == 'block' and group != 'differences' and scale == 'raw'")
    subtotals = subtotals.rename(columns={"group": "block"})
    overall = main.to_dict()
    for name, column in (("q_between", "q"), ("q_between_df", "q_df"), ("q_between_p_value", "q_p_value")):
        overall[name] = differences[column].iloc[0] if len(differences) else float("nan")
    caption = origin_note(rows)
    forest(rows, subtotals, overall, caption, stems["forest"])
    funnel(rows, main["estimate"], main["tau2"], read_table(snakemake.input.filled), caption, stems["funnel"])
    galbraith(rows, fixed, caption, stems["galbraith"])
    leave_one_out(rows, overall, caption, stems["leave_one_out"])
    baujat(rows, caption, stems["baujat"])
