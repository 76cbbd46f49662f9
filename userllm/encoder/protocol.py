"""What every user encoder offers to a language model and to a ranking.

Shape suffixes: B batch, L events, E user width, I real items.
"""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn

from userllm.cost.flops import Count, Flops
from userllm.data.gather import EventBatch


class UserEncoder(Protocol):
    """Turns histories into one vector per event, and vectors into scores of items.

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

    def __call__(self, events: EventBatch) -> Tensor:
        """Return states [B, L+1, E]: first before any event, then after each one."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield its weights, as any module does."""

    def flops(self, positions: Count) -> Flops:
        """Return the work of reading so many positions, the start of history included."""

    def next_event_loss(self, events: EventBatch) -> Tensor:
        """Return the pretraining loss, with every event of the batch as a target."""

    def item_scores(self, state_BE: Tensor) -> Tensor:
        """Return one score per item id [B, I+3] as the next item; -inf for the special ids."""
