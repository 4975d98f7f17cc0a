"""The palsy study's network over time: its clips, what it can learn, and what must not matter to it."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from faceneuro.models import BRANCHES, IMAGES, INPUTS, KINDS, PALSY_NETWORKS
from faceneuro.models.temporal import COORDINATES, TemporalNetwork
from faceneuro.studies.clips import CLIP
from faceneuro.studies.palsy_clips import MOST_FRAMES, clip_sequences, gather, spread
from faceneuro.tables import KEYS
from faceneuro.training.fit import embed, fit, predict
from faceneuro.training.folds import roles_of, split

MODEL = "temporal_rgb"
UNITS = 6
SETTINGS = {"epochs": 12, "batch_size": 16, "learning_rate": 0.01, "optimiser": "adam", "select": "last", "seed": 3}
KEY = "studies.palsy.training.fusion"


def samples_of(lengths: dict[tuple[str, str], int], labels: dict[str, str]) -> pd.DataFrame:
    """Samples of clips, (subject, clip) to number of frames; frames are some way apart, as where crops are few."""
    rows = [
        {"cohort": "c", "subject": subject, "clip": clip, "frame": 3 * frame + 1, "label": labels[subject]}
        for (subject, clip), length in lengths.items()
        for frame in range(length)
    ]
    return pd.DataFrame(rows)


def some_clips(lengths=(3, 1, 7, 5)) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Samples of as many subjects of alternating classes, and inputs of no meaning."""
    names = [f"s{number}" for number in range(len(lengths))]
    labels = {name: ("Healthy", "Palsy")[number % 2] for number, name in enumerate(names)}
    samples = samples_of({(name, "a"): length for name, length in zip(names, lengths, strict=True)}, labels)
    random = np.random.default_rng(0)
    coordinates, embedding = (random.normal(size=(len(samples), size)) for size in (COORDINATES, UNITS))
    return samples, coordinates.astype(np.float32), embedding.astype(np.float32)


def network(frames: int = 7) -> TemporalNetwork:
    torch.manual_seed(1)
    sizes = {"coordinates_sequence": frames * COORDINATES, "image_sequence": frames * UNITS, "length": 1}
    return PALSY_NETWORKS[MODEL](sizes, {}).eval()


def outputs(inputs: dict[str, np.ndarray]) -> np.ndarray:
    frames = inputs["coordinates_sequence"].shape[1] // COORDINATES
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
    with torch.no_grad():
        return torch.softmax(network(frames)(tensors), 1)[:, 1].numpy()


def repadded(inputs: dict[str, np.ndarray], frames: int, filling: float) -> dict[str, np.ndarray]:
    """The same clips with so many frames more of padding, and all of the padding filled with a number."""
    changed = {}
    for name, values in inputs.items():
        if name == "length":
            changed[name] = values
            continue
        size = COORDINATES if name == "coordinates_sequence" else UNITS
        steps = values.reshape(len(values), -1, size)
        steps = np.concatenate([steps, np.zeros((len(steps), frames, size), np.float32)], 1)
        steps[np.arange(steps.shape[1]) >= inputs["length"]] = filling
        changed[name] = steps.reshape(len(steps), -1)
    return changed


def test_sequences_hold_the_frames_in_order_and_their_number():
    samples, coordinates, embedding = some_clips()
    clips, inputs = clip_sequences(samples, coordinates, embedding)
    assert set(inputs) == set(INPUTS[MODEL])
    assert list(clips.columns) == [*CLIP, "label"]
    assert clips["label"].tolist() == ["Healthy", "Palsy"] * 2
    np.testing.assert_array_equal(inputs["length"][:, 0], [3, 1, 7, 5])
    assert inputs["coordinates_sequence"].shape == (4, 7 * COORDINATES)
    assert inputs["image_sequence"].shape == (4, 7 * UNITS)
    for name, values in (("coordinates_sequence", coordinates), ("image_sequence", embedding)):
        steps = inputs[name].reshape(4, 7, -1)
        np.testing.assert_array_equal(steps[0, :3], values[:3])
        np.testing.assert_array_equal(steps[1, :1], values[3:4])
        np.testing.assert_array_equal(steps[3, :5], values[11:])
        assert not steps[0, 3:].any()
        assert not steps[1, 1:].any()


