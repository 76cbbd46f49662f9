"""A bidirectional Transformer that guesses masked events (BERT4Rec).

Shape suffixes: B batch, L events, P = L+1 positions (the mask that stands for the next event comes
last), R positions of a batch without padding, M masked ones of them, E user width, I real items.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, linear, weight_count
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import ITEM_FEATURE, PAD, Vocabulary
from userllm.encoder.embedding import INITIAL_STD, EventEmbedding, check_features
from userllm.encoder.heads import FeatureHeads
from userllm.encoder.memory import UserMemory
from userllm.encoder.repeat import RepeatScore
from userllm.encoder.transformer import Layout, Transformer
from userllm.softmax.protocol import CatalogueSoftmax
from userllm.transitions.counted import Transitions


class MaskedEncoder(nn.Module):
    """Reads a history in both directions and predicts every feature of what is masked in it.

    A masked event is replaced as a whole by one learned vector; its place is kept. The next event
    is ranked by a mask behind the last one. One pass gives both: that state, and a vector per
    event, so a history is read just as in training, where the last event is masked often.

    Source: BERT4Rec (arXiv 1904.06690) sections 3.3 to 3.6, with the features, the fusion and the
    heads of User-LLM section 3.1. Pre-norm and learned absolute positions are our choice.

    Args:
        vocabulary: Sizes of the id spaces.
        width: Width E of the states.
        layers: Number of blocks.
        heads: Attention heads; must divide ``width``.
        feed_forward: Width of the feed-forward layers, in widths.
        dropout: Probability of dropping a value after the embedding and in every block.
        attention_dropout: Probability of dropping an attention weight; slow on CPU.
        max_events: Most events L it can read.
        features: Names of the features it reads and predicts; the item is one of them.
        feature_width: Width of each feature's table.
        mask_share: Probability that an event of a training window is masked.
        mask_last: The same for a window's last event, which is what ranking is like.
        repeat_score: Whether its ranking has a `RepeatScore`.
        softmax: How a state is compared with all items while training.
        transitions: Counts that its ranking leans on as well; None leaves them out.
    """

    def __init__(  # noqa: PLR0913 - one argument per key of the option's file
        self,
        *,
        vocabulary: Vocabulary,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
        max_events: int,
        features: list[str],
        feature_width: dict[str, int],
        mask_share: float,
        mask_last: float,
        repeat_score: bool,
        softmax: CatalogueSoftmax,
        transitions: Transitions | None = None,
    ) -> None:
        super().__init__()
        check_features(features, feature_width, vocabulary)
        for name, share in {"mask_share": mask_share, "mask_last": mask_last}.items():
            if not 0.0 < share <= 1.0:
                raise ValueError(f"{name} ({share}) must be above 0 and at most 1")
        self.width = width
        self.max_events = max_events
        self.mask_share = mask_share
        self.mask_last = mask_last
        self.repeat = RepeatScore() if repeat_score else None
        self.transitions = transitions
        self.embedding = EventEmbedding(
            vocabulary=vocabulary, features=features, feature_width=feature_width, width=width
        )
        self.mask = nn.Parameter(torch.randn(width) * INITIAL_STD)
        self.transformer = Transformer(
            layers=layers,
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            dropout=dropout,
            attention_dropout=attention_dropout,
            causal=False,
            max_events=max_events,
        )
        self.heads = FeatureHeads(
            vocabulary=vocabulary, embedding=self.embedding, width=width, softmax=softmax
        )

    @property
    def item_table(self) -> Tensor:
        """Return one vector per item id [I+3, E], in the space of the states."""
        return self.heads.item_table

    @property
    def item_bias(self) -> Tensor:
        """Return one bias per item id [I+3]; -inf for the special ids."""
        return self.heads.item_bias

    def forward(self, events: EventBatch) -> UserMemory:
        """Return one vector per event, and the state of the mask behind the last one.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        layout = Layout(F.pad(events.mask, (1, 0), value=True))
        ids = {name: _with_room(ids) for name, ids in events.features.items()}
        is_masked_R = layout.position_R == events.mask.sum(dim=1)[layout.user_R]
        state_RE = self._states(ids, is_masked_R, layout)
        return UserMemory(layout.pad(state_RE)[:, :-1], events.mask, layout.last(state_RE))

    def pretraining_loss(self, events: EventBatch) -> Tensor:
        """Return the average over features of the cross-entropy of the masked events.

        Which ones are masked is drawn by torch's own generator.
        """
        layout = Layout(events.mask)
        is_last_R = layout.position_R == events.mask.sum(dim=1)[layout.user_R] - 1
        share_R = torch.where(is_last_R, self.mask_last, self.mask_share)
        is_masked_R = torch.rand(share_R.shape, device=share_R.device) < share_R
        state_RE = self._states(events.features, is_masked_R, layout)
        targets = {n: layout.pack(ids)[is_masked_R] for n, ids in events.features.items()}
        shift = None
        if self.repeat is not None:
            # What is around a masked event is its history.
            is_masked_BL = layout.pad(is_masked_R[:, None])[..., 0]
            item_BL = events.features[ITEM_FEATURE].masked_fill(is_masked_BL, PAD)
            user_M = layout.user_R[is_masked_R]
            shift = self.repeat.shift(item_BL, user_M, torch.full_like(user_M, item_BL.shape[1]))
        return self.heads.loss(state_RE[is_masked_R], targets, shift)

    def item_scores(
        self, state_BE: Tensor, events: EventBatch, answer_B: Tensor | None = None
    ) -> Tensor:
        """Return one score per item id [B, I+3] as the next item; -inf for the special ids.

        Args:
            state_BE: States of the mask behind the events.
            events: What was read.
            answer_B: See ``Transitions.add``.
        """
        scores_BI = self.heads.item_scores(state_BE)
        if self.repeat is not None:
            scores_BI = self.repeat.add(scores_BI, events)
        if self.transitions is None:
            return scores_BI
        return self.transitions.add(scores_BI, events, answer_B)

    def vectors(self, events: Count) -> Count:
        """Return one vector per event."""
        return events

    def flops(self, events: Count) -> Flops:
        """Return the work of reading so many events and the mask behind them."""
        return self._reading_flops(events + 1)

    def item_flops(self, states: Count) -> Flops:
        """Return the work of scoring every item with so many states and a ready item table."""
        return self.heads.item_flops(states)

    def pretraining_flops(self, events: Count) -> Flops:
        """Return the expected forward work of the loss of a window of so many events."""
        masked = self.mask_share * (events - 1) + self.mask_last
        return self._reading_flops(events) + self.heads.flops(masked)

    def _reading_flops(self, positions: Count) -> Flops:
        # A mask is embedded like any event before its vector is replaced.
        embedding = linear(positions, weight_count(self.embedding))
        return embedding + self.transformer.flops(positions, positions)

    def _states(
        self, features: Mapping[str, Tensor], is_masked_R: Tensor, layout: Layout
    ) -> Tensor:
        fused_RE = self.embedding({name: layout.pack(ids) for name, ids in features.items()})
        fused_RE = torch.where(is_masked_R[:, None], self.mask.to(fused_RE.dtype), fused_RE)
        states: Tensor = self.transformer(fused_RE, layout)
        return states


def _with_room(ids: Tensor) -> Tensor:
    """Return ids [B, L] or [B, L, G] with room for the mask, one column longer."""
    return torch.cat([ids, ids.new_full((len(ids), 1, *ids.shape[2:]), PAD)], dim=1)
