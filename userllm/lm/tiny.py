"""A random Llama with a byte tokenizer: every test and smoke run works without a download."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from userllm.lm.outline import without_weights
from userllm.lm.protocol import LoadedLM

SPECIAL_TOKENS = ["<pad>", "<s>", "</s>"]
WINDOW = 1 << 16
"""Tokens that it reads, which are bytes."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per byte, which can write and read any title."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIAL_TOKENS + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pad, start, end = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=start, eos_token=end
    )


class TinyLM:
    """Build a small random decoder; it knows nothing, which is what a test wants.

    Args:
        width: Hidden width D.
        layers: Number of decoder blocks.
        heads: Attention heads; must divide ``width``.
        seed: Seed of the random weights.
    """

    def __init__(self, *, width: int, layers: int, heads: int, seed: int) -> None:
        if width % heads:
            raise ValueError(f"width ({width}) must be divisible by heads ({heads})")
        self.width, self.layers, self.heads, self.seed = width, layers, heads, seed

    def load(self) -> LoadedLM:
        """Return the model; the seed alone decides its weights, and the caller's RNG stays."""
        tokenizer = byte_tokenizer()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = LlamaForCausalLM(self._config(tokenizer)).eval()
        return LoadedLM(model, tokenizer, {"name": "tiny", "origin": "random", "seed": self.seed})

    def outline(self) -> PreTrainedModel:
        """Return the model without weights."""
        return without_weights(self._config(byte_tokenizer()))

    def _config(self, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            intermediate_size=2 * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=WINDOW,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
