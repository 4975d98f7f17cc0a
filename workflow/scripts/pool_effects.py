"""A collection of effect sizes -> everything pooled from it, its rows with their influence, trim-and-fill's points."""

from faceneuro.meta.analysis import analyse, describe_rows, filled_effects
from faceneuro.tables import EFFECT_ROWS, FILLED_EFFECTS, POOLED, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    settings = snakemake.params.settings
    effects = read_table(snakemake.input.effects)
    write_table(analyse(effects, **settings), snakemake.output.pooled, POOLED, run.provenance)
    rows = describe_rows(effects, settings["method"], settings["test"])
    write_table(rows, snakemake.output.rows, EFFECT_ROWS, run.provenance)
    write_table(filled_effects(effects, settings["method"]), snakemake.output.filled, FILLED_EFFECTS, run.provenance)
