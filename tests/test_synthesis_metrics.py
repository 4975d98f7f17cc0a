import gc
import hashlib
import io
import math
import pickle
import urllib.error
import weakref
from pathlib import Path
from unittest.mock import patch

import lpips
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import NoTrainInceptionV3

from faceneuro.errors import InputError
from faceneuro.synthesis import metrics
from faceneuro.synthesis.metrics import (
    OWN,
    PSNR_OF_EQUAL,
    PUBLISHED,
    STANDS_FOR,
    WINDOW,
    OwnDistances,
    OwnVectors,
    Published,
    image_scores,
    load_distances,
    load_vectors,
    pixel_scores,
    set_score,
    weights_file,
)
from faceneuro.synthesis.transfer import SCORES

DIM = 6


class Recogniser(nn.Module):
    """An identity network of one convolution."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Conv2d(3, DIM, 4, 4)

    def forward(self, images):
        maps = self.layer(images).tanh()
        return maps.mean((2, 3)), maps


def images(number: int, seed: int, pixels: int = 16) -> torch.Tensor:
    return torch.rand(number, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def vgg_layers() -> nn.Sequential:
    """VGG16 without its classifier, which is nine tenths of it."""
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            # As torchvision does. Otherwise hardly anything of an image reaches the last layer.
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layers


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory) -> Path:
    """Random weights of VGG16 as torchvision names them, and a bit of its classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        features = vgg_layers()
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    file = tmp_path_factory.mktemp("vgg") / "own_vgg.pth"
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, file)
    return file


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory) -> Path:
    """Random weights of the Inception that FID is defined with."""
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.random.fork_rng(), patch.object(nn.Module, "load_state_dict", lambda self, state: None):
        torch.manual_seed(4)
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], nothing)
    file = tmp_path_factory.mktemp("inception") / "own_inception.safetensors"
    save_file(network.state_dict(), file)
    return file


# --- pixels ---


def test_psnr_is_in_decibels_of_black_to_white():
    dark = torch.full((1, 3, 16, 16), -0.4)
    # 0.2 of a scale from -1 to 1 is a tenth of the way from black to white.
    assert pixel_scores(dark, dark + 0.2)["psnr"].item() == pytest.approx(20, abs=1e-4)
    one, other = images(5, 1), images(5, 2)
    error = ((one - other) / 2).square().mean((1, 2, 3))
    assert torch.allclose(pixel_scores(one, other)["psnr"], -10 * error.log10(), atol=1e-4)


def test_equal_images_have_a_finite_psnr():
    both = pixel_scores(images(2, 1), torch.cat([images(2, 1)[:1], images(1, 9)]))
    assert both["psnr"][0] == PSNR_OF_EQUAL
    assert both["psnr"][1] < 20
    assert both["ssim"][0] == pytest.approx(1, abs=1e-6)


def test_values_beyond_white_are_white():
    bright = torch.full((1, 3, 16, 16), 1.0)
    assert pixel_scores(bright * 3, bright)["psnr"].item() == PSNR_OF_EQUAL


def test_ssim_looks_through_a_uniform_window_that_lies_in_the_image():
    one, other = ((each.double().numpy()[0] + 1) / 2 for each in (images(1, 1), images(1, 2) * 0.3))
    values = []
    for channel in range(3):
        for row in range(16 - WINDOW + 1):
            for column in range(16 - WINDOW + 1):
                a, b = (x[channel, row : row + WINDOW, column : column + WINDOW] for x in (one, other))
                covariance = ((a - a.mean()) * (b - b.mean())).mean()
                light = (2 * a.mean() * b.mean() + 1e-4) / (a.mean() ** 2 + b.mean() ** 2 + 1e-4)
                values.append(light * (2 * covariance + 9e-4) / (a.var() + b.var() + 9e-4))
    assert pixel_scores(images(1, 1), images(1, 2) * 0.3)["ssim"].item() == pytest.approx(np.mean(values), abs=1e-5)


def test_images_are_scored_one_by_one():
    one, other = images(4, 1), images(4, 2)
    together = pixel_scores(one, other) | OwnDistances(Recogniser())(one, other)
    for k in range(4):
        alone = pixel_scores(one[[k]], other[[k]]) | OwnDistances(Recogniser())(one[[k]], other[[k]])
        for name, values in together.items():
            assert values.shape == (4,)
            assert torch.allclose(values[[k]], alone[name], rtol=1e-5, atol=0)


# --- features ---


