"""The dual-branch network for landmarks and flow, and each of its branches alone.

References
----------
The ALS paper, section III.D.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

BRANCH_UNITS = (128, 64)
DROPOUT = 0.5


class Branch(nn.Sequential):
    """Dense 128, ReLU, dropout 0.5, dense 64, ReLU: (batch, features) to (batch, 64)."""

    def __init__(self, features: int):
        first, second = BRANCH_UNITS
        super().__init__(
            nn.Linear(features, first), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(first, second), nn.ReLU()
        )


class Branches(nn.Module):
    """One branch per input, concatenated, a dense layer, and a single logit.

    Parameters
    ----------
    names
        Inputs that get a branch.
    sizes
        Features of every input.
    joint_units
        Of the dense layer behind the concatenation. The paper says that there is one, not how wide.
    """

    def __init__(self, names: Sequence[str], sizes: Mapping[str, int], joint_units: int):
        super().__init__()
        self.branches = nn.ModuleDict({name: Branch(sizes[name]) for name in names})
        self.head = nn.Sequential(
            nn.Linear(len(names) * BRANCH_UNITS[-1], joint_units), nn.ReLU(), nn.Linear(joint_units, 1)
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits of the positive class, shape (batch,), of inputs of shape (batch, features); others are ignored."""
        return self.head(torch.cat([branch(inputs[name]) for name, branch in self.branches.items()], dim=1)).squeeze(1)


class DualBranch(Branches):
    """The network of the paper, on ``landmarks`` and ``flow``."""

    def __init__(self, sizes: Mapping[str, int], joint_units: int = 64):
        super().__init__(("landmarks", "flow"), sizes, joint_units)


class LandmarksOnly(Branches):
    """The same without the flow: what motion adds is the difference."""

    def __init__(self, sizes: Mapping[str, int], joint_units: int = 64):
        super().__init__(("landmarks",), sizes, joint_units)


class FlowOnly(Branches):
    """The same without the landmarks: what shape and place of the face add is the difference."""

    def __init__(self, sizes: Mapping[str, int], joint_units: int = 64):
        super().__init__(("flow",), sizes, joint_units)
