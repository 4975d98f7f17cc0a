"""How generated images compare with others, one by one and as sets: the columns of the paper's table.

One by one: PSNR, SSIM, LPIPS and the perceptual loss (PL), as the paper's public code has them. As sets: the aligned
FID. For that, test people's palsy is put on other people, and from these images back on the people themselves; then the
two sets hold the same people with the same expressions.

LPIPS and PL need VGG16, FID needs Inception, each with published weights. Where these are not to be had, features of
the pipeline's own identity network stand in, and the numbers have other names (:data:`STANDS_FOR`): they rank rows of
one run and compare with nothing else. FID fits a Gaussian to the features of each set, which takes more images than
features; where there are fewer, there is the kernel inception distance (KID), which is another quantity.

None of this tells whether the palsy was transferred: see :mod:`faceneuro.synthesis.transfer`.

References
----------
Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004. Heusel et al.,
"GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017 (FID). Binkowski et
al., "Demystifying MMD GANs", ICLR 2018 (KID). Zhang et al., "The unreasonable effectiveness of deep features as a
perceptual metric", CVPR 2018 (LPIPS). Johnson et al., "Perceptual losses for real-time style transfer and
super-resolution", ECCV 2016 (PL).
"""

import io
import urllib.request
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, mse_loss, normalize

from faceneuro.assets import sha256_of
from faceneuro.errors import InputError
from faceneuro.models.backbones import CONNECT_S
from faceneuro.models.weights import read_weights
from faceneuro.tables import Row

KEY = "studies.synthesis.features"
"""Where the settings of the networks stand in the configuration."""

OWN = "own features (identity network)"
"""What scores say that were made without any published network."""

PSNR_OF_EQUAL = 100.0
"""Of an image compared with itself, which has none; so has the paper's public code."""

WINDOW = 7
"""Height and width of SSIM's uniform window, as of scikit-image, which the paper's public code uses."""

SUBSET, SUBSETS = 1000, 100
"""Images of each set that KID compares at once, and how often it draws so many where a set has more."""

STANDS_FOR = {
    "own_distance": "lpips",
    "own_loss": "pl",
    "kid": "afid",
    "own_frechet": "afid",
    "own_kid": "afid",
}
"""By metric, the one in whose place it is computed."""


class Published(NamedTuple):
    """A file with weights: its address, and how its sha256 begins, which is in its name."""

    url: str
    sha256: str

    @property
    def cached(self) -> Path:
        """Where torch keeps it."""
        return Path(torch.hub.get_dir(), "checkpoints", self.url.rpartition("/")[2])


PUBLISHED = {
    "inception": Published(
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "6726825d",
    ),
    "vgg": Published("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),
}
"""By network: Inception as FID was defined with, converted by torch-fidelity; VGG16 as torchvision trained it."""


class Recogniser(Protocol):
    """The pipeline's identity network: images to embeddings, shape (b, d), and maps, shape (b, c, h, w)."""

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]: ...


class Vectors(nn.Module):
    """One vector per image, for comparing sets.

    Attributes
    ----------
    num_features
        Of each vector.
    label
        What made them.
    names
        Of the metrics with and without a Gaussian.
    """

    num_features: int
    label: str
    names: tuple[str, str]


class InceptionVectors(Vectors):
    """The last pooled features of Inception v3."""

    num_features, names = 2048, ("afid", "kid")

    def __init__(self, network: nn.Module, label: str):
        super().__init__()
        self.network, self.label = network, label

    def forward(self, images: Tensor) -> Tensor:
        """Features of images with values in -1..1, shape (b, 2048)."""
        return self.network(((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))


class OwnVectors(Vectors):
    """Embeddings of the pipeline's own identity network."""

    label, names = OWN, ("own_frechet", "own_kid")

    def __init__(self, network: Recogniser, num_features: int):
        super().__init__()
        self.network, self.num_features = network, num_features

    def forward(self, images: Tensor) -> Tensor:
        """Features of images with values in -1..1, shape (b, num_features)."""
        return self.network(images)[0]


class VggDistances(nn.Module):
    """``lpips`` and ``pl`` by VGG16.

    PL is the mean squared difference of VGG's last map, after its fifth pooling, of images in -1..1: the paper's public
    code normalises with 0.5, not with the colours of ImageNet that VGG was trained on. LPIPS uses the latter.
    """

    def __init__(self, network: nn.Module, label: str):
        super().__init__()
        self.network, self.label = network, label

    def forward(self, images: Tensor, others: Tensor) -> dict[str, Tensor]:
        """Distances of images with values in -1..1, shape (b,) each."""
        last = (max_pool2d(self.network.net(batch).relu5_3, 2) for batch in (images, others))
        return {"lpips": self.network(images, others).flatten(), "pl": _mean_square(*last)}


class OwnDistances(nn.Module):
    """``own_distance`` and ``own_loss``: what LPIPS and PL are, by one map of the pipeline's own identity network.

    The first, as LPIPS does, makes the features of each place unit length and adds up their squared differences,
    without LPIPS's weights, which were fitted to what people see.
    """

    label = OWN

    def __init__(self, network: Recogniser):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, others: Tensor) -> dict[str, Tensor]:
        """Distances of images with values in -1..1, shape (b,) each."""
        maps = self.network(images)[1], self.network(others)[1]
        one, other = (normalize(each, dim=1) for each in maps)
        return {"own_distance": (one - other).square().sum(1).mean((1, 2)), "own_loss": _mean_square(*maps)}


