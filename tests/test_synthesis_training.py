"""Training of a generator: its losses, and steps that can be taken up where they ended."""

import gc
import logging
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity, mse_loss

from drawn_faces import drawn_faces
from faceneuro.errors import InputError
from faceneuro.features.crops import decode
from faceneuro.synthesis import ROWS, training
from faceneuro.synthesis.extractors import KINDS, Extractors, build_extractor
from faceneuro.synthesis.generator import Generator, load_generator, save_generator
from faceneuro.synthesis.losses import FIRST, LOSSES, SECOND, WEIGHTS, Batch, Weights, step_losses
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.training import CHECKPOINT, COLUMNS, MODEL, SAMPLES, Settings, build, start_from, train
from faceneuro.synthesis.unet import adapters, schedule

SMOKE, PAPER = SIZES["smoke"], SIZES["paper"]
SETTINGS = Settings.of(SMOKE, {"steps": 6, "checkpoint_every": 2})


def extractors(size=SMOKE) -> Extractors:
    torch.manual_seed(3)
    networks = [build_extractor(kind, size) for kind in KINDS]
    # A fresh landmark network finds all points in one place, and a loss of it would say nothing.
    networks[2].head[-1].weight.data.fill_(20.0)
    return Extractors(*networks)


@pytest.fixture(scope="module")
def faces():
    return drawn_faces(people=8, tested=3)


def started(row: str = "ccfexp", as_released: bool = False) -> Generator:
    return build(row, "smoke", extractors(), 1, as_released)


# Losses

TIMES = torch.tensor([0, 20, 60, 99])


