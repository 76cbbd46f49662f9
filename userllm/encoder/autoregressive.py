"""The paper's user encoder: a causal Transformer over events.

Shape suffixes: B batch, L events, P = L+1 positions (the begin of history comes first), R events
of a batch without padding, E user width, I real items, G categories.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, linear, weight_count
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import ITEM_FEATURE, Vocabulary
from userllm.encoder.embedding import EventEmbedding, check_features, hide_items
from userllm.encoder.heads import FeatureHeads
from userllm.encoder.memory import UserMemory
from userllm.encoder.reading import Reading
from userllm.encoder.repeat import RepeatScore
from userllm.encoder.transformer import Layout, Transformer, after_begin
from userllm.softmax.protocol import CatalogueSoftmax
from userllm.transitions.counted import Transitions


class AutoregressiveEncoder(nn.Module):
    """Reads a history event by event and predicts every feature of the next event.

    Source: User-LLM section 3.1. Pre-norm, GELU and learned absolute positions are our choice.

    Args:
        vocabulary: Sizes of the id spaces.
        width: Width E of the states.
        layers: Number of blocks.
        heads: Attention heads; must divide ``width``.
        feed_forward: Width of the feed-forward layers, in widths.
        dropout: Probability of dropping a value after the embedding and in every block.
        attention_dropout: Probability of dropping an attention weight; slow on CPU.
        item_dropout: Probability that a training step reads an event's item as unknown.
        max_events: Most events L it can read.
        features: Names of the features it reads and predicts; the item is one of them.
        feature_width: Width of each feature's table.
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
        item_dropout: float,
        max_events: int,
        features: list[str],
        feature_width: dict[str, int],
        repeat_score: bool,
        softmax: CatalogueSoftmax,
        transitions: Transitions | None = None,
    ) -> None:
        super().__init__()
        check_features(features, feature_width, vocabulary)
        if not 0.0 <= item_dropout < 1.0:
            raise ValueError(f"item_dropout ({item_dropout}) must be at least 0 and below 1")
        self.width = width
        self.max_events = max_events
        self.item_dropout = item_dropout
        self.repeat = RepeatScore() if repeat_score else None
        self.transitions = transitions
        self.embedding = EventEmbedding(
            vocabulary=vocabulary, features=features, feature_width=feature_width, width=width
        )
        self.transformer = Transformer(
            layers=layers,
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            dropout=dropout,
            attention_dropout=attention_dropout,
            causal=True,
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
        """Return one vector per event, and the state after the last one.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        state_RE, layout = self._read(events)
        return UserMemory(layout.pad(state_RE)[:, 1:], events.mask, layout.last(state_RE))

    def start(self, events: EventBatch) -> tuple[UserMemory, Reading]:
        """Return the memory of histories, and what `append` needs to go on from there.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        mask_BP = F.pad(events.mask, (1, 0), value=True)
        reading = Reading(mask_BP, room=self.max_events + 1)
        state_RE, layout = self._read(events, reading)
        state_BPE = layout.pad(state_RE)
        reading.keep(self, state_BPE)
        return UserMemory(state_BPE[:, 1:], events.mask, layout.last(state_RE)), reading

    def append(self, reading: Reading, event: EventBatch) -> UserMemory:
        """Return the memory after one more event of everybody, as if all were read at once.

        Args:
            reading: From `start`; the event is added to it.
            event: One event [B, 1] per history.

        Raises:
            ValueError: If a history has ``max_events`` events already. The position of each is
                learned, so all vectors change when the first one is dropped: start again.
        """
        step = reading.advance()
        fused_BE = self.embedding({name: step.pack(ids) for name, ids in event.features.items()})
        state_BE: Tensor = self.transformer(fused_BE, step)
        state_BPE = reading.extend(self, state_BE)
        return UserMemory(state_BPE[:, 1:], reading.mask()[:, 1:], state_BE)

    def states(self, events: EventBatch) -> Tensor:
        """Return states [B, L+1, E]: first before any event, then after each one.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        state_RE, layout = self._read(events)
        return layout.pad(state_RE)

    def pretraining_loss(self, events: EventBatch) -> Tensor:
        """Return the plain average over features of the cross-entropy of all events.

        Event i is predicted from the begin of history and the events before it, so batches of
        L+1 events train every position that is used later.
        """
        layout = Layout(events.mask)
        inputs = {n: layout.pack(after_begin(ids)[:, :-1]) for n, ids in events.features.items()}
        inputs[ITEM_FEATURE] = hide_items(inputs[ITEM_FEATURE], self.item_dropout)
        targets = {name: layout.pack(ids) for name, ids in events.features.items()}
        shift = None
        if self.repeat is not None:
            item_BL = events.features[ITEM_FEATURE]
            shift = self.repeat.shift(item_BL, layout.user_R, layout.position_R)
        return self.heads.loss(self._states(inputs, layout), targets, shift)

    def item_scores(
        self, state_BE: Tensor, events: EventBatch, answer_B: Tensor | None = None
    ) -> Tensor:
        """Return one score per item id [B, I+3] as the next item; -inf for the special ids.

        Args:
            state_BE: States after the events.
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
        """Return the work of reading so many events behind the begin of history."""
        return self._reading_flops(events + 1, events + 1)

    def item_flops(self, states: Count) -> Flops:
        """Return the work of scoring every item with so many states and a ready item table."""
        return self.heads.item_flops(states)

    def pretraining_flops(self, events: Count) -> Flops:
        """Return the forward work of the pretraining loss of a window of so many events."""
        return self._reading_flops(events, events) + self.heads.flops(events)

    def append_flops(self, events: Count) -> Flops:
        """Return the work of one more event behind so many and the begin of history."""
        return self._reading_flops(1.0, events + 2)

    def _reading_flops(self, made: Count, read: Count) -> Flops:
        return linear(made, weight_count(self.embedding)) + self.transformer.flops(made, read)

    def _read(self, events: EventBatch, reading: Reading | None = None) -> tuple[Tensor, Layout]:
        layout = Layout(F.pad(events.mask, (1, 0), value=True), reading)
        inputs = {name: layout.pack(after_begin(ids)) for name, ids in events.features.items()}
        return self._states(inputs, layout), layout

    def _states(self, inputs: Mapping[str, Tensor], layout: Layout) -> Tensor:
        states: Tensor = self.transformer(self.embedding(inputs), layout)
        return states
