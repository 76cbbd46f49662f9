"""The Transformer over events that all encoders share.

Shape suffixes: B batch, P positions, R positions of a batch without padding, E user width.
"""

from typing import TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, attention, linear, weight_count
from userllm.data.vocabulary import BOS, PAD
from userllm.encoder.attention import attend, attend_next
from userllm.encoder.dropout import Dropout
from userllm.encoder.embedding import INITIAL_STD
from userllm.encoder.reading import Reading, Step


class Layout:
    """Where the real positions of a padded batch are, so that padding is never computed on.

    Everything but attention works on rows [R, E]; with histories of all lengths that saves a
    third of the work.

    Args:
        mask_BP: True where a position is real.
        reading: Keeps what attention needs for later events; None where none will come.
    """

    def __init__(self, mask_BP: Tensor, reading: Reading | None = None) -> None:
        self.reading = reading
        self.shape = mask_BP.shape
        self.mask_BP = mask_BP
        self.full = bool(mask_BP.all())
        self.index_R = mask_BP.flatten().nonzero().squeeze(1)
        self.user_R = self.index_R // mask_BP.shape[1]
        self.position_R = self.index_R % mask_BP.shape[1]

    def pack(self, padded_BPE: Tensor) -> Tensor:
        """Return the real positions as rows, [R, ...]."""
        rows = padded_BPE.flatten(0, 1)
        return rows if self.full else rows.index_select(0, self.index_R)

    def pad(self, rows_RE: Tensor) -> Tensor:
        """Return rows at their places, [B, P, E], zeros elsewhere."""
        if not self.full:
            empty = rows_RE.new_zeros(self.shape.numel(), rows_RE.shape[1])
            rows_RE = empty.index_copy_(0, self.index_R, rows_RE)
        return rows_RE.view(*self.shape, -1)

    def last(self, rows_RE: Tensor) -> Tensor:
        """Return the last real position of everybody, [B, E]; everybody has one."""
        padded_BPE = self.pad(rows_RE)
        rows_B = torch.arange(len(padded_BPE), device=padded_BPE.device)
        return padded_BPE[rows_B, self.mask_BP.sum(dim=1) - 1]


class BlockSettings(TypedDict):
    """The arguments of a `Block`, for whoever makes several alike."""

    width: int
    heads: int
    feed_forward: int
    dropout: float
    attention_dropout: float
    causal: bool


class Block(nn.Module):
    """Pre-norm self-attention and feed-forward, each added to its input.

    Args:
        width: Width E.
        heads: Attention heads; must divide ``width``.
        feed_forward: Width of the feed-forward layer, in widths.
        dropout: Probability of dropping a value of what is added.
        attention_dropout: Probability of dropping an attention weight.
        causal: Whether a position reads itself and earlier ones only, or all real ones.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
        causal: bool,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.causal = causal
        self.norm_attention = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.up = nn.Linear(width, feed_forward * width)
        self.down = nn.Linear(feed_forward * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, state_RE: Tensor, layout: Layout | Step) -> Tensor:
        """Return the states after one layer, [R, E]."""
        read_RE = self._attend(self.to_qkv(self.norm_attention(state_RE)), layout)
        state_RE = self.dropout.add(state_RE, self.to_out(read_RE))
        return self.dropout.add(state_RE, self._feed_forward(state_RE))

    def _attend(self, qkv_R3E: Tensor, layout: Layout | Step) -> Tensor:
        if isinstance(layout, Step):
            return attend_next(qkv_R3E, layout.reading, self, heads=self.heads)
        if layout.reading is not None:
            layout.reading.keep(self, layout.pad(qkv_R3E)[..., qkv_R3E.shape[1] // 3 :])
        dropout = self.attention_dropout if self.training else 0.0
        return attend(qkv_R3E, layout, heads=self.heads, causal=self.causal, dropout=dropout)

    def _feed_forward(self, state_RE: Tensor) -> Tensor:
        added: Tensor = self.down(F.gelu(self.up(self.norm_feed_forward(state_RE))))
        return added


class Blocks(nn.ModuleList):
    """Several blocks, one after the other.

    Args:
        layers: Number of blocks.
        settings: Of each `Block`.
    """

    def __init__(self, *, layers: int, **settings: Unpack[BlockSettings]) -> None:
        width, heads = settings["width"], settings["heads"]
        if width % heads:
            raise ValueError(f"heads ({heads}) must divide width ({width})")
        super().__init__(Block(**settings) for _ in range(layers))
        self.width = width

    def forward(self, state_RE: Tensor, layout: Layout | Step) -> Tensor:
        """Return the states after all layers, [R, E]."""
        for block in self:
            state_RE = block(state_RE, layout)
        return state_RE

    def flops(self, made: Count, read: Count) -> Flops:
        """Return the work of making so many positions of one user, which read so many."""
        attending = attention(made, read, self.width)
        work = linear(made, weight_count(self))
        return work + Flops(attention=len(self) * attending.attention)


class Transformer(nn.Module):
    """Blocks between learned positions and a last norm.

    Args:
        layers: Number of blocks.
        max_events: Most events it can read; there is one position more, for a state.
        settings: Of each `Block`; values are also dropped in front of the first one.
    """

    def __init__(self, *, layers: int, max_events: int, **settings: Unpack[BlockSettings]) -> None:
        super().__init__()
        self.max_events = max_events
        self.position = nn.Embedding(max_events + 1, settings["width"])
        nn.init.normal_(self.position.weight, std=INITIAL_STD)
        self.dropout = Dropout(settings["dropout"])
        self.blocks = Blocks(layers=layers, **settings)
        self.norm = nn.LayerNorm(settings["width"])

    def forward(self, embedded_RE: Tensor, layout: Layout | Step) -> Tensor:
        """Return the states [R, E] of embedded events.

        Raises:
            ValueError: If there are more than ``max_events`` events beside the one position for a
                state.
        """
        events = layout.shape[1] - 1
        if events > self.max_events:
            raise ValueError(f"{events} events, but max_events is {self.max_events}")
        state_RE = self.dropout(embedded_RE + self.position(layout.position_R))
        states: Tensor = self.norm(self.blocks(state_RE, layout))
        return states

    def flops(self, made: Count, read: Count) -> Flops:
        """Return the work of making so many positions of one user, which read so many."""
        return self.blocks.flops(made, read)


def after_begin(ids: Tensor) -> Tensor:
    """Return ids [B, L] or [B, L, G] behind the begin of history, one column longer."""
    begin = ids.new_full((len(ids), 1, *ids.shape[2:]), PAD)
    begin.flatten(1)[:, 0] = BOS
    return torch.cat([begin, ids], dim=1)
