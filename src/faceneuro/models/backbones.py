"""Image networks trained by others on ImageNet, cut in two: a part that stays as it is, and a part that is trained.

The part that stays is computed once and cached (:mod:`faceneuro.training.activations`); the other one is the first part
of a network of :mod:`faceneuro.models.palsy` or :mod:`faceneuro.models.parkinson`.

References
----------
Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision", NeurIPS 2021. He et al., "Deep Residual Learning for
Image Recognition", CVPR 2016. Hatamizadeh et al., "FasterViT: Fast Vision Transformers with Hierarchical Attention",
ICLR 2024. Qin et al., "MobileNetV4: Universal Models for the Mobile Ecosystem", ECCV 2024. Liu et al., "Swin
Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021. Tan and Le, "EfficientNetV2: Smaller
Models and Faster Training", ICML 2021.
"""

import math
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from faceneuro.assets import sha256_of
from faceneuro.errors import InputError
from faceneuro.models import missing_package
from faceneuro.models.weights import read_weights

KEY = "studies.palsy.backbones"
"""Where the settings of the families stand in the configuration, unless the caller says otherwise."""

ARCHITECTURES = {
    "mixer": {"small": "mixer_s32_224", "paper": "mixer_b16_224"},
    "resnet": {"small": "resnet18", "paper": "resnet50"},
    "fastervit": {"small": "faster_vit_0_224", "paper": "faster_vit_0_224"},
    "mobilenet": {"small": "mobilenetv4_conv_small_050", "paper": "mobilenetv4_conv_medium"},
    "swin": {"small": "swin_tiny_patch4_window7_224", "paper": "swin_tiny_patch4_window7_224"},
    "efficientnet": {"small": "tf_efficientnetv2_b0", "paper": "tf_efficientnetv2_s"},
}
"""By family and size; the names are timm's. ``paper`` is the palsy paper's of the first three, so that the Parkinson
paper's ResNet-18 is the small ResNet. That one does not say which MobileNetV4, Swin or EfficientNetV2 it has: ``paper``
is the usual one of each, which are alike in cost."""

FEATURES = {
    "mixer_s32_224": 512,
    "mixer_b16_224": 768,
    "resnet18": 512,
    "resnet50": 2048,
    "faster_vit_0_224": 512,
    "mobilenetv4_conv_small_050": 1280,
    "mobilenetv4_conv_medium": 1280,
    "swin_tiny_patch4_window7_224": 768,
    "tf_efficientnetv2_b0": 1280,
    "tf_efficientnetv2_s": 1280,
}
"""Pooled features of each, and where it can give maps, their channels."""

CHECKPOINTS = {
    "mixer_b16_224": "miil_in21k_ft_in1k",
    "resnet18": "tv_in1k",
    "resnet50": "tv2_in1k",
    "mobilenetv4_conv_small_050": "e3000_r224_in1k",
    "mobilenetv4_conv_medium": "e500_r224_in1k",
    "swin_tiny_patch4_window7_224": "ms_in1k",
    "tf_efficientnetv2_b0": "in1k",
    "tf_efficientnetv2_s": "in1k",
}
"""Which of the published weights, where the settings do not say. The Mixer's are those of the palsy paper's public
code, the ResNets' torchvision's defaults, the rest were trained on the 1,000 classes of ImageNet alone. Nobody has
published any for ``mixer_s32_224``."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's colours, which the palsy paper's public code uses for every network."""

UNFREEZE = ("head", "last_block", "all")

CLASSIFIERS = ("head.", "fc.", "classifier.")
"""How the entries of a classifier begin in a file of weights."""

CONNECT_S = 5
"""Seconds to wait for the hub before saying that it cannot be reached."""

Settings = Mapping[str, Any]
"""One family's block: ``size``, ``checkpoint``, ``weights``, ``seed``, ``normalisation`` and ``unfreeze``; where the
study leaves the choice, ``pixels``, the height and width of the images."""


