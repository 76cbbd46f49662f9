"""What every user encoder offers to a language model and to a ranking.

Shape suffixes: B batch, E user width, I real items.
"""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn

from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory


class UserEncoder(Protocol):
    """Turns histories into vectors, and scores items as the next one of a history.

    Attributes:
        width: E.
        max_events: The most events of a history it can read.
        item_table: [I+3, E]; what `item_scores` multiplies a state with.
    """

    width: int
    max_events: int

    @property
    def item_table(self) -> Tensor:
        """Return one vector of width E per item id."""

    @property
    def item_bias(self) -> Tensor:
        """Return one bias per item id; -inf for the special ids."""

    def __call__(self, events: EventBatch) -> UserMemory:
        """Return the vectors that stand for each user, and the state the next item is ranked by."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield its weights, as any module does."""

    def vectors(self, events: Count) -> Count:
        """Return how many vectors stand for so many events."""

    def flops(self, events: Count) -> Flops:
        """Return the work of reading so many events."""

    def item_flops(self, states: Count) -> Flops:
        """Return the work of scoring every item with so many states and a ready item table."""

    def pretraining_flops(self, events: Count) -> Flops:
        """Return the forward work of the pretraining loss of a window of so many events."""

    def pretraining_loss(self, events: EventBatch) -> Tensor:
        """Return the loss of a batch of windows of at most ``max_events + 1`` events."""

    def item_scores(
        self, state_BE: Tensor, events: EventBatch, answer_B: Tensor | None = None
    ) -> Tensor:
        """Return one score per item id [B, I+3] as the next item; -inf for the special ids.

        Args:
            state_BE: States of the events.
            events: What was read.
            answer_B: Ids of the true next items, given where something learns from the scores: of
                what is counted, they leave out what the questions themselves added.
        """
