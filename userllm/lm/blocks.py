"""Finding the decoder blocks of any Hugging Face causal language model.

Cross-attention is attached to blocks from outside, so that the language model keeps its own
modules and checkpoint keys. Only two facts about a family are needed: the list of blocks, and the
module inside a block whose output joins the residual stream after self-attention.
"""

from torch import nn
from transformers import PreTrainedModel

from userllm.errors import UserError

# In blocks that normalise the attention output before adding it, that norm comes last.
SANDWICH_NORM = "pre_feedforward_layernorm"
ATTENTION_NAMES = ("self_attn", "attention", "attn")


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


def token_width(model: PreTrainedModel) -> int:
    """Return the hidden width D of the language model."""
    return int(model.config.get_text_config().hidden_size)
