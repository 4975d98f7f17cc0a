"""Landmarks of one recording -> how it was recorded and, if it is good enough, how far each side of the face moves."""

from faceneuro.evaluation.measurement import excursions
from faceneuro.features.circumstances import circumstances
from faceneuro.features.points import MEASURED
from faceneuro.features.quality import accepted
from faceneuro.tables import CIRCUMSTANCES, EXCURSIONS, KEYS, read_rows, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    (verdict,) = read_table(snakemake.input.quality)["verdict"]
    rows = list(read_rows(snakemake.input.landmarks, [*KEYS, "time_s", "height", "width", "found", "landmarks"]))
    clips = read_table(snakemake.input.manifest), read_table(snakemake.input.decoding)
    moved = excursions(rows if accepted(verdict, snakemake.params.least) else [], MEASURED)
    write_table(circumstances(*clips, rows), snakemake.output.circumstances, CIRCUMSTANCES, run.provenance)
    write_table(moved, snakemake.output.excursions, EXCURSIONS, run.provenance)
