"""How large everything is, by one word: the paper's size, and two that two cores can train.

The small sizes have the paper's parts in the paper's order, with fewer layers, channels and pixels. What the paper says
of its own result holds for none of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Sizes of images and networks, and the training that goes with them.

    Attributes
    ----------
    pixels
        Height and width of an image.
    channels, layers_per_block
        Of the U-Net, from its finest level to its coarsest; each level halves height and width. Only the coarsest
        attends.
    head_channels
        Channels per attention head of the U-Net.
    dim
        Features of a condition's vector and of each of its tokens.
    recogniser_widths, recogniser_blocks
        Channels and blocks of each stage of an identity network; each stage halves height and width. The last width is
        ``dim``.
    landmark_stages
        Of the landmark network: hidden channels of the block that halves height and width, channels, and residual
        blocks. Its stem has as many channels as the first stage, and halves them once before.
    time_steps, sampling_steps
        Steps from an image to noise in training, and of those taken on the way back.
    batch_size, steps, learning_rate, ema_decay
        Of the training; the last is the highest decay of the moving average of the U-Net's weights.
    """

    pixels: int
    channels: tuple[int, ...]
    layers_per_block: tuple[int, ...]
    head_channels: int
    dim: int
    recogniser_widths: tuple[int, ...]
    recogniser_blocks: tuple[int, ...]
    landmark_stages: tuple[tuple[int, int, int], ...]
    time_steps: int
    sampling_steps: int
    batch_size: int
    steps: int
    learning_rate: float
    ema_decay: float

    @property
    def token_side(self) -> int:
        """Height and width of the maps that the tokens of a condition are made of."""
        return self.pixels // 2 ** len(self.recogniser_blocks)

    @property
    def tokens(self) -> int:
        """Tokens of each condition."""
        return self.token_side**2


SIZES = {
    "smoke": Size(
        pixels=32,
        channels=(8, 16, 32),
        layers_per_block=(1, 1, 1),
        head_channels=8,
        dim=64,
        recogniser_widths=(16, 32, 64),
        recogniser_blocks=(1, 1, 2),
        landmark_stages=((32, 16, 1), (64, 32, 1)),
        time_steps=100,
        sampling_steps=5,
        batch_size=8,
        steps=5,
        learning_rate=1e-3,
        ema_decay=0.9,
    ),
    "demo": Size(
        pixels=32,
        channels=(16, 32, 64),
        layers_per_block=(1, 1, 1),
        head_channels=16,
        dim=64,
        recogniser_widths=(16, 32, 64),
        recogniser_blocks=(1, 1, 2),
        landmark_stages=((64, 32, 2), (128, 64, 2)),
        time_steps=1000,
        sampling_steps=25,
        batch_size=32,
        steps=2500,
        learning_rate=6e-4,
        ema_decay=0.999,
    ),
    "paper": Size(
        pixels=112,
        channels=(128, 128, 256, 256, 512),
        layers_per_block=(1, 1, 1, 1, 3),
        head_channels=64,
        dim=512,
        recogniser_widths=(64, 128, 256, 512),
        recogniser_blocks=(3, 4, 14, 3),
        landmark_stages=((128, 64, 4), (256, 128, 6), (512, 128, 2)),
        time_steps=1000,
        sampling_steps=50,
        batch_size=32,
        steps=25090,
        learning_rate=1e-4,
        ema_decay=0.9999,
    ),
}
"""``smoke`` shows in seconds that everything runs, ``demo`` learns to draw faces in minutes on two cores, ``paper`` is
what the paper and its public code say: 112 pixels, 49 tokens of 512 features, 10 epochs of 80,288 images."""
