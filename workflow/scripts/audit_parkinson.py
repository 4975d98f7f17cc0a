"""Features, surroundings and predictions of the study -> what else than the disease could explain the result."""

import pandas as pd

from faceneuro.evaluation.sources import (
    BACKGROUND_TELLS_CLASS,
    BACKGROUND_TELLS_SOURCE,
    FEATURES_TELL_SOURCE,
    age_matched,
    probe,
    probe_audit,
    specificity_by_source,
)
from faceneuro.files import replacing
from faceneuro.studies.parkinson import CLASSES, features_of, mean_of_expressions
from faceneuro.tables import read_table
from faceneuro.training.activations import Activations
from faceneuro.workflow import job

with job(snakemake):
    samples, predictions = read_table(snakemake.input.samples), read_table(snakemake.input.predictions)
    bootstrap, folds = snakemake.params.bootstrap, snakemake.params.folds
    surroundings = Activations(snakemake.input.surroundings).rows(slice(None)).flatten(1)
    background = mean_of_expressions(samples, surroundings.numpy())
    ((family, settings),) = snakemake.params.backbones.items()
    of_images = features_of(snakemake.input.activations, family, settings, threads=snakemake.threads)
    features = mean_of_expressions(samples, of_images)
    healthy = (samples["label"] == CLASSES[0]).to_numpy()
    probes = {
        FEATURES_TELL_SOURCE: (features[healthy], samples["source"][healthy]),
        BACKGROUND_TELLS_SOURCE: (background[healthy], samples["source"][healthy]),
        BACKGROUND_TELLS_CLASS: (background, ["no disease" if each else "disease" for each in healthy]),
    }
    audits = [
        probe_audit(audit, probe(*seen, folds=folds, seed=bootstrap["seed"], resamples=bootstrap["resamples"]))
        for audit, seen in probes.items()
    ]
    audits.append(specificity_by_source(predictions, samples, CLASSES[0], **bootstrap))
    shown = predictions[(predictions["protocol"] == "grouped") & (predictions["model"] == snakemake.params.model)]
    audits.append(age_matched(shown, samples, CLASSES[0], calliper=snakemake.params.calliper, **bootstrap))
    with replacing(snakemake.output.audits) as part:
        pd.concat(audits, ignore_index=True).to_csv(part, index=False, lineterminator="\n")
