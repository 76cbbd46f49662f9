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

SAME_SHAPE = ("-instruct", "-it", "-chat", "-base")
"""Endings of names that say how a model was trained; its shape is that of the name without."""


def without_weights(config: PretrainedConfig) -> PreTrainedModel:
    """Return a model of this shape on the meta device.

    Only its token embeddings are real, a few equal rows: contexts look at their scale when they
    are attached. The output layer keeps its true size.
    """
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    width = int(model.config.get_text_config().hidden_size)
    stand_in_VD = torch.ones(()).expand(ROWS, width)
    embeddings = model.get_input_embeddings()
    embeddings.weight = nn.Parameter(stand_in_VD)
    # Families that scale embeddings keep the factor beside them.
    for name, factor in list(embeddings.named_buffers()):
        embeddings.register_buffer(name, torch.ones(factor.shape), persistent=False)
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
    return _shipped(model.rpartition("/")[2].lower()) or _read(model)


def shipped_models() -> list[str]:
    """Return the names of the models whose shapes ship with the package, smallest first."""
    names = [file.name for file in files("userllm.lm.shapes").iterdir()]
    models = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    sizes = {name: parameter_count(config) for name in models if (config := _shipped(name))}
    return sorted(sizes, key=sizes.__getitem__)


def parameter_count(config: PretrainedConfig) -> int:
    """Return the number of weights of a model of this shape; shared tables count once."""
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config).num_parameters())


def _shipped(name: str) -> PretrainedConfig | None:
    for ending in ("", *SAME_SHAPE):
        file = files("userllm.lm.shapes") / f"{name.removesuffix(ending)}.json"
        if file.is_file():
            config: PretrainedConfig = AutoConfig.for_model(**json.loads(file.read_text("utf-8")))
            return config
    return None


def _read(place: Path | str) -> PretrainedConfig | None:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError):
        return None
    return config
