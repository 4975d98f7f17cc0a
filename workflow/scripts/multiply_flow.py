"""Samples and the flow tables they point into -> inner products of all pairs of flow fields."""

import numpy as np

from faceneuro.files import replacing
from faceneuro.studies.als import FlowReader, read_samples
from faceneuro.training.reduction import inner_products
from faceneuro.workflow import job

with job(snakemake) as run:
    table, _ = read_samples(snakemake.input.samples)
    fields = FlowReader(table, snakemake.input.flow)
    memory = snakemake.params.memory_mib * 2**20
    gram = inner_products(fields, len(fields), memory, run.progress, snakemake.threads)
    with replacing(snakemake.output.gram) as part:
        np.save(part, gram)