def test_long_clips_are_thinned_evenly():
    samples, coordinates, embedding = some_clips((100, MOST_FRAMES, 33))
    _, inputs = clip_sequences(samples, coordinates, embedding)
    np.testing.assert_array_equal(inputs["length"][:, 0], [MOST_FRAMES] * 3)
    steps = inputs["image_sequence"].reshape(3, MOST_FRAMES, UNITS)
    chosen = [np.flatnonzero((embedding[:100] == step).all(1)).item() for step in steps[0]]
    assert set(np.diff(chosen)) <= {3, 4}
    assert chosen[0] == 99 - chosen[-1] == 1
    np.testing.assert_array_equal(steps[1], embedding[100:132])


def test_the_order_of_the_samples_does_not_matter():
    samples, coordinates, embedding = some_clips()
    clips, inputs = clip_sequences(samples, coordinates, embedding)
    order = np.random.default_rng(1).permutation(len(samples))
    # A data frame that was filtered or sorted keeps old row names.
    again, others = clip_sequences(samples.iloc[order], coordinates[order], embedding[order])
    pd.testing.assert_frame_equal(clips, again)
    for name, values in inputs.items():
        np.testing.assert_array_equal(values, others[name])


def test_the_network_has_the_layers_that_it_says_it_has():
    built = network()
    dense = (COORDINATES + 1) * 32 + (UNITS + 1) * 32 + (128 + 1) * 2
    recurrent = 3 * (64 * 64 + 64 * 64 + 2 * 64)
    assert sum(parameter.numel() for parameter in built.parameters()) == dense + recurrent
    _, inputs = clip_sequences(*some_clips())
    tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
    assert built(tensors).shape == (4, 2)
    assert built.embed(tensors).shape == (4, 128)
    built.train()(tensors).square().sum().backward()
    assert all(parameter.grad.any() for parameter in built.parameters())


def test_the_registry_knows_the_network_by_its_branch():
    assert KINDS[MODEL] == "fusion"
    assert BRANCHES[MODEL] == ("rgb_mixer",)
    assert MODEL not in IMAGES


