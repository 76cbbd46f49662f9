"""Cross-attention from text tokens to the user memory, attached to a language model's blocks.

The model's own modules stay where they are: forward hooks add what was read to the residual
stream, so checkpoint keys, ``generate`` and the key/value cache are the model's own, and a fresh
context changes nothing (except in the literal form).

Shape suffixes: B batch, T text tokens, U user vectors, D text width.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from userllm.context.attention import MemoryAttention
from userllm.context.compression import Compression
from userllm.context.hooks import after_attention, before_block, instead_of_stream
from userllm.context.protocol import ContextFlops
from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.lm.blocks import decoder_blocks, upper_blocks
from userllm.summarizer.protocol import Summarizer

PLACES = {"gated": before_block, "plain": after_attention, "literal": instead_of_stream}
"""What each form gives :meth:`CrossAttention.change` to: the literal one replaces the stream."""


class CrossAttention(nn.Module):
    """Let chosen blocks of the language model read the user memory.

    ``gated``: a cross-attention layer in front of each chosen block,
    x ← x + tanh(α)·CrossAttn(LN(x), E), α = 0 at the start (Source: User-LLM Eq. 4; Flamingo,
    arXiv 2204.14198). ``plain``: x ← x + CrossAttn(LN(x), E) between self-attention and
    feed-forward (Source: Eq. 1–3, the block's own residuals kept), output projection 0 at the
    start. Where a block runs attention and feed-forward in parallel, ``plain`` adds to the
    attention branch.

    ``literal``: Eq. 1–3 as printed, O ← LN(x); O ← CrossAttn(O, E) + O; the block gives FFN(O).
    The stream is replaced by its norm and the feed-forward has no residual, so a pretrained model
    does not survive this form unharmed: it is there to be compared, and not for families with
    parallel blocks. Not printed in the paper and kept as the model has it: x, which is the stream
    after the block's self-attention with its residual, and the norms around the feed-forward.

    Args:
        text_dim: Width D of the language model.
        user_dim: Width E of the encoder.
        num_blocks: Number of decoder blocks of the language model.
        form: ``gated``, ``plain`` or ``literal``.
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
    summarizer: Summarizer | None = None

    def __init__(  # noqa: PLR0913 - one argument per key of the option's file
        self,
        *,
        text_dim: int,
        user_dim: int,
        num_blocks: int,
        form: Literal["gated", "plain", "literal"],
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
        self.memory_events = memory_events
        self.form = form
        if every_k < 1:
            raise ValueError(f"every_k ({every_k}) must be at least 1")
        upper = upper_blocks(num_blocks, layers, key="context.layers")
        self.blocks = upper[::-1][::every_k][::-1]
        self.compression = Compression(
            user_dim=user_dim,
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
                output_std=0.02 if form == "gated" else 0.0,
                norm=form != "literal",
            )
            for _ in self.blocks
        ]
        self.readers = nn.ModuleList(self.stack)
        self.memory_width = user_dim
        self.keys_values_width = 2 * attention_width * len(self.stack)
        self.gates = nn.ParameterList(
            [nn.Parameter(torch.zeros(())) for _ in self.blocks] if form == "gated" else []
        )
        self.stream_norms = nn.ModuleList(
            [nn.LayerNorm(text_dim) for _ in self.blocks] if form == "literal" else []
        )
        self._keys_values: list[tuple[Tensor, Tensor]] = []
        # None where no vector is missing: the mask's work is spared then.
        self._mask_BU: Tensor | None = None

    def attach(self, model: PreTrainedModel) -> None:
        """Hook the chosen blocks.

        Raises:
            UserError: The model has no place for this form.
        """
        blocks = decoder_blocks(model)
        for index, number in enumerate(self.blocks):
            PLACES[self.form](blocks[number], partial(self.change, index))

    def compress(self, encoded: UserMemory | None, events: EventBatch) -> UserMemory | None:
        """Return the vectors that the blocks will read."""
        return None if encoded is None else self.compression(encoded)

    def bind(self, memory: UserMemory | None) -> None:
        """Compute every block's keys and values, once for all tokens that follow."""
        self._mask_BU, self._keys_values = None, []
        if memory is None:
            return
        self._keys_values = [reader.keys_values(memory.vectors_BUE) for reader in self.stack]
        # Looked at where it is used for many passes: a GPU has to be waited for.
        if torch.is_grad_enabled() or not bool(memory.mask_BU.all()):
            self._mask_BU = memory.mask_BU

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
        compression = self.compression.flops(given)
        memory, reading = compression, Flops()
        for reader in self.stack:
            memory += reader.keys_values_flops(vectors)
            reading += reader.flops(tokens, vectors)
        return ContextFlops(
            memory,
            reading,
            first_block=self.blocks[0],
            learned_inputs=self.compression.perceiver is not None,
            compression=compression,
        )

    def per_block(self) -> dict[str, dict[int, float]]:
        """Return tanh(α) of every reading block (Source: User-LLM Figure 4)."""
        gates = [float(torch.tanh(gate.detach())) for gate in self.gates]
        return {"gate": dict(zip(self.blocks, gates, strict=True))} if gates else {}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return gates apart: they start at zero and need a larger learning rate."""
        gates = {id(gate) for gate in self.gates}
        rest = [p for p in self.parameters() if id(p) not in gates]
        return {"memory": rest, "gates": list(self.gates)}

    def change(self, index: int, hidden_BTD: Tensor) -> Tensor:
        """Return what is added to hidden states of reading block ``index``, or replaces them.

        The reader's own number type is kept, float32 beside a language model in half precision:
        in float16 the weighted sums overflow.
        """
        wide_BTD = hidden_BTD.to(self.stack[index].to_query.weight.dtype)
        if self.form == "gated":
            changed_BTD = torch.tanh(self.gates[index]) * self._read(index, wide_BTD)
        elif self.form == "plain":
            changed_BTD = self._read(index, wide_BTD)
        else:
            normed_BTD = self.stream_norms[index](wide_BTD)
            changed_BTD = normed_BTD + self._read(index, normed_BTD)
        return changed_BTD.to(hidden_BTD.dtype)

    def _read(self, index: int, queries_BTD: Tensor) -> Tensor:
        if not self._keys_values:
            return torch.zeros_like(queries_BTD)
        keys, values = self._keys_values[index]
        mask_BU = self._mask_BU
        # Beam search repeats each user's row; the memory is repeated only then.
        repeats = queries_BTD.shape[0] // keys.shape[0]
        if repeats > 1:
            keys, values = keys.repeat_interleave(repeats, 0), values.repeat_interleave(repeats, 0)
            mask_BU = None if mask_BU is None else mask_BU.repeat_interleave(repeats, 0)
        read_BTD: Tensor = self.stack[index](queries_BTD, (keys, values), mask_BU)
        return read_BTD