def test_own_features_have_names_of_their_own():
    distances = load_distances("none", Recogniser())
    assert distances.label == OWN
    assert set(distances(images(2, 1), images(2, 2))) == {"own_distance", "own_loss"}
    assert not {"own_distance", "own_loss", "own_frechet", "own_kid", "kid"} - STANDS_FOR.keys()
    assert set(STANDS_FOR.values()) == {"lpips", "pl", "afid"}
    assert not STANDS_FOR.keys() & set(STANDS_FOR.values())


def test_own_distance_compares_directions_and_own_loss_values():
    network = Recogniser()
    maps = [network(images(3, seed))[1] for seed in (1, 2)]
    found = OwnDistances(network)(images(3, 1), images(3, 2))
    cosines = nn.functional.cosine_similarity(*maps, dim=1)
    assert torch.allclose(found["own_distance"], (2 - 2 * cosines).mean((1, 2)), atol=1e-6)
    assert torch.allclose(found["own_loss"], (maps[0] - maps[1]).square().mean((1, 2, 3)))
    same = OwnDistances(network)(images(3, 1), images(3, 1))
    assert max(values.max().item() for values in same.values()) == 0


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
def test_lpips_and_pl_are_those_of_vgg(vgg_file):
    distances = load_distances(str(vgg_file), Recogniser())
    digest = hashlib.sha256(vgg_file.read_bytes()).hexdigest()
    assert distances.label == f"VGG16, own_vgg.pth, sha256 {digest[:12]}"
    assert not any(parameter.requires_grad for parameter in distances.parameters())
    trunk = vgg_layers()
    state = torch.load(vgg_file)
    trunk.load_state_dict({name.removeprefix("features."): v for name, v in state.items() if "features" in name})
    one, other = images(2, 1, 40), images(2, 2, 40)
    with torch.no_grad():
        found = distances(one, other)
        # The last map is that after the fifth pooling, of images that are not normalised any further.
        assert torch.allclose(found["pl"], (trunk(one) - trunk(other)).square().mean((1, 2, 3)), rtol=1e-4, atol=0)
        reference = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
        for name, value in trunk.state_dict().items():
            stage = next(part for part in reference.net.state_dict() if part.partition(".")[2] == name)
            reference.net.state_dict()[stage].copy_(value)
        assert torch.allclose(found["lpips"], reference(one, other).flatten(), rtol=1e-5, atol=0)
        linear = torch.load(Path(lpips.__file__).parent / "weights/v0.1/vgg.pth", map_location="cpu")
    assert torch.equal(distances.network.lin2.model[1].weight, linear["lin2.model.1.weight"])
    assert found.keys() == {"lpips", "pl"}
    assert all(values.shape == (2,) for values in found.values())


