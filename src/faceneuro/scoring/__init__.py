"""Recordings of people whom no model was trained on: which files they are, what the models of a study say of them.

Imported at every start of Snakemake, so nothing heavy is imported here.
"""

MODELS = {"als": "dual_branch", "palsy": "early_rgb"}
"""Studies whose models can be run on one video, and the model of each: the one that its paper is about."""

OTHERS = {
    "parkinson": "its models judge a person by photographs of six expressions, which one video does not show",
    "synthesis": "it makes pictures of faces and tells nobody ill from healthy",
}
"""Why the other studies' cannot."""

COHORT = "score"
"""What the tables of a recording have as their cohort: none."""
