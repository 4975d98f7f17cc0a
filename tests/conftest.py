import os

# No window, no model download and no surprise about the number of threads in any test.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from pathlib import Path

import hypothesis
import pytest
from matplotlib.figure import Figure

from data_set_trees import Filmed
from faceneuro import assets
from faceneuro.cohorts.virtual.heads import Heads, build_heads, load_heads, save_heads
from running import ASSETS

# The machines that run this are slow at times; a law does not depend on how long it takes to check.
hypothesis.settings.register_profile("unhurried", deadline=None, print_blob=True)
hypothesis.settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run the workflow come first: they take minutes, and the short ones then fill up what is left."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


def fetched(asset: assets.Asset) -> Path:
    """An asset in the repository's own asset folder, fetched at its first use."""
    path = ASSETS / asset.file
    if not path.exists():
        with assets.obtain(asset) as found:
            assets.install(found, path)
    return assets.verify(path, asset)


@pytest.fixture(scope="session")
def landmarker_model() -> Path:
    """MediaPipe's face_landmarker.task."""
    return fetched(assets.FACE_LANDMARKER)


@pytest.fixture(scope="session")
def face_video() -> Path:
    """A short video of one real face, free to use."""
    return fetched(assets.FACE_VIDEO)


@pytest.fixture(scope="session")
def heads() -> Heads:
    """The meshes of the virtual patients."""
    path = ASSETS / "heads.npz"
    if not path.exists():
        save_heads(build_heads(fetched(assets.HEADS)), path)
    return load_heads(path)


@pytest.fixture(scope="session")
def filmed(heads) -> Filmed:
    """Virtual patients, for the trees of data sets."""
    return Filmed(heads)


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that were written."""
    figures = []
    savefig = Figure.savefig

    def save(figure: Figure, path, **options):
        savefig(figure, path, **options)
        if options["format"] == "png":
            figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", save)
    return figures
