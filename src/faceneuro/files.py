"""Files that are whole or not there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike, shared: bool = False) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; renamed into place when the block ends well, else removed.

    The temporary name keeps the suffix, because some writers choose their format by it. It is the same each time, so
    that what a killed job left is written over; where several runs write into one folder (``shared``), each has its
    own.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}{f'.{secrets.token_hex(4)}' if shared else ''}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
