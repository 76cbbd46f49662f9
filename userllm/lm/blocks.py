"""Finding the decoder blocks of any Hugging Face causal language model.

Cross-attention is attached to blocks from outside, so that the language model keeps its own
modules and checkpoint keys. Three facts about a family are needed: the list of blocks, the module
inside a block whose output joins the residual stream after self-attention, and for one form of
cross-attention where the feed-forward begins and ends.
"""

from typing import Literal

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from userllm.errors import UserError

# In blocks that normalise the attention output before adding it, that norm comes last.
SANDWICH_NORM = "pre_feedforward_layernorm"
ATTENTION_NAMES = ("self_attn", "attention", "attn")
PARALLEL_FLAGS = ("use_parallel_residual", "parallel_attn")
# From the norms of a block to the one that the feed-forward reads through, and the module whose
# output is added to the residual stream after it.
FEED_FORWARDS = {
    frozenset({"input_layernorm", "post_attention_layernorm"}): (
        "post_attention_layernorm",
        "mlp",
    ),
    frozenset({"ln_1", "ln_2"}): ("ln_2", "mlp"),
    frozenset(
        {
            "input_layernorm",
            "post_attention_layernorm",
            SANDWICH_NORM,
            "post_feedforward_layernorm",
        }
    ): (SANDWICH_NORM, "post_feedforward_layernorm"),
}


def decoder_blocks(model: PreTrainedModel) -> list[nn.Module]:
    """Return the decoder blocks in order; raise ``UserError`` for a model that has none."""
    count = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise UserError(
        f"{type(model).__name__}: no list of {count} decoder blocks was found. Expected a "
        "decoder-only model such as the Llama, Qwen, Gemma, GPT-NeoX or GPT-2 families."
    )


def upper_blocks(
    num_blocks: int, layers: int | Literal["all", "upper_half"], *, key: str
) -> list[int]:
    """Return the indices of the last blocks, lowest first.

    Args:
        num_blocks: Blocks of the language model.
        layers: ``all``, ``upper_half``, or how many.
        key: Where ``layers`` was said, for the error.

    Raises:
        UserError: More blocks asked for than there are, or an unknown word.
    """
    named = {"all": num_blocks, "upper_half": num_blocks // 2}
    count = named.get(layers, -1) if isinstance(layers, str) else layers
    if not 1 <= count <= num_blocks:
        raise UserError(
            f"{key}={layers}: the language model has {num_blocks} blocks. Expected all, "
            f"upper_half or a number from 1 to {num_blocks}."
        )
    return list(range(num_blocks - count, num_blocks))


def attention_branch(block: nn.Module) -> nn.Module:
    """Return the module whose output is added to the residual stream after self-attention."""
    if hasattr(block, SANDWICH_NORM):
        return block.get_submodule("post_attention_layernorm")
    for name in ATTENTION_NAMES:
        if hasattr(block, name):
            return block.get_submodule(name)
    raise UserError(
        f"{type(block).__name__}: no self-attention module named {', '.join(ATTENTION_NAMES)}. "
        "Use context.form=gated, which is attached in front of whole blocks."
    )


def feed_forward_branch(block: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return where the stream enters the feed-forward, and whose output is added to the stream.

    Raises:
        UserError: The feed-forward does not read what self-attention wrote, or the block is of
            a family that nobody has looked at.
    """
    config = getattr(block, "config", None)
    parallel = any(
        getattr(owner, flag, False) for owner in (block, config) for flag in PARALLEL_FLAGS
    )
    norms = frozenset(
        name for name, _ in block.named_children() if "norm" in name or name.startswith("ln_")
    )
    if parallel or norms not in FEED_FORWARDS:
        raise UserError(
            f"{type(block).__name__}: attention and feed-forward run in parallel, or in an order "
            "that is not known. Expected a family where one follows the other: Llama, Qwen, "
            "Gemma or GPT-2. Use context.form=plain or context.form=gated."
        )
    entry, branch = FEED_FORWARDS[norms]
    return block.get_submodule(entry), block.get_submodule(branch)


def token_width(model: PreTrainedModel) -> int:
    """Return the hidden width D of the language model."""
    return int(model.config.get_text_config().hidden_size)


def longest_text(config: PretrainedConfig) -> int | None:
    """Return how many tokens a language model was made to read; None where its config is silent."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or None
