import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from faceneuro.errors import InputError
from faceneuro.evaluation.metrics import evaluate
from faceneuro.models import BUILDERS, MODELS
from faceneuro.tables import PREDICTIONS, class_predictions_schema, provenance_of, read_table
from faceneuro.training.fit import embed, fit, load_weights, predict, save_weights, write_fold
from faceneuro.training.folds import SUBJECT, permute_labels, roles_of, split
from faceneuro.training.reduction import inner_products, reduce

SETTINGS = {
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.003,
    "joint_units": 8,
    "select": "last",
    "seed": 3,
}
KEY = "studies.als.training"


def separable(n: int = 120, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Inputs whose first feature gives the class away, labels, and roles."""
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    inputs = {"landmarks": random.normal(size=(n, 12)), "flow": random.normal(size=(n, 5))}
    for values in inputs.values():
        values[:, 0] += 3 * positive
    roles = np.array(["train", "train", "train", "validation", "test", "unused"])[np.arange(n) % 6]
    return {name: values.astype(np.float32) for name, values in inputs.items()}, positive, roles


@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_what_is_there_to_learn(model):
    inputs, positive, roles = separable(600)
    fitted = fit(model, inputs, positive, roles, SETTINGS | {"epochs": 15}, key=KEY)
    test = roles == "test"
    assert ((fitted.probability[test] > 0.5) == positive[test]).mean() > 0.85
    assert fitted.probability.shape == (600,)


@pytest.mark.parametrize("model", MODELS)
def test_a_second_run_is_equal_to_the_last_bit(model):
    inputs, positive, roles = separable()
    torch.manual_seed(1)
    first = fit(model, inputs, positive, roles, SETTINGS, key=KEY)
    torch.manual_seed(2)
    second = fit(model, inputs, positive, roles, SETTINGS, key=KEY)
    np.testing.assert_array_equal(first.probability, second.probability)
    assert first.history == second.history
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name])


@pytest.mark.parametrize("model", MODELS)
def test_test_samples_change_nothing_but_their_own_prediction(model):
    inputs, positive, roles = separable()
    first = fit(model, inputs, positive, roles, SETTINGS, key=KEY)
    hidden = (roles == "test") | (roles == "unused")
    other = {name: values + 7 * hidden[:, None].astype(np.float32) for name, values in inputs.items()}
    second = fit(model, other, positive ^ hidden, roles, SETTINGS, key=KEY)
    np.testing.assert_array_equal(first.probability[~hidden], second.probability[~hidden])
    assert (first.probability[hidden] != second.probability[hidden]).any()
    assert first.history == second.history
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name])


@pytest.mark.parametrize("model", MODELS)
def test_stored_weights_predict_the_same(model, tmp_path):
    inputs, positive, roles = separable()
    fitted = fit(model, inputs, positive, roles, SETTINGS, key=KEY)
    save_weights(tmp_path / "model.safetensors", fitted.weights, {"model": model})
    loaded = load_weights(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(predict(model, loaded, inputs, SETTINGS), fitted.probability)


def test_history_has_both_parts_after_every_epoch_and_the_last_equals_the_model():
    inputs, positive, roles = separable()
    fitted = fit("dual_branch", inputs, positive, roles, SETTINGS, key=KEY)
    history = pd.DataFrame(fitted.history)
    assert history[["epoch", "part"]].to_records(index=False).tolist() == [
        (epoch, part) for epoch in range(1, 5) for part in ("train", "validation")
    ]
    for part, row in history[history["epoch"] == 4].set_index("part").iterrows():
        mine = roles == part
        assert row["accuracy"] == pytest.approx(((fitted.probability > 0.5) == positive)[mine].mean())


def test_the_best_epoch_is_chosen_by_validation_loss():
    inputs, positive, roles = separable(60)
    # Some labels are wrong, so that learning them by heart costs validation loss.
    positive ^= np.arange(60) % 5 == 0
    rates = SETTINGS | {"epochs": 40, "learning_rate": 0.02, "select": "best_validation"}
    fitted = fit("dual_branch", inputs, positive, roles, rates, key=KEY)
    history = pd.DataFrame(fitted.history)
    watched = history[history["part"] == "validation"].set_index("epoch")["loss"]
    assert watched.idxmin() < 40
    training = positive[roles == "train"]
    weight = np.where(positive, len(training) / (2 * training.sum()), len(training) / (2 * (~training).sum()))
    losses = -weight * np.log(np.where(positive, fitted.probability, 1 - fitted.probability))
    assert losses[roles == "validation"].mean() == pytest.approx(watched.min(), rel=1e-4)


def test_choosing_an_epoch_without_a_validation_part_is_refused():
    inputs, positive, roles = separable()
    roles[roles == "validation"] = "train"
    with pytest.raises(InputError, match=r"studies\.als\.training\.select: best_validation needs"):
        fit("dual_branch", inputs, positive, roles, SETTINGS | {"select": "best_validation"}, key=KEY)
    assert {row["part"] for row in fit("dual_branch", inputs, positive, roles, SETTINGS, key=KEY).history} == {"train"}


def test_a_diverging_loss_names_the_key_to_lower():
    inputs, positive, roles = separable()
    with pytest.raises(
        InputError, match=r"studies\.als\.training\.learning_rate: .* loss became .*; choose less than 1e\+30"
    ):
        fit("dual_branch", inputs, positive, roles, SETTINGS | {"learning_rate": 1e30}, key=KEY)


def test_inputs_that_are_not_finite_are_refused():
    inputs, positive, roles = separable()
    inputs["flow"][3, 1] = np.inf
    with pytest.raises(ValueError, match="flow input has values that are not finite"):
        fit("flow_only", inputs, positive, roles, SETTINGS, key=KEY)


def test_a_rare_class_counts_as_much_as_a_common_one():
    random = np.random.default_rng(0)
    positive = np.arange(400) % 20 == 0
    inputs = {"landmarks": random.normal(size=(400, 3)).astype(np.float32), "flow": np.zeros((400, 2), np.float32)}
    inputs["landmarks"][:, 0] += 1.5 * positive
    roles = np.full(400, "train")
    fitted = fit("landmarks_only", inputs, positive, roles, SETTINGS | {"epochs": 20}, key=KEY)
    assert (fitted.probability[positive] > 0.5).mean() > 0.6


class Linear(nn.Module):
    """A layer on the landmarks; as many outputs as the objective wants."""

    def __init__(self, sizes, settings):
        super().__init__()
        self.hidden = nn.Linear(sizes["landmarks"], 8)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(8, settings["classes"] - (settings["objective"]["loss"] == "corn"))

    def embed(self, inputs):
        return torch.relu(self.hidden(inputs["landmarks"]))

    def gate(self, inputs):
        return torch.sigmoid(inputs["landmarks"][:, :3])

    def forward(self, inputs):
        return self.last(self.drop(self.embed(inputs)))


@pytest.fixture
def linear(monkeypatch) -> str:
    monkeypatch.setitem(BUILDERS, "linear", Linear)
    return "linear"


LOSSES = ("focal", "cross_entropy", "corn")


def settings_for(loss: str, classes: int = 3, **more) -> dict:
    objective = {"loss": loss, "gamma": 2.0, "weights": "ratio"}
    return SETTINGS | {"learning_rate": 0.03, "classes": classes, "objective": objective} | more


def stages(n: int = 240, classes: int = 3, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Inputs whose first feature grows with the class, of which the last is rare; labels and roles."""
    random = np.random.default_rng(seed)
    labels = np.minimum(random.geometric(0.45, n) - 1, classes - 1)
    labels[: 6 * classes] = np.repeat(np.arange(classes), 6)
    values = random.normal(size=(n, 12))
    values[:, 0] += 3 * labels
    roles = np.array(["train", "train", "train", "validation", "test", "unused"])[np.arange(n) % 6]
    return {"landmarks": values.astype(np.float32)}, labels, roles


@pytest.mark.parametrize("loss", LOSSES)
def test_more_than_two_classes_are_learnt(loss, linear):
    inputs, labels, roles = stages(600, classes=4)
    settings = settings_for(loss, classes=4, epochs=25, weight_decay=0.0)
    fitted = fit(linear, inputs, labels, roles, settings, key=KEY)
    assert fitted.probability.shape == (600, 4)
    np.testing.assert_allclose(fitted.probability.sum(1), 1)
    test = roles == "test"
    assert (fitted.probability.argmax(1) == labels)[test].mean() > 0.75
    again = fit(linear, inputs, labels, roles, settings, key=KEY)
    np.testing.assert_array_equal(fitted.probability, again.probability)
    np.testing.assert_array_equal(predict(linear, fitted.weights, inputs, settings), fitted.probability)
    for row in fitted.history[-2:]:
        mine = roles == row["part"]
        assert row["accuracy"] == pytest.approx((fitted.probability.argmax(1) == labels)[mine].mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_held_out_samples_of_several_classes_change_nothing_but_their_own_prediction(loss, linear):
    inputs, labels, roles = stages()
    first = fit(linear, inputs, labels, roles, settings_for(loss), key=KEY)
    hidden = (roles == "test") | (roles == "unused")
    other = {"landmarks": inputs["landmarks"] + 7 * hidden[:, None].astype(np.float32)}
    second = fit(linear, other, np.where(hidden, (labels + 1) % 3, labels), roles, settings_for(loss), key=KEY)
    np.testing.assert_array_equal(first.probability[~hidden], second.probability[~hidden])
    assert (first.probability[hidden] != second.probability[hidden]).any()
    assert first.history == second.history


def test_the_history_of_a_focal_loss_is_its_formula_weighted_by_the_training_part_alone(linear):
    inputs, labels, roles = stages()
    settings = settings_for("focal", select="best_validation", epochs=12)
    fitted = fit(linear, inputs, labels, roles, settings, key=KEY)
    counts = np.bincount(labels[roles == "train"])
    assert len(set(counts)) == 3
    of_truth = np.take_along_axis(fitted.probability, labels[:, None], 1)[:, 0]
    losses = -(counts.max() / counts)[labels] * (1 - of_truth) ** 2 * np.log(of_truth)
    history = pd.DataFrame(fitted.history).pivot(index="epoch", columns="part", values="loss")
    chosen = history["validation"].idxmin()
    for part in ("train", "validation"):
        assert losses[roles == part].mean() == pytest.approx(history[part][chosen], rel=1e-4)


def test_weights_of_classes_reach_the_rare_one(linear):
    random = np.random.default_rng(0)
    labels = np.where(np.arange(600) % 20 == 0, 2, np.arange(600) % 2)
    inputs = {"landmarks": random.normal(size=(600, 3)).astype(np.float32)}
    inputs["landmarks"][:, 0] += 1.5 * (labels == 2)
    roles = np.full(600, "train")
    found = {}
    for weights in ("none", "ratio"):
        settings = settings_for("focal", epochs=20)
        settings["objective"]["weights"] = weights
        fitted = fit(linear, inputs, labels, roles, settings, key=KEY)
        found[weights] = (fitted.probability.argmax(1) == 2)[labels == 2].mean()
    assert found["ratio"] > 0.5 > found["none"]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_that_the_training_part_lacks_is_named(missing, linear):
    inputs, labels, roles = stages()
    roles[labels == missing] = "test"
    with pytest.raises(ValueError, match=f"training part has no sample of class {missing}"):
        fit(linear, inputs, labels, roles, settings_for("focal"), key=KEY)
    with pytest.raises(ValueError, match="training part has no sample of class 1"):
        fit("dual_branch", inputs, np.zeros(len(roles), bool), roles, SETTINGS, key=KEY)


def test_a_label_beyond_the_classes_is_refused(linear):
    inputs, labels, roles = stages(classes=4)
    with pytest.raises(ValueError, match="a label is 3, where there are 3 classes"):
        fit(linear, inputs, labels, roles, settings_for("focal"), key=KEY)


def test_a_plain_model_knows_several_classes_too():
    inputs, labels, roles = stages(600)
    fitted = fit("logistic_regression", inputs, labels, roles, {"classes": 3}, key=KEY)
    assert fitted.probability.shape == (600, 3)
    validation = roles == "validation"
    accuracy = (fitted.probability.argmax(1) == labels)[validation].mean()
    assert accuracy > 0.8
    assert fitted.history[1]["accuracy"] == pytest.approx(accuracy)
    of_truth = fitted.probability[np.arange(600), labels]
    assert fitted.history[1]["loss"] == pytest.approx(-np.log(of_truth[validation]).mean())
    np.testing.assert_array_equal(
        predict("logistic_regression", fitted.weights, inputs, {"classes": 3}), fitted.probability
    )


def test_any_method_of_a_network_can_be_looked_at(linear):
    inputs, labels, roles = stages()
    settings = settings_for("focal", epochs=1)
    fitted = fit(linear, inputs, labels, roles, settings, key=KEY)
    gates = embed(linear, fitted.weights, inputs, settings, method="gate")
    np.testing.assert_allclose(gates, 1 / (1 + np.exp(-inputs["landmarks"][:, :3])), rtol=1e-5)
    assert embed(linear, fitted.weights, inputs, settings).shape == (240, 8)


class Output:
    """Where a job writes."""

    def __init__(self, folder):
        self.model, self.history, self.predictions = (
            folder / name for name in ("model.safetensors", "history.parquet", "predictions.parquet")
        )


@pytest.mark.parametrize("several", [True, False])
def test_a_fold_is_written_with_the_probabilities_of_its_classes(several, linear, tmp_path):
    if several:
        inputs, labels, roles = stages()
        fitted = fit(linear, inputs, labels, roles, settings_for("focal", epochs=1), key=KEY)
        schema, column = class_predictions_schema(3), "probabilities"
    else:
        inputs, labels, roles = separable()
        fitted = fit("dual_branch", inputs, labels, roles, SETTINGS | {"epochs": 1}, key=KEY)
        schema, column = PREDICTIONS, "probability"
    samples = pd.DataFrame({"cohort": "c", "subject": [f"s{i:03}" for i in range(len(labels))], "clip": "k"})
    samples = samples.assign(frame=0, label=labels.astype(str))
    key = {"study": "x", "protocol": "grouped", "model": "m", "fold": 2}
    output = Output(tmp_path)
    write_fold(fitted, samples, roles, key, output, {"rule": "train"})
    predictions = read_table(output.predictions)
    assert list(predictions.columns) == schema.names
    held_out = roles == "test"
    assert list(predictions["subject"]) == list(samples["subject"][held_out])
    assert set(predictions["fold"]) == {2}
    np.testing.assert_array_equal(np.stack(predictions[column]), fitted.probability[held_out])
    assert provenance_of(output.predictions) == {"rule": "train"}
    assert list(read_table(output.history)["part"]) == ["train", "validation"]
    assert set(load_weights(output.model)) == set(fitted.weights)


def test_the_processor_takes_no_notice_of_mixed_precision(linear):
    inputs, labels, roles = stages()
    plain, mixed = (
        fit(linear, inputs, labels, roles, settings_for("focal", mixed_precision=mixed), key=KEY)
        for mixed in (False, True)
    )
    np.testing.assert_array_equal(plain.probability, mixed.probability)
    assert plain.history == mixed.history
    assert all(value.dtype == np.float32 for value in mixed.weights.values())


def test_training_leaves_the_process_as_it_was():
    inputs, positive, roles = separable()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    fit("dual_branch", inputs, positive, roles, SETTINGS, key=KEY)
    torch.testing.assert_close(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def people(subjects: int = 24, frames: int = 20, sign: float = 0.0, seed: int = 0) -> tuple:
    """Faces that differ between people, and by ``sign`` between groups; little between frames of one person."""
    random = np.random.default_rng(seed)
    faces, gaits = random.normal(size=(subjects, 30)), random.gamma(2.0, 1.0, (subjects, 50))
    who = np.repeat(np.arange(subjects), frames)
    ill = who % 2 == 1
    landmarks = faces[who] + random.normal(0, 0.3, (len(who), 30)) + sign * ill[:, None]
    flow = (gaits[who] * random.gamma(8.0, 1 / 8, (len(who), 50))).astype(np.float16)
    samples = pd.DataFrame({"cohort": "c", "subject": [f"s{i:02}" for i in who], "clip": [f"k{i}" for i in who]})
    samples["frame"] = np.tile(np.arange(frames), subjects)
    samples["label"] = np.where(ill, "ALS", "Healthy")
    return samples, landmarks.astype(np.float32), inner_products(lambda start, stop: flow[start:stop], len(flow), 2**24)


PROTOCOLS = {
    "published": {"test_fraction": 0.2, "validation_fraction": 0.1, "seed": 1},
    "grouped": {"folds": 4, "validation_fraction": 0.2, "seed": 1},
}


def study(samples: pd.DataFrame, landmarks: np.ndarray, gram: np.ndarray, model: str) -> pd.DataFrame:
    """Metrics of both protocols, every step as the workflow does it."""
    positive = (samples["label"] == "ALS").to_numpy()
    keys = samples[["cohort", "subject", "clip", "frame"]]
    predictions = []
    for protocol, options in PROTOCOLS.items():
        folds = split(samples, "als", protocol, **options)
        for fold in folds["fold"].unique():
            roles = roles_of(folds, fold, samples)
            reduction = reduce(gram, landmarks, keys.to_numpy().tolist(), np.flatnonzero(roles == "train"), 8)
            inputs = reduction.inputs(gram, landmarks)
            fitted = fit(model, inputs, positive, roles, SETTINGS | {"epochs": 10}, key=KEY)
            tested = samples.assign(
                study="als", protocol=protocol, model=model, fold=fold, probability=fitted.probability
            )
            predictions.append(tested[roles == "test"])
    return evaluate(pd.concat(predictions), ("Healthy", "ALS"), 200, 0)


def pooled(metrics: pd.DataFrame, protocol: str, level: str, metric: str) -> pd.Series:
    mine = metrics[(metrics["aggregation"] == "pooled") & (metrics["protocol"] == protocol)]
    return mine[(mine["level"] == level) & (mine["metric"] == metric)].iloc[0]


@pytest.mark.parametrize("model", ["dual_branch", "logistic_regression"])
def test_permuted_labels_make_identity_leakage_visible(model):
    accuracies = []
    for seed in range(3):
        samples, landmarks, gram = people(sign=2.0, seed=seed)
        labels = samples.groupby(SUBJECT)["label"].first()
        permuted = permute_labels(labels, seed).to_dict()
        shuffled = samples.assign(
            label=[permuted[key] for key in zip(samples["cohort"], samples["subject"], strict=True)]
        )
        metrics = study(shuffled, landmarks, gram, model)
        assert pooled(metrics, "published", "frame", "accuracy")["value"] > 0.9
        accuracies.append(pooled(metrics, "grouped", "subject", "accuracy")["value"])
    assert 0.25 < np.mean(accuracies) < 0.65


def test_a_true_sign_is_found_in_people_never_seen():
    metrics = study(*people(sign=2.0), "dual_branch")
    area = pooled(metrics, "grouped", "subject", "roc_auc")
    assert area["value"] > 0.8
    assert area["ci_low"] > 0.5


def test_a_gpu_that_torch_cannot_use_is_said_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    inputs, positive, roles = separable()
    with pytest.raises(InputError, match=r"torch cannot use one here.*train on the CPU"):
        fit("dual_branch", inputs, positive, roles, SETTINGS, key=KEY, device="cuda")
