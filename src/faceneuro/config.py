"""The configuration, checked against its schema, with one sentence for whoever mistyped it."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError, best_match

from faceneuro.errors import InputError
from faceneuro.models import BRANCHES


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
        studies = list(config["studies"]) if studies == "all" else list(studies)
        if studies or collection["tables"]:
            found[name] = {**collection, "studies": studies}
    return found


def study_clips(study: Mapping[str, Any], shards: Mapping[str, Sequence[Mapping]]) -> list[Mapping]:
    """The clips of a cohort, given by shard, that belong to a study's groups and tasks."""
    groups, tasks = study["groups"].values(), study["tasks"]
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
        folds = study["protocols"].get("grouped", {}).get("folds", 2)
        needed = folds if isinstance(folds, int) else 2
        for role, group in study["groups"].items():
            subjects = {clip["subject"] for clip in clips if clip["group"] == group}
            if not subjects:
                known = {clip["group"] for each in shards[study["cohort"]].values() for clip in each if clip["group"]}
                raise InputError(
                    f"config key studies.{name}.groups.{role}: cohort {study['cohort']!r} has no usable clip of group "
                    f"{group!r}{_hint(group, sorted(known))}"
                )
            if len(subjects) < needed:
                raise InputError(
                    f"config key studies.{name}.protocols.grouped.folds: {needed} folds need {needed} subjects in each "
                    f"class, but {group!r} has {len(subjects)}; lower it, or add subjects"
                )


def _check_collections(collections: Mapping[str, Any], studies: Mapping[str, Any]) -> None:
    for name, collection in collections.items():
        key = f"meta_analysis.collections.{name}"
        if name in (REVIEW, "recovery"):
            raise InputError(f"config key {key}: the name is taken by what is always there; choose another")
        if collection["studies"] != "all":
            for study in collection["studies"]:
                if study not in studies:
                    raise InputError(f"config key {key}.studies: there is no study {study!r}{_hint(study, studies)}")
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
    if len(set(study["groups"].values())) < len(study["groups"]):
        raise InputError(f"config key {key}.groups: every class needs a group of its own")
    for model in study["models"]:
        for branch in BRANCHES.get(model, ()):
            if branch not in study["models"]:
                raise InputError(f"config key {key}.models: {model!r} fuses {branch!r}, which is not listed; add it")
    cohort = cohorts[study["cohort"]]
    if cohort["kind"] != "virtual":
        return
    for role, group in study["groups"].items():
        if not cohort["groups"].get(group):
            raise InputError(
                f"config key {key}.groups.{role}: cohort {study['cohort']!r} has no subjects in group {group!r}"
                f"{_hint(group, cohort['groups'])}"
            )
    for task in study["tasks"] or ():
        if task not in cohort["tasks"]:
            hint = _hint(task, cohort["tasks"])
            raise InputError(f"config key {key}.tasks: cohort {study['cohort']!r} does not record {task!r}{hint}")


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
