"""The configuration, checked against its schema, with one sentence for whoever mistyped it."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError, best_match

from faceneuro import cohorts, scoring
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
    _check_schema(config, schema)
    for name, settings in config["cohorts"].items():
        if settings["kind"] not in cohorts.kinds():
            raise InputError(
                f"config key cohorts.{name}.kind: {settings['kind']!r} is not known"
                f"{_hint(settings['kind'], cohorts.kinds())}"
            )
        if (adapter := cohorts.data_set(settings["kind"])) is not None:
            _check_schema(settings, adapter.settings_schema(), f"cohorts.{name}")
    if config["root"] is not None and not any("root" in settings for settings in config["cohorts"].values()):
        raise InputError(
            "config key root: no cohort reads a folder; name a preset with --configfile, or remove the key"
        )
    for name, study in config["studies"].items():
        _check_study(f"studies.{name}", study, config["cohorts"])
    _check_score(config["score"]["study"])
    if config["meta_analysis"] is not None:
        _check_collections(config["meta_analysis"]["collections"], config["studies"])


def _check_schema(block: Mapping[str, Any], schema: Mapping[str, Any], key: str = "") -> None:
    error = best_match(jsonschema.Draft202012Validator(schema).iter_errors(block))
    if error is not None:
        raise InputError(_sentence(error, key))


def placed_cohorts(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The cohorts with every default of their kind, and their roots below the folder that ``root`` names, if any.

    Parameters
    ----------
    config
        A configuration that :func:`check` accepted.
    """
    placed = {}
    for name, settings in config["cohorts"].items():
        adapter = cohorts.data_set(settings["kind"])
        placed[name] = settings if adapter is None else adapter.complete(settings)
        if "root" in settings:
            placed[name] = placed[name] | {"root": str(Path(config["root"] or "", settings["root"]))}
    return placed


PUBLISHED_MODELS = {"als": "dual_branch", "palsy": "early_rgb", "parkinson": "attention_fusion"}
"""The paper's own model, as the study's module has it: to import that takes longer than to plan the jobs."""


def headline_model(name: str, study: Mapping[str, Any]) -> str:
    """The model that audits of a study are about: the paper's own, or else the first that is run on subjects held out.

    Parameters
    ----------
    name
        Of the study.
    study
        Its block of the configuration, with the protocol ``grouped``.
    """
    models = study["protocols"]["grouped"].get("models", study["models"])
    return PUBLISHED_MODELS[name] if PUBLISHED_MODELS[name] in models else models[0]


REVIEW = "review"
"""The collection of effect sizes that is always there: those of the published review."""


def other_run(config: Mapping[str, Any], results: Path) -> dict[str, list[str]]:
    """The files of the run that results are to be compared with.

    Parameters
    ----------
    config
        The configuration.
    results
        The results folder of this run, whether it is there or not.

    Returns
    -------
    Paths: tables, its CSV files; manifest, empty if it has none.

    Raises
    ------
    InputError
        If ``against`` is not set, or is no results folder of another run.
    """
    key, given = "config key against", config["against"]
    if given is None:
        raise InputError(f"{key}: there is no other run to compare with; add --config against=/path/to/its/results")
    folder = Path(given)
    if not folder.is_dir():
        raise InputError(f"{key}: there is no folder {given}; correct the path")
    if folder.resolve() == results.resolve():
        raise InputError(f"{key}: {given} is the results folder of this very run; name that of another one")
    tables = sorted(str(path) for path in folder.glob("tables/*.csv"))
    if not tables:
        inner = " (did you mean its folder results?)" if (folder / "results" / "tables").is_dir() else ""
        raise InputError(f"{key}: there are no tables in {given}{inner}; name the results folder of a finished run")
    manifest = folder / "provenance.json"
    return {"tables": tables, "manifest": [str(manifest)] if manifest.exists() else []}


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


Shards = Mapping[str, Mapping[str, Sequence[Mapping]]]