class Told:
    """A generator that estimates what it is told to, and remembers what it was asked."""

    def __init__(self, monkeypatch, row="ccfexp", as_released=False, shares=(1.0, 1.0)):
        torch.manual_seed(1)
        self.network = Generator(row, "smoke", extractors(), as_released).eval()
        self.noise = torch.randn(4, 3, 32, 32)
        self.noisy, self.estimates, self.styles, self.identities = [], [], [], []
        styled, identity = self.network.styled, self.network.identity.forward

        def forward(noisy, times, condition):
            estimate = (shares[len(self.noisy)] * self.noise).requires_grad_()
            if self.styles[-1].requires_grad:
                # So that what follows from the restored image can be told from what does not.
                estimate = estimate + 0 * condition.tokens.mean()
            self.noisy.append(noisy)
            self.estimates.append(estimate)
            return estimate

        def remember_style(identity, style, seen):
            self.styles.append(style)
            return styled(identity, style, seen)

        def remember_identity(images):
            self.identities.append(images)
            return identity(images)

        monkeypatch.setattr(self.network, "forward", forward)
        monkeypatch.setattr(self.network, "styled", remember_style)
        monkeypatch.setattr(self.network.identity, "forward", remember_identity)

    def losses(self, weights: Weights = WEIGHTS) -> dict[str, torch.Tensor]:
        torch.manual_seed(2)
        self.batch = Batch(*(torch.rand(2, 4, 3, 32, 32) * 2 - 1))
        return step_losses(self.network, self.batch, self.noise, TIMES, weights)

    def person(self, images):
        return self.network.extractors.identity(images)[0]

    def identity_loss(self, restored, other):
        share = TIMES / 100
        found = self.person(restored)
        away = [1 - cosine_similarity(found, self.person(image)) for image in (self.batch.identity, other)]
        return (share * away[0] + (1 - share) * away[1]).mean()

    def points(self, images):
        return self.network.extractors.landmarks(images)[0]

    def restored(self, noisy, noise):
        kept = schedule(SMOKE).alphas_cumprod[TIMES].view(-1, 1, 1, 1)
        return ((noisy - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1)


@pytest.mark.parametrize("row", ROWS)
def test_whoever_knows_the_noise_has_lost_nothing_but_the_way_to_the_other_image(row, monkeypatch):
    told = Told(monkeypatch, row)
    losses = told.losses()
    expected = told.identity_loss(told.batch.target, told.batch.target)
    assert expected > 0.01
    for name in losses:
        if name.startswith("identity"):
            torch.testing.assert_close(losses[name], expected, atol=1e-3, rtol=1e-3)
        elif name != "loss":
            assert losses[name] < 1e-5


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_the_losses_that_the_paper_gives_it(row, monkeypatch):
    losses = Told(monkeypatch, row).losses()
    expected = [name for name in FIRST if ROWS[row].landmarks or name != "landmarks"]
    if ROWS[row].cycle:
        expected += [name for name in SECOND if ROWS[row].landmarks or name != "landmarks_again"]
    assert [name for name in LOSSES if name in losses] == ["loss", *expected]


def test_losses_count_what_their_weights_say(monkeypatch):
    told = Told(monkeypatch, shares=(0.9, 0.8))
    losses = told.losses(Weights(identity=0.5, landmarks=3.0, cycle=0.25))
    first, second = (
        losses[noise] + 0.5 * losses[identity] + 3 * losses[landmarks] for noise, identity, landmarks in (FIRST, SECOND)
    )
    torch.testing.assert_close(losses["loss"], first + 0.25 * second)


def test_a_step_is_that_of_algorithm_1(monkeypatch):
    told = Told(monkeypatch, shares=(0.9, 0.5))
    losses, noise, (_, target) = told.losses(), told.noise, told.batch
    noisy = schedule(SMOKE).add_noise(target, noise, TIMES)
    torch.testing.assert_close(told.noisy[0], noisy)
    restored = told.restored(noisy, 0.9 * noise)
    torch.testing.assert_close(losses["noise"], mse_loss(0.9 * noise, noise))
    torch.testing.assert_close(losses["identity"], told.identity_loss(restored, target))
    torch.testing.assert_close(losses["landmarks"], mse_loss(told.points(restored), told.points(target)))
    # The restored image is noised by the same noise at the same time, and tells the style.
    torch.testing.assert_close(told.noisy[1], schedule(SMOKE).add_noise(restored, noise, TIMES))
    assert torch.equal(told.styles[0], target)
    torch.testing.assert_close(told.styles[1], restored)
    # What is estimated then is taken out of the first noisy image, not out of the second.
    again = told.restored(noisy, 0.5 * noise)
    torch.testing.assert_close(losses["noise_again"], mse_loss(0.5 * noise, noise))
    torch.testing.assert_close(losses["identity_again"], told.identity_loss(again, target))
    torch.testing.assert_close(losses["landmarks_again"], mse_loss(told.points(again), told.points(target)))
    assert losses["landmarks_again"] > 1.01 * losses["landmarks"]


def test_the_second_pass_teaches_the_first_estimate(monkeypatch):
    told = Told(monkeypatch, shares=(0.9, 0.5))
    losses = told.losses()
    assert told.styles[1].requires_grad
    (through,) = torch.autograd.grad(told.noisy[1].sum(), told.estimates[0], retain_graph=True)
    assert through.abs().max() > 0
    (through,) = torch.autograd.grad(told.styles[1].sum(), told.estimates[0], retain_graph=True)
    assert through.abs().max() > 0
    losses["loss"].backward()


def test_the_identity_is_looked_at_once(monkeypatch):
    told = Told(monkeypatch)
    told.losses()
    assert len(told.identities) == 1
    assert torch.equal(told.identities[0], told.batch.identity)


def test_as_released_the_second_identity_is_compared_with_the_restored_image(monkeypatch):
    told = Told(monkeypatch, as_released=True, shares=(0.9, 0.5))
    losses = told.losses()
    restored = told.restored(told.noisy[0], 0.9 * told.noise)
    again = told.restored(told.noisy[0], 0.5 * told.noise)
    torch.testing.assert_close(losses["identity"], told.identity_loss(restored, told.batch.target))
    torch.testing.assert_close(losses["identity_again"], told.identity_loss(again, restored))
    assert not torch.isclose(losses["identity_again"], told.identity_loss(again, told.batch.target), rtol=1e-3)


@pytest.mark.parametrize("row", ROWS)
def test_every_weight_that_is_to_learn_is_taught(row):
    network = started(row).train()
    torch.manual_seed(2)
    step_losses(network, Batch(*(torch.rand(2, 4, 3, 32, 32) * 2 - 1)), torch.randn(4, 3, 32, 32), TIMES)[
        "loss"
    ].backward()
    assert all(value.grad is not None for value in network.trainable_parameters())
    assert all(value.grad is None for value in network.extractors.parameters())


# Steps


class Killed(Exception):
    pass


def killed_at(step: int):
    def progress(items):
        for item in items:
            if item == step:
                raise Killed
            yield item

    return progress


def alike(one: Path, another: Path, *names: str) -> bool:
    for name in names or (MODEL, CHECKPOINT):
        left, right = load_file(one / name), load_file(another / name)
        if left.keys() != right.keys() or not all(torch.equal(value, right[key]) for key, value in left.items()):
            return False
    return True


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(started(), faces, SETTINGS, folder=folder)


def test_training_that_was_killed_ends_where_it_would_have_ended(faces, whole, tmp_path):
    def killed_for_good(items):
        for item in items:
            if item == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

    work = {"generator": started(), "faces": faces, "settings": SETTINGS, "folder": tmp_path}
    process = multiprocessing.get_context("fork").Process(target=train, kwargs=work | {"progress": killed_for_good})
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / MODEL).exists()
    steps = []
    history = train(**work | {"progress": lambda items: (steps.append(item) or item for item in items)})
    assert steps == [4, 5]
    assert history == whole[1]
    assert alike(tmp_path, whole[0])


