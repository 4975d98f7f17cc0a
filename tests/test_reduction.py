import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from faceneuro.errors import InputError
from faceneuro.training.reduction import Axes, Reduction, Scaling, axes, fit, inner_products, reduce

MIB = 2**20


def reader(rows: np.ndarray):
    return lambda start, stop: rows[start:stop]


def fields(n: int, width: int, seed: int = 0, rank: int | None = None) -> np.ndarray:
    """Non-negative fields in half precision, like flow; of a lower rank if asked for."""
    random = np.random.default_rng(seed)
    if rank is None:
        return random.gamma(1.0, 1.0, (n, width)).astype(np.float16)
    # Small integers, so that half precision keeps the rank.
    return (random.integers(0, 3, (n, rank)) @ random.integers(0, 3, (rank, width))).astype(np.float16)


def assert_same_up_to_sign(found: np.ndarray, expected: np.ndarray) -> None:
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * np.where(signs, signs, 1), expected, atol=1e-7 * max(np.abs(expected).max(), 1))


@given(
    n=st.integers(4, 40),
    width=st.integers(5, 60),
    components=st.integers(1, 12),
    seed=st.integers(0, 100),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_scores_equal_a_full_pca_of_the_training_rows(n, width, components, seed, data):
    rows = fields(n, width, seed)
    m = data.draw(st.integers(2, n))
    train = np.random.default_rng(seed).permutation(n)[:m]
    gram = inner_products(reader(rows), n, MIB)
    found = fit(gram, train, components)
    # The last possible component of fewer rows than columns has no variance, so any unit vector would do for it.
    k = min(components, m - 1, width)
    expected = PCA(k, svd_solver="full").fit(rows[train].astype(float))
    assert_same_up_to_sign(found.scores(gram[:, train])[:, :k], expected.transform(rows.astype(float)))
    np.testing.assert_allclose(found.variances[:k], expected.explained_variance_, rtol=1e-7)
    np.testing.assert_allclose(
        found.variances[:k] / found.total_variance, expected.explained_variance_ratio_, rtol=1e-7
    )
    assert not found.scores(gram[:, train])[:, k + 1 :].any()


def test_beyond_the_rank_scores_are_zero_and_the_rest_still_equals_a_full_pca():
    rows = fields(30, 50, rank=3)
    rows[20:] = rows[:10]
    gram = inner_products(reader(rows), 30, MIB)
    train = np.arange(25)
    found = fit(gram, train, 10)
    scores = found.scores(gram[:, train])
    expected = PCA(10, svd_solver="full").fit(rows[train].astype(float)).transform(rows.astype(float))
    assert_same_up_to_sign(scores[:, :3], expected[:, :3])
    assert not scores[:, 3:].any()
    assert not found.variances[3:].any()
    np.testing.assert_array_equal(scores[20:25], scores[:5])


def test_equal_rows_have_no_components():
    rows = np.ones((6, 20), np.float16)
    gram = inner_products(reader(rows), 6, MIB)
    assert not fit(gram, np.arange(4), 2).scores(gram[:, :4]).any()


@pytest.mark.parametrize("memory", [10_000_000, 1_200_000, 420_000])
def test_the_budget_changes_how_rows_pass_and_not_the_result(memory):
    rows = fields(90, 4500)
    asked = []

    def read(start, stop):
        asked.append((start, stop))
        return rows[start:stop]

    gram = inner_products(read, 90, memory)
    exact = rows.astype(float) @ rows.astype(float).T
    np.testing.assert_allclose(gram, exact, rtol=1e-13)
    np.testing.assert_array_equal(gram, gram.T)
    largest = max(stop - start for start, stop in asked)
    assert largest * rows[0].nbytes < memory
    if memory == 10_000_000:
        assert asked == [(0, 1), (0, 90)]
    else:
        assert largest < 90


def test_too_many_samples_name_the_key_to_change():
    with pytest.raises(InputError, match=r"features\.frames\.every: 5,000 pairs .* within 128 MiB \(2,364 would fit\)"):
        inner_products(reader(np.zeros((1, 4))), 5000, 128 * MIB)


def test_a_value_that_is_not_finite_is_refused():
    rows = fields(8, 20)
    rows[5, 3] = np.nan
    with pytest.raises(ValueError, match="row 5"):
        inner_products(reader(rows), 8, MIB)


def test_held_out_rows_have_no_influence_on_a_fit():
    rows, landmarks = fields(40, 300), np.random.default_rng(1).random((40, 8), np.float32)
    train, test = np.arange(0, 40, 2), np.arange(1, 40, 2)
    other, moved = rows.copy(), landmarks.copy()
    other[test[3:]], moved[test[3:]] = 9.0, 5.0
    keys = [("c", "s", "k", i) for i in range(40)]
    before, after = inner_products(reader(rows), 40, MIB), inner_products(reader(other), 40, MIB)
    first, second = reduce(before, landmarks, keys, train, 5), reduce(after, moved, keys, train, 5)
    np.testing.assert_array_equal(first.components.weights, second.components.weights)
    np.testing.assert_array_equal(first.scaling.mean, second.scaling.mean)
    untouched = np.r_[train, test[:3]]
    for name, values in first.inputs(before, landmarks).items():
        np.testing.assert_array_equal(values[untouched], second.inputs(after, moved)[name][untouched])


def test_inputs_are_centred_on_the_training_part_and_keep_the_proportions_of_the_flow():
    rows, landmarks = fields(50, 200), np.random.default_rng(2).random((50, 6), np.float32)
    landmarks[:, 2] = 0.3
    gram, train = inner_products(reader(rows), 50, MIB), np.arange(10, 50)
    reduction = reduce(gram, landmarks, [("c", "s", "k", i) for i in range(50)], train, 4)
    inputs = reduction.inputs(gram, landmarks)
    expected = StandardScaler().fit(landmarks[train]).transform(landmarks)
    np.testing.assert_allclose(np.delete(inputs["landmarks"], 2, 1), np.delete(expected, 2, 1), atol=1e-5)
    assert not inputs["landmarks"][:, 2].any()
    variances = reduction.components.variances
    np.testing.assert_allclose(inputs["flow"][train].var(axis=0, ddof=1), variances / variances[0], rtol=1e-6)
    np.testing.assert_allclose(inputs["flow"][train].mean(axis=0), 0, atol=1e-6)


def test_signs_are_fixed():
    gram = inner_products(reader(fields(20, 30)), 20, MIB)
    weights = fit(gram, np.arange(20), 5).weights
    assert (weights[np.abs(weights).argmax(axis=0), np.arange(5)] > 0).all()


def test_axes_project_rows_that_were_never_seen():
    rows = fields(700, 40)
    gram, train = inner_products(reader(rows[:600]), 600, 16 * MIB), np.random.default_rng(0).permutation(600)[:400]
    found = fit(gram, train, 6)
    mean, vectors = axes(found, reader(rows[:600]))
    np.testing.assert_allclose((rows[:600] - mean) @ vectors.T, found.scores(gram[:, train]), atol=1e-8)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(6), atol=1e-10)
    products = rows[600:].astype(float) @ rows[train].astype(float).T
    np.testing.assert_allclose((rows[600:] - mean) @ vectors.T, found.scores(products), atol=1e-8)


