"""What a generator is trained for: one step of the paper's Algorithm 1.

An image is noised and the noise estimated. From the estimate follows the image that is left without it, and from that
whether it shows the right person and has its landmarks in the right places. In a cycle step this restored image,
clipped but not detached, is noised once more by the same noise at the same time step and is the image that the style is
taken from; gradients pass through it into the first estimate.

The paper gives no weights; those here are of its public code. That code, on the other hand, departs from the paper in
one loss: by the time of the second pass the image to be made has been overwritten by the restored one, so the second
identity is compared with that. ``Generator.as_released`` does so too.

References
----------
arXiv 2409.07271, section 3.4 and Algorithm 1, and its public code. Kim et al., "DCFace: Synthetic Face Generation with
Dual Condition Diffusion Model", CVPR 2023, section 3.3, for the identity loss.
"""

from functools import lru_cache
from typing import NamedTuple

from torch import Tensor, no_grad
from torch.nn.functional import cosine_similarity, mse_loss

from faceneuro.synthesis.generator import Generator
from faceneuro.synthesis.unet import schedule

FIRST = ("noise", "identity", "landmarks")
"""Losses of the first pass: mean squared error of the noise, identity, mean squared error of the landmarks."""

SECOND = tuple(f"{name}_again" for name in FIRST)
"""Those of the second pass of a cycle step."""

LOSSES = ("loss", *FIRST, *SECOND)
"""All of them, the weighted sum first."""


class Weights(NamedTuple):
    """What the losses count beside that of the noise.

    Attributes
    ----------
    identity
        The paper's lambda.
    landmarks
        Its gamma, of the mean squared error of coordinates that are shares of the image. (The public code multiplies
        the error by ten and has a gamma of one.)
    cycle
        Its sigma, of all that the second pass gives.
    """

    identity: float = 0.05
    landmarks: float = 10.0
    cycle: float = 0.3


WEIGHTS = Weights()
"""Those of the public code."""


class Batch(NamedTuple):
    """Images of a step, RGB, values in -1..1, shape (batch, 3, pixels, pixels) each.

    Attributes
    ----------
    identity
        Whose face is to be made.
    target
        What is to be made: another image of the same person, from which the style is taken as well.
    """

    identity: Tensor
    target: Tensor


def step_losses(
    generator: Generator, batch: Batch, noise: Tensor, times: Tensor, weights: Weights = WEIGHTS
) -> dict[str, Tensor]:
    """The losses of one step of training.

    Parameters
    ----------
    generator
        Its row says whether landmarks are looked at and whether there is a second pass.
    batch
        The images.
    noise
        To be added, shaped as an image of the batch.
    times
        Time steps, whole numbers from 0, shape (batch,).
    weights
        Of the losses in their sum.

    Returns
    -------
    By name of :data:`LOSSES`, shape () each, in float32; those that the row does not have are left out.
    """
    steps = _schedule(generator.size)
    judge = _Judge(generator, batch, times)

    noisy = steps.add_noise(batch.target, noise, times)
    identity = generator.identity(batch.identity)
    estimate = generator(noisy, times, generator.styled(identity, batch.target)).float()
    restored = generator.x0(noisy, times, estimate)
    losses = dict(zip(FIRST, judge(estimate, noise, restored, batch.target), strict=True))
    total = _sum(losses, FIRST, weights)

    if generator.row.cycle:
        noisy_again = steps.add_noise(restored, noise, times)
        estimate_again = generator(noisy_again, times, generator.styled(identity, restored)).float()
        # As Algorithm 1 has it: the second estimate is taken out of the first noisy image.
        restored_again = generator.x0(noisy, times, estimate_again)
        shown = restored if generator.as_released else batch.target
        losses |= zip(SECOND, judge(estimate_again, noise, restored_again, shown), strict=True)
        total = total + weights.cycle * _sum(losses, SECOND, weights)
    return {"loss": total} | {name: value for name, value in losses.items() if value is not None}


class _Judge:
    """Compares what was restored with the images of a batch, which are looked at once."""

    def __init__(self, generator: Generator, batch: Batch, times: Tensor):
        self._extractors, self._share = generator.extractors, times / generator.size.time_steps
        self._target = batch.target
        with no_grad():
            self._identity, self._of_target = (self._person(image) for image in batch)
            self._points = self._extractors.landmarks(batch.target)[0].float() if generator.row.landmarks else None

    def __call__(self, estimate: Tensor, noise: Tensor, restored: Tensor, shown: Tensor) -> list[Tensor | None]:
        """The three losses; that of the landmarks is None where they are not looked at."""
        points = None
        if self._points is not None:
            points = mse_loss(self._extractors.landmarks(restored)[0].float(), self._points)
        return [mse_loss(estimate, noise), self._identity_loss(restored, shown), points]

    def _identity_loss(self, restored: Tensor, shown: Tensor) -> Tensor:
        """Of much noise the person's other image tells best who it is, of little noise the very image."""
        person = self._person(restored)
        own = self._of_target if shown is self._target else self._person(shown)
        away = [1 - cosine_similarity(person, other) for other in (self._identity, own)]
        return (self._share * away[0] + (1 - self._share) * away[1]).mean()

    def _person(self, images: Tensor) -> Tensor:
        return self._extractors.identity(images)[0].float()


def _sum(losses: dict[str, Tensor | None], names: tuple[str, ...], weights: Weights) -> Tensor:
    noise, identity, landmarks = (losses[name] for name in names)
    total = noise + weights.identity * identity
    return total if landmarks is None else total + weights.landmarks * landmarks


_schedule = lru_cache(schedule)