def test_the_history_has_every_step(whole):
    assert [row["step"] for row in whole[1]] == [1, 2, 3, 4, 5, 6]
    for row in whole[1]:
        assert set(row) == {"step", *COLUMNS}
        assert all(np.isfinite(value) for value in row.values())


def test_what_a_row_does_not_have_is_none_in_the_history(faces, tmp_path):
    (row,) = train(started("dcface_3x3"), faces, replace(SETTINGS, steps=1), folder=tmp_path)
    assert [name for name, value in row.items() if value is None] == ["landmarks", *SECOND]


def test_steps_follow_from_the_seed(faces, whole, tmp_path):
    assert train(started(), faces, SETTINGS, folder=tmp_path / "same") == whole[1]
    other = train(started(), faces, replace(SETTINGS, seed=2), folder=tmp_path / "other")
    assert other[0]["noise"] != whole[1][0]["noise"]


def test_random_numbers_of_the_caller_are_left_alone(faces, tmp_path):
    network = started()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(network, faces, replace(SETTINGS, steps=1), folder=tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_more_steps_go_on_from_fewer(faces, whole, tmp_path):
    train(started(), faces, replace(SETTINGS, steps=3), folder=tmp_path)
    seen = []
    history = train(
        started(),
        faces,
        SETTINGS,
        folder=tmp_path,
        progress=lambda items: (seen.append(item) or item for item in items),
    )
    assert seen == [3, 4, 5]
    assert history == whole[1]
    assert alike(tmp_path, whole[0])


def test_fewer_steps_than_were_taken_start_anew(faces, tmp_path, caplog):
    shorter = replace(SETTINGS, steps=1)
    expected = train(started(), faces, shorter, folder=tmp_path / "one")
    train(started(), faces, replace(SETTINGS, steps=3), folder=tmp_path / "three")
    assert not caplog.records
    assert train(started(), faces, shorter, folder=tmp_path / "three") == expected
    assert "has taken 3 steps, more than 1, so training starts anew" in caplog.text
    assert alike(tmp_path / "one", tmp_path / "three")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("learning_rate", "settings"),
        ("start", "start and extractors"),
        ("points", "faces"),
        ("people", "faces"),
        ("stamp", "code"),
        ("row", "generator"),
    ],
)
def test_a_checkpoint_of_another_training_is_not_gone_on_from(change, named, faces, tmp_path, caplog):
    short, stamp, network = replace(SETTINGS, steps=2), "", started()
    train(started(), faces, short, folder=tmp_path / "old")
    if change == "learning_rate":
        short = replace(short, learning_rate=2e-3)
    elif change == "points":
        faces = replace(faces, points=faces.points + np.float32(0.01))
    elif change == "people":
        faces = replace(faces, keys=faces.keys.assign(severity=1.0))
    elif change == "stamp":
        stamp = "changed"
    elif change == "start":
        network.unet.conv_in.bias.data[0] += 0.1
    else:
        network = started("ccfexp_no_cycle")
    fresh = started(network.name)
    fresh.load_state_dict(network.state_dict())
    expected = train(fresh, faces, short, folder=tmp_path / "new", stamp=stamp)
    with caplog.at_level(logging.WARNING):
        assert train(network, faces, short, folder=tmp_path / "old", stamp=stamp) == expected
    assert f"is of another training ({named}), so this one starts anew" in caplog.text


