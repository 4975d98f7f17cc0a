"""torch's optimisers by their functional form.

The classes of :mod:`torch.optim` import torch's compiler only to switch it off for themselves, which takes three
seconds: half of a small training job. Their functions do the same arithmetic, to the last bit, without it.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class _Optimiser:
    """Parameters that have a gradient, and what is kept of each between steps."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0):
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def _moved(self) -> list[int]:
        return [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]


class Adam(_Optimiser):
    """:class:`torch.optim.Adam` with its usual decay rates, fused.

    Parameters
    ----------
    parameters
        To be trained.
    learning_rate, weight_decay
        As for torch's.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0):
        super().__init__(parameters, learning_rate, weight_decay)
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters."""
        moved = self._moved()
        adam(
            [self.parameters[i] for i in moved],
            [self.parameters[i].grad for i in moved],
            [self.means[i] for i in moved],
            [self.squares[i] for i in moved],
            [],
            [self.steps[i] for i in moved],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


class SGD(_Optimiser):
    """:class:`torch.optim.SGD` with momentum, fused.

    Parameters
    ----------
    parameters
        To be trained.
    learning_rate, momentum, weight_decay
        As for torch's.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, learning_rate, weight_decay)
        self.momentum = momentum
        self.buffers: list[Tensor | None] = [None] * len(self.parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters."""
        moved = self._moved()
        buffers = [self.buffers[i] for i in moved]
        sgd(
            [self.parameters[i] for i in moved],
            [self.parameters[i].grad for i in moved],
            buffers,
            fused=True,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        for i, buffer in zip(moved, buffers, strict=True):
            self.buffers[i] = buffer
