"""The paper's dual encoder: a user tower and a label tower that meet in a similarity.

Shape suffixes: B batch, L events, P = L+1 positions (the begin of history comes first), R events
of a batch without padding, N user vectors, E user width, I real items.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, linear
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, Vocabulary
from userllm.encoder.contrast import BatchContrast
from userllm.encoder.embedding import check_known
from userllm.encoder.label_tower import LabelTower
from userllm.encoder.memory import UserMemory
from userllm.encoder.reading import Reading
from userllm.encoder.ready import Ready
from userllm.encoder.transformer import Layout, after_begin
from userllm.encoder.user_tower import UserTower
from userllm.transitions.counted import Transitions


class DualEncoder(nn.Module):
    """Makes a few vectors of a whole history, near to the label of what comes next.

    Only the user tower's vectors reach a language model. Their mean, at length one, is the state;
    its similarity to a label is their cosine over the temperature.

    Source: User-LLM section 3.1 and appendix (dual encoder); paper.md 2.2. The causal towers and
    the mean are our choice, as the paper says nothing about either.

    Args:
        vocabulary: Sizes of the id spaces, and the categories of each item.
        width: Width E of the vectors.
        embeddings: Number N of vectors per history.
        layers: Blocks of each feature's Transformer.
        heads: Attention heads; must divide every width.
        feed_forward: Width of the feed-forward layers, in widths.
        dropout: Probability of dropping a value in the user tower.
        attention_dropout: Probability of dropping an attention weight; slow on CPU.
        max_events: Most events L it can read.
        features: What the user tower reads.
        feature_width: Width of each of these features' Transformer.
        label: The label tower.
        contrast: How states and labels are compared.
        transitions: Counts that its ranking leans on as well; None leaves them out.
    """

    def __init__(  # noqa: PLR0913 - one argument per key of the option's file
        self,
        *,
        vocabulary: Vocabulary,
        width: int,
        embeddings: int,
        layers: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
        max_events: int,
        features: list[str],
        feature_width: dict[str, int],
        label: LabelTower,
        contrast: BatchContrast,
        transitions: Transitions | None = None,
    ) -> None:
        super().__init__()
        check_known(features, feature_width, vocabulary)
        if embeddings < 1:
            raise ValueError(f"embeddings ({embeddings}) must be at least 1")
        if label.width != width:
            raise ValueError(f"the label tower's width ({label.width}) must be width ({width})")
        self.width = width
        self.max_events = max_events
        self.embeddings = embeddings
        self.user = UserTower(
            vocabulary=vocabulary,
            features=features,
            feature_width=feature_width,
            width=width,
            embeddings=embeddings,
            layers=layers,
            heads=heads,
            feed_forward=feed_forward,
            dropout=dropout,
            attention_dropout=attention_dropout,
            max_events=max_events,
        )
        self.label = label
        self.contrast = contrast
        self.transitions = transitions
        self._ready = Ready()

    @property
    def item_table(self) -> Tensor:
        """Return the label tower's vector of every item id [I+3, E], as long as states are."""
        make = self.label.catalogue
        return self._ready(lambda: self.contrast.directions(make()), self.label.parameters())

    @property
    def item_bias(self) -> Tensor:
        """Return one bias per item id [I+3]: 0, and -inf for the special ids."""
        zeros_I = torch.zeros_like(self.label.label_of_item_I, dtype=torch.float32)
        return F.pad(zeros_I, (FIRST_ID, 0), value=-torch.inf)

    def forward(self, events: EventBatch) -> UserMemory:
        """Return the vectors of each history, none for one without events, and its state.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        return self._read(events, None)

    def start(self, events: EventBatch) -> tuple[UserMemory, Reading]:
        """Return the memory of histories, and what `append` needs to go on from there.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        mask_BP = F.pad(events.mask, (1, 0), value=True)
        reading = Reading(mask_BP, room=self.max_events + 1)
        return self._read(events, reading), reading

    def append(self, reading: Reading, event: EventBatch) -> UserMemory:
        """Return the memory after one more event of everybody, as if all were read at once.

        Args:
            reading: From `start`; the event is added to it.
            event: One event [B, 1] per history.

        Raises:
            ValueError: If a history has ``max_events`` events already: start again.
        """
        vectors_BNE = self.user(event.features, reading.advance())
        return self._memory(vectors_BNE, event.mask)

    def pretraining_loss(self, events: EventBatch) -> Tensor:
        """Return the mean cross-entropy of each event's label among those it is compared with.

        Every event is a label, and the events of its window before it are the history: the user
        tower is causal, so one pass makes the states of all cuts of a window.
        """
        ids = {name: after_begin(ids)[:, :-1] for name, ids in events.features.items()}
        layout = Layout(events.mask)
        state_RE = self.contrast.directions(self.user(ids, layout).mean(dim=1))
        item_R = layout.pack(events.features[ITEM_FEATURE])
        known_R = item_R >= FIRST_ID
        return self.contrast.loss(state_RE[known_R], item_R[known_R], self.label)

    def item_scores(
        self, state_BE: Tensor, events: EventBatch, answer_B: Tensor | None = None
    ) -> Tensor:
        """Return one score per item id [B, I+3] as the next item; -inf for the special ids.

        Args:
            state_BE: States of the events.
            events: What was read.
            answer_B: See ``Transitions.add``.
        """
        scores_BI = F.linear(state_BE, self.item_table, self.item_bias)
        if self.transitions is None:
            return scores_BI
        return self.transitions.add(scores_BI, events, answer_B)

    def vectors(self, events: Count) -> Count:
        """Return the fixed number of vectors, and none for no events."""
        return cast(Count, 1.0 * self.embeddings * (1.0 * events > 0))

    def flops(self, events: Count) -> Flops:
        """Return the work of reading so many events behind the begin of history."""
        return self.user.flops(events + 1, events + 1)

    def item_flops(self, states: Count) -> Flops:
        """Return the work of scoring every item with so many states and a ready item table."""
        return linear(states, len(self.label.label_of_item_I) * self.width)

    def pretraining_flops(self, events: Count) -> Flops:
        """Return the forward work of the loss of a window; its labels as :class:`BatchContrast`."""
        read = self.user.flops(events, events)
        return read + self.contrast.flops(events, self.label, self.width)

    def append_flops(self, events: Count) -> Flops:
        """Return the work of one more event behind so many and the begin of history."""
        return self.user.flops(1.0, events + 2)

    def _read(self, events: EventBatch, reading: Reading | None) -> UserMemory:
        layout = Layout(F.pad(events.mask, (1, 0), value=True), reading)
        ids = {name: after_begin(ids) for name, ids in events.features.items()}
        vectors_RNE = self.user(ids, layout)
        vectors_BNE = layout.last(vectors_RNE.flatten(1)).unflatten(1, (self.embeddings, -1))
        return self._memory(vectors_BNE, events.mask)

    def _memory(self, vectors_BNE: Tensor, mask_BL: Tensor) -> UserMemory:
        has_events_BN = mask_BL.any(dim=1, keepdim=True).expand(-1, self.embeddings)
        state_BE = self.contrast.directions(vectors_BNE.mean(dim=1))
        return UserMemory(vectors_BNE, has_events_BN, state_BE)
