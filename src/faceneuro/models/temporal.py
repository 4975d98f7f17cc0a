"""A network over the frames of a clip, in order of time. Not in the palsy paper, whose samples are single frames."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from faceneuro.models.palsy import Inputs, Sizes, TwoOutputs
from faceneuro.tables import LANDMARK_COUNT

COORDINATES = 2 * LANDMARK_COUNT
"""Of one frame."""

FRAME_UNITS, STATE_UNITS, DROPOUT = 32, 64, 0.3


class TemporalNetwork(TwoOutputs):
    """A gated recurrent unit on the landmarks and the image embedding of each frame of a clip.

    Either input of a frame is standardised and reduced to 32 units by a dense layer; side by side they go to one layer
    of 64 recurrent units. The mean of its states over the frames and the last state, side by side, go to the last
    layer. Dropout(0.3) stands before the recurrent units and before the last layer.

    The inputs, one row per clip, are those of :func:`faceneuro.studies.palsy_clips.clip_sequences`:
    ``coordinates_sequence`` and ``image_sequence``, the features of one frame after the other, padded to any common
    number of frames, and ``length``, the number of frames that are real. Padding is not looked at. Weights do not
    depend on the number of frames: clips longer than those of the training can be predicted.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation", EMNLP
    2014, for the unit.
    """

    def __init__(self, sizes: Sizes):
        frames = sizes["coordinates_sequence"] // COORDINATES
        features = {"coordinates_sequence": COORDINATES, "image_sequence": sizes["image_sequence"] // frames}
        super().__init__(features, 2 * STATE_UNITS)
        self.features = features
        self.reduce = nn.ModuleDict({name: nn.Linear(size, FRAME_UNITS) for name, size in features.items()})
        self.drop = nn.Dropout(DROPOUT)
        self.recur = nn.GRU(len(features) * FRAME_UNITS, STATE_UNITS, batch_first=True)

    def prepare(self, inputs: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Fit the standardisation on the frames of the training part; every frame counts alike."""
        _, frames = self._unpack({name: torch.from_numpy(values) for name, values in inputs.items()})
        super().prepare({name: values.numpy() for name, values in frames.items()})

    def embed(self, inputs: Inputs) -> Tensor:
        """Mean and last state, shape (batch, 128)."""
        real, frames = self._unpack(inputs)
        reduced = [reduce(self.standardise[name](frames[name])) for name, reduce in self.reduce.items()]
        steps = self.recur.weight_ih_l0.new_zeros(*real.shape, self.recur.input_size)
        steps[real] = self.drop(torch.cat(reduced, 1))
        # States run forwards in time: those of the padding, at the end, change none before them.
        states, _ = self.recur(steps)
        length = real.sum(1)
        mean = (states * real[..., None]).sum(1) / length[:, None]
        last = states[torch.arange(len(states), device=states.device), length - 1]
        return self.drop(torch.cat([mean, last], 1))

    def _unpack(self, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        """Which steps are real, (batch, steps of the longest clip), and the features of these, (frames, features)."""
        length = inputs["length"]
        real = torch.arange(int(length.max()), device=length.device) < length
        sequences = {name: inputs[name].unflatten(1, (-1, size)) for name, size in self.features.items()}
        return real, {name: values[:, : real.shape[1]][real] for name, values in sequences.items()}