def cohorts_of(study: Mapping[str, Any]) -> list[str]:
    """The cohorts that a study works on."""
    return [study["cohort"]] if isinstance(study["cohort"], str) else list(study["cohort"])


def all_clips(study: Mapping[str, Any], shards: Shards) -> list[Mapping]:
    """The clips of a study's cohorts that can be used, whatever they show."""
    return [
        clip
        for cohort in cohorts_of(study)
        for clips in shards[cohort].values()
        for clip in clips
        if not clip["problem"]
    ]


def study_clips(study: Mapping[str, Any], shards: Shards) -> list[Mapping]:
    """The clips, of all cohorts by shard, that belong to a study's groups and tasks."""
    groups, tasks = groups_of(study).values(), study["tasks"]
    return [
        clip
        for clip in all_clips(study, shards)
        if clip["group"] in groups and (tasks is None or clip["task"] in tasks)
    ]


def filled_tasks(study: Mapping[str, Any], shards: Shards) -> list[str]:
    """Those of a study's tasks that people of every group of it did.

    What one group did not do at all would give the groups away by its absence, so it is left out for everybody.
    """
    clips = study_clips(study, shards)
    did = [{clip["task"] for clip in clips if clip["group"] == group} for group in groups_of(study).values()]
    return [task for task in study["tasks"] or () if all(task in tasks for tasks in did)]