class Frozen(nn.Module):
    """The part that is not trained: images to activations. It stays in evaluation mode whatever surrounds it.

    Parameters
    ----------
    body
        From normalised images, shape (batch, 3, height, width), to activations, shape (batch, ...).
    mean, deviation
        Of the colours, one number per channel, as the weights expect them.
    """

    def __init__(self, body: nn.Module, mean: Sequence[float], deviation: Sequence[float]):
        super().__init__()
        self.body = body.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))
        self.train()

    def train(self, mode: bool = True) -> "Frozen":
        """Batch normalisation must go on using the statistics that came with the weights."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Activations of images with values in 0..1."""
        return self.body((images - self.mean) / self.deviation)


def build(family: str, settings: Settings, key: str = KEY) -> nn.Module:
    """A backbone without its classifier: normalised images to pooled features, shape (batch, ``num_features``).

    Parameters
    ----------
    family
        A name in :data:`ARCHITECTURES`.
    settings
        Its block of the configuration. ``weights`` is ``auto`` (published ones, from the caches of the Hugging Face hub
        or of torch, else downloaded), ``none`` (a random start that follows from ``seed`` alone) or the path of a
        file, .safetensors or a state that torch has saved, with or without a classifier.
    key
        Where the families stand in the configuration, for messages.

    Raises
    ------
    InputError
        If the weights, or the package of the family, are not there or do not fit.
    """
    if family not in ARCHITECTURES:
        raise ValueError(f"{family!r} is none of {', '.join(ARCHITECTURES)}")
    if sentence := missing_package(family):
        raise InputError(f"config key {key}.{family}: {sentence}")
    # Before the network is made, which takes seconds.
    file = weights_file(family, settings, key)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        backbone = _untrained(family, settings, key)
    if file is not None:
        _load(backbone, family, file, f"{key}.{family}.weights", _name(family, settings))
    return backbone


def split(
    backbone: nn.Module, family: str, unfreeze: str, normalisation: str = "checkpoint", maps: bool = False
) -> tuple[Frozen, nn.Sequential]:
    """Cut a backbone into a part that stays as it is and a part that is trained.

    Parameters
    ----------
    backbone
        From :func:`build`; its modules are used, not copied.
    family
        Of the backbone.
    unfreeze
        What is trained: ``head`` nothing of the backbone, ``last_block`` its last block (the Mixer's last block and
        norm, ResNet's layer4, the last level of FasterViT or Swin and its norm, all behind the last halving of
        MobileNetV4 and EfficientNetV2), ``all`` everything.
    normalisation
        Of the images: ``checkpoint`` as the weights were trained, ``imagenet`` as the palsy paper's public code did.
    maps
        Whether to leave out the pooling at the end; ResNets only.

    Returns
    -------
    Images with values in 0..1 to an activation, and the activation to pooled features, shape (batch, features), or to
    maps, shape (batch, features, height, width). One after the other they are the normalisation and the backbone.
    """
    if unfreeze not in UNFREEZE:
        raise ValueError(f"{unfreeze!r} is none of {', '.join(UNFREEZE)}")
    stages, tails = _stages(backbone, family)
    if maps:
        if family != "resnet":
            raise ValueError(f"{family} has no maps to give, only resnet")
        del tails["pool"]
    layers = list((stages | tails).items())
    cut = {"head": len(layers), "last_block": len(stages), "all": 0}[unfreeze]
    config = backbone.pretrained_cfg
    mean, deviation = (config["mean"], config["std"]) if normalisation == "checkpoint" else IMAGENET
    frozen = Frozen(nn.Sequential(OrderedDict(layers[:cut])), mean, deviation)
    return frozen, nn.Sequential(OrderedDict(layers[cut:])).requires_grad_()


def load(family: str, settings: Settings, key: str = KEY, maps: bool = False) -> tuple[Frozen, nn.Sequential, int]:
    """:func:`build` and :func:`split` as the settings say, and the number of features."""
    backbone = build(family, settings, key)
    # MobileNetV4 widens its features behind the pooling.
    features = getattr(backbone, "head_hidden_size", backbone.num_features)
    return *split(backbone, family, settings["unfreeze"], settings["normalisation"], maps), features


