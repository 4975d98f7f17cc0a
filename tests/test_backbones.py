import re
import subprocess
import sys
from types import ModuleType

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from faceneuro.errors import InputError
from faceneuro.models import EXTRACTOR, FAMILIES, PARKINSON_FAMILIES, backbones
from faceneuro.models.backbones import IMAGENET, UNFREEZE, build, load, origin, split, trained_part

RANDOM = {
    "size": "small",
    "checkpoint": None,
    "weights": "none",
    "seed": 1,
    "normalisation": "checkpoint",
    "unfreeze": "last_block",
}

TINY = ("mixer", "resnet", "fastervit", "mobilenet", "swin", "efficientnet")


class TinyFasterViT(nn.Module):
    """As fastervit 1.0.0 lays its network out, with a convolution for each level."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 4, 4, 4)
        self.levels = nn.ModuleList([nn.Conv2d(4, 4, 3), nn.Conv2d(4, 6, 3)])
        self.norm, self.avgpool = nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, num_classes) if num_classes else nn.Identity()
        self.pretrained_cfg = {"mean": IMAGENET[0], "std": IMAGENET[1]}

    def forward(self, images):
        features = self.patch_embed(images)
        for level in self.levels:
            features = level(features)
        return self.head(torch.flatten(self.avgpool(self.norm(features)), 1))


@pytest.fixture
def fastervit(monkeypatch):
    """The package that is not here, as far as it is used."""
    package, models = ModuleType("fastervit"), ModuleType("fastervit.models")
    package.__spec__, package.__path__ = object(), []
    models.faster_vit_0_224 = TinyFasterViT
    monkeypatch.setitem(sys.modules, "fastervit", package)
    monkeypatch.setitem(sys.modules, "fastervit.models", models)


def tiny(family: str) -> nn.Module:
    """A few layers of the real classes, for images of 32x32 pixels."""
    torch.manual_seed(0)
    if family == "mixer":
        network = MlpMixer(0, img_size=32, patch_size=8, num_blocks=3, embed_dim=16)
    elif family == "resnet":
        network = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0, channels=(4, 8, 8, 16))
    elif family == "swin":
        size = {"img_size": 32, "patch_size": 2, "window_size": 4}
        network = SwinTransformer(
            num_classes=0, embed_dim=8, depths=(1, 2, 1, 2), num_heads=(1, 1, 2, 2), drop_path_rate=0, **size
        )
    elif family == "mobilenet":
        # The smallest that there is.
        network = timm.create_model("mobilenetv4_conv_small_035", num_classes=0)
    elif family == "efficientnet":
        network = timm.create_model("tf_efficientnetv2_b0", num_classes=0, channel_multiplier=0.1)
    else:
        network = TinyFasterViT(0)
    network.pretrained_cfg = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    return network


@pytest.mark.parametrize("unfreeze", UNFREEZE)
@pytest.mark.parametrize("family", TINY)
def test_both_parts_one_after_the_other_are_the_normalised_backbone(family, unfreeze):
    network = tiny(family).eval()
    images = torch.rand(3, 3, 32, 32)
    for normalisation, (mean, deviation) in {
        "checkpoint": network.pretrained_cfg.values(),
        "imagenet": IMAGENET,
    }.items():
        normalised = (images - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
        with torch.no_grad():
            expected = network(normalised)
            if family == "resnet":
                torch.testing.assert_close(network.forward_head(network.forward_features(normalised)), expected)
            frozen, tail = split(network, family, unfreeze, normalisation)
            torch.testing.assert_close(tail.eval()(frozen(images)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("unfreeze", UNFREEZE)
def test_maps_are_what_is_pooled_otherwise(unfreeze):
    network = tiny("resnet").eval()
    images = torch.rand(3, 3, 64, 96)
    pooled, maps = (split(network, "resnet", unfreeze, maps=kept) for kept in (False, True))
    with torch.no_grad():
        found = maps[1].eval()(maps[0](images))
        assert found.shape == (3, 16, 2, 3)
        torch.testing.assert_close(found.mean((2, 3)), pooled[1].eval()(pooled[0](images)))
    assert [len(list(part.parameters())) for part in maps] == [len(list(part.parameters())) for part in pooled]


def test_networks_without_maps_say_so():
    with pytest.raises(ValueError, match="swin has no maps to give, only resnet"):
        split(tiny("swin"), "swin", "head", maps=True)


@pytest.mark.parametrize("family", TINY)
def test_what_is_trained_is_what_was_asked_for(family):
    network = tiny(family)
    counts = {}
    for unfreeze in UNFREEZE:
        frozen, tail = split(network, family, unfreeze)
        assert not any(parameter.requires_grad for parameter in frozen.parameters())
        assert all(parameter.requires_grad for parameter in tail.parameters())
        counts[unfreeze] = sum(parameter.numel() for parameter in tail.parameters())
    total = sum(parameter.numel() for parameter in network.parameters())
    last = {
        "mixer": lambda: [network.blocks[-1], network.norm],
        "resnet": lambda: [network.layer4],
        "fastervit": lambda: [network.levels[-1], network.norm],
        "mobilenet": lambda: [network.blocks[-2], network.blocks[-1], network.conv_head, network.norm_head],
        "swin": lambda: [network.layers[-1], network.norm],
        "efficientnet": lambda: [network.blocks[-1], network.conv_head, network.bn2],
    }[family]()
    block = sum(parameter.numel() for module in last for parameter in module.parameters())
    assert counts == {"head": 0, "last_block": block, "all": total}


def test_the_frozen_part_keeps_its_batch_statistics_while_the_rest_trains():
    frozen, tail = split(tiny("resnet"), "resnet", "last_block")
    both = nn.Sequential(frozen, tail).train()
    before = frozen.body.bn1.running_mean.clone()
    both(torch.rand(4, 3, 32, 32)).sum().backward()
    assert torch.equal(frozen.body.bn1.running_mean, before)
    assert tail.training
    assert not any(module.training for module in frozen.modules())


def test_a_random_start_follows_from_its_seed_and_disturbs_no_other():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = build("resnet", RANDOM)
    torch.testing.assert_close(torch.rand(2), expected)
    same, other = build("resnet", RANDOM), build("resnet", RANDOM | {"seed": 2})
    assert torch.equal(first.conv1.weight, same.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert origin("resnet", RANDOM) == "untrained"


def test_weights_are_read_from_either_kind_of_file_whatever_classifier_they_have(tmp_path):
    torch.manual_seed(9)
    state = timm.create_model("resnet18", num_classes=7).state_dict()
    save_file(state, tmp_path / "own.safetensors")
    # As torchvision's older files, without counts of batches, and as a network trained on several devices.
    old = {f"module.{name}": value for name, value in state.items() if "num_batches" not in name}
    torch.save({"state_dict": old, "epoch": 3}, tmp_path / "own.pth")
    images = torch.rand(1, 3, 64, 64)
    for name in ("own.safetensors", "own.pth"):
        settings = RANDOM | {"weights": str(tmp_path / name)}
        network = build("resnet", settings).eval()
        assert torch.equal(network.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
        assert network(images).shape == (1, 512)
        assert origin("resnet", settings).startswith(f"{name}, sha256 ")
    assert len(origin("resnet", settings).split()[-1]) == 12


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    save_file(timm.create_model("resnet18").state_dict(), tmp_path / "own.safetensors")
    with pytest.raises(
        InputError, match=r"studies\.palsy\.backbones\.mixer\.weights: .*own\.safetensors does not hold .* mixer_s32"
    ):
        build("mixer", RANDOM | {"weights": str(tmp_path / "own.safetensors")})


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(InputError, match=r"resnet\.weights: .*broken\.\w+ cannot be read as weights"):
        build("resnet", RANDOM | {"weights": str(tmp_path / name)})


def test_a_file_that_would_run_code_is_not_run(tmp_path):
    torch.save({"state_dict": subprocess.Popen}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        build("resnet", RANDOM | {"weights": str(tmp_path / "evil.pth")})


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"resnet\.weights: there is no file nowhere\.pth"):
        build("resnet", RANDOM | {"weights": "nowhere.pth"})


@pytest.mark.parametrize(
    ("family", "named"),
    [
        ("mixer", "timm/mixer_b16_224.miil_in21k_ft_in1k"),
        ("resnet", "timm/resnet50.tv2_in1k"),
        ("mobilenet", "timm/mobilenetv4_conv_medium.e500_r224_in1k"),
        ("swin", "timm/swin_tiny_patch4_window7_224.ms_in1k"),
        ("efficientnet", "timm/tf_efficientnetv2_s.in1k"),
    ],
)
def test_without_a_network_the_missing_weights_are_named_with_the_remedies(family, named, monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    settings = RANDOM | {"size": "paper", "weights": "auto"}
    with pytest.raises(
        InputError,
        match=rf"studies\.palsy\.backbones\.{family}\.weights: it is auto, but model\.safetensors of .*{named}"
        r".*give its path, or set the key to none",
    ):
        build(family, settings)
    assert origin(family, settings) == named


def test_weights_in_the_cache_of_torch_are_used(monkeypatch, tmp_path):
    state = timm.create_model("resnet18").state_dict()
    file = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir()
    torch.save(state, file)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    network = build("resnet", RANDOM | {"weights": "auto"})
    assert torch.equal(network.conv1.weight, state["conv1.weight"])


def test_a_network_that_nobody_trained_has_no_weights_to_fetch():
    with pytest.raises(InputError, match=r"mixer\.weights: there are no published weights of mixer_s32_224"):
        build("mixer", RANDOM | {"weights": "auto"})


def test_an_unknown_checkpoint_is_refused():
    with pytest.raises(InputError, match=r"mixer\.weights: there are no published weights of mixer_b16_224\.nonsense"):
        build("mixer", RANDOM | {"size": "paper", "checkpoint": "nonsense", "weights": "auto"})
    with pytest.raises(InputError, match=r"mixer\.checkpoint: timm knows no mixer_b16_224\.nonsense"):
        build("mixer", RANDOM | {"size": "paper", "checkpoint": "nonsense"})


def test_a_missing_package_is_named_with_its_licence(monkeypatch):
    # Whether it is installed here or not.
    monkeypatch.setattr("faceneuro.models.find_spec", lambda name: None)
    with pytest.raises(
        InputError,
        match=r"studies\.palsy\.backbones\.fastervit: .*NVIDIA Source Code License-NC.*pip install fastervit==1\.0\.0",
    ):
        build("fastervit", RANDOM)


def test_the_package_is_used_where_it_is_installed(fastervit):
    frozen, tail, features = load("fastervit", RANDOM | {"unfreeze": "all"})
    assert features == 6
    assert tail(frozen(torch.rand(2, 3, 32, 32))).shape == (2, 6)


def mixer_parameters(units: int, patch: int, patches: int, blocks: int) -> int:
    stem = 3 * patch**2 * units + units
    between_patches = patches * (units // 2) + units // 2 + (units // 2) * patches + patches
    between_channels = units * 4 * units + 4 * units + 4 * units * units + units
    return stem + blocks * (between_patches + between_channels + 2 * 2 * units) + 2 * units


def resnet50_parameters() -> int:
    total, inputs = 3 * 64 * 49 + 2 * 64, 64
    for units, blocks in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
        for block in range(blocks):
            total += inputs * units + 9 * units**2 + units * 4 * units + 2 * (units + units + 4 * units)
            if block == 0:
                total += inputs * 4 * units + 2 * 4 * units
            inputs = 4 * units
    return total


@pytest.mark.parametrize(
    ("family", "parameters", "features", "activation"),
    [
        ("mixer", mixer_parameters(768, 16, 196, 12), 768, (196, 768)),
        ("resnet", resnet50_parameters(), 2048, (1024, 14, 14)),
    ],
)
def test_the_networks_of_the_paper_have_their_real_size(family, parameters, features, activation):
    frozen, tail, found = load(family, RANDOM | {"size": "paper"})
    assert sum(p.numel() for part in (frozen, tail) for p in part.parameters()) == parameters
    assert found == features
    kept = frozen(torch.rand(1, 3, 224, 224))
    assert kept.shape == (1, *activation)
    with torch.no_grad():
        assert tail.eval()(kept).shape == (1, features)


@pytest.mark.parametrize(("checkpoint", "mean"), [(None, 0.0), ("goog_in21k_ft_in1k", 0.5)])
def test_images_are_normalised_as_the_checkpoint_was(checkpoint, mean):
    frozen, _, _ = load("mixer", RANDOM | {"size": "paper", "checkpoint": checkpoint})
    assert frozen.mean.flatten().tolist() == [mean] * 3
    frozen, _, _ = load("mixer", RANDOM | {"size": "paper", "checkpoint": checkpoint, "normalisation": "imagenet"})
    assert frozen.mean.flatten().tolist() == pytest.approx(IMAGENET[0])


@pytest.mark.parametrize(
    ("family", "name", "millions", "features"),
    [
        ("resnet", "resnet18", 11.7, 512),
        ("mobilenet", "mobilenetv4_conv_medium", 9.7, 1280),
        ("swin", "swin_tiny_patch4_window7_224", 28.3, 768),
        ("efficientnet", "tf_efficientnetv2_s", 21.5, 1280),
    ],
)
def test_the_networks_of_the_parkinson_paper_have_their_published_size(family, name, millions, features):
    settings = RANDOM | {"size": "small" if family == "resnet" else "paper", "pixels": 224}
    assert backbones.ARCHITECTURES[family][settings["size"]] == name
    network = build(family, settings)
    # Published sizes include the classifier of ImageNet's thousand classes.
    classifier = features * 1000 + 1000
    assert round((sum(p.numel() for p in network.parameters()) + classifier) / 1e6, 1) == millions
    frozen, tail, found = load(family, settings)
    assert found == features
    with torch.no_grad():
        assert tail.eval()(frozen(torch.rand(1, 3, 224, 224))).shape == (1, features)


@pytest.mark.parametrize("pixels", [64, 96, 112, 224])
def test_every_network_of_the_parkinson_study_takes_images_of_the_size_that_is_set(pixels):
    for family in set(PARKINSON_FAMILIES.values()):
        maps = family == EXTRACTOR
        frozen, tail, features = load(family, RANDOM | {"pixels": pixels, "unfreeze": "head"}, maps=maps)
        side = -(-pixels // 32)
        expected = (1, features, side, side) if maps else (1, features)
        assert tail(frozen(torch.rand(1, 3, pixels, pixels))).shape == expected


def test_a_swin_for_smaller_images_takes_the_weights_of_one_for_larger(tmp_path):
    large = build("swin", RANDOM | {"pixels": 224})
    save_file(large.state_dict(), tmp_path / "own.safetensors")
    small = build("swin", RANDOM | {"pixels": 112, "seed": 2, "weights": str(tmp_path / "own.safetensors")})
    theirs, found = large.state_dict(), small.state_dict()
    # The last stage has 4 patches across, less than a window's 7: distances of -3 to 3 are left of -6 to 6.
    tables = [f"layers.3.blocks.{k}.attn.relative_position_bias_table" for k in (0, 1)]
    for entry in tables:
        assert torch.equal(found.pop(entry).view(7, 7, -1), theirs[entry].view(13, 13, -1)[3:10, 3:10])
    assert all(torch.equal(value, theirs[entry]) for entry, value in found.items())


def test_a_swins_weights_are_read_as_its_authors_keep_them(tmp_path):
    state = build("swin", RANDOM | {"pixels": 224}).state_dict()
    theirs = {
        re.sub(r"layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", entry): value
        for entry, value in state.items()
    }
    theirs |= {"layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49), "head.weight": torch.zeros(1000, 768)}
    torch.save({"model": theirs}, tmp_path / "own.pth")
    found = build("swin", RANDOM | {"pixels": 224, "seed": 2, "weights": str(tmp_path / "own.pth")}).state_dict()
    assert all(torch.equal(found[entry], value) for entry, value in state.items())


@pytest.mark.parametrize("family", ["swin", "efficientnet"])
def test_weights_of_another_network_are_refused_by_the_key_of_the_study(family, tmp_path):
    save_file(timm.create_model("mobilenetv4_conv_small_050").state_dict(), tmp_path / "own.safetensors")
    settings = RANDOM | {"pixels": 224, "weights": str(tmp_path / "own.safetensors")}
    with pytest.raises(
        InputError, match=rf"studies\.parkinson\.backbones\.{family}\.weights: .*does not hold the weights of "
    ):
        build(family, settings, "studies.parkinson.backbones")


@pytest.mark.parametrize("family", ["mobilenet", "swin", "efficientnet"])
def test_the_classifier_of_a_file_stays_out(family, tmp_path):
    name = backbones.ARCHITECTURES[family]["small"]
    state = timm.create_model(name, num_classes=7).state_dict()
    save_file(state, tmp_path / "own.safetensors")
    found = build(family, RANDOM | {"pixels": 224, "weights": str(tmp_path / "own.safetensors")}).state_dict()
    assert all(torch.equal(value, state[entry]) for entry, value in found.items())


def test_weights_fit_networks_that_have_published_ones():
    # As timm names them; nothing is fetched.
    for architecture, checkpoint in backbones.CHECKPOINTS.items():
        assert f"{architecture}.{checkpoint}" in timm.list_pretrained(architecture + ".*")


@pytest.mark.parametrize("size", ["small", "paper"])
@pytest.mark.parametrize("family", ["mixer", "resnet", "mobilenet", "swin", "efficientnet"])
def test_a_head_alone_needs_no_backbone_to_know_its_inputs(family, size, monkeypatch):
    _, _, features = load(family, RANDOM | {"size": size})
    monkeypatch.setattr(backbones, "build", None)
    tail, found = trained_part(family, RANDOM | {"size": size, "unfreeze": "head", "weights": "gone.pth"})
    assert found == features
    assert list(tail.parameters()) == []


def test_sizes_and_families_agree():
    assert set(backbones.ARCHITECTURES) == {*FAMILIES, *PARKINSON_FAMILIES.values()}
    assert {name for sizes in backbones.ARCHITECTURES.values() for name in sizes.values()} == set(backbones.FEATURES)
