import csv
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import mse_loss

from faceneuro.errors import InputError
from faceneuro.synthesis import ROWS
from faceneuro.synthesis.conditions import (
    HEADS,
    THREE_WAY,
    TWO_WAY,
    CrossFusion,
    ExpressionDifference,
    IdentityEncoder,
    StyleGrid,
    landmark_tokens,
    places,
)
from faceneuro.synthesis.extractors import (
    HERE,
    IR50,
    IR50_PARAMETERS,
    KINDS,
    LANDMARK_PARAMETERS,
    PUBLISHED,
    Extractors,
    LandmarkNet,
    build_extractor,
    load_extractor,
)
from faceneuro.synthesis.generator import Generator, load_generator, save_generator
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.unet import PUBLISHED_PARAMETERS, adapters, build_unet, schedule

SMOKE, PAPER = SIZES["smoke"], SIZES["paper"]
CCFEXP = [row for row in ROWS if ROWS[row].grid is None]
STYLE_TOKENS = {"dcface_3x3": 10, "dcface_5x5": 26}
PUBLISHED_TABLE = Path(__file__).parents[1] / "resources/published/synthesis_table1.csv"


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def extractors(size=SMOKE) -> Extractors:
    return Extractors(*(build_extractor(kind, size) for kind in KINDS))


def generator(row="ccfexp", size="smoke", as_released=False) -> Generator:
    torch.manual_seed(1)
    return Generator(row, size, extractors(SIZES[size]), as_released)


def images(count=2, size=SMOKE, seed=1) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size.pixels, size.pixels, generator=random) * 2 - 1


def estimate(network: Generator, identity, style, noisy=None, time=7) -> torch.Tensor:
    noisy = images(len(style), network.size, seed=5) if noisy is None else noisy
    return network(noisy, torch.full((len(style),), time), network.condition(identity, style))


# The rows and the sizes


def test_the_rows_are_those_of_the_published_table():
    with PUBLISHED_TABLE.open() as file:
        published = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(published) == len(ROWS)
    for (name, row), line in zip(ROWS.items(), published, strict=True):
        assert name.startswith(line["model"].lower())
        assert line["grid"] == (f"{row.grid}x{row.grid}" if row.grid else "")
        if row.grid is None:
            said = {True: "yes", False: "no"}
            assert [line["landmarks"], line["cross_fusion"], line["cycle_diffusion"]] == [
                said[row.landmarks],
                said[row.fusion],
                said[row.cycle],
            ]


