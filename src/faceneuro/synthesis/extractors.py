"""Networks that see a face: who it is (IR-50), how it is moved (two of them), where 68 points are (MobileFaceNet).

All take RGB images with values in -1..1, shape (batch, 3, pixels, pixels), whatever their weights were trained on: they
turn images into that themselves. Layers and names of entries follow the published networks, so that their weights fit;
the small sizes have the same layers, fewer of them.

References
----------
Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, for IR-50. Kim et al.,
"AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022, for its weights. Chen et al., "MobileFaceNets:
Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", CCBR 2018. Zhang et al., "Learning a Facial
Expression Embedding Disentangled from Identity", CVPR 2021, for the difference of two networks.
"""

import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from faceneuro.errors import InputError
from faceneuro.models.weights import read_weights
from faceneuro.synthesis.sizes import Size

KEY = "studies.synthesis.extractors"
"""Where the files of the extractors stand in the configuration."""

KINDS = ("identity", "expression", "landmarks")
"""``identity`` recognises people; ``expression`` is the other network of the pair, which sees face and expression
alike, so that the difference of the two is the expression; ``landmarks`` finds points."""

POINTS = 68
"""Of the iBUG scheme."""

IR50_PARAMETERS, LANDMARK_PARAMETERS = 43.59e6, 1.007e6
"""Of the published networks."""


class Convention(NamedTuple):
    """What images a network's weights were trained on.

    Attributes
    ----------
    channel_order
        ``rgb`` or ``bgr``.
    darkest
        Value of black, -1 or 0; white is 1.
    """

    channel_order: str
    darkest: float


HERE = Convention("rgb", -1.0)
"""Of every network that was trained in this package."""

PUBLISHED = {
    "identity": Convention("bgr", -1.0),
    "expression": Convention("bgr", -1.0),
    "landmarks": Convention("bgr", 0.0),
}
"""Of the published weights, by kind: those of AdaFace and CVLFace, and of the public MobileFaceNet for 68 points."""


class Extractor(nn.Module):
    """A network with a convention of its own, to which images are brought first."""

    def __init__(self):
        super().__init__()
        self.convention = HERE

    @property
    def channel_order(self) -> str:
        """Of the images that the weights were trained on, ``rgb`` or ``bgr``; images are given as RGB in any case."""
        return self.convention.channel_order

    def converted(self, images: Tensor) -> Tensor:
        """RGB images with values in -1..1, as the weights want them; gradients pass."""
        order, darkest = self.convention
        if order == "bgr":
            images = images.flip(1)
        return images if darkest == -1 else (images + 1) / 2