def trained_part(family: str, settings: Settings, key: str = KEY, maps: bool = False) -> tuple[nn.Sequential, int]:
    """The second part of :func:`load` and the number of features; for a head alone no backbone is made."""
    if settings["unfreeze"] == "head":
        return nn.Sequential(), FEATURES[ARCHITECTURES[family][settings["size"]]]
    _, tail, features = load(family, settings, key, maps)
    return tail, features


def origin(family: str, settings: Settings, key: str = KEY) -> str:
    """Where the weights come from, in a few words for the note of a table."""
    if settings["weights"] == "none":
        return "untrained"
    if settings["weights"] == "auto":
        return ("NVIDIA/" if family == "fastervit" else "timm/") + _name(family, settings)
    file = weights_file(family, settings, key)
    return f"{file.name}, sha256 {sha256_of(file)[:12]}"


def weights_file(family: str, settings: Settings, key: str = KEY) -> Path | None:
    """The file with a backbone's weights, fetched where that is needed; none for a random start.

    Raises
    ------
    InputError
        If there is no such file, and it cannot be fetched.
    """
    weights, name = settings["weights"], _name(family, settings)
    if weights == "none":
        return None
    if weights != "auto":
        if not Path(weights).is_file():
            raise InputError(f"config key {key}.{family}.weights: there is no file {weights}")
        return Path(weights)
    repository, file, url = _published(family, name, key)
    torch_copy = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    return torch_copy if torch_copy.is_file() else _from_hub(repository, file, f"{key}.{family}.weights")


def _name(family: str, settings: Settings) -> str:
    """As timm writes it: architecture, dot, checkpoint."""
    architecture = ARCHITECTURES[family][settings["size"]]
    checkpoint = settings["checkpoint"] or CHECKPOINTS.get(architecture)
    return f"{architecture}.{checkpoint}" if checkpoint else architecture


def _published(family: str, name: str, key: str) -> tuple[str, str, str]:
    """Repository on the hub, file there, and the address that gives the file its name in torch's own cache."""
    if family == "fastervit":
        file = "fastervit_0_224_1k.pth.tar"
        return "ahatamiz/FasterViT", file, file
    from timm.models import get_pretrained_cfg

    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:
        config = None
    if config is None or not config.hf_hub_id:
        raise InputError(
            f"config key {key}.{family}.weights: there are no published weights of {name}; set it to none or to the "
            "path of a file, or choose another size or checkpoint"
        )
    return config.hf_hub_id, "model.safetensors", config.url or ""


def _from_hub(repository: str, file: str, key: str) -> Path:
    # The hub's client would try five times, for half a minute, where there is no network: ask once before.
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, file, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    try:
        get_hf_file_metadata(hf_hub_url(repository, file), timeout=CONNECT_S)
        return Path(hf_hub_download(repository, file))
    except Exception as error:
        raise InputError(
            f"config key {key}: it is auto, but {file} of the Hugging Face hub's {repository} is neither in the cache "
            f"nor to be had from here ({type(error).__name__}); fetch it on a machine with a network and give its "
            "path, or set the key to none"
        ) from error


def _untrained(family: str, settings: Settings, key: str) -> nn.Module:
    if family == "fastervit":
        with warnings.catch_warnings():
            # It imports from places that timm has moved.
            warnings.simplefilter("ignore", FutureWarning)
            from fastervit.models import faster_vit_0_224
        backbone = faster_vit_0_224(num_classes=0)
        backbone.num_features = backbone.norm.num_features
        return backbone
    import timm

    # A Swin's windows are cut for images of one size; the other networks take any.
    fixed = {"img_size": settings["pixels"]} if family == "swin" and "pixels" in settings else {}
    try:
        return timm.create_model(_name(family, settings), num_classes=0, **fixed)
    except RuntimeError as error:
        raise InputError(
            f"config key {key}.{family}.checkpoint: timm knows no {_name(family, settings)}; null takes the usual one"
        ) from error


