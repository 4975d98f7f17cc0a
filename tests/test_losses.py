import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from faceneuro.training.losses import (
    SCHEMES,
    AdaptiveFocalLoss,
    BinaryCrossEntropy,
    CornLoss,
    class_weights,
    corn_probabilities,
    objective_of,
)

GAMMAS = (0.0, 0.3, 0.5, 1.0, 2.0, 5.0)


def batch(classes: int, n: int = 40, seed: int = 0, outputs: int | None = None) -> tuple:
    """Outputs, labels (every class among them) and class weights."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % classes)
    return random.normal(0, 3, (n, outputs or classes)), labels, random.uniform(0.5, 5, classes)


def tensors(outputs: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(outputs, dtype=torch.float64, requires_grad=True), torch.tensor(labels)


def softmax(outputs: np.ndarray) -> np.ndarray:
    powers = np.exp(outputs - outputs.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def test_class_weights_are_the_formulas():
    counts = np.array([254, 90, 55])
    inverse = 1 / counts
    np.testing.assert_allclose(class_weights(counts), [1, 254 / 90, 254 / 55])
    np.testing.assert_allclose(class_weights(counts, "ratio_mean_one"), 3 * inverse / inverse.sum())
    np.testing.assert_allclose(class_weights(counts, "inverse"), 399 / (3 * counts))
    effective = [(1 - 0.999) / (1 - 0.999**n) for n in counts]
    np.testing.assert_allclose(class_weights(counts, "effective"), 3 * np.array(effective) / sum(effective))
    np.testing.assert_array_equal(class_weights(counts, "none"), [1, 1, 1])


@given(st.lists(st.integers(1, 500), min_size=2, max_size=5), st.sampled_from(sorted(SCHEMES)))
def test_a_rarer_class_never_counts_less_and_equal_classes_count_one(counts, scheme):
    weights = class_weights(counts, scheme)
    assert (np.diff(weights[np.argsort(counts)]) <= 1e-12).all()
    np.testing.assert_allclose(class_weights([counts[0]] * len(counts), scheme), 1)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_a_class_without_samples_has_no_weight(scheme):
    with pytest.raises(ValueError, match="class 1 has no sample"):
        class_weights([3, 0, 2], scheme)


@given(st.integers(2, 5), st.sampled_from(GAMMAS), st.integers(0, 1000))
@settings(max_examples=50)
def test_the_focal_loss_is_its_formula(classes, gamma, seed):
    outputs, labels, alpha = batch(classes, seed=seed)
    p = softmax(outputs)[np.arange(len(labels)), labels]
    expected = np.mean(alpha[labels] * (1 - p) ** gamma * -np.log(p))
    assert AdaptiveFocalLoss(alpha, gamma)(*tensors(outputs, labels)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_without_gamma_and_weights_it_is_cross_entropy(classes):
    outputs, labels = tensors(*batch(classes)[:2])
    found, expected = AdaptiveFocalLoss(np.ones(classes), 0.0)(outputs, labels), cross_entropy(outputs, labels)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, outputs)[0] for loss in (found, expected)))


@pytest.mark.parametrize("gamma", GAMMAS)
def test_gradients_of_the_focal_loss_are_those_of_its_formula(gamma):
    outputs, labels, alpha = batch(3, n=6)
    tensor, truth = tensors(outputs, labels)
    AdaptiveFocalLoss(alpha, gamma)(tensor, truth).backward()
    p = softmax(outputs)
    of_truth = p[np.arange(6), labels]
    # d loss / d log p_t, and d log p_t / d outputs.
    slope = alpha[labels] * (gamma * of_truth * (1 - of_truth) ** (gamma - 1) * np.log(of_truth))
    slope = (slope - alpha[labels] * (1 - of_truth) ** gamma) / 6
    np.testing.assert_allclose(tensor.grad.numpy(), slope[:, None] * (np.eye(3)[labels] - p), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("distance", [0.0, 20.0, 40.0, 200.0, 1e4, 1e30])
def test_the_focal_loss_and_its_gradient_are_finite_however_sure_the_network_is(distance, gamma, dtype):
    outputs = torch.tensor([[distance, 0, 0], [-distance, 0, 0]], dtype=dtype, requires_grad=True)
    focal = AdaptiveFocalLoss([2.0, 1.0, 1.0], gamma)
    right, wrong = (focal(outputs[i : i + 1], torch.tensor([0])) for i in range(2))
    (right + wrong).backward()
    assert torch.isfinite(outputs.grad).all()
    assert torch.isfinite(right)
    assert torch.isfinite(wrong)
    if 200 <= distance <= 1e4:
        # Nothing is left to learn of the one, and the other counts as in cross-entropy.
        assert right.item() == pytest.approx(0, abs=1e-20)
        assert wrong.item() == pytest.approx(2 * distance, rel=0.01)
        np.testing.assert_allclose(outputs.grad.numpy(), [[0, 0, 0], [-2, 1, 1]], atol=1e-6)


def test_a_sure_sample_counts_less_and_a_rare_class_more():
    outputs = torch.tensor([[2.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    plain, focal = (
        [AdaptiveFocalLoss([1.0, 3.0, 1.0], gamma)(outputs[i : i + 1], torch.tensor([0])).item() for i in range(2)]
        for gamma in (0.0, 2.0)
    )
    assert focal[0] / plain[0] < focal[1] / plain[1] < 1
    same = torch.zeros(1, 3)
    rare, common = (AdaptiveFocalLoss([1.0, 3.0, 1.0], 2.0)(same, torch.tensor([label])) for label in (1, 0))
    assert rare.item() == pytest.approx(3 * common.item())


@given(st.integers(2, 5), st.integers(0, 1000))
@settings(max_examples=50)
def test_corn_asks_each_question_of_those_who_come_that_far(classes, seed):
    outputs, labels, alpha = batch(classes, seed=seed, outputs=classes - 1)
    total = asked = 0.0
    for k in range(classes - 1):
        mine = labels > k - 1
        further = sigmoid(outputs[mine, k])
        losses = -np.where(labels[mine] > k, np.log(further), np.log(1 - further))
        total, asked = total + (alpha[labels[mine]] * losses).sum(), asked + mine.sum()
    assert CornLoss(alpha)(*tensors(outputs, labels)).item() == pytest.approx(total / asked, rel=1e-6)


def test_corn_with_two_classes_is_binary_cross_entropy():
    outputs, labels, alpha = batch(2, outputs=1)
    tensor, truth = tensors(outputs, labels)
    torch.testing.assert_close(CornLoss(alpha)(tensor, truth), BinaryCrossEntropy(alpha)(tensor[:, 0], truth))


def test_a_question_that_is_not_asked_teaches_nothing():
    outputs = torch.zeros(2, 3, requires_grad=True)
    CornLoss(np.ones(4))(outputs, torch.tensor([0, 2])).backward()
    np.testing.assert_array_equal(outputs.grad.numpy() == 0, [[False, True, True], [False, False, False]])


finite = st.floats(-1e4, 1e4, width=32)


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=finite))
def test_corn_probabilities_are_products_that_only_fall(outputs):
    found = corn_probabilities(outputs)
    assert found.shape == (len(outputs), outputs.shape[1] + 1)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(1), 1)
    with np.errstate(over="ignore"):
        beyond = np.cumprod(sigmoid(outputs.astype(float)), axis=1)
    np.testing.assert_allclose(found[:, ::-1].cumsum(1)[:, -2::-1], beyond, atol=1e-12)


@pytest.mark.parametrize("distance", [40.0, 1e4, 1e30])
def test_corn_stays_finite_however_sure_the_network_is(distance):
    outputs = torch.tensor([[distance, -distance], [-distance, distance]], requires_grad=True)
    for labels in ([0, 0], [1, 1], [2, 2]):
        CornLoss(np.ones(3))(outputs, torch.tensor(labels)).backward()
        assert torch.isfinite(outputs.grad).all()
    np.testing.assert_allclose(corn_probabilities(outputs.detach()), [[0, 1, 0], [1, 0, 0]], atol=1e-12)


OBJECTIVES = {
    "focal": (AdaptiveFocalLoss([1.0, 2.0, 3.0]), 3),
    "corn": (CornLoss([1.0, 2.0, 3.0]), 2),
}


@pytest.mark.parametrize(("objective", "outputs"), OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("large", [1.0, 300.0])
def test_the_average_over_views_means_the_mean_probability(objective, outputs, large):
    values = torch.randn(5, 4, outputs, generator=torch.Generator().manual_seed(0)) * large
    average = objective.average(values)
    assert average.shape == (5, outputs)
    assert average.dtype == torch.float32
    assert torch.isfinite(average).all()
    expected = objective.probabilities(values).mean(1)
    torch.testing.assert_close(objective.probabilities(average), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(objective.average(values[:, :1]), values[:, 0])


@pytest.mark.parametrize("single", [True, False])
def test_two_classes_have_one_output_or_two(single):
    pair = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = pair[..., 1] - pair[..., 0]
    objective, labels = BinaryCrossEntropy([1.0, 2.0]), torch.tensor([0, 1, 1, 0, 1, 0])
    average = objective.average(logits if single else pair)
    torch.testing.assert_close(objective.probabilities(average), torch.sigmoid(logits).mean(1))
    assert objective.predicted(average).tolist() == (torch.sigmoid(logits).mean(1) > 0.5).long().tolist()
    loss = objective((logits if single else pair)[:, 0], labels)
    expected = binary_cross_entropy_with_logits(logits[:, 0], labels.double(), 1.0 + labels)
    torch.testing.assert_close(loss, expected)


def test_probabilities_are_the_softmax_in_double_precision():
    outputs = np.random.default_rng(0).normal(0, 4, (7, 3)).astype(np.float32)
    found = OBJECTIVES["focal"][0].probabilities(torch.from_numpy(outputs))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), softmax(outputs.astype(float)))


def test_of_equally_probable_classes_the_lowest_is_predicted():
    assert OBJECTIVES["focal"][0].predicted(torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])).tolist() == [0, 1]
    assert BinaryCrossEntropy([1.0, 1.0]).predicted(torch.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_the_configuration_says_what_is_learnt():
    block = {"gamma": 1.5, "weights": "ratio"}
    focal = objective_of(block | {"loss": "focal"}, [6, 3, 2])
    assert (type(focal), focal.gamma, focal.alpha.tolist()) == (AdaptiveFocalLoss, 1.5, [1, 2, 3])
    corn = objective_of(block | {"loss": "corn"}, [6, 3, 2])
    assert (type(corn), corn.alpha.tolist()) == (CornLoss, [1, 2, 3])
    plain = objective_of(block | {"loss": "cross_entropy"}, [6, 3, 2])
    outputs, labels = tensors(*batch(3)[:2])
    torch.testing.assert_close(plain(outputs, labels), cross_entropy(outputs, labels))
    binary = objective_of(None, [6, 2])
    assert type(binary) is BinaryCrossEntropy
    np.testing.assert_allclose(binary.alpha, [8 / 12, 8 / 4])
