"""Snakemake that asks SLURM for the state of its jobs every second; else it is ``python -m snakemake``.

The plugin asks ten seconds later after each time that nothing has ended, which no option changes. On a test of short
jobs that is most of the time. Only the process that submits is started by this; the jobs are not.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

if __name__ == "__main__":
    Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
    sys.exit(main())