def _stages(backbone: nn.Module, family: str) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """Modules in the order in which an image passes them, and those of them from the last block on."""
    if family == "mixer":
        return (
            {"stem": backbone.stem, "blocks": backbone.blocks[:-1]},
            {"block": backbone.blocks[-1], "norm": backbone.norm, "pool": _MeanOverPatches()},
        )
    if family == "resnet":
        names = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3")
        return (
            {name: getattr(backbone, name) for name in names},
            {"layer4": backbone.layer4, "pool": backbone.global_pool},
        )
    if family == "mobilenet":
        names = ("global_pool", "conv_head", "norm_head", "act2", "flatten")
        # Its last stage is a single convolution of one pixel, which belongs to the one before.
        return (
            {"conv_stem": backbone.conv_stem, "bn1": backbone.bn1, "blocks": backbone.blocks[:-2]},
            {"last_blocks": backbone.blocks[-2:]} | {name: getattr(backbone, name) for name in names},
        )
    if family == "efficientnet":
        names = ("conv_head", "bn2", "global_pool")
        return (
            {"conv_stem": backbone.conv_stem, "bn1": backbone.bn1, "blocks": backbone.blocks[:-1]},
            {"last_blocks": backbone.blocks[-1]} | {name: getattr(backbone, name) for name in names},
        )
    if family == "swin":
        return (
            {"patch_embed": backbone.patch_embed, "layers": backbone.layers[:-1]},
            {"layer": backbone.layers[-1], "norm": backbone.norm, "pool": backbone.head.global_pool},
        )
    return (
        {"patch_embed": backbone.patch_embed, "levels": nn.Sequential(*backbone.levels[:-1])},
        {"level": backbone.levels[-1], "norm": backbone.norm, "pool": backbone.avgpool, "flatten": nn.Flatten()},
    )


class _MeanOverPatches(nn.Module):
    def forward(self, patches: Tensor) -> Tensor:
        return patches.mean(1)


def _load(backbone: nn.Module, family: str, file: Path, key: str, name: str) -> None:
    """Put the weights of a file into a backbone; the file's classifier, if any, stays out."""
    found, wanted = read_weights(file, key), backbone.state_dict()
    found = {entry: value for entry, value in found.items() if not entry.startswith(CLASSIFIERS)}
    if family == "swin":
        found = _of_this_swin(found, wanted)
    # Files from before torch counted batches lack the counts, which nothing here uses.
    odd = [entry for entry in wanted if entry not in found and not entry.endswith("num_batches_tracked")]
    odd += [entry for entry in found if entry not in wanted or found[entry].shape != wanted[entry].shape]
    if odd:
        raise InputError(
            f"config key {key}: {file} does not hold the weights of {name} ({len(odd)} entries are missing, too many "
            f"or of another shape, {odd[0]} for one)"
        )
    backbone.load_state_dict(found, strict=False)


def _of_this_swin(found: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A Swin's weights by timm's names, and for windows that are smaller than the file's.

    Images of fewer pixels have smaller windows. A window's biases belong to distances in patches, and a patch has as
    many pixels in a small image as in a large one: the shorter distances are kept. (timm would squeeze all together.)
    """
    if "layers.0.downsample.reduction.weight" in found:
        # The network's authors halve behind a stage, timm before the next.
        found = {
            re.sub(r"^layers\.(\d+)\.downsample", lambda stage: f"layers.{int(stage[1]) + 1}.downsample", entry): value
            for entry, value in found.items()
            if not entry.endswith(("relative_position_index", "attn_mask"))
        }
    for entry, table in found.items():
        if entry.endswith("relative_position_bias_table") and entry in wanted:
            theirs, ours = math.isqrt(len(table)), math.isqrt(len(wanted[entry]))
            kept = slice((theirs - ours) // 2, (theirs + ours) // 2)
            if ours < theirs:
                found[entry] = table.unflatten(0, (theirs, theirs))[kept, kept].flatten(0, 1)
    return found