class IR50(Extractor):
    """Who a face is: 24 residual blocks that normalise first, in four stages; in the small sizes fewer, in three.

    The published one, for 112 pixels, has 43.59 million parameters.
    """

    def __init__(self, size: Size):
        super().__init__()
        widths, counts = size.recogniser_widths, size.recogniser_blocks
        self.first_stage, self.first_of_last = counts[0], sum(counts[:-1])
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        befores = (widths[0], *widths)
        self.blocks = nn.Sequential(
            *(
                _ResidualBlock(befores[stage] if block == 0 else width, width, stride=2 if block == 0 else 1)
                for stage, (width, count) in enumerate(zip(widths, counts, strict=True))
                for block in range(count)
            )
        )
        self.head = nn.Sequential(
            nn.BatchNorm2d(size.dim),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(size.dim * size.tokens, size.dim),
            nn.BatchNorm1d(size.dim, affine=False),
        )

    def early(self, images: Tensor) -> Tensor:
        """What stands after the first stage, shape (batch, first width, pixels / 2, pixels / 2): texture and colour."""
        return self.blocks[: self.first_stage](self.stem(self.converted(images)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding, not normalised, shape (batch, dim), and a map, (batch, dim, token_side, token_side).

        The map is what the first block of the last stage gives, as the published generators take it.
        """
        features = self.blocks[: self.first_of_last + 1](self.stem(self.converted(images)))
        return self.head(self.blocks[self.first_of_last + 1 :](features)), features


class _ResidualBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        if before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        else:
            # Every second pixel, or all.
            self.shortcut = nn.AvgPool2d(1, stride) if stride > 1 else nn.Identity()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.PReLU(after),
            nn.Conv2d(after, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.shortcut(features) + self.residual(features)


class LandmarkNet(Extractor):
    """Where 68 points of a face are: MobileFaceNet with a linear end; in the small sizes fewer of its blocks.

    The published one, for 112 pixels, has 1.007 million parameters.
    """

    def __init__(self, size: Size):
        super().__init__()
        width = size.landmark_stages[0][1]
        self.stem = nn.Sequential(_convolved(3, width, 3, stride=2), _convolved(width, width, 3, groups=width))
        stages = []
        for hidden, after, blocks in size.landmark_stages:
            stages.append(_LandmarkStage(width, hidden, after, blocks))
            width = after
        self.stages = nn.Sequential(*stages)
        self.lift = _convolved(width, size.dim)
        self.head = nn.Sequential(
            _convolved(size.dim, size.dim, size.token_side, groups=size.dim, padding=0, active=False),
            nn.Flatten(),
            nn.Linear(size.dim, 2 * POINTS, bias=False),
            nn.BatchNorm1d(2 * POINTS),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Points, shape (batch, 68, 2), x and y as shares of the image from its upper left corner, and the map from
        which they were told, (batch, dim, token_side, token_side)."""
        features = self.lift(self.stages(self.stem(self.converted(images))))
        return self.head(features).unflatten(1, (POINTS, 2)), features


class _LandmarkStage(nn.Module):
    def __init__(self, before: int, hidden: int, after: int, blocks: int):
        super().__init__()
        self.down = _bottleneck(before, hidden, after, stride=2)
        self.rest = nn.ModuleList(_bottleneck(after, 2 * after, after) for _ in range(blocks))

    def forward(self, features: Tensor) -> Tensor:
        features = self.down(features)
        for block in self.rest:
            features = features + block(features)
        return features


def _bottleneck(before: int, hidden: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            expand=_convolved(before, hidden),
            depthwise=_convolved(hidden, hidden, 3, stride, groups=hidden),
            project=_convolved(hidden, after, active=False),
        )
    )


def _convolved(
    before: int,
    after: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    padding: int | None = None,
    active: bool = True,
) -> nn.Sequential:
    """A convolution, its normalisation and, if ``active``, PReLU; padded by half the kernel unless told otherwise."""
    padding = kernel // 2 if padding is None else padding
    layers = OrderedDict(
        conv=nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False), norm=nn.BatchNorm2d(after)
    )
    if active:
        layers["act"] = nn.PReLU(after)
    return nn.Sequential(layers)


class Extractors(nn.Module):
    """Trained extractors for a generator to look through: they learn nothing and stay in evaluation mode.

    Gradients pass through them to images that ask for any. Where none does, nothing is kept for a backward pass, since
    no weight asks either.

    Attributes
    ----------
    identity
        Recognises people.
    expression
        The other network of the pair; DCFace needs none.
    landmarks
        Finds points; rows without landmarks need none.
    """

    def __init__(self, identity: IR50, expression: IR50 | None = None, landmarks: LandmarkNet | None = None):
        super().__init__()
        self.identity, self.expression, self.landmarks = identity, expression, landmarks
        self.requires_grad_(False).train()

    def train(self, mode: bool = True) -> "Extractors":
        """Batch normalisation must go on using the statistics that came with the weights."""
        return super().train(False)

    def difference(self, images: Tensor, person: Tensor | None = None) -> Tensor:
        """What the pair disagrees in, shape (batch, dim): the expression, which recognition has no use for.

        ``person`` is what the identity network makes of the images, if that is known already.
        """
        return self.expression(images)[0] - (self.identity(images)[0] if person is None else person)