def test_files_that_hold_something_else_are_refused(tmp_path, vgg_file):
    torch.save({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "odd.pth")
    with pytest.raises(
        InputError, match=r"studies\.synthesis\.features\.vgg: .*odd\.pth does not hold .* features\.0\."
    ):
        load_distances(str(tmp_path / "odd.pth"), Recogniser())
    with pytest.raises(InputError, match=r"here\.inception: .*odd\.pth does not hold the weights of FID's Inception"):
        load_vectors(str(tmp_path / "odd.pth"), Recogniser(), DIM, key="here")
    (tmp_path / "words.pth").write_text("no weights at all")
    for load in (load_distances, lambda *given: load_vectors(*given, DIM)):
        with pytest.raises(InputError, match="cannot be read as weights"):
            load(str(tmp_path / "words.pth"), Recogniser())


class Malicious:
    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_weights_cannot_run_code(tmp_path):
    bomb, mark = Malicious(), tmp_path / "executed"
    bomb.path = str(mark)
    with open(tmp_path / "bomb.pth", "wb") as file:
        pickle.dump(bomb, file)
    torch.save({"features.0.weight": bomb}, tmp_path / "bomb.pt")
    for name in ("bomb.pth", "bomb.pt"):
        for load in (load_distances, lambda *given: load_vectors(*given, DIM)):
            with pytest.raises(InputError):
                load(str(tmp_path / name), Recogniser())
    assert not mark.exists()


def test_inception_gives_2048_features_of_bytes(inception_file):
    vectors = load_vectors(str(inception_file), Recogniser(), DIM)
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert vectors.label == f"Inception, own_inception.safetensors, sha256 {digest[:12]}"
    assert vectors.names == ("afid", "kid")
    seen = images(2, 1, 32)
    with torch.no_grad():
        found = vectors(seen)
        assert found.shape == (2, vectors.num_features) == (2, 2048)
        assert torch.equal(found, vectors.network(((seen + 1) * 127.5).round().byte()))
        assert torch.equal(vectors(seen * 0 + 5), vectors(seen * 0 + 1))
    score = set_score("row", [images(3, 1, 32)], [images(3, 2, 32)], vectors, 3)
    assert (score["metric"], score["features"], score["n"]) == ("kid", vectors.label, 3)


# --- where weights come from ---


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A file that stands at the official address of VGG16, and an empty cache of torch."""
    source = tmp_path / "address" / "vgg16-abc.pth"
    source.parent.mkdir()
    source.write_bytes(b"some weights")
    digest = hashlib.sha256(b"some weights").hexdigest()
    monkeypatch.setitem(PUBLISHED, "vgg", Published(source.as_uri(), digest[:8]))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return source


def test_none_needs_no_file():
    assert weights_file("vgg", "none") is None


def test_a_file_of_the_users_own_must_be_there(tmp_path):
    with pytest.raises(InputError, match=r"studies\.synthesis\.features\.inception: there is no file .*mine\.pth"):
        weights_file("inception", str(tmp_path / "mine.pth"))


def test_auto_fetches_once(published, tmp_path):
    file = weights_file("vgg", "auto")
    assert file == tmp_path / "hub" / "checkpoints" / "vgg16-abc.pth"
    assert file.read_bytes() == b"some weights"
    published.unlink()
    assert weights_file("vgg", "auto") == file


def test_auto_keeps_nothing_but_the_right_file(published, tmp_path):
    published.write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"features\.vgg: it is auto, but vgg16-abc\.pth"):
        weights_file("vgg", "auto")
    assert not list((tmp_path / "hub" / "checkpoints").iterdir())


def test_auto_without_a_network_is_one_sentence(published, monkeypatch):
    def offline(*_, **given):
        assert given["timeout"] <= 10
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(metrics.urllib.request, "urlopen", offline)
    with pytest.raises(InputError) as caught:
        load_distances("auto", Recogniser())
    message = str(caught.value)
    assert "Network is unreachable" in message
    assert "give its path, or set the key to none" in message
    assert "\n" not in message


def test_the_official_addresses_carry_the_hash():
    urls = {"vgg": torchvision.models.VGG16_Weights.IMAGENET1K_V1.url}
    assert PUBLISHED["vgg"].url == urls["vgg"]
    for published in PUBLISHED.values():
        assert published.cached.name.endswith(f"-{published.sha256}.pth")


# --- images, one by one ---


def batches(seen: list[weakref.ref], number: int = 4, size: int = 3):
    for k in range(number):
        generated, style = images(size, k), images(size, 100 + k)
        seen += [weakref.ref(generated), weakref.ref(style)]
        yield generated, {"identity": generated.clone(), "style": style}


def test_image_scores_are_rows_in_the_order_of_the_pairs():
    distances = OwnDistances(Recogniser())
    rows = list(image_scores("model", batches([]), distances))
    assert all(list(row) == SCORES for row in rows)
    assert len(rows) == 4 * 3 * 2 * 4
    of = {(row["metric"], row["against"], row["pair"]): row for row in rows}
    assert sorted({pair for _, _, pair in of}) == list(range(12))
    assert {row["features"] for row in rows if row["metric"] in ("psnr", "ssim")} == {"pixels"}
    assert {row["features"] for row in rows if row["metric"] not in ("psnr", "ssim")} == {OWN}
    for pair in range(12):
        assert of["psnr", "identity", pair]["value"] == PSNR_OF_EQUAL
        k, place = divmod(pair, 3)
        expected = pixel_scores(images(3, k), images(3, 100 + k))["ssim"][place].item()
        assert of["ssim", "style", pair]["value"] == pytest.approx(expected, abs=1e-6)


def test_image_scores_are_made_as_they_are_asked_for():
    seen: list[weakref.ref] = []
    rows = image_scores("model", batches(seen, number=30), OwnDistances(Recogniser()))
    for _ in range(24 * 20):
        next(rows)
    gc.collect()
    assert len(seen) == 2 * 20
    # The batch that is being told of, and what its generator still holds.
    assert sum(tensor() is not None for tensor in seen) <= 4


def test_scoring_keeps_nothing_for_a_backward_pass():
    class Watched(Recogniser):
        def forward(self, images):
            modes.append(torch.is_grad_enabled())
            return super().forward(images)

    modes: list[bool] = []
    for _ in image_scores("model", batches([]), OwnDistances(Watched())):
        assert torch.is_grad_enabled()
    set_score("model", [images(9, 1)], [images(9, 2)], OwnVectors(Watched(), DIM), 9)
    assert len(modes) == 4 * 2 * 2 + 2
    assert not any(modes)


# --- sets ---


def in_batches(number: int, seed: int, size: int = 7, shift: float = 0.0):
    yield from (images(number, seed) + shift).clamp(-1, 1).split(size)


def vectors_of(number: int, seed: int, shift: float = 0.0) -> np.ndarray:
    with torch.no_grad():
        return Recogniser()((images(number, seed) + shift).clamp(-1, 1))[0].double().numpy()


def own_vectors():
    return load_vectors("none", Recogniser(), DIM)


def test_with_more_images_than_features_sets_are_compared_as_gaussians():
    score = set_score("model", in_batches(40, 1), in_batches(50, 2, shift=0.3), own_vectors(), 40)
    a, b = vectors_of(40, 1), vectors_of(50, 2, 0.3)
    covariances = np.cov(a.T), np.cov(b.T)
    cross = np.trace(sqrtm(covariances[0] @ covariances[1])).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross
    assert score["value"] == pytest.approx(expected, rel=1e-4)
    assert score | {"value": 0} == {
        "row": "model",
        "metric": "own_frechet",
        "against": "test images",
        "value": 0,
        "n": 40,
        "features": OWN,
    }


@pytest.mark.parametrize("number", [2, DIM])
def test_with_no_more_images_than_features_by_a_kernel(number):
    score = set_score("model", in_batches(number, 1), in_batches(number, 2, shift=0.3), own_vectors(), number)
    a, b = vectors_of(number, 1), vectors_of(number, 2, 0.3)
    kernels = [(x @ y.T / DIM + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    within = sum((kernel.sum() - np.trace(kernel)) / (number * (number - 1)) for kernel in kernels[:2])
    assert score["value"] == pytest.approx(within - 2 * kernels[2].mean(), abs=1e-5)
    assert score["metric"] == "own_kid"


def test_the_metric_depends_on_the_count_that_all_rows_share():
    kinds = [
        set_score("model", in_batches(DIM + 1, 1), in_batches(20, 2), own_vectors(), count)["metric"]
        for count in (DIM, DIM + 1)
    ]
    assert kinds == ["own_kid", "own_frechet"]


def test_equal_sets_are_at_no_distance_and_distant_ones_are_further():
    for number in (DIM, 60):
        values = [
            set_score("m", in_batches(number, 1), in_batches(number, 1, shift=shift), own_vectors(), number)["value"]
            for shift in (0.0, 0.3, 0.8)
        ]
        # An unbiased kernel distance of equal sets is a little below zero.
        assert values[0] < 1e-5
        assert values[0] < values[1] < values[2]


def test_draws_of_a_larger_set_follow_from_the_seed():
    def score(seed: int) -> float:
        return set_score("m", in_batches(DIM, 1), in_batches(30, 2), own_vectors(), DIM, seed=seed)["value"]

    before = torch.random.get_rng_state()
    assert score(1) == score(1) != score(2)
    assert torch.equal(torch.random.get_rng_state(), before)
    # Many draws, so they hardly differ.
    assert score(1) == pytest.approx(score(2), abs=0.01)


def test_sets_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="9 generated images, not 10"):
        set_score("m", in_batches(9, 1), in_batches(20, 2), own_vectors(), 10)
    with pytest.raises(ValueError, match="9 real images, not 10"):
        set_score("m", in_batches(20, 1), in_batches(9, 2), own_vectors(), 10)
    with pytest.raises(ValueError, match="1 images has no distribution"):
        set_score("m", in_batches(1, 1), in_batches(1, 2), own_vectors(), 1)


def test_large_sets_pass_batch_by_batch():
    alive: list[weakref.ref] = []
    most = 0

    def stream(seed: int):
        nonlocal most
        for k in range(40):
            batch = images(5, seed + k)
            alive.append(weakref.ref(batch))
            most = max(most, sum(one() is not None for one in alive))
            yield batch

    value = set_score("m", stream(0), stream(1000), own_vectors(), 200)["value"]
    assert math.isfinite(value)
    assert most <= 3
