"""The manifest of a run for machines that do not know this pipeline: RO-Crate 1.1, profile Process Run Crate 0.5.

The document is a list of linked dicts and is put together here, because the library for it, ro-crate-py, opens a socket
when it is imported, and a job may not. A test reads the document with that library.

References
----------
RO-Crate Metadata Specification 1.1, https://w3id.org/ro/crate/1.1
Process Run Crate 0.5, https://w3id.org/ro/wfrun/process/0.5
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

ROCRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".yaml": "application/yaml",
}
TERMS = (
    "The results belong to those who made the run. What is derived from recordings of people may be passed on only as "
    "far as they, and the terms of their data sets, allow."
)

Entity = dict[str, Any]


def crate(manifest: Mapping[str, Any], written: Mapping[str, Mapping[str, Any]]) -> Entity:
    """The content of ``ro-crate-metadata.json``, to be put into ``results/``.

    Parameters
    ----------
    manifest
        Of :func:`faceneuro.report.provenance.manifest`.
    written
        Size and hash of the files beside it, the manifest among them, by path, as in the manifest's ``outputs``.

    Returns
    -------
    JSON-LD: tables, figures and the files beside them, the run that made them, its configuration, what it worked on,
    and the software. Files that the manifest does not list, such as landmarks, are no part of it.
    """
    files = [_file(path, about) for path, about in {**manifest["outputs"], **written}.items()]
    made = [file for file in files if file["@id"] != "config.yaml"]
    values, software = _values(manifest["inputs"]), _software(manifest["software"])
    run = {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "Run of the faceneuro workflow",
        "description": "; ".join(manifest["repeat"]["commands"]),
        "startTime": manifest["total"]["first_job_started"] or manifest["call"]["started"],
        "endTime": manifest["recorded"],
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "instrument": {"@id": software[0]["@id"]},
        "object": [{"@id": "config.yaml"}, *map(_link, values)],
        "result": list(map(_link, made)),
    }
    dataset = {
        "@id": "./",
        "@type": "Dataset",
        "name": "Tables and figures of a faceneuro run",
        "description": "Published works on facial-expression-based neurology, recomputed: each number beside the "
        "printed one. provenance.json says what the run was made of and how to repeat it.",
        "datePublished": manifest["recorded"],
        "license": {"@id": "#terms"},
        "conformsTo": {"@id": PROFILE},
        "hasPart": list(map(_link, files)),
        "mentions": _link(run),
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": ROCRATE},
        "about": _link(dataset),
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    terms = {"@id": "#terms", "@type": "CreativeWork", "name": "Terms of use", "description": TERMS}
    return {
        "@context": [f"{ROCRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"],
        "@graph": [descriptor, dataset, profile, terms, run, *software, *values, *files],
    }


def _link(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _file(path: str, about: Mapping[str, Any]) -> Entity:
    place = PurePosixPath(path).relative_to("results")
    return {
        "@id": quote(str(place)),
        "@type": "File",
        "name": str(place),
        "encodingFormat": FORMATS[place.suffix],
        "contentSize": str(about["bytes"]),
        "sha256": about["sha256"],
    }


def _values(inputs: Mapping[str, Any]) -> list[Entity]:
    """What the run worked on and is not in the crate, each by a hash."""
    hashes = {f"cohorts.{name}": cohort["digest"] for name, cohort in inputs["cohorts"].items()}
    hashes |= {name: about["sha256"] for part in ("files", "assets") for name, about in inputs[part].items()}
    return [
        {"@id": f"#input-{quote(name)}", "@type": "PropertyValue", "name": name, "value": value}
        for name, value in hashes.items()
    ]


def _software(software: Mapping[str, Any]) -> list[Entity]:
    """The workflow first, then what executes it; the manifest has the version of every package."""
    needed = [
        _application("Snakemake", software["snakemake"], "https://snakemake.readthedocs.io"),
        _application("Python", software["python"], "https://www.python.org"),
    ]
    workflow = _application("faceneuro", software["faceneuro"]) | {
        "identifier": software["commit"] or f"sha256:{software['source_sha256']}",
        "softwareRequirements": list(map(_link, needed)),
    }
    return [workflow, *needed]


def _application(name: str, version: str, url: str | None = None) -> Entity:
    about = {"@id": f"#{name.lower()}", "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
    return about | ({"url": url} if url else {})
