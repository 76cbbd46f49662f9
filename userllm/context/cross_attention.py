"""Cross-attention from text tokens to the user memory, attached to a language model's blocks.

The model's own modules stay where they are: forward hooks add what was read to the residual
stream, so checkpoint keys, ``generate`` and the key/value cache are the model's own, and a fresh
context changes nothing.

Shape suffixes: B batch, T text tokens, U user vectors, D text width.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.attention import MemoryAttention
from userllm.context.compression import Compression
from userllm.context.protocol import ContextFlops
from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError
from userllm.lm.blocks import attention_branch, decoder_blocks


class CrossAttention(nn.Module):
    """Let chosen blocks of the language model read the user memory.

    ``gated``: a cross-attention layer in front of each chosen block,
    x ← x + tanh(α)·CrossAttn(LN(x), E), α = 0 at the start (Source: User-LLM Eq. 4; Flamingo,
    arXiv 2204.14198). ``plain``: x ← x + CrossAttn(LN(x), E) between self-attention and
    feed-forward (Source: Eq. 1–3, the block's own residuals kept), output projection 0 at the
    start. Where a block runs attention and feed-forward in parallel, ``plain`` adds to the
    attention branch.

    Args:
        text_dim: Width D of the language model.
        user_dim: Width E of the encoder.
        num_blocks: Number of decoder blocks of the language model.
        form: ``gated`` or ``plain``.
        layers: ``all``, ``upper_half``, or how many of the last blocks.
        every_k: Of these, read in every k-th block, counted from the top.
        attention_width: Width of all heads together.
        heads: Attention heads; must divide ``attention_width``.
        dropout: Dropout of attention weights.
        memory_events: How many of the last events to keep; None keeps all.
        perceiver_latents: Perceiver latents; 0 leaves the Perceiver out.
        perceiver_layers: Perceiver layers.
        perceiver_heads: Perceiver attention heads.
    """

    text_events = 0
    reads_memory = True

    def __init__(  # noqa: PLR0913 - one argument per key of the option's file
        self,
        *,
        text_dim: int,
        user_dim: int,
        num_blocks: int,
        form: Literal["gated", "plain"],
        layers: int | Literal["all", "upper_half"],
        every_k: int,
        attention_width: int,
        heads: int,
        dropout: float,
        memory_events: int | None,
        perceiver_latents: int,
        perceiver_layers: int,
        perceiver_heads: int,
    ) -> None:
        super().__init__()
        self.blocks = chosen_blocks(num_blocks, layers, every_k)
        self.gated = form == "gated"
        self.compression = Compression(
            user_dim=user_dim,
            memory_events=memory_events,
            latents=perceiver_latents,
            layers=perceiver_layers,
            heads=perceiver_heads,
        )
        self.stack = [
            MemoryAttention(
                query_dim=text_dim,
                user_dim=user_dim,
                inner_dim=attention_width,
                heads=heads,
                dropout=dropout,
                output_std=0.02 if self.gated else 0.0,
            )
            for _ in self.blocks
        ]
        self.readers = nn.ModuleList(self.stack)
        self.gates = nn.ParameterList(
            [nn.Parameter(torch.zeros(())) for _ in self.blocks] if self.gated else []
        )
        self._keys_values: list[tuple[Tensor, Tensor]] = []
        self._mask_BU: Tensor | None = None

    def attach(self, model: PreTrainedModel) -> None:
        """Hook the chosen blocks."""
        blocks = decoder_blocks(model)
        for index, block_index in enumerate(self.blocks):
            block = blocks[block_index]
            if self.gated:
                block.register_forward_pre_hook(_ReadBefore(self, index), with_kwargs=True)
            else:
                hook = _ReadAfterAttention(self, index)
                block.register_forward_pre_hook(hook.remember, with_kwargs=True)
                attention_branch(block).register_forward_hook(hook)

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory | None:
        """Return the vectors that the blocks will read."""
        return None if encoded is None else self.compression(encoded)

    def bind(self, memory: UserMemory | None) -> None:
        """Compute every block's keys and values, once for all tokens that follow."""
        self._mask_BU = None if memory is None else memory.mask_BU
        self._keys_values = (
            [] if memory is None else [r.keys_values(memory.vectors_BUE) for r in self.stack]
        )

    def prefix(self, memory: UserMemory | None, batch: int) -> None:
        """Nothing stands before the text."""

    def vectors(self, given: Count) -> Count:
        """Return how many vectors the blocks read."""
        return self.compression.vectors(given)

    def prefix_length(self, given: Count) -> Count:
        """No prefix."""
        return 0.0

    def flops(self, given: Count, tokens: Count) -> ContextFlops:
        """Return the work of keys and values, and of all readers."""
        vectors = self.vectors(given)
        memory, reading = self.compression.flops(given), Flops()
        for reader in self.stack:
            memory += reader.keys_values_flops(vectors)
            reading += reader.flops(tokens, vectors)
        return ContextFlops(memory, reading, first_block=self.blocks[0])

    def per_block(self) -> dict[str, dict[int, float]]:
        """Return tanh(α) of every reading block (Source: User-LLM Figure 4)."""
        gates = [float(torch.tanh(gate)) for gate in self.gates]
        return {"gate": dict(zip(self.blocks, gates, strict=True))} if gates else {}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return gates apart: they start at zero and need a larger learning rate."""
        gates = {id(gate) for gate in self.gates}
        rest = [p for p in self.parameters() if id(p) not in gates]
        return {"memory": rest, "gates": list(self.gates)}

    def read(self, index: int, hidden_BTD: Tensor) -> Tensor:
        """Return what block number ``index`` adds to its hidden states."""
        if self._mask_BU is None:
            return torch.zeros_like(hidden_BTD)
        keys, values = self._keys_values[index]
        mask_BU = self._mask_BU
        # Beam search repeats each user's row; the memory is repeated only then.
        repeats = hidden_BTD.shape[0] // mask_BU.shape[0]
        if repeats > 1:
            keys, values = keys.repeat_interleave(repeats, 0), values.repeat_interleave(repeats, 0)
            mask_BU = mask_BU.repeat_interleave(repeats, 0)
        read_BTD: Tensor = self.stack[index](hidden_BTD, (keys, values), mask_BU)
        return torch.tanh(self.gates[index]) * read_BTD if self.gated else read_BTD


class _ReadBefore:
    """Pre-hook of a block: add what was read to the hidden states that enter it."""

    def __init__(self, context: CrossAttention, index: int) -> None:
        self.context, self.index = context, index

    def __call__(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            hidden = args[0]
            return (hidden + self.context.read(self.index, hidden), *args[1:]), kwargs
        hidden = kwargs["hidden_states"]
        return args, {**kwargs, "hidden_states": hidden + self.context.read(self.index, hidden)}


class _ReadAfterAttention:
    """Two hooks: remember what enters the block, then add what was read after self-attention."""

    def __init__(self, context: CrossAttention, index: int) -> None:
        self.context, self.index = context, index
        self.residual_BTD: Tensor | None = None

    def remember(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.residual_BTD = args[0] if args else kwargs["hidden_states"]

    def __call__(self, branch: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        attended_BTD = output[0] if isinstance(output, tuple) else output
        hidden_BTD = self.residual_BTD + attended_BTD
        self.residual_BTD = None
        added_BTD = attended_BTD + self.context.read(self.index, hidden_BTD)
        return (added_BTD, *output[1:]) if isinstance(output, tuple) else added_BTD


def chosen_blocks(
    num_blocks: int, layers: int | Literal["all", "upper_half"], every_k: int
) -> list[int]:
    """Return the indices of the blocks that read the memory, lowest first.

    Raises:
        UserError: More blocks asked for than there are, or an unknown word.
    """
    named = {"all": num_blocks, "upper_half": num_blocks // 2}
    count = named.get(layers, -1) if isinstance(layers, str) else layers
    if not 1 <= count <= num_blocks or every_k < 1:
        raise UserError(
            f"context.layers={layers} context.every_k={every_k}: the language model has "
            f"{num_blocks} blocks. Expected all, upper_half or a number from 1 to {num_blocks}, "
            "and every_k of at least 1."
        )
    return list(range(num_blocks - 1, num_blocks - 1 - count, -every_k))[::-1]
