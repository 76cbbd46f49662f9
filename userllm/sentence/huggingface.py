"""Any text encoder from the Hugging Face hub or from a folder on disk.

Shape suffixes: N texts, W sentence width.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.utils import logging as transformers_logging

from userllm.data.download import cache_dir, model_digest
from userllm.errors import UserError
from userllm.sentence.pooled import PooledModel, Pooling
from userllm.sentence.store import stored_vectors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HuggingFaceSentence:
    """Pool the token states of a model; vectors are kept on disk and made once.

    Encoder-decoder models such as Sentence-T5 are read with their encoder only. Layers that the
    sentence-transformers library adds after pooling are not read.

    Args:
        model: Hub id (``intfloat/e5-base-v2``) or a folder with ``config.json`` and weights.
        revision: Branch, tag or commit on the hub; null is the newest.
        pooling: ``mean`` over tokens, the first token (``cls``) or the ``last`` one.
        normalize: Whether vectors are scaled to length one.
        prefix: Put before every text, where a model was trained with one.
        max_tokens: Longer texts are cut.
        dtype: Number type of the model; vectors are float32.
        batch_tokens: Tokens, padding included, that are encoded at once.
        cache: Folder for the vectors; null is the project's cache folder.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        pooling: Pooling,
        normalize: bool,
        prefix: str,
        max_tokens: int,
        dtype: Literal["float32", "bfloat16", "float16"],
        batch_tokens: int,
        cache: str | None,
    ) -> None:
        folder = Path(model).expanduser()
        self.folder = folder if folder.is_dir() else None
        self.place = {"pretrained_model_name_or_path": str(self.folder or model)}
        self.model, self.revision, self.dtype = model, revision, dtype
        self.pooling, self.normalize, self.prefix = pooling, normalize, prefix
        self.max_tokens, self.batch_tokens = max_tokens, batch_tokens
        self.cache = cache_dir(cache) / "sentence"

    @property
    def width(self) -> int:
        """Return W."""
        return int(self._config.get_text_config().hidden_size)

    def encode(self, texts: list[str]) -> Tensor:
        """Return one vector per text [N, W]; raise ``UserError`` when there is no such model."""
        return stored_vectors(
            texts, identity=self.identity, width=self.width, cache=self.cache, load=self.load
        )

    @cached_property
    def _config(self) -> Any:
        return self._read(AutoConfig)

    @cached_property
    def identity(self) -> str:
        """Everything that decides a vector; a folder is known by what is in it."""
        if self.folder is None:
            weights: Any = [self.model, getattr(self._config, "_commit_hash", self.revision)]
        else:
            weights = model_digest(self.folder)
        how = [self.pooling, self.normalize, self.prefix, self.max_tokens, self.dtype]
        return json.dumps([weights, *how])

    def load(self) -> PooledModel:
        """Return the model itself, ready to encode; raise ``UserError`` when there is none."""
        whole_encoder = AutoModelForTextEncoding if self._config.is_encoder_decoder else AutoModel
        return PooledModel(
            model=self._read(whole_encoder, dtype=DTYPES[self.dtype]),
            tokenizer=self._read(AutoTokenizer),
            pooling=self.pooling,
            normalize=self.normalize,
            prefix=self.prefix,
            max_tokens=self.max_tokens,
            batch_tokens=self.batch_tokens,
        )

    def _read(self, kind: Any, **options: Any) -> Any:
        transformers_logging.disable_progress_bar()
        try:
            return kind.from_pretrained(**self.place, revision=self.revision, **options)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"sentence.model={self.model} could not be loaded: {reason} Expected a hub id "
                "that this machine can reach or a folder with a text encoder (config.json, "
                "tokenizer files, *.safetensors). Offline, use sentence=minilm or sentence=hashed."
            ) from error
