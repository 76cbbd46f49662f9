"""Language models without weights: what costs need is shapes, and no hub is asked for them.

Shape suffixes: V vocabulary, D text width.
"""

import json
from importlib.resources import files
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

ROWS = 512
"""Rows of the stand-in for the table of token embeddings."""


def without_weights(config: PretrainedConfig) -> PreTrainedModel:
    """Return a model of this shape on the meta device.

    Only its token embeddings are real, a few equal rows: contexts look at their scale when they
    are attached. The output layer keeps its true size.
    """
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    width = int(model.config.get_text_config().hidden_size)
    stand_in_VD = torch.ones(()).expand(ROWS, width)
    model.get_input_embeddings().weight = nn.Parameter(stand_in_VD)
    model.eval()
    return model


def known_config(model: str) -> PretrainedConfig | None:
    """Return the configuration of a folder's or a known hub model, else None.

    Args:
        model: Folder with ``config.json``, or a hub id: one whose shape ships with the package
            or that the hub's own cache on this machine holds.
    """
    folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        return _read(folder)
    shipped = files("userllm.lm.shapes") / f"{model.rpartition('/')[2].lower()}.json"
    if shipped.is_file():
        values = json.loads(shipped.read_text(encoding="utf-8"))
        config: PretrainedConfig = AutoConfig.for_model(**values)
        return config
    return _read(model)


def _read(place: Path | str) -> PretrainedConfig | None:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError):
        return None
    return config
