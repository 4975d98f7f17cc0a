"""The network that tells the noise in an image, and the schedule by which the noise was added.

The published U-Net has 93.56 million parameters. It is of the guided-diffusion family: residual blocks that also change
the resolution, scaled and shifted by time, and attention at 7x7 pixels in which every pixel sees every other and, as
further keys and values, the tokens of the condition. The blocks of diffusers with "simple" cross-attention do exactly
that. Two things differ:

- The published one has six levels, of which the last two are both 7x7. diffusers halves at every level, so here five
  levels have three layers in the last: 8 layers of attention instead of 4, 96.72 million parameters.
- The published one turns tokens into keys and values once for all its layers (the 512 -> 1024 "adapter"); in diffusers
  each attention layer has its own pair of such projections (:func:`adapters`).

References
----------
Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", NeurIPS 2021. Ho et al., "Denoising Diffusion
Probabilistic Models", NeurIPS 2020. Kim et al., "DCFace", CVPR 2023, and its public code.
"""

from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import nn

from faceneuro.synthesis.sizes import Size

PUBLISHED_PARAMETERS = 93.56e6
"""Of the U-Net that DCFace published and CCFExp started from."""

FIRST_BETA, LAST_BETA, STEPS = 1e-4, 0.02, 1000
"""Variance of the noise added in the first and the last of so many steps."""


def build_unet(size: Size) -> UNet2DConditionModel:
    """A U-Net with random weights.

    It takes noisy images, shape (batch, 3, pixels, pixels), their time steps, the condition's tokens, (batch, any
    number, dim), as ``encoder_hidden_states``, and its vector, (batch, dim), as ``class_labels``, which is added to the
    embedding of the time step; and returns the noise, shaped as the images.
    """
    plain = len(size.channels) - 1
    return UNet2DConditionModel(
        sample_size=size.pixels,
        in_channels=3,
        out_channels=3,
        down_block_types=("ResnetDownsampleBlock2D",) * plain + ("SimpleCrossAttnDownBlock2D",),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D",) + ("ResnetUpsampleBlock2D",) * plain,
        block_out_channels=size.channels,
        layers_per_block=size.layers_per_block,
        # Normalisation needs a few channels per group; the usual 32 groups are those of 128 channels.
        norm_num_groups=min(32, size.channels[0] // 4),
        attention_head_dim=size.head_channels,
        cross_attention_dim=size.dim,
        resnet_time_scale_shift="scale_shift",
        # The vector is added as it is, so the time embedding has to be as long.
        time_embedding_dim=size.dim,
        class_embed_type="identity",
    )


def adapters(unet: UNet2DConditionModel) -> list[nn.Linear]:
    """What makes keys and values of tokens: two projections per attention layer, the keys' first."""
    layers = [module for module in unet.modules() if getattr(module, "add_k_proj", None) is not None]
    return [projection for layer in layers for projection in (layer.add_k_proj, layer.add_v_proj)]


def schedule(size: Size) -> DDPMScheduler:
    """The steps from an image to noise: variances grow evenly, from 0.0001 to 0.02 where there are 1000.

    With fewer steps each adds more, so that nothing is left of the image after the last one either: sampling starts
    from pure noise.
    """
    share = STEPS / size.time_steps
    # By name: what is given by position, diffusers forgets when another scheduler is made from this one's settings.
    return DDPMScheduler(
        num_train_timesteps=size.time_steps,
        beta_start=FIRST_BETA * share,
        beta_end=LAST_BETA * share,
        beta_schedule="linear",
    )