def check_subjects(config: Mapping[str, Any], shards: Shards) -> list[str]:
    """Check that a study's cohorts have what it needs, before any work is done: people, tasks, stages.

    Parameters
    ----------
    config
        A configuration that :func:`check` accepted.
    shards
        For every cohort, its clips by shard.

    Returns
    -------
    What a study can do without, but somebody must know: a sentence each.

    Raises
    ------
    InputError
        One sentence that names the key and what to change.
    """
    notes = []
    for name, study in config["studies"].items():
        _check_overlap(f"studies.{name}.cohort", study, config["cohorts"], shards)
        clips = study_clips(study, shards)
        folds = study.get("protocols", {}).get("grouped", {}).get("folds", 2)
        needed = folds if isinstance(folds, int) else 2
        classes = {}
        for role, group in groups_of(study).items():
            of_group = [clip for clip in clips if clip["group"] == group]
            if not of_group:
                known = {clip["group"] for clip in all_clips(study, shards) if clip["group"]}
                tasks = f" that did one of {', '.join(study['tasks'])}" if group in known and study["tasks"] else ""
                raise InputError(
                    f"config key studies.{name}.groups.{role}: {_named(study)} has no usable clip of group "
                    f"{group!r}{tasks or _hint(group, sorted(known))}"
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
        notes += _check_tasks(f"studies.{name}", study, shards)
    return notes


def _named(study: Mapping[str, Any]) -> str:
    names = cohorts_of(study)
    return f"cohort {names[0]!r}" if len(names) == 1 else f"the union of cohorts {', '.join(map(repr, names))}"


def _check_overlap(key: str, study: Mapping[str, Any], blocks: Mapping[str, Mapping], shards: Shards) -> None:
    """No file may be in two cohorts of a study: a person would be in it twice."""
    found: dict[str, str] = {}
    for cohort in cohorts_of(study):
        if "root" not in blocks[cohort]:
            continue
        root = os.path.realpath(blocks[cohort]["root"])
        for clip in (clip for clips in shards[cohort].values() for clip in clips):
            folder = os.path.join(root, os.path.relpath(clip["path"], blocks[cohort]["root"]))
            for file in clip["files"] or [""]:
                other = found.setdefault(os.path.join(folder, file), cohort)
                if other != cohort:
                    raise InputError(
                        f"config key {key}: cohorts {other!r} and {cohort!r} both hold {clip['path']}; a person would "
                        "be in the study twice: remove one of them, or correct their roots"
                    )


def _check_tasks(key: str, study: Mapping[str, Any], shards: Shards) -> list[str]:
    """What a study asks for must have been done; of expressions, a number may be missing."""
    filled = filled_tasks(study, shards)
    missing = [task for task in study["tasks"] or () if task not in filled]
    if not missing:
        return []
    done_by_some = {clip["task"] for clip in study_clips(study, shards)}
    groups = list(groups_of(study).values())
    done = {
        group: sorted({clip["task"] for clip in all_clips(study, shards) if clip["group"] == group and clip["task"]})
        for group in groups
    }
    offered = "; ".join(f"{group} did {', '.join(tasks) or 'nothing that is named'}" for group, tasks in done.items())
    sentence = f"config key {key}.tasks: not every group did {', '.join(missing)} ({offered})"
    remedy = f"change {key}.tasks, or let others stand in for them by cohorts.*.rename.task"
    if "least_expressions" in study:
        if len(filled) < study["least_expressions"]:
            lower = f"lower {key}.least_expressions to {len(filled)}, " if filled else ""
            raise InputError(f"{sentence}; {lower}{remedy}")
        return [f"{sentence}; their places are left empty for everybody, so that nothing is told by their absence"]
    if not done_by_some.issuperset(missing):
        raise InputError(f"{sentence}; {remedy}")
    return [f"{sentence}: the study may go by who did what; {remedy}"]


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


def _check_score(study: str) -> None:
    """Not every study's models can be run on one video."""
    if study in scoring.OTHERS:
        known = " or ".join(scoring.MODELS)
        raise InputError(
            f"config key score.study: {study} cannot score a video: {scoring.OTHERS[study]}; choose {known}"
        )
    if study not in scoring.MODELS:
        raise InputError(f"config key score.study: there is no study {study!r}{_hint(study, scoring.MODELS)}")


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


def _check_study(key: str, study: Mapping[str, Any], blocks: Mapping[str, Any]) -> None:
    for cohort in cohorts_of(study):
        if cohort not in blocks:
            raise InputError(f"config key {key}.cohort: there is no cohort {cohort!r}{_hint(cohort, blocks)}")
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
        _check_pretraining(key, study, blocks)
    for model in study.get("protocols", {}).get("sources", {}).get("models", ()):
        if model not in study["models"]:
            raise InputError(f"config key {key}.protocols.sources.models: {model!r} is not in {key}.models; add it")
    used = [blocks[cohort] for cohort in cohorts_of(study)]
    # What others hold is known when their files have been listed.
    if any(block["kind"] != "virtual" for block in used):
        return
    groups = {group for block in used for group, size in block["groups"].items() if size}
    tasks = {task for block in used for task in block["tasks"]}
    for role, group in groups_of(study).items():
        if group not in groups:
            raise InputError(
                f"config key {key}.groups.{role}: {_named(study)} has no subjects in group {group!r}"
                f"{_hint(group, sorted(groups))}"
            )
    for task in study["tasks"] or ():
        if task not in tasks:
            raise InputError(
                f"config key {key}.tasks: {_named(study)} does not record {task!r}{_hint(task, sorted(tasks))}"
            )


def _check_pretraining(key: str, study: Mapping[str, Any], blocks: Mapping[str, Any]) -> None:
    """What backbones learn expressions from must be there, and must not be the people that are tested later."""
    cohort, folder = study["pretraining"]["cohort"], study["pretraining"]["folder"]
    used = {PARKINSON_FAMILIES[model] for model in study["models"]}
    learning = [name for name, block in study["backbones"].items() if block["weights"] == "expression" and name in used]
    if not learning:
        return
    if cohort is not None and folder is not None:
        raise InputError(f"config key {key}.pretraining: it has a cohort and a folder; set one of them to null")
    if cohort is not None and cohort not in blocks:
        raise InputError(f"config key {key}.pretraining.cohort: there is no cohort {cohort!r}{_hint(cohort, blocks)}")
    if cohort in cohorts_of(study):
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


def _sentence(error: ValidationError, prefix: str = "") -> str:
    key = ".".join([*([prefix] if prefix else []), *map(str, error.absolute_path)]) or "the top level"
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