def build_extractor(kind: str, size: Size) -> IR50 | LandmarkNet:
    """An extractor of a kind of :data:`KINDS` with random weights."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    return LandmarkNet(size) if kind == "landmarks" else IR50(size)


def load_extractor(
    kind: str, size: Size, path: str | os.PathLike, key: str = KEY, as_released: bool = False
) -> IR50 | LandmarkNet:
    """An extractor with the weights of a file, whether published or trained in this package.

    Which of the two they are is told by the names of the entries: those of AdaFace and CVLFace (``input_layer``,
    ``body``, ``output_layer``) and of the public MobileFaceNet (``conv1`` and so on) get the convention of
    :data:`PUBLISHED`. Classifiers that were saved beside the network stay out.

    Parameters
    ----------
    kind
        ``identity``, ``expression`` or ``landmarks``.
    size
        That the network has; published weights fit ``paper`` only.
    path
        A .safetensors file, or a state that torch has saved.
    key
        Where the files stand in the configuration, for messages.
    as_released
        Give the published landmark network RGB with values in -1..1, as CCFExp's public code does.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, or holds other weights.
    """
    key = f"{key}.{kind}"
    network = build_extractor(kind, size)
    found = read_weights(Path(path), key)
    names = {name: _own_name(kind, name) for name in found}
    published = any(own is not None for own in names.values())
    if published:
        found = {own: found[name] for name, own in names.items() if own is not None}
        called = {own: name for name, own in names.items()}
    else:
        called = {}
    wanted = network.state_dict()
    # Files from before torch counted batches lack the counts, which nothing here uses.
    odd = [entry for entry in wanted if entry not in found and not entry.endswith("num_batches_tracked")]
    odd += [entry for entry in found if entry not in wanted or found[entry].shape != wanted[entry].shape]
    if odd:
        raise InputError(
            f"config key {key}: {path} does not hold the weights of the {kind} network for images of {size.pixels} "
            f"pixels ({len(odd)} entries are missing, too many or of another shape, {called.get(odd[0], odd[0])} for "
            "one); give a file of that network, or choose the size that the file is for"
        )
    network.load_state_dict(found, strict=False)
    if published and not (as_released and kind == "landmarks"):
        network.convention = PUBLISHED[kind]
    return network.eval()


_IR50_NAME = re.compile(r"(?:^|\.)(input_layer|body|output_layer)\.(.+)$")
_IR50_PARTS = {"input_layer": "stem", "body": "blocks", "output_layer": "head"}
_IR50_LAYERS = {"res_layer": "residual", "shortcut_layer": "shortcut"}

_LANDMARK_PARTS = {
    "conv1": "stem.0",
    "conv2_dw": "stem.1",
    "conv_23": "stages.0.down",
    "conv_3.model": "stages.0.rest",
    "conv_34": "stages.1.down",
    "conv_4.model": "stages.1.rest",
    "conv_45": "stages.2.down",
    "conv_5.model": "stages.2.rest",
    "conv_6_sep": "lift",
    "output_layer.conv_6_dw": "head.0",
    "output_layer.linear": "head.2",
    "output_layer.bn": "head.3",
}
_LANDMARK_NAME = re.compile(f"^({'|'.join(map(re.escape, _LANDMARK_PARTS))})\\.(.+)$")
_LANDMARK_LAYERS = (
    (re.compile(r"\.conv\.(?=conv|bn|prelu)"), ".expand."),
    (re.compile(r"\.conv_dw\."), ".depthwise."),
    (re.compile(r"\.bn\."), ".norm."),
    (re.compile(r"\.prelu\."), ".act."),
)


def _own_name(kind: str, name: str) -> str | None:
    """What an entry of a published file is called here; none if it is not one of the published network's."""
    if kind == "landmarks":
        if not (match := _LANDMARK_NAME.match(name)):
            return None
        own = f"{_LANDMARK_PARTS[match[1]]}.{match[2]}"
        for pattern, layer in _LANDMARK_LAYERS:
            own = pattern.sub(layer, own)
        return own
    if not (match := _IR50_NAME.search(name)):
        return None
    rest = ".".join(_IR50_LAYERS.get(part, part) for part in match[2].split("."))
    return f"{_IR50_PARTS[match[1]]}.{rest}"