def test_samples_that_are_in_no_inner_product_get_the_same_inputs(tmp_path):
    rows, landmarks = fields(400, 40), np.random.default_rng(3).random((400, 4), np.float32)
    gram = inner_products(reader(rows), 400, 16 * MIB)
    reduction = reduce(gram, landmarks, [(i,) for i in range(400)], np.arange(0, 400, 2), 5)
    axes(reduction.components, reader(rows)).save(tmp_path / "axes.safetensors")
    # More than are read at once.
    found = reduction.inputs_of_others(Axes.load(tmp_path / "axes.safetensors"), reader(rows), landmarks)
    for name, values in reduction.inputs(gram, landmarks).items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)


def test_a_reduction_survives_its_file(tmp_path):
    rows, landmarks = fields(20, 30), np.random.default_rng(3).random((20, 4), np.float32)
    gram = inner_products(reader(rows), 20, MIB)
    keys = [("c", "Ärger 'x'", "NA", i) for i in range(20)]
    saved = reduce(gram, landmarks, keys, np.array([3, 1, 7, 12, 4]), 3)
    saved.save(tmp_path / "reduction.safetensors")
    loaded = Reduction.load(tmp_path / "reduction.safetensors")
    assert [tuple(key) for key in loaded.keys] == [keys[i] for i in (3, 1, 7, 12, 4)]
    for name, values in saved.inputs(gram, landmarks).items():
        np.testing.assert_array_equal(values, loaded.inputs(gram, landmarks)[name])
    assert [path.name for path in tmp_path.iterdir()] == ["reduction.safetensors"]


def test_scaling_keeps_a_constant_feature_at_zero():
    scaling = Scaling.fit(np.full((7, 1), 0.1, np.float32))
    assert scaling.deviation == 1
