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

from faceneuro.synthesis.generator import Generator, Look
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
    steps, share = _schedule(generator.size), times / generator.size.time_steps
    with no_grad():
        person, target = generator.extractors.identity(batch.identity)[0], generator.look(batch.target)

    noisy = steps.add_noise(batch.target, noise, times)
    identity = generator.identity(batch.identity)
    estimate = generator(noisy, times, generator.styled(identity, batch.target, target)).float()
    restored = generator.x0(noisy, times, estimate)
    seen = generator.look(restored)
    first = mse_loss(estimate, noise), _identity_loss(seen, person, target, share), _landmark_loss(seen, target)
    losses = dict(zip(FIRST, first, strict=True))
    total = _sum(losses, FIRST, weights)

    if generator.row.cycle:
        noisy_again = steps.add_noise(restored, noise, times)
        estimate_again = generator(noisy_again, times, generator.styled(identity, restored, seen)).float()
        # As Algorithm 1 has it: the second estimate is taken out of the first noisy image.
        seen_again = generator.look(generator.x0(noisy, times, estimate_again))
        shown = seen if generator.as_released else target
        second = (
            mse_loss(estimate_again, noise),
            _identity_loss(seen_again, person, shown, share),
            _landmark_loss(seen_again, target),
        )
        losses |= zip(SECOND, second, strict=True)
        total = total + weights.cycle * _sum(losses, SECOND, weights)
    return {"loss": total} | {name: value for name, value in losses.items() if value is not None}


def _identity_loss(seen: Look, person: Tensor, shown: Look, share: Tensor) -> Tensor:
    """Of much noise the person's other image tells best who it is, of little noise the very image."""
    away = [1 - cosine_similarity(seen.person.float(), other.float()) for other in (person, shown.person)]
    return (share * away[0] + (1 - share) * away[1]).mean()


def _landmark_loss(seen: Look, target: Look) -> Tensor | None:
    """None where landmarks are not looked at."""
    return mse_loss(seen.landmarks[0].float(), target.landmarks[0].float()) if target.landmarks is not None else None


def _sum(losses: dict[str, Tensor | None], names: tuple[str, ...], weights: Weights) -> Tensor:
    noise, identity, landmarks = (losses[name] for name in names)
    total = noise + weights.identity * identity
    return total if landmarks is None else total + weights.landmarks * landmarks


_schedule = lru_cache(schedule)
