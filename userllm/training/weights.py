"""Trainable weights on their way out of a checkpoint file and into a model."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from userllm.errors import UserError


def check_weights(expected: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Refuse weights that were not made for this model.

    Raises:
        UserError: Naming every missing and extra weight, or both shapes where they differ.
    """
    missing, extra = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or extra:
        raise UserError(
            f"The checkpoint does not fit the model: missing {missing or 'nothing'}, "
            f"not expected {extra or 'nothing'}. Use the configuration it was trained with."
        )
    shapes = [
        f"{name} is {tuple(given[name].shape)}, expected {tuple(weight.shape)}"
        for name, weight in expected.items()
        if given[name].shape != weight.shape
    ]
    if shapes:
        raise UserError(
            f"The checkpoint has other shapes than the model: {'; '.join(shapes)}. "
            "Use the configuration it was trained with."
        )


def read_weights(path: Path, part: str) -> dict[str, Tensor]:
    """Return the weights of one part of a checkpoint, named as that part names them.

    Args:
        path: A checkpoint written by `fit`.
        part: The attribute of the training module that held the part, such as ``"encoder"``.

    Raises:
        UserError: If the file is missing or cannot be read.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:
        raise UserError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}: {error}). "
            "Delete its run folder and run its command again."
        ) from error
    prefix = f"{part}."
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}


def weights_hash(module: nn.Module, *, learning: bool = False) -> str:
    """Return sha256 over names and values of parameters, equal exactly where they are.

    Args:
        module: Whose.
        learning: Leave out what is frozen.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(module.named_parameters()):
        if learning and not weight.requires_grad:
            continue
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