def _mean_square(one: Tensor, other: Tensor) -> Tensor:
    return mse_loss(one, other, reduction="none").flatten(1).mean(1)


def load_vectors(weights: str, own: Recogniser, num_features: int, key: str = KEY) -> Vectors:
    """What compares sets.

    Parameters
    ----------
    weights
        Of Inception: ``auto`` (from torch's cache, else fetched once into it), the path of a file, .safetensors or a
        state that torch has saved, or ``none``.
    own
        What stands in for ``none``, in evaluation mode; ``num_features`` is the length of its embeddings.
    key
        Where the settings stand in the configuration, for messages.

    Raises
    ------
    InputError
        If the weights are not there or do not fit.
    """
    file = weights_file("inception", weights, key)
    if file is None:
        return OwnVectors(own, num_features).eval()
    from torchmetrics.image.fid import NoTrainInceptionV3

    # torch-fidelity reads its file as a pickle, which may hold anything: what it is given here holds tensors alone.
    tensors = io.BytesIO()
    torch.save(read_weights(file, f"{key}.inception"), tensors)
    tensors.seek(0)
    try:
        with torch.random.fork_rng(devices=[]):
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], tensors)
    except RuntimeError as error:
        raise InputError(
            f"config key {key}.inception: {file} does not hold the weights of FID's Inception; give torch-fidelity's "
            f"{PUBLISHED['inception'].cached.name}, or set the key to none"
        ) from error
    return InceptionVectors(network, f"Inception, {_origin(weights, file)}").requires_grad_(False).eval()


def load_distances(weights: str, own: Recogniser, key: str = KEY) -> VggDistances | OwnDistances:
    """What compares images by their features; ``weights`` are VGG16's, all else is as for :func:`load_vectors`."""
    file = weights_file("vgg", weights, key)
    if file is None:
        return OwnDistances(own).eval()
    found = read_weights(file, f"{key}.vgg")
    import lpips

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # It asks torchvision for a network in a way that has changed. Without weights: those are loaded here.
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    trunk = network.net.state_dict()
    # slice1.0.weight there is features.0.weight in torchvision's file; its classifier stays out.
    called = {entry: f"features.{entry.partition('.')[2]}" for entry in trunk}
    odd = [name for entry, name in called.items() if name not in found or found[name].shape != trunk[entry].shape]
    if odd:
        raise InputError(
            f"config key {key}.vgg: {file} does not hold the weights of VGG16 ({len(odd)} entries are missing or of "
            f"another shape, {odd[0]} for one); give torchvision's {PUBLISHED['vgg'].cached.name}, or set the key to "
            "none"
        )
    network.net.load_state_dict({entry: found[name] for entry, name in called.items()})
    return VggDistances(network, f"VGG16, {_origin(weights, file)}").requires_grad_(False).eval()


def weights_file(network: str, weights: str, key: str = KEY) -> Path | None:
    """The file with a network's weights, fetched where that is needed; none if own features are to stand in.

    Parameters
    ----------
    network
        ``inception`` or ``vgg``.
    weights, key
        As for :func:`load_vectors`.

    Raises
    ------
    InputError
        If there is no such file, and it cannot be fetched.
    """
    if weights == "none":
        return None
    if weights != "auto":
        if not Path(weights).is_file():
            raise InputError(f"config key {key}.{network}: there is no file {weights}")
        return Path(weights)
    published = PUBLISHED[network]
    file = published.cached
    if not file.is_file():
        try:
            # torch would wait for a network that is not there for as long as the system does: ask once before.
            urllib.request.urlopen(urllib.request.Request(published.url, method="HEAD"), timeout=CONNECT_S).close()
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(published.url, str(file), published.sha256, progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"config key {key}.{network}: it is auto, but {file.name} is neither in {file.parent} nor to be had "
                f"from {published.url} ({error}); fetch it on a machine with a network and give its path, or set the "
                "key to none"
            ) from error
    return file


def _origin(weights: str, file: Path) -> str:
    return "published weights" if weights == "auto" else f"{file.name}, sha256 {sha256_of(file)[:12]}"