def test_a_checkpoint_that_is_not_whole_is_not_gone_on_from(faces, whole, tmp_path, caplog):
    (tmp_path / CHECKPOINT).write_bytes((whole[0] / CHECKPOINT).read_bytes()[:100_000])
    assert train(started(), faces, SETTINGS, folder=tmp_path) == whole[1]
    assert "is not a whole checkpoint" in caplog.text


def test_a_checkpoint_is_written_every_so_many_steps(faces, tmp_path):
    with pytest.raises(Killed):
        train(started(), faces, SETTINGS, folder=tmp_path, progress=killed_at(5))
    assert len(load_file(tmp_path / CHECKPOINT)["history"]) == 4
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_the_model_has_the_average_of_the_unets_weights_and_the_rest_as_it_is(faces, tmp_path):
    network, decay = started(), 0.5
    weights = []

    def remember(items):
        for item in items:
            if item:
                weights.append(network.unet.conv_in.weight.detach().clone())
            yield item
        weights.append(network.unet.conv_in.weight.detach().clone())

    train(network, faces, replace(SETTINGS, ema_decay=decay), folder=tmp_path, progress=remember)
    average = weights[0]
    for step, weight in enumerate(weights[1:], 1):
        kept = min(decay, 1 - (1 + step) ** -0.75)
        average = kept * average + (1 - kept) * weight
    model, checkpoint = load_file(tmp_path / MODEL), load_file(tmp_path / CHECKPOINT)
    torch.testing.assert_close(model["unet.conv_in.weight"], average)
    assert torch.equal(checkpoint["weights.unet.conv_in.weight"], weights[-1])
    assert not torch.equal(weights[-1], average)
    for name, value in model.items():
        if not name.startswith("unet."):
            assert torch.equal(value, checkpoint[f"weights.{name}"])
    assert not load_generator(tmp_path / MODEL, network.extractors).training


def test_a_picture_shows_how_it_comes_along_and_changes_nothing(faces, whole, tmp_path):
    history = train(started(), faces, replace(SETTINGS, sample_every=4), folder=tmp_path)
    assert history == whole[1]
    assert alike(tmp_path, whole[0])
    pictures = sorted((tmp_path / SAMPLES).iterdir())
    assert [path.name for path in pictures] == ["step000004.png", "step000006.png"]
    early, late = (decode(path.read_bytes()) for path in pictures)
    assert early.shape == (8 * 96, 3 * 96, 3)
    # Identity and style stay the same, what is made of them does not; nobody of the training part is shown.
    assert np.array_equal(early[:, :192], late[:, :192])
    assert not np.array_equal(early[:, 192:], late[:, 192:])
    shown = {early[96 * row : 96 * row + 96 : 3, :96:3].tobytes() for row in range(8)}
    assert shown <= {image.tobytes() for image in faces.images[faces.role("test")]}


