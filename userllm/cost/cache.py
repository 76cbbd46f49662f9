"""What a language model's key/value cache takes, from its shape alone."""

from typing import Any

import numpy as np
from transformers import PretrainedConfig

from userllm.cost.flops import Count

FLOAT32 = 4
"""Bytes of a number, as this project keeps what it stores."""


def cache_bytes(
    config: PretrainedConfig, tokens: Count, *, number: int = FLOAT32, windowed: bool = False
) -> Count:
    """Return the bytes of keys and values of so many tokens, in all blocks.

    Args:
        config: The language model's.
        tokens: Positions in the cache.
        number: Bytes of one number.
        windowed: Whether blocks that look back over a window only keep no more than that window;
            a cache that is to be extended by a tree, or cut back, has to keep everything.
    """
    shape: Any = config.get_text_config()
    blocks = int(shape.num_hidden_layers)
    kinds = getattr(shape, "layer_types", None) or ["full_attention"] * blocks
    # The token that is read next stands in the window too.
    window = (getattr(shape, "sliding_window", None) or np.inf) - 1
    limits = [window if windowed and kind == "sliding_attention" else np.inf for kind in kinds]
    kept = sum(np.minimum(tokens, limit) for limit in limits)
    result: Count = 2.0 * _key_width(config) * number * kept
    return result


def _key_width(config: PretrainedConfig) -> int:
    """Return the width of all key heads of a block together; values have the same."""
    shape: Any = config.get_text_config()
    heads = int(shape.num_attention_heads)
    width = int(getattr(shape, "head_dim", None) or shape.hidden_size // heads)
    return int(getattr(shape, "num_key_value_heads", None) or heads) * width
