"""The paper's user encoder: a causal Transformer over events.

Shape suffixes: B batch, L events, P = L+1 positions (the begin of history comes first), R events
of a batch without padding, E user width, H heads, K head width, I real items, G categories.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, attention, linear, weight_count
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import BOS, FIRST_ID, ITEM_FEATURE, PAD, Vocabulary
from userllm.encoder.embedding import INITIAL_STD, EventEmbedding, FeatureHead
from userllm.encoder.memory import UserMemory


class Layout:
    """Where the real positions of a padded batch are, so that padding is never computed on.

    Everything but attention works on rows [R, E]; with histories of all lengths that saves a
    third of the work.
    """

    def __init__(self, mask_BP: Tensor) -> None:
        self.shape = mask_BP.shape
        self.full = bool(mask_BP.all())
        self.index_R = mask_BP.flatten().nonzero().squeeze(1)
        self.position_R = self.index_R % mask_BP.shape[1]

    def pack(self, padded_BPE: Tensor) -> Tensor:
        """Return the real positions as rows, [R, ...]."""
        rows = padded_BPE.flatten(0, 1)
        return rows if self.full else rows[self.index_R]

    def pad(self, rows_RE: Tensor) -> Tensor:
        """Return rows at their places, [B, P, E], zeros elsewhere."""
        if not self.full:
            empty = rows_RE.new_zeros(self.shape.numel(), rows_RE.shape[1])
            rows_RE = empty.index_copy(0, self.index_R, rows_RE)
        return rows_RE.view(*self.shape, -1)


class Block(nn.Module):
    """Pre-norm causal self-attention and feed-forward, each added to its input.

    Args:
        width: Width E.
        heads: Attention heads H.
        dropout: Probability of dropping a value of what is added.
        attention_dropout: Probability of dropping an attention weight.
    """

    def __init__(self, *, width: int, heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.norm_attention = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, state_RE: Tensor, layout: Layout) -> Tensor:
        """Return the states after one layer, [R, E]."""
        read_RE = self._attend(self.norm_attention(state_RE), layout)
        state_RE = state_RE + self.dropout(self.to_out(read_RE))
        hidden_R4E = F.gelu(self.up(self.norm_feed_forward(state_RE)))
        added_RE: Tensor = self.dropout(self.down(hidden_R4E))
        return state_RE + added_RE

    def _attend(self, state_RE: Tensor, layout: Layout) -> Tensor:
        qkv_BPHK = layout.pad(self.to_qkv(state_RE)).unflatten(-1, (3 * self.heads, -1))
        # Padding is on the right, so what is causal never reads it: no mask is needed.
        q_BHPK, k_BHPK, v_BHPK = qkv_BPHK.transpose(1, 2).chunk(3, dim=1)
        read_BHPK = F.scaled_dot_product_attention(
            q_BHPK,
            k_BHPK,
            v_BHPK,
            is_causal=True,
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        return layout.pack(read_BHPK.transpose(1, 2).flatten(2))


class AutoregressiveEncoder(nn.Module):
    """Reads a history event by event and predicts every feature of the next event.

    Source: User-LLM section 3.1. Pre-norm, GELU and learned absolute positions are our choice.

    Args:
        vocabulary: Sizes of the id spaces.
        width: Width E of the states.
        layers: Number of blocks.
        heads: Attention heads; must divide ``width``.
        dropout: Probability of dropping a value after the embedding and in every block.
        attention_dropout: Probability of dropping an attention weight; slow on CPU.
        max_events: Most events L it can read.
        features: Names of the features it reads and predicts; the item is one of them.
        feature_width: Width of each feature's table.
        loss_rows: Rows of the item scores that exist at the same time in the loss.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        attention_dropout: float,
        max_events: int,
        features: list[str],
        feature_width: dict[str, int],
        loss_rows: int,
    ) -> None:
        super().__init__()
        check_features(features, feature_width, vocabulary)
        if width % heads:
            raise ValueError(f"heads ({heads}) must divide width ({width})")
        self.width = width
        self.max_events = max_events
        self.embedding = EventEmbedding(
            vocabulary=vocabulary, features=features, feature_width=feature_width, width=width
        )
        self.position = nn.Embedding(max_events + 1, width)
        nn.init.normal_(self.position.weight, std=INITIAL_STD)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, dropout=dropout, attention_dropout=attention_dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleDict(
            {
                name: FeatureHead(table=self.embedding.table(name), width=width, rows=loss_rows)
                for name in features
            }
        )

    @property
    def item_table(self) -> Tensor:
        """Return one vector per item id [I+3, E], in the space of the states."""
        head = self._head(ITEM_FEATURE)
        return head.table.weight @ head.map.weight

    @property
    def item_bias(self) -> Tensor:
        """Return one bias per item id [I+3]; -inf for the special ids."""
        bias: Tensor = self.heads[ITEM_FEATURE].get_parameter("bias")
        return F.pad(bias, (FIRST_ID, 0), value=-torch.inf)

    def forward(self, events: EventBatch) -> UserMemory:
        """Return one vector per event, and the state after the last one.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        states_BPE = self.states(events)
        rows_B = torch.arange(len(states_BPE), device=states_BPE.device)
        last_BE = states_BPE[rows_B, events.mask.sum(dim=1)]
        return UserMemory(states_BPE[:, 1:], events.mask, last_BE)

    def states(self, events: EventBatch) -> Tensor:
        """Return states [B, L+1, E]: first before any event, then after each one.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        inputs = {name: after_begin(ids) for name, ids in events.features.items()}
        layout = Layout(F.pad(events.mask, (1, 0), value=True))
        return layout.pad(self._states(inputs, layout))

    def pretraining_loss(self, events: EventBatch) -> Tensor:
        """Return the plain average over features of the cross-entropy of all events.

        Event i is predicted from the begin of history and the events before it, so batches of
        L+1 events train every position that is used later.
        """
        inputs = {name: after_begin(ids)[:, :-1] for name, ids in events.features.items()}
        layout = Layout(events.mask)
        state_RE = self._states(inputs, layout)
        losses = [
            self._head(name).loss(state_RE, layout.pack(events.features[name]))
            for name in self.heads
        ]
        return torch.stack(losses).mean()

    def item_scores(self, state_BE: Tensor) -> Tensor:
        """Return one score per item id [B, I+3] as the next item; -inf for the special ids."""
        bias_I = F.pad(self._head(ITEM_FEATURE).bias, (FIRST_ID, 0), value=-torch.inf)
        return F.linear(state_BE, self.item_table, bias_I)

    def vectors(self, events: Count) -> Count:
        """Return one vector per event."""
        return events

    def flops(self, events: Count) -> Flops:
        """Return the work of reading so many events behind the begin of history."""
        return self._reading_flops(events + 1)

    def item_flops(self, states: Count) -> Flops:
        """Return the work of scoring every item with so many states and a ready item table."""
        return linear(states, self._head(ITEM_FEATURE).bias.numel() * self.width)

    def pretraining_flops(self, events: Count) -> Flops:
        """Return the forward work of the pretraining loss of a window of so many events."""
        heads = [self._head(name) for name in self.heads]
        tables = sum(head.bias.numel() * head.table.embedding_dim for head in heads)
        predicting = linear(events, weight_count(self.heads) + tables)
        return self._reading_flops(events) + predicting

    def _reading_flops(self, positions: Count) -> Flops:
        weights = weight_count(self.embedding, self.blocks)
        attending = attention(positions, positions, self.width)
        return linear(positions, weights) + Flops(attention=len(self.blocks) * attending.attention)

    def _head(self, name: str) -> FeatureHead:
        return cast(FeatureHead, self.heads[name])

    def _states(self, inputs: Mapping[str, Tensor], layout: Layout) -> Tensor:
        if layout.shape[1] > self.max_events + 1:
            raise ValueError(f"{layout.shape[1] - 1} events, but max_events is {self.max_events}")
        fused_RE = self.embedding({name: layout.pack(ids) for name, ids in inputs.items()})
        state_RE = self.dropout(fused_RE + self.position(layout.position_R))
        for block in self.blocks:
            state_RE = block(state_RE, layout)
        states: Tensor = self.norm(state_RE)
        return states


def after_begin(ids: Tensor) -> Tensor:
    """Return ids [B, L] or [B, L, G] behind the begin of history, one column longer."""
    begin = torch.full_like(ids[:, :1], PAD)
    begin.flatten(1)[:, 0] = BOS
    return torch.cat([begin, ids], dim=1)


def check_features(
    features: Sequence[str], feature_width: Mapping[str, int], vocabulary: Vocabulary
) -> None:
    """Refuse features that the data does not have or that have no width.

    Raises:
        ValueError: Naming what was given and what there is.
    """
    unknown = [name for name in features if name not in vocabulary.sizes]
    if unknown or ITEM_FEATURE not in features:
        raise ValueError(
            f"features {list(features)}: expected 'item' and any of {sorted(vocabulary.sizes)}"
        )
    without = [name for name in features if name not in feature_width]
    if without:
        raise ValueError(f"feature_width has no entry for {without}")
