"""What networks are trained for: how their outputs are read as probabilities, and what they cost against the truth.

Everything is computed in logarithms of probabilities: the probability of a sample that a network is sure of is next to
1 and has no digits left for its distance from it, and that distance is what a focal loss is made of.
"""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, logsigmoid

BETA = 0.999
"""Of the effective number of samples; Cui et al. try 0.9 to 0.9999."""

Counts = npt.NDArray[np.float64]


def _effective(counts: Counts) -> Counts:
    weights = (1 - BETA) / (1 - BETA**counts)
    return weights * len(counts) / weights.sum()


SCHEMES: dict[str, Callable[[Counts], Counts]] = {
    "ratio": lambda counts: counts.max() / counts,
    "ratio_mean_one": lambda counts: 1 / counts / (1 / counts).mean(),
    "inverse": lambda counts: counts.sum() / (len(counts) * counts),
    "effective": _effective,
    "none": np.ones_like,
}
"""Weights of classes from the numbers of their samples, see :func:`class_weights`."""


def class_weights(counts: npt.ArrayLike, scheme: str = "ratio") -> Counts:
    """What a sample of each class counts in a loss.

    Parameters
    ----------
    counts
        Samples of each class in the training part, shape (classes,).
    scheme
        ``ratio``: the largest class over this one, so that it counts 1 and all others more. ``ratio_mean_one``: the
        same over the mean of the classes, which leaves the learning rate what it is for balanced classes. ``inverse``:
        the number a class would have if all were alike over the number it has; the mean over samples is 1.
        ``effective``: one over the effective number of samples, (1 - 0.999^n) / (1 - 0.999), with mean 1 over classes.
        ``none``: all alike.

    Returns
    -------
    Shape (classes,). Classes of equal size weigh 1, whatever the scheme.

    Raises
    ------
    ValueError
        If a class has no sample.

    References
    ----------
    ``ratio``: equation 2 of the Parkinson's paper. ``effective``: Cui et al., "Class-Balanced Loss Based on Effective
    Number of Samples", CVPR 2019.
    """
    counts = np.asarray(counts, float)
    if counts.min() < 1:
        raise ValueError(f"class {counts.argmin()} has no sample, so it has no weight")
    return SCHEMES[scheme](counts)


class Objective(nn.Module):
    """A loss, called with the outputs of a network and the labels of a batch, and what such outputs mean.

    Parameters
    ----------
    alpha
        What a sample of each class counts, shape (classes,).
    """

    def __init__(self, alpha: npt.ArrayLike):
        super().__init__()
        self.register_buffer("alpha", torch.as_tensor(alpha, dtype=torch.float32))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, shape (), from labels 0 to classes - 1 of shape (batch,)."""
        raise NotImplementedError

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """Logarithm of the probability of each class, shape (..., classes), from outputs of shape (..., outputs)."""
        raise NotImplementedError

    def outputs_of(self, log_probabilities: Tensor) -> Tensor:
        """Outputs that mean some probabilities, known up to a factor: what :meth:`log_probabilities` was given."""
        raise NotImplementedError

    def average(self, outputs: Tensor) -> Tensor:
        """Outputs that mean the mean probability over views: (n, views, outputs) to (n, outputs)."""
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        return self.outputs_of(self.log_probabilities(outputs.double()).logsumexp(1)).to(outputs.dtype)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Probability of each class, in double precision: (n, outputs) to (n, classes)."""
        return self.log_probabilities(outputs.double()).exp()

    def predicted(self, outputs: Tensor) -> Tensor:
        """The most probable class, of several the lowest: (n, outputs) to (n,)."""
        return self.log_probabilities(outputs).argmax(-1)


class BinaryCrossEntropy(Objective):
    """Cross-entropy of two classes.

    A network has one output, the logit of the positive class, or two, whose difference is that logit: the softmax over
    two outputs is the sigmoid of their difference, and cross-entropy over two classes the binary one.

    Outputs have shape (n,) or (n, 2), and with views (n, views) or (n, views, 2). Probabilities are those of the
    positive class, shape (n,).
    """

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        logits = outputs if outputs.ndim == 1 else outputs[:, 1] - outputs[:, 0]
        losses = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
        return (self.alpha[labels.long()] * losses).mean()

    def average(self, outputs: Tensor) -> Tensor:
        """The logit of the mean probability, shape (n,), whichever the number of outputs."""
        logits = outputs if outputs.ndim == 2 else outputs[..., 1] - outputs[..., 0]
        if logits.shape[1] == 1:
            return logits[:, 0]
        positive, negative = (logsigmoid(sign * logits.double()).logsumexp(1) for sign in (1, -1))
        return (positive - negative).to(logits.dtype)

    def probabilities(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs.double())

    def predicted(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).long()