def test_a_clip_does_not_depend_on_padding_or_on_other_clips():
    _, inputs = clip_sequences(*some_clips())
    together = outputs(inputs)
    assert np.ptp(together) > 1e-3
    np.testing.assert_allclose(outputs(repadded(inputs, 5, 1e6)), together, atol=1e-6)
    for clip in range(4):
        alone = {name: values[clip : clip + 1] for name, values in inputs.items()}
        np.testing.assert_allclose(outputs(alone), together[clip : clip + 1], atol=1e-6)
        bare = {
            name: values[:, : values.shape[1] // 7 * int(alone["length"][0, 0])] if name != "length" else values
            for name, values in alone.items()
        }
        np.testing.assert_allclose(outputs(bare), together[clip : clip + 1], atol=1e-6)


def test_states_are_those_of_a_unit_that_sees_one_clip_frame_by_frame():
    samples, coordinates, embedding = some_clips()
    _, inputs = clip_sequences(samples, coordinates, embedding)
    built = network()
    clip = (samples["subject"] == "s3").to_numpy()
    with torch.no_grad():
        reduce = built.reduce
        seen = torch.cat(
            [
                reduce["coordinates_sequence"](torch.from_numpy(coordinates[clip])),
                reduce["image_sequence"](torch.from_numpy(embedding[clip])),
            ],
            1,
        )
        state, states = torch.zeros(1, 64), []
        for step in seen:
            _, state = built.recur(step[None], state)
            states.append(state[0])
        found = built.embed({name: torch.from_numpy(values) for name, values in inputs.items()})[3]
    np.testing.assert_allclose(found[:64], torch.stack(states).mean(0), atol=1e-6)
    np.testing.assert_allclose(found[64:], states[-1], atol=1e-6)


def test_the_order_of_frames_matters():
    samples, coordinates, embedding = some_clips()
    backwards = samples.assign(frame=100 - samples["frame"])
    forwards = outputs(clip_sequences(samples, coordinates, embedding)[1])
    reversed_ = outputs(clip_sequences(backwards, coordinates, embedding)[1])
    several = [0, 2, 3]
    assert (np.abs(reversed_ - forwards)[several] > 1e-4).all()
    # A single frame has no order.
    np.testing.assert_allclose(reversed_[1], forwards[1], atol=1e-6)


def test_values_of_clips_reach_every_frame_and_come_back():
    samples, coordinates, embedding = some_clips((3, 1, 40))
    samples = samples.sample(frac=1, random_state=0)
    clips, _ = clip_sequences(samples, coordinates, embedding)
    probability = np.array([0.1, 0.5, 0.9])
    frames = spread(samples, clips, probability)
    assert len(frames) == len(samples)
    for name, value in zip(("s0", "s1", "s2"), probability, strict=True):
        assert (frames[samples["subject"] == name] == value).all()
    np.testing.assert_array_equal(gather(samples, clips, frames), probability)
    with pytest.raises(ValueError, match="none of the clips"):
        spread(samples, clips.iloc[1:], probability[1:])
    with pytest.raises(ValueError, match="no sample"):
        gather(samples[samples["subject"] != "s1"], clips, frames[samples["subject"] != "s1"])


def test_clips_of_one_name_belong_to_their_own_subjects():
    labels = {"x": "Healthy", "y": "Palsy"}
    samples = samples_of({("x", "smile"): 2, ("x", "blink"): 2, ("y", "smile"): 3}, labels)
    values = np.zeros((len(samples), 2), np.float32)
    clips, inputs = clip_sequences(samples, values, values)
    assert clips[["subject", "clip"]].to_numpy().tolist() == [["x", "blink"], ["x", "smile"], ["y", "smile"]]
    np.testing.assert_array_equal(inputs["length"][:, 0], [2, 2, 3])
    np.testing.assert_array_equal(spread(samples, clips, np.array([0, 1, 2])), [1, 1, 0, 0, 2, 2, 2])


def test_a_clip_has_one_role():
    samples, coordinates, embedding = some_clips((2, 5, 1, 3, 4, 2))
    clips, _ = clip_sequences(samples, coordinates, embedding)
    folds = split(samples, "palsy", "grouped", folds=3, validation_fraction=0.5, seed=0)
    tested = []
    for fold in range(3):
        roles = gather(samples, clips, roles_of(folds, fold, samples))
        assert len(roles) == len(clips)
        assert {"train", "test"} <= set(roles)
        tested += clips.loc[roles == "test", "subject"].tolist()
    assert sorted(tested) == sorted(clips["subject"])
    torn = np.full(len(samples), "train", "U10")
    torn[3] = "test"
    with pytest.raises(ValueError, match="one clip differ"):
        gather(samples, clips, torn)


@cache
def moving() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Clips in which the same faces follow each other forwards in one class and backwards in the other.

    So the classes have the same frames and, but for noise, the same mean frame; faces differ between subjects.
    """
    random = np.random.default_rng(5)
    subjects = [f"s{number:02}" for number in range(60)]
    labels = {name: ("Healthy", "Palsy")[number % 2] for number, name in enumerate(subjects)}
    samples = samples_of({(name, clip): random.integers(4, 9) for name in subjects for clip in "ab"}, labels)
    clip = samples.groupby(CLIP).ngroup().to_numpy()
    way = samples.groupby(CLIP)["frame"].transform(lambda frames: np.linspace(-1, 1, len(frames))).to_numpy()
    way = np.where(samples["label"] == "Palsy", way, -way)
    face = random.normal(size=(len(subjects), COORDINATES))[clip // 2]
    movement = random.normal(size=COORDINATES)
    noise = random.normal(size=(len(samples), COORDINATES))
    coordinates = 0.5 + 0.1 * face + 0.05 * np.outer(way, movement) + 0.01 * noise
    embedding = random.normal(size=(len(samples), UNITS))
    return samples, coordinates.astype(np.float32), embedding.astype(np.float32)


def roles_for(clips: pd.DataFrame) -> np.ndarray:
    """Every third pair of subjects is tested."""
    number = clips["subject"].str[1:].astype(int).to_numpy()
    return np.where(number // 2 % 3 == 2, "test", "train")


def test_movement_is_learnt_where_the_mean_frame_tells_nothing():
    clips, inputs = clip_sequences(*moving())
    positive, roles = (clips["label"] == "Palsy").to_numpy(), roles_for(clips)
    fitted = fit(MODEL, inputs, positive, roles, SETTINGS, key=KEY)
    tested = roles == "test"
    assert roc_auc_score(positive[tested], fitted.probability[tested]) > 0.9
    losses = [row["loss"] for row in fitted.history]
    assert losses[-1] < losses[0] / 2

    steps = inputs["coordinates_sequence"].reshape(len(clips), -1, COORDINATES)
    mean = {"coordinates": steps.sum(1) / inputs["length"]}
    plain = fit("coordinates_fnn", mean, positive, roles, SETTINGS, key=KEY)
    assert 0.3 < roc_auc_score(positive[tested], plain.probability[tested]) < 0.7


def test_stored_weights_predict_the_same_and_longer_clips_too():
    samples, coordinates, embedding = some_clips((3, 1, 7, 5, 1, 2))
    clips, inputs = clip_sequences(samples, coordinates, embedding)
    positive, roles = (clips["label"] == "Palsy").to_numpy(), np.array(["train"] * 4 + ["test"] * 2)
    fitted = fit(MODEL, inputs, positive, roles, SETTINGS, key=KEY)
    assert np.isfinite(fitted.probability).all()
    np.testing.assert_array_equal(predict(MODEL, fitted.weights, inputs, SETTINGS), fitted.probability)
    longer = repadded(inputs, 9, 0.0)
    np.testing.assert_allclose(predict(MODEL, fitted.weights, longer, SETTINGS), fitted.probability, atol=1e-6)
    assert embed(MODEL, fitted.weights, inputs, SETTINGS).shape == (6, 128)


def test_clips_of_one_frame_can_be_learnt():
    samples, coordinates, embedding = some_clips((1,) * 8)
    clips, inputs = clip_sequences(samples, coordinates, embedding)
    assert inputs["image_sequence"].shape == (8, UNITS)
    positive, roles = (clips["label"] == "Palsy").to_numpy(), np.array(["train"] * 6 + ["test"] * 2)
    fitted = fit(MODEL, inputs, positive, roles, SETTINGS, key=KEY)
    assert ((fitted.probability > 0.5) == positive)[:6].all()


def test_frames_are_standardised_by_the_training_clips_alone():
    samples, coordinates, embedding = some_clips((3, 1, 7, 5))
    coordinates *= np.geomspace(1e-2, 1e2, COORDINATES, dtype=np.float32)
    clips, inputs = clip_sequences(samples, coordinates, embedding)
    positive, roles = (clips["label"] == "Palsy").to_numpy(), np.array(["train", "train", "train", "test"])
    fitted = fit(MODEL, inputs, positive, roles, SETTINGS | {"epochs": 1}, key=KEY)
    mine = spread(samples, clips, roles) == "train"
    for name, values in (("coordinates_sequence", coordinates), ("image_sequence", embedding)):
        expected = values[mine].astype(float)
        np.testing.assert_allclose(fitted.weights[f"standardise.{name}.mean"], expected.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(fitted.weights[f"standardise.{name}.deviation"], expected.std(0), rtol=1e-4)


def test_held_out_clips_change_no_weights():
    samples, coordinates, embedding = some_clips((3, 1, 7, 5, 2, 4))
    roles = {name: "test" if name in ("s4", "s5") else "train" for name in samples["subject"].unique()}
    held_out = samples["subject"].map(roles).to_numpy() == "test"

    def weights_with(samples, coordinates, embedding):
        clips, inputs = clip_sequences(samples, coordinates, embedding)
        positive = (clips["label"] == "Palsy").to_numpy()
        return fit(MODEL, inputs, positive, clips["subject"].map(roles).to_numpy(str), SETTINGS, key=KEY).weights

    expected = weights_with(samples, coordinates, embedding)
    other = np.where(held_out[:, None], np.float32(50), coordinates)
    # More frames of a held-out clip mean more padding for all others.
    more = samples[held_out].assign(frame=samples["frame"] + 500)
    longer = pd.concat([samples, more], ignore_index=True)
    assert not longer.duplicated(list(KEYS)).any()
    for changed in (
        weights_with(samples, other, embedding * np.where(held_out, 9, 1)[:, None].astype(np.float32)),
        weights_with(longer, *(np.concatenate([values, values[held_out]]) for values in (coordinates, embedding))),
    ):
        for name, value in expected.items():
            np.testing.assert_array_equal(changed[name], value, err_msg=name)
