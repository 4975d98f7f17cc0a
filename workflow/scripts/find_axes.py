"""Reduction of one fold and the flow it was fitted on -> its principal components as flow fields."""

from faceneuro.studies.als import FlowReader, read_samples
from faceneuro.training.reduction import Reduction, axes
from faceneuro.workflow import job

with job(snakemake) as run:
    samples, _ = read_samples(snakemake.input.samples)
    components = Reduction.load(snakemake.input.reduction).components
    found = axes(components, FlowReader(samples, snakemake.input.flow), run.progress)
    found.save(snakemake.output.axes)