class AdaptiveFocalLoss(Objective):
    """alpha_t (1 - p_t)^gamma (-log p_t), the mean over the batch, where p is the softmax over one output per class.

    t is the true class of a sample: a sample counts less the surer the network is of it. With gamma 0 and equal weights
    this is cross-entropy.

    Parameters
    ----------
    alpha
        What a sample of each class counts, shape (classes,).
    gamma
        How much less.

    References
    ----------
    Equation 2 of the Parkinson's paper, after Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017; that one
    is for two classes, and torchvision's is too.
    """

    def __init__(self, alpha: npt.ArrayLike, gamma: float = 2.0):
        super().__init__(alpha)
        self.gamma = gamma

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        log_probabilities = log_softmax(outputs, -1)
        true = labels[:, None] == torch.arange(outputs.shape[-1], device=labels.device)
        of_truth = log_probabilities.masked_fill(~true, 0).sum(1)
        # 1 - p as the sum of the other probabilities, and its power through the logarithm: both it and its gradient
        # stay finite where p rounds to 1, also for gamma < 1, whose power has no slope at 0.
        of_others = log_probabilities.masked_fill(true, -torch.inf).logsumexp(1)
        return -(self.alpha[labels] * (self.gamma * of_others).exp() * of_truth).mean()

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        return log_softmax(outputs, -1)

    def outputs_of(self, log_probabilities: Tensor) -> Tensor:
        return log_probabilities


class CornLoss(Objective):
    """Classes in an order: one output less than classes, each the logit of going one step further.

    Output k is the logit of P(y > k | y > k - 1). It is learnt from the samples that have come that far, and from
    nobody else, so that the products of these probabilities, P(y > k), can only fall with k. The loss is the mean
    cross-entropy over all questions asked, each weighted by the class of the sample that it is asked about.

    The authors take the class in which P(y > k) falls below one half. Here the most probable class is taken, as from
    any other network.

    References
    ----------
    Shi, Cao, Raschka, "Deep neural networks for rank-consistent ordinal regression based on conditional probabilities",
    Pattern Analysis and Applications 2023 (arXiv 2111.08851, 2021). Not in the Parkinson's paper, which takes the
    classes as if they had no order. The weights are ours.
    """

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        steps = torch.arange(outputs.shape[-1], device=labels.device)
        asked, further = labels[:, None] >= steps, labels[:, None] > steps
        losses = binary_cross_entropy_with_logits(outputs, further.to(outputs.dtype), reduction="none")
        return (self.alpha[labels][:, None] * losses * asked).sum() / asked.sum()

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        # Not by cumsum: on a GPU torch has none that gives the same bits twice.
        beyond = list(accumulate(logsigmoid(outputs).unbind(-1)))
        stop = logsigmoid(-outputs).unbind(-1)
        return torch.stack([stop[0], *map(torch.add, beyond, stop[1:]), beyond[-1]], -1)

    def outputs_of(self, log_probabilities: Tensor) -> Tensor:
        return torch.stack(
            [
                log_probabilities[..., k + 1 :].logsumexp(-1) - log_probabilities[..., k]
                for k in range(log_probabilities.shape[-1] - 1)
            ],
            -1,
        )


def corn_probabilities(outputs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Probability of each class, shape (n, classes), from the conditional logits of :class:`CornLoss`.

    Parameters
    ----------
    outputs
        Shape (n, classes - 1).
    """
    outputs = torch.as_tensor(outputs)
    return CornLoss(np.ones(outputs.shape[-1] + 1)).probabilities(outputs).numpy()


def objective_of(settings: Mapping[str, Any] | None, counts: npt.ArrayLike) -> Objective:
    """The objective that a training block of the configuration asks for.

    Parameters
    ----------
    settings
        Its ``objective``: ``loss`` (focal, cross_entropy or corn), ``weights`` (a scheme of :func:`class_weights`) and
        ``gamma``, which focal alone looks at. Cross-entropy looks at neither: it is what is left without any balancing.
        None is binary cross-entropy in which both classes count alike.
    counts
        Samples of each class in the training part, shape (classes,); ones where nothing is learnt.
    """
    if settings is None:
        return BinaryCrossEntropy(class_weights(counts, "inverse"))
    if settings["loss"] == "cross_entropy":
        return AdaptiveFocalLoss(class_weights(counts, "none"), gamma=0.0)
    alpha = class_weights(counts, settings["weights"])
    return CornLoss(alpha) if settings["loss"] == "corn" else AdaptiveFocalLoss(alpha, settings["gamma"])