@pytest.mark.parametrize("name", SIZES)
def test_networks_of_a_size_fit_one_another(name):
    size = SIZES[name]
    with torch.device("meta"):
        made = {kind: build_extractor(kind, size)(torch.empty(2, 3, size.pixels, size.pixels)) for kind in KINDS}
        early = IR50(size).early(torch.empty(2, 3, size.pixels, size.pixels))
    for kind, (first, features) in made.items():
        assert first.shape == ((2, 68, 2) if kind == "landmarks" else (2, size.dim))
        assert features.shape == (2, size.dim, size.token_side, size.token_side)
    assert early.shape == (2, size.recogniser_widths[0], size.pixels // 2, size.pixels // 2)


def test_the_paper_has_49_tokens_of_512_features():
    assert (PAPER.pixels, PAPER.tokens, PAPER.dim) == (112, 49, 512)


@pytest.mark.parametrize(
    ("build", "published", "within"),
    [(IR50, IR50_PARAMETERS, 1e-3), (LandmarkNet, LANDMARK_PARAMETERS, 1e-3), (build_unet, PUBLISHED_PARAMETERS, 0.04)],
)
def test_networks_have_as_many_parameters_as_the_published_ones(build, published, within):
    with torch.device("meta"):
        assert parameters(build(PAPER)) == pytest.approx(published, rel=within)


def test_the_unet_has_the_parameters_that_its_description_says():
    with torch.device("meta"):
        assert round(parameters(build_unet(PAPER)) / 1e6, 2) == 96.72


@pytest.mark.parametrize("row", ROWS)
def test_conditions_have_the_shapes_of_the_paper(row):
    with torch.device("meta"):
        network = Generator(row, "paper", extractors(PAPER))
        vector, tokens = network.identity(torch.empty(2, 3, 112, 112))
        condition = network.condition(torch.empty(2, 3, 112, 112), torch.empty(2, 3, 112, 112))
        noise = network.unet(
            torch.empty(2, 3, 112, 112),
            torch.empty(2, dtype=torch.int64),
            encoder_hidden_states=condition.tokens,
            class_labels=condition.vector,
        ).sample
    assert vector.shape == condition.vector.shape == (2, 512)
    assert tokens.shape == (2, 49, 512)
    expected = {"ccfexp_no_landmarks": 98} | {name: 49 + count for name, count in STYLE_TOKENS.items()}
    assert condition.tokens.shape == (2, expected.get(row, 147), 512)
    assert noise.shape == (2, 3, 112, 112)


@pytest.mark.parametrize(("cells", "count"), [(3, 10), (5, 26)])
def test_a_style_grid_has_a_token_per_cell_and_one_for_the_image(cells, count):
    with torch.device("meta"):
        assert StyleGrid(PAPER, cells)(torch.empty(2, 64, 56, 56)).shape == (2, count, 512)


# Extractors


def test_the_map_is_what_the_first_block_of_the_last_stage_gives():
    network = IR50(SMOKE).eval()
    seen = []
    network.blocks[2].register_forward_hook(lambda *call: seen.append(call[-1]))
    _, features = network(images())
    assert torch.equal(features, seen[0])
    assert len(network.blocks) == 4


def test_images_are_brought_to_what_the_weights_were_trained_on():
    network, given = LandmarkNet(SMOKE), images()
    assert torch.equal(network.converted(given), given)
    network.convention = PUBLISHED["landmarks"]
    assert network.channel_order == "bgr"
    torch.testing.assert_close(network.converted(given), (given[:, [2, 1, 0]] + 1) / 2)
    network.convention = PUBLISHED["identity"]
    assert torch.equal(network.converted(given), given[:, [2, 1, 0]])


def test_extractors_never_learn_and_never_leave_evaluation():
    frozen = extractors()
    assert not any(parameter.requires_grad for parameter in frozen.train().parameters())
    assert not any(module.training for module in frozen.modules())
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    frozen.difference(images())
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_extractors_keep_nothing_for_gradients_that_nobody_asked_for():
    frozen = extractors()
    assert frozen.difference(images()).grad_fn is None
    assert frozen.difference(images().requires_grad_()).grad_fn is not None


NORM = ("weight", "bias", "running_mean", "running_var")


def published_ir50(blocks: tuple[int, ...]) -> list[str]:
    """Entries of AdaFace's and CVLFace's files without their prefix, in the order in which an image passes them."""
    wider = [sum(blocks[:stage]) for stage in range(1, len(blocks))]
    names = ["input_layer.0.weight", *(f"input_layer.1.{part}" for part in NORM), "input_layer.2.weight"]
    for block in range(sum(blocks)):
        if block in wider:
            names += [f"body.{block}.shortcut_layer.0.weight"]
            names += [f"body.{block}.shortcut_layer.1.{part}" for part in NORM]
        for layer in range(6):
            parts = NORM if layer in (0, 2, 5) else ("weight",)
            names += [f"body.{block}.res_layer.{layer}.{part}" for part in parts]
    names += [*(f"output_layer.0.{part}" for part in NORM), "output_layer.3.weight", "output_layer.3.bias"]
    return [*names, "output_layer.4.running_mean", "output_layer.4.running_var"]


def published_mobilefacenet() -> list[str]:
    """Entries of the public MobileFaceNet for 68 points, in the order in which an image passes them."""

    def convolution(name, active=True):
        names = [f"{name}.conv.weight", *(f"{name}.bn.{part}" for part in NORM)]
        return [*names, f"{name}.prelu.weight"] if active else names

    def bottleneck(name):
        return convolution(f"{name}.conv") + convolution(f"{name}.conv_dw") + convolution(f"{name}.project", False)

    names = convolution("conv1") + convolution("conv2_dw")
    for down, rest, count in (("conv_23", "conv_3", 4), ("conv_34", "conv_4", 6), ("conv_45", "conv_5", 2)):
        names += bottleneck(down)
        names += [entry for block in range(count) for entry in bottleneck(f"{rest}.model.{block}")]
    names += convolution("conv_6_sep") + convolution("output_layer.conv_6_dw", False)
    return [*names, "output_layer.linear.weight", *(f"output_layer.bn.{part}" for part in NORM)]


def filled(network: nn.Module) -> dict[str, torch.Tensor]:
    """Random values for all that a published file has, so that no entry can take another's place unseen."""
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    return {name: torch.rand_like(network.state_dict()[name]) + 0.5 for name in names}


@pytest.mark.parametrize(
    ("kind", "prefix", "suffix"),
    [
        ("identity", "model.", ".ckpt"),
        ("identity", "model.net.", ".safetensors"),
        ("expression", "backbone.", ".pt"),
        ("landmarks", "module.", ".ckpt"),
        ("landmarks", "", ".safetensors"),
    ],
)
def test_published_weights_fit(kind, prefix, suffix, tmp_path):
    # The public MobileFaceNet is small enough to be had whole.
    size = PAPER if kind == "landmarks" else SMOKE
    names = published_mobilefacenet() if kind == "landmarks" else published_ir50(SMOKE.recogniser_blocks)
    expected = filled(build_extractor(kind, size))
    published = {prefix + name: value for name, value in zip(names, expected.values(), strict=True)}
    file = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(published, file)
    else:
        # As AdaFace saves it: a classifier is beside the network, and a number beside the weights.
        beside = {} if kind == "landmarks" else {"head.kernel": torch.rand(4, 9)}
        torch.save({"state_dict": published | beside, "epoch": 3}, file)
    loaded = load_extractor(kind, size, file)
    state = loaded.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    assert loaded.convention == PUBLISHED[kind]
    assert not loaded.training
    released = load_extractor(kind, size, file, as_released=True)
    assert released.convention == (HERE if kind == "landmarks" else PUBLISHED[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_this_package_come_back(kind, tmp_path):
    network = build_extractor(kind, SMOKE)
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    loaded = load_extractor(kind, SMOKE, tmp_path / "own.safetensors")
    assert loaded.convention == HERE
    for before, after in zip(network.eval()(images()), loaded(images()), strict=True):
        assert torch.equal(before, after)


def test_weights_of_another_shape_are_refused_by_name(tmp_path):
    names = published_ir50(SMOKE.recogniser_blocks)
    published = dict(zip(names, filled(IR50(SMOKE)).values(), strict=True))
    published["body.1.res_layer.4.weight"] = torch.rand(5, 5, 3, 3)
    save_file(published, tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match=r"studies\.synthesis\.extractors\.expression.*body\.1\.res_layer\.4\.weight"):
        load_extractor("expression", SMOKE, tmp_path / "odd.safetensors")


@pytest.mark.parametrize("change", ["missing", "surplus", "another network"])
def test_weights_of_another_network_are_refused(change, tmp_path):
    weights = IR50(SMOKE).state_dict()
    if change == "missing":
        del weights["head.3.bias"]
    elif change == "surplus":
        weights["head.9.bias"] = torch.zeros(3)
    else:
        weights = LandmarkNet(SMOKE).state_dict()
    save_file(weights, tmp_path / "odd.safetensors")
    entry = {"missing": "head.3.bias", "surplus": "head.9.bias"}.get(change, "stem")
    with pytest.raises(InputError, match=rf"config key a\.b\.identity: .*odd\.safetensors.* 32 pixels.*{entry}"):
        load_extractor("identity", SMOKE, tmp_path / "odd.safetensors", key="a.b")


class Anything:
    pass


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_files_that_are_no_weights_are_refused(suffix, tmp_path):
    file = tmp_path / f"weights{suffix}"
    with pytest.raises(InputError, match=r"extractors\.landmarks: there is no file .*weights"):
        load_extractor("landmarks", SMOKE, file)
    file.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"extractors\.landmarks: .*cannot be read"):
        load_extractor("landmarks", SMOKE, file)


def test_files_that_would_run_code_are_refused(tmp_path):
    torch.save({"state_dict": {}, "callbacks": Anything()}, tmp_path / "trap.ckpt")
    with pytest.raises(
        InputError, match=r"extractors\.identity: .*trap\.ckpt cannot be read as weights; .* nothing else in it"
    ):
        load_extractor("identity", SMOKE, tmp_path / "trap.ckpt")


def test_there_are_three_kinds_of_extractors():
    with pytest.raises(ValueError, match="'nose' is none of identity, expression, landmarks"):
        build_extractor("nose", SMOKE)


# Conditions


def test_the_identity_vector_starts_as_a_thousandth():
    encoder = IdentityEncoder(SMOKE).eval()
    embedding, features = encoder.recogniser(images())
    vector, tokens = encoder(images())
    torch.testing.assert_close(vector, 0.001 * (embedding + encoder.position[0]))
    torch.testing.assert_close(tokens[:, 5], features[:, :, 1, 1] + encoder.position[6])


def test_positions_start_as_waves_minus_one_half():
    position = IdentityEncoder(SMOKE).position.detach()
    assert position.shape == (17, 64)
    # A sine and a cosine for each wavelength.
    waves = position + 0.5
    torch.testing.assert_close(waves[:, :32] ** 2 + waves[:, 32:] ** 2, torch.ones(17, 32))
    assert len(torch.unique(position, dim=0)) == 17


def test_expression_tokens_are_one_vector_scaled_and_shifted():
    tokens = ExpressionDifference(PAPER)(torch.randn(3, 512))
    assert tokens.shape == (3, 49, 512)
    assert torch.linalg.matrix_rank(tokens).max() == 2


def attention(module: nn.MultiheadAttention, asking, asked, queries_projected: bool) -> torch.Tensor:
    """Eq. 5 of the paper, head by head."""
    dim = asking.shape[-1]
    (query, key, value), (query_bias, key_bias, value_bias) = (
        part.split(dim) for part in (module.in_proj_weight, module.in_proj_bias)
    )
    queries = asking @ query.T + query_bias if queries_projected else asking
    keys, values = asked @ key.T + key_bias, asked @ value.T + value_bias
    found = []
    for head in torch.arange(dim).split(dim // HEADS):
        weights = (queries[..., head] @ keys[..., head].transpose(1, 2) / len(head) ** 0.5).softmax(-1)
        found.append(weights @ values[..., head])
    return torch.cat(found, -1) @ module.out_proj.weight.T + module.out_proj.bias


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("exchanges", [TWO_WAY, THREE_WAY])
def test_conditions_ask_one_another(exchanges, as_released):
    torch.manual_seed(2)
    fusion = CrossFusion(SMOKE, exchanges, as_released)
    tokens = {name: torch.randn(2, 16, 64) for name in ("identity", "expression", "landmarks")}
    expected = [
        attention(module, tokens[queries], tokens[keys], queries_projected=not as_released)
        for module, (keys, queries) in zip(fusion.attend, exchanges, strict=True)
    ]
    torch.testing.assert_close(fusion(tokens), torch.cat(expected, 1), rtol=1e-4, atol=1e-5)


def test_each_condition_is_asked_once_and_asks_once():
    for exchanges in (TWO_WAY, THREE_WAY):
        asked, asking = zip(*exchanges, strict=True)
        assert sorted(asked) == sorted(asking)
        assert len(set(asked)) == len(exchanges)
        assert all(keys != queries for keys, queries in exchanges)


@pytest.mark.parametrize("as_released", [False, True])
def test_a_style_grid_holds_mean_and_variance_of_its_cells(as_released):
    torch.manual_seed(3)
    grid = StyleGrid(SMOKE, 4, as_released).eval()
    grid.weights.data = torch.rand(2, 64)
    features = torch.randn(2, 16, 16, 16)
    tokens = grid(features)
    projected = grid.project(features)
    for token, part in ((0, projected), (1 + 4 * 2 + 3, projected[:, :, 8:12, 12:16])):
        mean, squares = part.mean((2, 3)), (part**2).mean((2, 3))
        variance = mean - squares if as_released else part.var((2, 3), correction=0)
        expected = grid.norm(grid.weights[0] * mean + grid.weights[1] * variance + grid.position[token])
        torch.testing.assert_close(tokens[:, token], expected, rtol=1e-4, atol=1e-5)


def test_a_style_grid_that_does_not_divide_sees_the_whole_map():
    grid = StyleGrid(SMOKE, 3).eval()
    features = torch.zeros(2, 16, 16, 16)
    features[1, :, :, -1] = 1
    before, after = grid(features)
    changed = (before != after).any(1)
    assert changed.tolist() == [True, *[False, False, True] * 3]


def test_landmark_tokens_are_the_places_of_the_map():
    features = torch.arange(2 * 512 * 49.0).reshape(2, 512, 7, 7)
    tokens = landmark_tokens(features)
    assert tokens.shape == (2, 49, 512)
    assert torch.equal(tokens[1, 3 * 7 + 2], features[1, :, 3, 2])
    released = landmark_tokens(features, as_released=True)
    assert released.shape == (2, 49, 512)
    # All places of the first ten channels and more.
    assert torch.equal(released[0, 0], features[0].flatten()[:512])


# Generators


@pytest.mark.parametrize("row", ROWS)
def test_gradients_reach_all_that_is_trained_and_nothing_else(row):
    network = generator(row).train()
    noise = images(4, seed=5)
    mse_loss(estimate(network, images(4), images(4, seed=2), noise), noise).backward()
    trained = set(network.trainable_parameters())
    names = {name for name, parameter in network.named_parameters() if parameter in trained}
    assert names == {name for name, _ in network.named_parameters() if not name.startswith("extractors.")}
    without = [name for name, parameter in network.named_parameters() if name in names and parameter.grad is None]
    assert without == []
    assert all(parameter.grad is None for parameter in network.extractors.parameters())
    condition = {"dcface_3x3": "grid", "dcface_5x5": "grid"}.get(row, "expression")
    moved = [*getattr(network, condition).parameters(), *(layer.weight for layer in adapters(network.unet))]
    if ROWS[row].fusion:
        moved += [module.in_proj_weight for module in network.fusion.attend]
    assert all(parameter.grad.abs().max() > 0 for parameter in moved)


@pytest.mark.parametrize("row", CCFEXP)
def test_as_released_fusion_and_its_neighbours_keep_their_random_start(row):
    network = generator(row, as_released=True).train()
    names = dict(network.named_parameters())
    trained = set(network.trainable_parameters())
    left = {
        name for name, parameter in names.items() if parameter not in trained and not name.startswith("extractors.")
    }
    assert left == {
        name
        for name in names
        if name.startswith(("fusion.", "expression.")) or "add_k_proj" in name or "add_v_proj" in name
    }
    mse_loss(estimate(network, images(4), images(4, seed=2)), images(4)).backward()
    assert all(parameter.grad is None for name, parameter in names.items() if name in left)
    assert network.identity.recogniser.stem[0].weight.grad.abs().max() > 0
    keys, values = adapters(network.unet)[::2], adapters(network.unet)[1::2]
    for projections in (keys, values):
        assert all(torch.equal(projection.weight, projections[0].weight) for projection in projections)
    assert not torch.equal(keys[0].weight, values[0].weight)


def test_as_released_dcface_trains_all():
    network = generator("dcface_5x5", as_released=True)
    assert network.grid.as_released
    trained = set(network.trainable_parameters())
    assert all(parameter in trained for layer in adapters(network.unet) for parameter in layer.parameters())


def test_as_released_landmark_tokens_are_mixed():
    torch.manual_seed(4)
    frozen, given = extractors(), images()
    rows = [Generator("ccfexp_no_fusion", "smoke", frozen, as_released).eval() for as_released in (False, True)]
    tokens, mixed = (network.condition(given, given).tokens[:, 32:] for network in rows)
    _, features = frozen.landmarks(given)
    assert torch.equal(tokens, places(features))
    assert torch.equal(mixed.flatten(), features.flatten())


@pytest.mark.parametrize("row", ROWS)
def test_identity_and_style_both_count(row):
    network = generator(row).eval()
    with torch.no_grad():
        once = estimate(network, images(), images(seed=2))
        other_identity = estimate(network, images(seed=3), images(seed=2))
        other_style = estimate(network, images(), images(seed=3))
        other_time = estimate(network, images(), images(seed=2), time=70)
    assert all((once - other).abs().max() > 1e-6 for other in (other_identity, other_style, other_time))


def test_the_vector_is_added_to_the_embedding_of_the_time_step():
    network = generator().eval()
    seen = []
    block = network.unet.down_blocks[0].resnets[0]
    block.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    condition = network.condition(images(), images(seed=2))
    for vector in (condition.vector, torch.zeros_like(condition.vector)):
        network(images(), torch.tensor([3, 60]), condition._replace(vector=vector))
    torch.testing.assert_close(seen[0] - seen[1], condition.vector)


def test_the_unet_sees_tokens_whatever_their_order():
    network = generator().eval()
    condition = network.condition(images(), images(seed=2))
    shuffled = condition._replace(tokens=condition.tokens.flip(1))
    fewer = condition._replace(tokens=condition.tokens[:, ::2])
    times = torch.tensor([3, 60])
    torch.testing.assert_close(network(images(), times, shuffled), network(images(), times, condition))
    assert not torch.allclose(network(images(), times, fewer), network(images(), times, condition))


@pytest.mark.parametrize("row", [row for row in ROWS if ROWS[row].cycle])
def test_a_cycle_step_passes_gradients_through_the_restored_image(row):
    network = generator(row).train()
    noisy, times = images(4, seed=5), torch.tensor([3, 20, 50, 90])
    identity = network.identity(images(4))
    first = network(noisy, times, network.styled(identity, images(4, seed=2)))
    first.retain_grad()
    restored = network.x0(noisy, times, first)
    # The restored image is the style of the second pass, and nothing else of it here.
    second = network(noisy, times, network.styled(identity, restored))
    second.square().mean().backward()
    assert first.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.extractors.parameters())


def test_an_identity_seen_once_is_the_same_condition():
    network = generator().eval()
    identity, style = images(), images(seed=2)
    for whole, part in zip(
        network.condition(identity, style), network.styled(network.identity(identity), style), strict=True
    ):
        assert torch.equal(whole, part)


@pytest.mark.parametrize("row", ["ccfexp", "ccfexp_no_landmarks"])
def test_what_was_seen_in_a_style_need_not_be_looked_for_again(row, monkeypatch):
    network = generator(row, "smoke")
    style = images(2, seed=3)
    told = network.identity(images(2))
    expected, seen = network.styled(told, style), network.look(style)
    for kind in ("identity", "landmarks"):
        monkeypatch.setattr(getattr(network.extractors, kind), "forward", None)
    for one, other in zip(expected, network.styled(told, style, seen), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_noise_that_was_added_gives_the_image_back():
    network, given, noise = generator(), images(4), torch.randn(4, 3, 32, 32)
    times = torch.tensor([0, 30, 60, 99])
    noisy = schedule(SMOKE).add_noise(given, noise, times)
    torch.testing.assert_close(network.x0(noisy, times, noise), given, rtol=1e-3, atol=1e-4)


def test_a_restored_image_is_clipped_and_passes_gradients_elsewhere():
    network = generator()
    noise = torch.zeros(1, 3, 32, 32, requires_grad=True)
    noisy = torch.full_like(noise, 0.1).detach()
    noisy[..., 0] = 9
    restored = network.x0(noisy, torch.tensor([5]), noise)
    assert restored[..., 0].eq(1).all()
    restored.sum().backward()
    assert noise.grad[..., 0].eq(0).all()
    assert noise.grad[..., 1:].lt(0).all()


@pytest.mark.parametrize("name", SIZES)
def test_nothing_is_left_of_an_image_after_the_last_step(name):
    steps = schedule(SIZES[name])
    assert len(steps.betas) == SIZES[name].time_steps
    assert steps.alphas_cumprod[-1] < 1e-4
    assert DDIMScheduler.from_config(steps.config).alphas_cumprod[-1] == steps.alphas_cumprod[-1]


def test_the_paper_adds_noise_as_published():
    betas = schedule(PAPER).betas
    torch.testing.assert_close(betas, torch.linspace(1e-4, 0.02, 1000))


def test_training_leaves_the_extractors_in_evaluation():
    network = generator().train()
    assert network.training
    assert network.identity.training
    assert not any(module.training for module in network.extractors.modules())


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("row", ROWS)
def test_a_generator_comes_back_from_its_file(row, as_released, tmp_path):
    network = generator(row, as_released=as_released)
    # Statistics of a batch are part of what is kept.
    network.train().condition(images(), images(seed=2))
    save_generator(network, tmp_path / "generator.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["generator.safetensors"]
    again = load_generator(tmp_path / "generator.safetensors", network.extractors)
    assert (again.name, again.size_name, again.as_released) == (row, "smoke", as_released)
    assert not again.training
    with torch.no_grad():
        assert torch.equal(
            estimate(again, images(), images(seed=2)), estimate(network.eval(), images(), images(seed=2))
        )


def test_the_extractors_are_not_saved():
    assert not any("extractors" in name for name in generator().weights())


@pytest.mark.parametrize("damage", ["absent", "bytes", "no row", "missing", "shape"])
def test_files_that_are_no_generators_are_refused(damage, tmp_path):
    file, network = tmp_path / "odd.safetensors", generator("dcface_3x3")
    told, weights = {"row": "dcface_3x3", "size": "smoke", "as_released": "False"}, network.weights()
    if damage == "missing":
        del weights["grid.weights"]
    elif damage == "shape":
        weights["grid.weights"] = torch.zeros(3, 3)
    if damage == "bytes":
        file.write_bytes(b"nothing")
    elif damage != "absent":
        save_file(weights, file, None if damage == "no row" else told)
    with pytest.raises(InputError, match=r"odd\.safetensors does not hold a generator"):
        load_generator(file, network.extractors)


@pytest.mark.parametrize(
    ("row", "missing"), [("ccfexp", "expression, landmarks"), ("ccfexp_no_landmarks", "expression")]
)
def test_a_row_says_which_extractors_it_lacks(row, missing):
    with pytest.raises(ValueError, match=f"{row} needs the extractors {missing}$"):
        Generator(row, "smoke", Extractors(IR50(SMOKE)))


@pytest.mark.parametrize("row", ["dcface_3x3", "ccfexp_no_landmarks"])
def test_a_row_asks_for_no_more_than_it_needs(row):
    frozen = Extractors(IR50(SMOKE), None if ROWS[row].grid else IR50(SMOKE))
    network = Generator(row, "smoke", frozen).eval()
    assert estimate(network, images(), images(seed=2)).shape == (2, 3, 32, 32)


# The paper's size


@pytest.fixture(scope="module")
def paper_extractors() -> Extractors:
    return extractors(PAPER)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_every_row_makes_a_step_at_the_size_of_the_paper(row, paper_extractors):
    network = Generator(row, "paper", paper_extractors).train()
    identity, style = (images(2, PAPER, seed) for seed in (1, 2))
    noise, times = torch.randn(2, 3, 112, 112), torch.tensor([10, 700])
    noisy = schedule(PAPER).add_noise(style, noise, times)
    told = network.identity(identity)
    estimated = network(noisy, times, network.styled(told, style))
    assert estimated.shape == (2, 3, 112, 112)
    loss = mse_loss(estimated, noise)
    if ROWS[row].cycle:
        restored = network.x0(noisy, times, estimated)
        again = schedule(PAPER).add_noise(restored, noise, times)
        loss = loss + 0.3 * mse_loss(network(again, times, network.styled(told, restored)), noise)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad.isfinite().all() for parameter in network.trainable_parameters())
