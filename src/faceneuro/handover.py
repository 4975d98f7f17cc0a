"""What the main process found out, for the jobs of a cluster, which read the same workflow again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceneuro.files import replacing


def hand_on(folder: Path, config: Mapping[str, Any], found: Any) -> None:
    """Keep what was found for a configuration, and nothing that was found for another.

    Going through a copy of a data set takes seconds, on a shared file system minutes, and every job of a cluster would
    do it once more. What jobs are handed is also what was planned with, whatever has happened to the files since.

    Parameters
    ----------
    folder
        Where it is kept; made if it is not there.
    config
        The configuration as Snakemake gives it, before anything is filled in.
    found
        Anything made of dicts with text as keys, lists, text, numbers and None.
    """
    path = _place(folder, config)
    with replacing(path, shared=True) as part:
        part.write_text(json.dumps(found), encoding="utf-8")
    # But not what another call is just writing.
    for other in folder.glob("[!.]*.json"):
        if other != path:
            other.unlink(missing_ok=True)


def handed_on(folder: Path, config: Mapping[str, Any]) -> Any:
    """What was found for a configuration, or None: nothing was, or another machine cannot see it."""
    try:
        return json.loads(_place(folder, config).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _place(folder: Path, config: Mapping[str, Any]) -> Path:
    text = json.dumps(config, sort_keys=True, default=str)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
