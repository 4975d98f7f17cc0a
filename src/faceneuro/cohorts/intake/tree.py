"""The files below a folder, each with its size and time; nothing is opened, nothing outside the folder is looked at."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes
    ----------
    path
        Below the root, with slashes.
    size
        In bytes.
    changed_ns
        When its content was last changed, in nanoseconds.
    """

    path: str
    size: int
    changed_ns: int

    @property
    def suffix(self) -> str:
        """Ending of the name, in small letters."""
        return PurePosixPath(self.path).suffix.lower()


@dataclass
class Tree:
    """What a folder holds.

    Attributes
    ----------
    root
        The folder.
    files
        All regular files, sorted by path, but for those that are left out.
    left_out
        Why a file cannot be part of a data set, by its path.
    """

    root: Path
    files: list[File] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


LITTER = {
    "thumbs.db": "a picture index of Windows, no recording",
    "ehthumbs.db": "a picture index of Windows, no recording",
    "desktop.ini": "a settings file of Windows, no recording",
    ".ds_store": "a settings file of macOS, no recording",
}
"""Files that operating systems leave in folders, by their name in small letters."""


def walk(root: Path) -> Tree:
    """List a folder and all folders in it.

    No link is followed, wherever it leads: what it points to inside the root is listed under its own name, and what
    lies outside is none of this program's business.

    Parameters
    ----------
    root
        The folder; may itself be a link.
    """
    tree = Tree(root)
    waiting = [("", "")]
    while waiting:
        folder, reason = waiting.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    _enter(tree, entry, f"{folder}/{entry.name}".lstrip("/"), reason, waiting)
        except PermissionError:
            tree.left_out[folder or "."] = "the folder may not be read by this user; ask its owner for permission"
    tree.files.sort(key=lambda file: file.path)
    return tree


def _enter(tree: Tree, entry: os.DirEntry, path: str, reason: str, waiting: list[tuple[str, str]]) -> None:
    readable = path.encode("utf-8", "replace").decode()
    name = entry.name.lower()
    if entry.is_symlink():
        tree.left_out[readable] = _where_to(tree.root, path)
    elif readable != path:
        tree.left_out[readable] = "the name is not text in UTF-8; rename it"
    elif entry.is_dir():
        waiting.append((path, "a leftover of unpacking on macOS" if name == "__macosx" else reason))
    elif not entry.is_file():
        tree.left_out[path] = "neither a file nor a folder"
    elif reason or name in LITTER:
        tree.left_out[path] = reason or LITTER[name]
    elif name.startswith("._"):
        tree.left_out[path] = "a resource fork of macOS, no recording"
    elif name.startswith("."):
        tree.left_out[path] = "a hidden file"
    else:
        about = entry.stat(follow_symlinks=False)
        tree.files.append(File(path, about.st_size, about.st_mtime_ns))


def _where_to(root: Path, path: str) -> str:
    try:
        inside = (root / path).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        inside = False
    if inside:
        return "a link to what is in this folder already"
    return "a link that leads out of the root folder, and is not followed; put the file itself there"


def digest(files: Iterable[File]) -> str:
    """A short name for the state of some files: another one as soon as one is added, removed, renamed or changed.

    Contents are not read: like Snakemake, it goes by time, and also by size. Copies that keep times keep it, also those
    that keep whole seconds alone, as archives and some file systems do.
    """
    sum_ = hashlib.sha256()
    for file in files:
        sum_.update(f"{file.path}\0{file.size}\0{file.changed_ns // 10**9}\n".encode())
    return sum_.hexdigest()[:16]