def test_memory_stays_the_same_from_step_to_step(faces, tmp_path):
    kept = []

    def count(items):
        for item in items:
            gc.collect()
            kept.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))
            yield item

    train(started(), faces, replace(SETTINGS, checkpoint_every=100), folder=tmp_path, progress=count)
    assert len(set(kept[2:])) == 1


def test_as_released_the_identity_is_always_the_first_image_of_the_person(faces, tmp_path, monkeypatch):
    seen = {False: set(), True: set()}
    for as_released, found in seen.items():

        def remember(network, batch, *rest, found=found):
            found.update(image.numpy().tobytes() for image in batch.identity)
            return step_losses(network, batch, *rest)

        monkeypatch.setattr(training, "step_losses", remember)
        train(started(as_released=as_released), faces, SETTINGS, folder=tmp_path / str(as_released))
    first = {image.tobytes() for image in faces.scaled(np.flatnonzero(faces.role("train"))[::3])}
    assert seen[True] == first
    assert not seen[False] <= first


def test_a_generator_learns(faces, tmp_path):
    history = train(started(), faces, replace(SETTINGS, steps=30, learning_rate=3e-3), folder=tmp_path)
    first, last = (np.mean([row["noise"] for row in part]) for part in (history[:5], history[-5:]))
    assert last < 0.7 * first


def test_settings_are_those_of_the_size_unless_stated():
    settings = Settings.of(PAPER, {"steps": None, "batch_size": 8, "weights": {"cycle": 0.1}})
    assert (settings.steps, settings.learning_rate, settings.ema_decay) == (25090, 1e-4, 0.9999)
    assert settings.batch_size == 8
    assert settings.weights == Weights(identity=0.05, landmarks=10.0, cycle=0.1)
    assert Settings.of(SMOKE, {}).weights == WEIGHTS


# Several processes


def test_processes_divide_a_batch_and_end_with_one_model(faces, whole, tmp_path):
    steps = []
    history = train(
        started(), faces, SETTINGS, folder=tmp_path, processes=2, progress=lambda items: steps.append(0) or iter(items)
    )
    assert not steps, "the work is done in processes of their own"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, MODEL]
    # Each process normalises its own half, so that the numbers are near but not the same.
    for row, alone in zip(history, whole[1], strict=True):
        assert row["noise"] == pytest.approx(alone["noise"], rel=0.05)
    assert history != whole[1]


def test_processes_go_on_where_one_ended(faces, whole, tmp_path):
    train(started(), faces, replace(SETTINGS, steps=4), folder=tmp_path)
    history = train(started(), faces, SETTINGS, folder=tmp_path, processes=2)
    assert history[:4] == whole[1][:4]
    assert len(history) == 6


def test_a_batch_that_cannot_be_divided_is_refused(faces, tmp_path):
    with pytest.raises(InputError, match=r"config key a\.b\.batch_size: 8 images cannot be divided among 3 GPUs"):
        train(started(), faces, SETTINGS, folder=tmp_path, processes=3, key="a.b")


# What goes wrong


def ruined_at(step: int, network: Generator):
    def progress(items):
        for item in items:
            if item == step:
                network.unet.conv_in.weight.data[0] = torch.nan
            yield item

    return progress


@pytest.mark.parametrize("processes", [1, 2])
def test_a_loss_that_is_no_number_names_step_and_people_and_leaves_the_checkpoint(processes, faces, tmp_path):
    train(started(), faces, replace(SETTINGS, steps=4), folder=tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / MODEL).unlink()
    network = started()
    with pytest.raises(InputError) as refused:
        train(
            network,
            faces,
            replace(SETTINGS, steps=9),
            folder=tmp_path,
            key="a.b",
            processes=processes,
            progress=ruined_at(4, network),
        )
    message = str(refused.value)
    assert "config key a.b.learning_rate: the loss of ccfexp became nan at step 5, with images of P0, P1" in message
    assert "choose less than 0.001" in message
    assert not any(name in message for name in ("P5", "P6", "P7")), "people of the test part"
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not (tmp_path / MODEL).exists()


