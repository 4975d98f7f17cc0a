"""The configuration, checked against its schema, with one sentence for whoever mistyped it."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError, best_match

from faceneuro.errors import InputError
from faceneuro.models import BRANCHES, PARKINSON_FAMILIES


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Check a configuration and what its parts say of each other.

    Parameters
    ----------
    config
        As Snakemake merged it from its files and the command line.
    schema
        A JSON schema (draft 2020-12).

    Raises
    ------
    InputError
        One sentence that names the key by its path, says what is wrong and what would be right.
    """
    error = best_match(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if error is not None:
        raise InputError(_sentence(error))
    for name, study in config["studies"].items():
        _check_study(f"studies.{name}", study, config["cohorts"])
    if config["meta_analysis"] is not None:
        _check_collections(config["meta_analysis"]["collections"], config["studies"])


REVIEW = "review"
"""The collection of effect sizes that is always there: those of the published review."""


def collections(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The collections of effect sizes to pool, the review's own first, each with the names of its studies.

    One that would be the review again, for want of a study or a table of its own, is left out.
    """
    if config["meta_analysis"] is None:
        return {}
    found = {REVIEW: {"published": True, "studies": [], "tables": []}}
    for name, collection in config["meta_analysis"]["collections"].items():
        studies = collection["studies"]
        # Only what holds people out and tells classes apart has an accuracy.
        own = [study for study, block in config["studies"].items() if "protocols" in block]
        studies = own if studies == "all" else list(studies)
        if studies or collection["tables"]:
            found[name] = {**collection, "studies": studies}
    return found


def groups_of(study: Mapping[str, Any]) -> dict[str, str]:
    """The groups of a study by their role; one that may do without is left out."""
    return {role: group for role, group in study["groups"].items() if group is not None}


def study_clips(study: Mapping[str, Any], shards: Mapping[str, Sequence[Mapping]]) -> list[Mapping]:
    """The clips of a cohort, given by shard, that belong to a study's groups and tasks."""
    groups, tasks = groups_of(study).values(), study["tasks"]
    return [
        clip
        for clips in shards.values()
        for clip in clips
        if clip["group"] in groups and (tasks is None or clip["task"] in tasks) and not clip["problem"]
    ]


def check_subjects(config: Mapping[str, Any], shards: Mapping[str, Mapping[str, Sequence[Mapping]]]) -> None:
    """Check that every class of every study has the subjects that its folds need, before any work is done.

    Parameters
    ----------
    config
        A configuration that :func:`check` accepted.
    shards
        For every cohort, its clips by shard.

    Raises
    ------
    InputError
        One sentence that names the key and what to change.
    """
    for name, study in config["studies"].items():
        clips = study_clips(study, shards[study["cohort"]])
        folds = study.get("protocols", {}).get("grouped", {}).get("folds", 2)
        needed = folds if isinstance(folds, int) else 2
        classes = {}
        for role, group in groups_of(study).items():
            of_group = [clip for clip in clips if clip["group"] == group]
            if not of_group:
                known = {clip["group"] for each in shards[study["cohort"]].values() for clip in each if clip["group"]}
                raise InputError(
                    f"config key studies.{name}.groups.{role}: cohort {study['cohort']!r} has no usable clip of group "
                    f"{group!r}{_hint(group, sorted(known))}"
                )
            if role == "positive" and "stages" in study:
                classes |= _by_stage(f"studies.{name}.stages", study["stages"], of_group)
            else:
                classes[group] = {clip["subject"] for clip in of_group}
        # Where nobody is held out fold by fold, the study itself says how many people it needs.
        for label, subjects in classes.items() if "protocols" in study else ():
            if len(subjects) < needed:
                raise InputError(
                    f"config key studies.{name}.protocols.grouped.folds: {needed} folds need {needed} subjects in each "
                    f"class, but {label!r} has {len(subjects)}; lower it, or add subjects"
                )


def _by_stage(key: str, stages: Mapping[str, Sequence[float]], clips: Sequence[Mapping]) -> dict[str, set[str]]:
    """The subjects of each stage of a disease."""
    found = {}
    for stage, severities in stages.items():
        found[stage] = {clip["subject"] for clip in clips if clip["severity"] in severities}
        if not found[stage]:
            known = sorted({f"{clip['severity']:g}" for clip in clips if clip["severity"] is not None})
            raise InputError(
                f"config key {key}.{stage}: no patient has a severity of {' or '.join(f'{s:g}' for s in severities)}; "
                f"there are {', '.join(known) or 'none at all: the manifest needs a column severity'}"
            )
    return found


def _check_collections(collections: Mapping[str, Any], studies: Mapping[str, Any]) -> None:
    for name, collection in collections.items():
        key = f"meta_analysis.collections.{name}"
        if name in (REVIEW, "recovery"):
            raise InputError(f"config key {key}: the name is taken by what is always there; choose another")
        if collection["studies"] != "all":
            for study in collection["studies"]:
                if study not in studies:
                    raise InputError(f"config key {key}.studies: there is no study {study!r}{_hint(study, studies)}")
                if "protocols" not in studies[study]:
                    raise InputError(f"config key {key}.studies: study {study!r} has no accuracy to pool; remove it")
        for table in collection["tables"]:
            if not Path(table).is_file():
                raise InputError(f"config key {key}.tables: there is no file {table}; correct the path or remove it")
        if not (collection["published"] or collection["studies"] or collection["tables"]):
            raise InputError(f"config key {key}: it has no effect sizes; set published, studies or tables")


def _check_study(key: str, study: Mapping[str, Any], cohorts: Mapping[str, Any]) -> None:
    if study["cohort"] not in cohorts:
        raise InputError(
            f"config key {key}.cohort: there is no cohort {study['cohort']!r}{_hint(study['cohort'], cohorts)}"
        )
    if len(set(groups_of(study).values())) < len(groups_of(study)):
        raise InputError(f"config key {key}.groups: every class needs a group of its own")
    for model in study["models"]:
        for branch in BRANCHES.get(model, ()):
            if branch not in study["models"]:
                raise InputError(f"config key {key}.models: {model!r} fuses {branch!r}, which is not listed; add it")
    stages = study.get("stages", {})
    for value in stages.get("early", ()):
        if value in stages["mid_late"]:
            raise InputError(f"config key {key}.stages: severity {value:g} is in both stages; leave it in one")
    if "pretraining" in study:
        _check_pretraining(key, study, cohorts)
    for model in study.get("protocols", {}).get("sources", {}).get("models", ()):
        if model not in study["models"]:
            raise InputError(f"config key {key}.protocols.sources.models: {model!r} is not in {key}.models; add it")
    cohort = cohorts[study["cohort"]]
    if cohort["kind"] != "virtual":
        return
    for role, group in groups_of(study).items():
        if not cohort["groups"].get(group):
            raise InputError(
                f"config key {key}.groups.{role}: cohort {study['cohort']!r} has no subjects in group {group!r}"
                f"{_hint(group, cohort['groups'])}"
            )
    for task in study["tasks"] or ():
        if task not in cohort["tasks"]:
            hint = _hint(task, cohort["tasks"])
            raise InputError(f"config key {key}.tasks: cohort {study['cohort']!r} does not record {task!r}{hint}")


def _check_pretraining(key: str, study: Mapping[str, Any], cohorts: Mapping[str, Any]) -> None:
    """What backbones learn expressions from must be there, and must not be the people that are tested later."""
    cohort, folder = study["pretraining"]["cohort"], study["pretraining"]["folder"]
    used = {PARKINSON_FAMILIES[model] for model in study["models"]}
    learning = [name for name, block in study["backbones"].items() if block["weights"] == "expression" and name in used]
    if not learning:
        return
    if cohort is not None and folder is not None:
        raise InputError(f"config key {key}.pretraining: it has a cohort and a folder; set one of them to null")
    if cohort is not None and cohort not in cohorts:
        raise InputError(f"config key {key}.pretraining.cohort: there is no cohort {cohort!r}{_hint(cohort, cohorts)}")
    if cohort == study["cohort"]:
        raise InputError(
            f"config key {key}.pretraining.cohort: {cohort!r} is the study's own, whose people are to be tested; name "
            "another one, or give a folder"
        )
    if folder is not None and not Path(folder).is_dir():
        raise InputError(f"config key {key}.pretraining.folder: there is no folder {folder}; correct the path")
    if cohort is None and folder is None:
        raise InputError(
            f"config key {key}.backbones.{learning[0]}.weights: it is expression, but {key}.pretraining has neither a "
            "cohort nor a folder; give one, or choose auto, none or a file"
        )


def _sentence(error: ValidationError) -> str:
    key = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(name for name in error.instance if name not in known)
        return f"config key {key}: unknown key {unknown!r}{_hint(unknown, known)}"
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"config key {key}: {missing!r} is missing; config/config.yaml shows and explains it"
    if error.validator == "enum":
        return f"config key {key}: {error.instance!r} is not known{_hint(error.instance, error.validator_value)}"
    if error.validator == "pattern":
        return f"config key {key}: {error.instance!r} is not a usable name (small letters, digits and underscores)"
    return f"config key {key}: {error.message}{_type_hint(error)}"


def _hint(name: Any, known: Any) -> str:
    names = [str(each) for each in known]
    close = difflib.get_close_matches(str(name), names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names) or 'none'}"


def _type_hint(error: ValidationError) -> str:
    if error.validator == "type" and isinstance(error.instance, str) and "number" in str(error.validator_value):
        return " (YAML reads 1e-3 as text: write 0.001 or 1.0e-3)"
    return ""
