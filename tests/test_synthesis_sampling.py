"""Faces made by a generator, each from noise of its own."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from drawn_faces import drawn_faces
from faceneuro.errors import InputError
from faceneuro.features.crops import decode
from faceneuro.studies.synthesis import pairs
from faceneuro.synthesis import sampling
from faceneuro.synthesis.extractors import KINDS, Extractors, build_extractor
from faceneuro.synthesis.generator import Generator
from faceneuro.synthesis.sampling import draw, fingerprint, naming_memory, number_of, sample
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.unet import schedule
from faceneuro.tables import KEYS

SMOKE = SIZES["smoke"]
SETTINGS = {"steps": 3, "eta": 1.0, "seed": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def faces():
    return drawn_faces(people=8, tested=3)


@pytest.fixture(scope="module")
def wanted(faces) -> list[dict]:
    return pairs(faces, positive="palsy", per_image=1, seed=1)


def generator(seed: int = 1, row: str = "ccfexp") -> Generator:
    torch.manual_seed(seed)
    extractors = Extractors(*(build_extractor(kind, SMOKE) for kind in KINDS))
    network = Generator(row, "smoke", extractors).eval()
    # A fresh U-Net's last convolution is small, and what it does would hardly show.
    nn.init.normal_(network.unet.conv_out.weight, std=0.5)
    return network


def seen(faces, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = np.arange(count)
    return torch.from_numpy(faces.scaled(rows)), torch.from_numpy(faces.scaled(rows + 3))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Drawing


class Oracle:
    """Knows what the image is under its noise."""

    size = SMOKE

    def __init__(self, image: torch.Tensor):
        self.image, self.kept = image, schedule(SMOKE).alphas_cumprod
        self.times: list[int] = []

    def condition(self, identity, style):
        return None

    def __call__(self, noisy, times, condition):
        self.times.append(int(times[0]))
        kept = self.kept[times].view(-1, 1, 1, 1)
        return (noisy - kept.sqrt() * self.image) / (1 - kept).sqrt()


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_whoever_knows_the_noise_finds_the_image(faces, eta):
    image, style = seen(faces, 2)
    oracle = Oracle(image)
    made = draw(oracle, image, style, [(1,), (2,)], steps=5, eta=eta)
    torch.testing.assert_close(made, image, atol=1e-4, rtol=0)
    assert oracle.times == [80, 60, 40, 20, 0]


def test_a_face_is_the_same_whatever_it_is_made_together_with(faces):
    network, (identity, style) = generator(), seen(faces, 3)
    together = draw(network, identity, style, [(1, 7), (1, 8), (1, 9)], steps=3, eta=1.0)
    alone = draw(network, identity[1:2], style[1:2], [(1, 8)], steps=3, eta=1.0)
    torch.testing.assert_close(alone[0], together[1], atol=1e-4, rtol=1e-4)
    backwards = draw(network, identity.flip(0), style.flip(0), [(1, 9), (1, 8), (1, 7)], steps=3, eta=1.0)
    torch.testing.assert_close(backwards.flip(0), together, atol=1e-4, rtol=1e-4)


def test_a_face_depends_on_its_seed_both_pictures_and_eta(faces):
    network, (identity, style) = generator(), seen(faces, 2)
    first = draw(network, identity[:1], style[:1], [(1, 7)], steps=3, eta=1.0)
    others = [
        draw(network, identity[:1], style[:1], [(1, 8)], steps=3, eta=1.0),
        draw(network, identity[1:], style[:1], [(1, 7)], steps=3, eta=1.0),
        draw(network, identity[:1], style[1:], [(1, 7)], steps=3, eta=1.0),
        draw(network, identity[:1], style[:1], [(1, 7)], steps=3, eta=0.0),
    ]
    assert not any(torch.allclose(first, other, atol=1e-5) for other in others)
    assert torch.equal(first, draw(network, identity[:1], style[:1], [(1, 7)], steps=3, eta=1.0))
    assert first.abs().max() <= 1


def test_seeds_of_any_length_differ():
    numbers = [number_of(*seed) for seed in ((1,), (2,), (1, 2), (2, 1), (1, 2, 0, 1), (1, 2, 1, 0))]
    assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**63 for number in numbers)


# Making the faces of pairs


def test_every_pair_gets_a_face_and_a_row(faces, wanted, tmp_path):
    rows = sample(generator(), wanted, faces, folder=tmp_path, **SETTINGS)
    assert [row["pair"] for row in rows] == [pair["pair"] for pair in wanted]
    assert sorted(row["file"] for row in rows) == [path.name for path in sorted(tmp_path.iterdir())]
    for row, pair in zip(rows, wanted, strict=True):
        assert decode((tmp_path / row["file"]).read_bytes()).shape == (32, 32, 3)
        assert (row["row"], row["size"], row["back"], row["held_out"]) == ("ccfexp", "smoke", False, True)
        assert (row["seed"], row["steps"], row["eta"]) == (1, 3, 1.0)
        for part in ("identity", "style"):
            assert [row[f"{part}_{name}"] for name in KEYS] == [faces.keys.at[pair[part], name] for name in KEYS]


def test_files_are_what_is_drawn(faces, wanted, tmp_path):
    network = generator()
    sample(network, wanted[:2], faces, folder=tmp_path, **SETTINGS)
    identity, style = (
        torch.from_numpy(faces.scaled([pair[part] for pair in wanted[:2]])) for part in ("identity", "style")
    )
    drawn = draw(network, identity, style, [(1, 0, 0), (1, 1, 0)], steps=3, eta=1.0).numpy()
    for number in range(2):
        made = decode((tmp_path / f"{number:06d}.png").read_bytes())
        np.testing.assert_allclose(made.transpose(2, 0, 1) / 127.5 - 1, drawn[number], atol=0.5 / 127.5 + 1e-4)


def test_the_size_of_a_batch_changes_at_most_the_last_digit(faces, wanted, tmp_path):
    for size in (1, 4):
        sample(generator(), wanted[:5], faces, folder=tmp_path / str(size), **SETTINGS | {"batch_size": size})
    for one, four in zip(*(sorted((tmp_path / size).iterdir()) for size in ("1", "4")), strict=True):
        difference = decode(one.read_bytes()).astype(int) - decode(four.read_bytes())
        assert np.abs(difference).max() <= 1


def test_files_say_that_they_are_synthetic(faces, wanted, tmp_path):
    (row,) = sample(generator(), wanted[:1], faces, folder=tmp_path, **SETTINGS)
    data = (tmp_path / row["file"]).read_bytes()
    assert b"tEXtDescription\0Synthetic face by faceneuro, ccfexp, " in data
    # Readers that check the parts of a file accept it.
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape == (32, 32, 3)
    assert not any(str(name).encode() in data for name in faces.keys["clip"])


class Killed(Exception):
    pass


def killed_after(batches: int):
    def progress(items):
        for number, item in enumerate(items):
            if number == batches:
                raise Killed
            yield item

    return progress


def counted(monkeypatch) -> list[int]:
    """How many faces each later call of draw makes."""
    made = []

    def count(network, identity, *rest):
        made.append(len(identity))
        return draw(network, identity, *rest)

    monkeypatch.setattr(sampling, "draw", count)
    return made


def test_what_was_made_before_a_kill_is_not_made_again(faces, wanted, tmp_path, monkeypatch):
    sample(generator(), wanted, faces, folder=tmp_path / "whole", **SETTINGS)
    with pytest.raises(Killed):
        sample(generator(), wanted, faces, folder=tmp_path / "killed", progress=killed_after(1), **SETTINGS)
    assert len(files(tmp_path / "killed")) == 4
    made = counted(monkeypatch)
    rows = sample(generator(), wanted, faces, folder=tmp_path / "killed", **SETTINGS)
    assert made == [2]
    assert len(rows) == 6
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_a_face_that_is_cut_off_is_made_again(faces, wanted, tmp_path, monkeypatch):
    sample(generator(), wanted[:3], faces, folder=tmp_path, **SETTINGS)
    before, path = files(tmp_path), tmp_path / "000001.png"
    os.truncate(path, path.stat().st_size - 20)
    made = counted(monkeypatch)
    sample(generator(), wanted[:3], faces, folder=tmp_path, **SETTINGS)
    assert made == [1]
    after = files(tmp_path)
    # Alone in its batch, a face may differ in the last digit, by the processor's choice of instructions.
    difference = decode(after.pop(path.name)).astype(int) - decode(before.pop(path.name))
    assert np.abs(difference).max() <= 1
    assert after == before


@pytest.mark.parametrize("change", ["generator", "extractors", "seed", "steps", "eta", "picture"])
def test_faces_made_otherwise_are_replaced(change, faces, wanted, tmp_path, monkeypatch):
    sample(generator(), wanted[:2], faces, folder=tmp_path, **SETTINGS)
    network, settings, asked = generator(), dict(SETTINGS), [dict(pair) for pair in wanted[:2]]
    if change == "generator":
        network.unet.conv_in.bias.data[0] += 1e-3
    elif change == "extractors":
        next(network.extractors.landmarks.parameters()).data[0] += 1e-3
    elif change == "picture":
        asked[0]["style"] += 1
    else:
        settings[change] = settings[change] - 0.5 if change == "eta" else settings[change] + 1
    made = counted(monkeypatch)
    sample(network, asked, faces, folder=tmp_path, **settings)
    assert made == ([1] if change == "picture" else [2])


def test_faces_are_put_back(faces, wanted, tmp_path):
    network = generator()
    asked = [dict(wanted[0]), {**wanted[1], "own": None}, dict(wanted[2])]
    sample(network, asked, faces, folder=tmp_path / "there", **SETTINGS)
    rows = sample(network, asked, faces, folder=tmp_path / "back", back=tmp_path / "there", **SETTINGS)
    assert [row["pair"] for row in rows] == [0, 2]
    assert sorted(files(tmp_path / "back")) == ["000000.png", "000002.png"]
    for row, pair in zip(rows, (asked[0], asked[2]), strict=True):
        assert row["back"]
        assert row["identity_clip"] == faces.keys.at[pair["own"], "clip"]
        assert row["style_clip"] == pair["style_clip"]
        there = decode((tmp_path / "there" / row["file"]).read_bytes()).transpose(2, 0, 1)[None]
        style = torch.from_numpy(there.astype(np.float32) / 127.5 - 1)
        identity = torch.from_numpy(faces.scaled([pair["own"]]))
        drawn = draw(network, identity, style, [(1, pair["pair"], 1)], steps=3, eta=1.0).numpy()[0]
        back = decode((tmp_path / "back" / row["file"]).read_bytes())
        np.testing.assert_allclose(back.transpose(2, 0, 1) / 127.5 - 1, drawn, atol=0.5 / 127.5 + 1e-3)


def test_a_face_that_was_made_anew_is_put_back_anew(faces, wanted, tmp_path, monkeypatch):
    for folder, back in (("there", None), ("back", tmp_path / "there")):
        sample(generator(), wanted[:2], faces, folder=tmp_path / folder, back=back, **SETTINGS)
    other = (tmp_path / "there" / "000001.png").read_bytes()
    (tmp_path / "there" / "000000.png").write_bytes(other)
    made = counted(monkeypatch)
    sample(generator(), wanted[:2], faces, folder=tmp_path / "back", back=tmp_path / "there", **SETTINGS)
    assert made == [1]


def test_the_way_back_needs_the_way_there(faces, wanted, tmp_path):
    with pytest.raises(ValueError, match=r"000000\.png is missing: the way there comes before the way back"):
        sample(generator(), wanted[:1], faces, folder=tmp_path / "back", back=tmp_path / "there", **SETTINGS)


# What cannot be done


def test_more_steps_than_there_are_are_refused_by_name(faces, wanted, tmp_path):
    with pytest.raises(InputError, match=r"config key a\.b\.steps: 101, but a generator of size smoke .* 100"):
        sample(generator(), wanted, faces, folder=tmp_path, key="a.b", **SETTINGS | {"steps": 101})


def test_too_little_memory_names_the_key(faces, wanted, tmp_path, monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sampling, "draw", exhausted)
    with pytest.raises(InputError, match=r"sampling\.batch_size: there is not enough memory for 4; choose less"):
        sample(generator(), wanted, faces, folder=tmp_path, **SETTINGS)


def test_memory_that_the_processor_does_not_have_is_named_and_other_errors_are_not_hidden():
    with (
        pytest.raises(InputError, match=r"config key a\.b: there is not enough memory for 32"),
        naming_memory("a.b", 32),
    ):
        torch.empty(1 << 58)
    with pytest.raises(RuntimeError, match="size"), naming_memory("a.b", 32):
        torch.zeros(3) @ torch.zeros(4)


def test_weights_are_told_apart_by_names_shapes_and_numbers():
    weights = {"a": torch.zeros(2, 3), "b": torch.tensor(4)}
    different = [
        {"a": torch.zeros(2, 3), "c": torch.tensor(4)},
        {"a": torch.zeros(3, 2), "b": torch.tensor(4)},
        {"a": torch.zeros(2, 3), "b": torch.tensor(5)},
        {"a": torch.full((2, 3), 1e-30), "b": torch.tensor(4)},
    ]
    assert len({fingerprint(each) for each in [weights, *different]}) == 5
    assert fingerprint(dict(reversed(weights.items()))) == fingerprint(weights)
