"""What every script of the workflow needs around its few lines: a log, a progress bar, provenance, honest errors."""

import logging
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from faceneuro import __version__
from faceneuro.errors import InputError
from faceneuro.machine import gpus_line, machine_line

T = TypeVar("T")
log = logging.getLogger("faceneuro")


class Run:
    """One job of the workflow, as :func:`job` hands it to a script.

    Attributes
    ----------
    provenance
        What a table written by this job should say about its origin: version, rule, wildcards and parameters (the code
        stamp is one of them).
    """

    def __init__(self, snakemake: Any):
        self.rule = snakemake.rule
        self.wildcards = dict(snakemake.wildcards.items())
        self.provenance = {
            "faceneuro": __version__,
            "rule": self.rule,
            "wildcards": self.wildcards,
            "params": {key: value for key, value in snakemake.params.items() if key != "clips"},
        }

    def progress(self, items: Iterable[T], total: int | None = None, unit: str = "clip") -> Iterator[T]:
        """Iterate with a progress bar on a terminal, and in silence where the output is a file."""
        label = " ".join([self.rule, *self.wildcards.values()])
        return iter(tqdm(items, total=total, unit=unit, desc=label, disable=None, leave=False, file=sys.stderr))


@contextmanager
def job(snakemake: Any) -> Iterator[Run]:
    """Run the body of a workflow script.

    Messages of the package go to the rule's log file; warnings also to the screen. An exception's traceback lands in
    the log file and on the screen; of an :class:`~faceneuro.errors.InputError`, which is meant for the user, the screen
    shows the sentence alone.

    Parameters
    ----------
    snakemake
        The object that Snakemake puts into a script's namespace.

    Yields
    ------
    The :class:`Run`.
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(logging.WARNING)
    screen.setFormatter(logging.Formatter(f"{snakemake.rule}: %(message)s"))
    file = logging.FileHandler(path, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.setLevel(logging.INFO)
    for handler in (screen, file):
        log.addHandler(handler)
    # The processor time so far went into starting Python and importing: what a job costs before it does anything.
    log.info("start-up took %.2f s", time.process_time())
    log.info("%s", machine_line())
    try:
        yield Run(snakemake)
        if said := gpus_line():
            log.info("%s", said)
        log.info("done after %.2f s", time.process_time())
    except InputError as error:
        file.stream.write(traceback.format_exc())
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        file.stream.write(traceback.format_exc())
        raise
    finally:
        for handler in (screen, file):
            log.removeHandler(handler)
            handler.close() if handler is file else handler.flush()
