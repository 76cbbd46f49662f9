"""Take a pretrained encoder out of its run folder, and refuse one made for other data."""

import json
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from torch import nn

from userllm.build import build
from userllm.data.catalogue import catalogue_of
from userllm.data.corpus import Corpus
from userllm.encoder.protocol import UserEncoder
from userllm.errors import UserError
from userllm.training.weights import check_weights, read_weights
from userllm.transitions.counted import fit_transitions


def encoder_inputs(corpus: Corpus) -> dict[str, Any]:
    """Return what encoders are built from besides their config."""
    return {"vocabulary": corpus.vocabulary, "catalogue": catalogue_of(corpus)}


def load_encoder(run_folder: Path, corpus: Corpus) -> UserEncoder:
    """Return the best encoder of a finished pretraining run, in evaluation mode.

    Args:
        run_folder: ``runs/pretrain/<name>-<hash>``.
        corpus: What the encoder is going to read.

    Raises:
        UserError: If the run is incomplete, or was made from another corpus or of another shape.
    """
    result = _read_result(run_folder)
    trained_on = result["environment"]["data_fingerprint"]
    if trained_on != corpus.fingerprint:
        raise UserError(
            f"The encoder of {run_folder.name} was trained on the corpus {trained_on[:12]}, but "
            f"this run reads the corpus {corpus.fingerprint[:12]}, where other ids mean other "
            "items. Use encoder.checkpoint=auto, or the data settings of the encoder's training."
        )
    config = OmegaConf.load(run_folder / "config.yaml")
    encoder: UserEncoder = build(config.encoder, **encoder_inputs(corpus))
    module = cast(nn.Module, encoder)
    load_weights(module, run_folder / "checkpoints" / "best.ckpt")
    fit_transitions(encoder, corpus, OmegaConf.select(config, "split"))
    module.eval()
    return encoder


def load_weights(encoder: nn.Module, checkpoint: Path) -> None:
    """Put a checkpoint's weights into an encoder; a tied table is in it once.

    Raises:
        UserError: If a name is missing or left over, or a shape differs.
    """
    weights = read_weights(checkpoint, "encoder")
    check_weights(dict(encoder.named_parameters()), weights)
    encoder.load_state_dict(weights, strict=False)


def _read_result(run_folder: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((run_folder / "result.json").read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{run_folder} has no result.json, so it is not a finished pretraining run. Run its "
            "command again (it is in command.txt there)."
        ) from error
    return result