def pixel_scores(images: Tensor, others: Tensor) -> dict[str, Tensor]:
    """``psnr`` and ``ssim`` of images with values in -1..1, shape (b, 3, height, width), from black to white.

    Returns
    -------
    Shape (b,) each: PSNR in dB, :data:`PSNR_OF_EQUAL` for equal images; SSIM, the mean over the places where the whole
    window lies in the image, and over colours. (scikit-image divides its variances by one less than the window's
    pixels, which changes little.)
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    one, other = ((each.clamp(-1, 1) + 1) / 2 for each in (images, others))
    psnr = peak_signal_noise_ratio(one, other, data_range=1.0, reduction="none", dim=(1, 2, 3))
    _, places = structural_similarity_index_measure(
        one,
        other,
        gaussian_kernel=False,
        kernel_size=WINDOW,
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    edge = WINDOW // 2
    return {
        "psnr": torch.where(torch.isinf(psnr), PSNR_OF_EQUAL, psnr),
        "ssim": places[..., edge:-edge, edge:-edge].flatten(1).mean(1),
    }


@torch.no_grad()
def image_scores(
    row: str,
    batches: Iterable[tuple[Tensor, Mapping[str, Tensor]]],
    distances: VggDistances | OwnDistances,
    device: str = "cpu",
) -> Iterator[Row]:
    """Scores of generated images, one by one; a batch is in memory at a time.

    Parameters
    ----------
    row
        Whose images they are.
    batches
        Generated images and what they are compared with, by name (``identity``, ``style``, ``target``), in the order of
        the table of pairs; values in -1..1, shape (b, 3, pixels, pixels).
    distances
        From :func:`load_distances`; moved to the device.

    Yields
    ------
    Rows of :data:`faceneuro.synthesis.transfer.SCORES`. Mean them with
    :func:`faceneuro.synthesis.transfer.summarise`.
    """
    distances.to(device)
    first = 0
    for generated, references in batches:
        generated = generated.to(device)
        for against, others in references.items():
            others = others.to(device)
            scored = {name: (values, "pixels") for name, values in pixel_scores(generated, others).items()}
            scored |= {name: (values, distances.label) for name, values in distances(generated, others).items()}
            for metric, (values, features) in scored.items():
                for place, value in enumerate(values.tolist()):
                    yield {
                        "row": row,
                        "pair": first + place,
                        "metric": metric,
                        "against": against,
                        "value": value,
                        "features": features,
                    }
        first += len(generated)


@torch.no_grad()
def set_score(
    row: str,
    generated: Iterable[Tensor],
    real: Iterable[Tensor],
    vectors: Vectors,
    count: int,
    device: str = "cpu",
    seed: int = 0,
) -> Row:
    """How far a set of generated images is from a set of real ones, less being better.

    In memory are a batch and either the sums that a Gaussian follows from, or, where there are no more images than
    features, these.

    Parameters
    ----------
    row
        Whose images they are.
    generated, real
        Batches of images with values in -1..1, shape (b, 3, pixels, pixels).
    vectors
        From :func:`load_vectors`; moved to the device.
    count
        Images of the smaller set. The same for all rows of a table, so that they have the same metric.
    seed
        Of the subsets that KID draws where a set has more than :data:`SUBSET` images.

    Returns
    -------
    ``row``, ``metric``, ``against`` ("test images"), ``value``, ``n`` (images of the smaller set) and ``features``. The
    metric is ``afid``, or ``kid`` where ``count`` is not larger than the number of features; by own features
    ``own_frechet`` or ``own_kid``. No interval: a distance of two sets is no mean over people.

    Raises
    ------
    ValueError
        If a set has fewer images than ``count``, or ``count`` is less than 2.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    if count < 2:
        raise ValueError(f"a set of {count} images has no distribution")
    gaussian = count > vectors.num_features
    if gaussian:
        metric = FrechetInceptionDistance(vectors, normalize=False)
    else:
        with warnings.catch_warnings():
            # That it keeps all features: here they are few.
            warnings.simplefilter("ignore", UserWarning)
            metric = KernelInceptionDistance(vectors, subsets=SUBSETS, subset_size=min(count, SUBSET))
    metric.to(device)
    sizes = {}
    for name, batches in (("generated", generated), ("real", real)):
        sizes[name] = 0
        for images in batches:
            metric.update(images.to(device), real=name == "real")
            sizes[name] += len(images)
        if sizes[name] < count:
            raise ValueError(f"{sizes[name]} {name} images, not {count}")
    if not gaussian and max(sizes.values()) == metric.subset_size:
        # Every draw would be of all images.
        metric.subsets = 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        value = metric.compute() if gaussian else metric.compute()[0]
    return {
        "row": row,
        "metric": vectors.names[0 if gaussian else 1],
        "against": "test images",
        "value": float(value),
        "n": min(sizes.values()),
        "features": vectors.label,
    }
