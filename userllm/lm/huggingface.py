"""Any causal language model from the Hugging Face hub or from a folder on disk."""

from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from userllm.data.download import model_digest
from userllm.errors import UserError
from userllm.lm.outline import known_config, without_weights
from userllm.lm.protocol import LoadedLM

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HuggingFaceLM:
    """Load a model by hub id or folder, with its own checkpoint keys and tokenizer.

    Args:
        model: Hub id (``Qwen/Qwen3-0.6B``) or path of a folder with ``config.json`` and weights.
        revision: Branch, tag or commit on the hub; null is the newest.
        dtype: Number type of the weights. CPUs without bfloat16 units are ten times slower in it.
        attention: Attention implementation as transformers names it; null is the model's default.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        dtype: Literal["float32", "bfloat16", "float16"],
        attention: str | None,
    ) -> None:
        self.model, self.revision, self.dtype, self.attention = model, revision, dtype, attention

    def load(self) -> LoadedLM:
        """Return the model; raise ``UserError`` when there is none at that place."""
        folder = Path(self.model).expanduser()
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise UserError(
                f"lm.model={self.model} is a folder without config.json. Expected a Hugging Face "
                "model folder (config.json, tokenizer files, *.safetensors). Save one there with "
                "model.save_pretrained and tokenizer.save_pretrained, or give a hub id."
            )
        transformers_logging.disable_progress_bar()
        place = str(folder) if folder.is_dir() else self.model
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, revision=self.revision)
            model = AutoModelForCausalLM.from_pretrained(
                place,
                revision=self.revision,
                dtype=DTYPES[self.dtype],
                attn_implementation=self.attention,
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"lm.model={self.model} could not be loaded: {reason} Expected a hub id that this "
                "machine can reach or a folder with a causal language model. Offline, use "
                "lm=smollm2_135m or lm=tiny."
            ) from error
        is_folder = folder.is_dir()
        commit = getattr(model.config, "_commit_hash", None) or self.revision
        source = {
            "name": self.model if place == self.model else folder.name,
            "origin": "folder" if is_folder else "hub",
            # What is saved there later may be another model.
            "revision": f"sha256:{model_digest(folder)}" if is_folder else commit,
        }
        return LoadedLM(model.eval(), tokenizer, source)

    def outline(self) -> PreTrainedModel | None:
        """Return the model without weights, None where nobody here knows its shape."""
        config = known_config(self.model)
        return None if config is None else without_weights(config)
