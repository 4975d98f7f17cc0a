"""Locks that a killed run left behind."""

from pathlib import Path

from filelock import FileLock, Timeout


def claim(folder: Path) -> FileLock | None:
    """Claim a working directory for as long as this process lives, and clear what a killed run left locked in it.

    Snakemake's own locks are files, so they outlast a run that was killed, and every later call is refused until
    someone unlocks by hand. The claim is a lock of the kernel, which ends with the process however it ends: whoever
    gets it knows that no other run is alive here, and that whatever is locked is locked by nobody.

    Parameters
    ----------
    folder
        Snakemake's folder in the working directory (``.snakemake``).

    Returns
    -------
    The claim, to be kept; None if another run has it, or the file system knows no locks. Then nothing is cleared.
    """
    folder.mkdir(exist_ok=True)
    mine = FileLock(folder / "faceneuro.lock", timeout=0, thread_local=False)
    try:
        mine.acquire()
    except (Timeout, NotImplementedError, OSError):
        return None
    for lock in folder.glob("locks/*.lock"):
        lock.unlink(missing_ok=True)
    return mine
