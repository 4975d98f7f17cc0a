"""Run the workflow in process, in a directory of its own, and see which rules ran."""

import logging
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness, RerunTrigger
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    DeploymentSettings,
    ExecutionSettings,
    OutputSettings,
    ResourceSettings,
)
from snakemake_interface_logger_plugins.common import LogEvent

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "resources" / "assets"
PRESETS = ROOT / "config" / "presets"

DEFAULT = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
PROFILE = yaml.safe_load((ROOT / "profiles" / "default" / "profile.yaml").read_text())
NO_COHORT, NO_STUDY = (dict.fromkeys(DEFAULT[part]) for part in ("cohorts", "studies"))
"""Configuration that removes every cohort and every study of the default, to add one's own to."""


TRIGGERS = RerunTrigger.parse_choices_set(PROFILE["rerun-triggers"])

CONFINED = platform.system() == "Linux" and platform.machine() == "x86_64"
"""Whether a process can be kept from the internet here."""
OFFLINE = [sys.executable, str(ROOT / "tests" / "offline.py")] if CONFINED else []
# Snakemake imports urllib3, which tries at its import whether this machine has IPv6, by a socket that goes nowhere.
SNAKEMAKE = "import socket, sys; socket.has_ipv6 = False; from snakemake.cli import main; main(sys.argv[1:])"


@dataclass
class Ran:
    """What a call of the workflow did."""

    succeeded: bool
    error: str = ""
    rules: list[str] = field(default_factory=list)
    messages: str = ""


class _Listener(logging.Handler):
    def __init__(self, ran: Ran):
        super().__init__()
        self.ran = ran

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            self.ran.rules.append(record.rule_name)
        self.ran.messages += record.getMessage() + "\n"


def run(
    workdir: Path,
    *targets: str,
    config: dict[str, Any] | None = None,
    presets: Sequence[str] = (),
    cores: int = 2,
    dryrun: bool = False,
) -> Ran:
    """Call the workflow as ``snakemake --cores N TARGETS`` would, in ``workdir``.

    ``presets``, by their names, are laid over the default configuration, and ``config`` over them. Failures are
    returned, not raised.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    override = workdir / "config.yaml"
    # Only a changed file may be newer than what was made with it.
    text = yaml.safe_dump({"assets": {"folder": str(ASSETS)}} | (config or {}))
    if not override.exists() or override.read_text() != text:
        override.write_text(text)
    ran = Ran(succeeded=False)
    listener = _Listener(ran)
    logger = logging.getLogger("snakemake.logging")
    home = Path.cwd()
    try:
        with SnakemakeApi(OutputSettings(dryrun=dryrun, quiet={Quietness.ALL}, enable_file_logging=False)) as api:
            logger.addHandler(listener)
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=cores),
                config_settings=ConfigSettings(configfiles=[*(PRESETS / f"{name}.yaml" for name in presets), override]),
                deployment_settings=DeploymentSettings(),
                snakefile=ROOT / "Snakefile",
                workdir=workdir,
            )
            dag = workflow.dag(DAGSettings(targets=set(targets), force_incomplete=True, rerun_triggers=TRIGGERS))
            dag.execute_workflow(
                executor="dryrun" if dryrun else "local",
                execution_settings=ExecutionSettings(keep_going=True),
            )
        ran.succeeded = True
    except Exception as error:  # whatever Snakemake raises is what the user would read
        ran.error = str(error)
    finally:
        logger.removeHandler(listener)
        os.chdir(home)
    return ran


def run_offline(workdir: Path, config: dict[str, Any], *more: str, cores: int = 1) -> subprocess.CompletedProcess:
    """Call the workflow by its command, in a process that is killed, like all its children, at an internet socket.

    ``more`` is what else the command is given.

    Where :data:`CONFINED` is false, without that.
    """
    (workdir / "config.yaml").write_text(yaml.safe_dump({"assets": {"folder": str(ASSETS)}} | config))
    command = [sys.executable, "-c", SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml"]
    command = [*OFFLINE, *map(str, command), "--cores", str(cores), *more]
    return subprocess.run(command, cwd=workdir, capture_output=True, text=True)
