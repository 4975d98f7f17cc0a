"""Weights in files of others, read without running anything that such a file may hold."""

import argparse
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from faceneuro.errors import InputError


def read_weights(file: Path, key: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a state that torch has saved, by name.

    Parameters
    ----------
    file
        Of a whole training, too, with the state beside other things; what was saved from several GPUs loses the prefix
        that it got from that.
    key
        Where the file stands in the configuration, for messages.

    Raises
    ------
    InputError
        If there is no such file, or it holds no weights, or more than torch reads without running code.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise InputError(f"config key {key}: there is no file {file}")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        # timm's training script, which FasterViT was made with, saves its command line beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            saved = torch.load(file, map_location="cpu", weights_only=True)
        saved = saved.get("state_dict", saved.get("model", saved))
        return {name.removeprefix("module."): value for name, value in saved.items() if isinstance(value, Tensor)}
    except (UnpicklingError, SafetensorError, RuntimeError, EOFError, AttributeError) as error:
        raise InputError(
            f"config key {key}: {file} cannot be read as weights; it must be a .safetensors file, or a state_dict "
            "that torch.save wrote, with nothing else in it"
        ) from error