def test_a_gradient_that_is_no_number_is_seen_before_it_is_kept(faces, tmp_path):
    network = started()

    def infinite(gradient):
        return gradient * torch.inf

    def spoil(items):
        for item in items:
            if item == 1:
                network.unet.conv_out.weight.register_hook(infinite)
            yield item

    with pytest.raises(InputError, match=r"the gradient of ccfexp became (inf|nan) at step 2, "):
        train(network, faces, SETTINGS, folder=tmp_path, progress=spoil)
    assert not (tmp_path / CHECKPOINT).exists()


def test_many_people_are_not_all_named(tmp_path):
    network = started()
    with pytest.raises(InputError, match=r"images of (P\d+, ){9}P\d+ and \d+ more; choose less"):
        train(
            network,
            drawn_faces(people=40, tested=3),
            replace(SETTINGS, batch_size=40),
            folder=tmp_path,
            progress=ruined_at(0, network),
        )


def test_too_little_memory_names_the_key(faces, tmp_path, monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "step_losses", exhausted)
    with pytest.raises(InputError, match=r"training\.batch_size: there is not enough memory for 8; choose less"):
        train(started(), faces, SETTINGS, folder=tmp_path)


@pytest.mark.parametrize(("tested", "said"), [(2, "one person has"), (3, "nobody has")])
def test_one_person_is_not_enough(tested, said, tmp_path):
    with pytest.raises(InputError, match=rf"studies\.synthesis\.groups: {said} two images"):
        train(started(), drawn_faces(people=3, tested=tested), SETTINGS, folder=tmp_path)


# The start


def test_a_start_follows_from_its_seed():
    one, again, other = (build("ccfexp", "smoke", extractors(), seed).weights() for seed in (1, 1, 2))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["unet.conv_in.weight"], other["unet.conv_in.weight"])


@pytest.mark.parametrize("as_released", [False, True])
def test_a_generator_starts_from_what_dcface_has_learnt(as_released, tmp_path):
    dcface = build("dcface_5x5", "smoke", extractors(), 7)
    for parameter in dcface.parameters():
        parameter.data.fill_(0.25)
    save_generator(dcface, tmp_path / "dcface.safetensors")
    network = started(as_released=as_released)
    before = {name: value.clone() for name, value in network.weights().items()}
    start_from(network, tmp_path / "dcface.safetensors")
    names = dict(network.named_parameters())
    projections = {id(each) for layer in adapters(network.unet) for each in layer.parameters()}
    for name, value in network.weights().items():
        if name not in names:
            continue
        taken = name.startswith(("unet.", "identity."))
        if as_released:
            taken = name.startswith("unet.") and id(names[name]) not in projections
        assert torch.equal(value, torch.full_like(value, 0.25) if taken else before[name]), name


def test_a_start_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.safetensors does not hold a generator to start from"):
        start_from(started(), tmp_path / "nothing.safetensors")
    demo = build("dcface_5x5", "demo", extractors(SIZES["demo"]), 1)
    save_generator(demo, tmp_path / "demo.safetensors")
    with pytest.raises(InputError, match=r"demo\.safetensors holds a generator of size demo, not smoke"):
        start_from(started(), tmp_path / "demo.safetensors")


# The paper's size


@pytest.mark.slow
def test_the_full_model_is_trained_at_the_size_of_the_paper(tmp_path):
    faces = drawn_faces(people=4, tested=2, pixels=112)
    network = build("ccfexp", "paper", extractors(PAPER), 1)
    settings = Settings.of(PAPER, {"steps": 1, "batch_size": 2})
    (row,) = train(network, faces, settings, folder=tmp_path)
    assert all(np.isfinite(value) for value in row.values())
    assert load_generator(tmp_path / MODEL, network.extractors).weights().keys() == network.weights().keys()
