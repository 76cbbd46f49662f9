"""From a state back to scores of ids: what an encoder predicts of an event.

Shape suffixes: B batch, R events of a batch without padding, G categories per item, E user width,
F feature width, V ids of a feature, I real items.
"""

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, linear
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, Vocabulary
from userllm.encoder.embedding import EventEmbedding
from userllm.encoder.ready import Ready
from userllm.softmax.protocol import CatalogueSoftmax, Shift


class FeatureHead(nn.Module):
    """Predicts a feature of an event with the very table that reads it.

    h = W e, scores = h T^T + b over the real values; the special ids are never predicted.

    Source: User-LLM section 3.1 (feature-specific projection), tied as in paper.md 2.1.

    Args:
        table: The feature's embedding; shared, so that training one trains the other.
        width: Width E of the states.
        softmax: How a state is compared with the table; None for a feature with several values,
            which has so few of them that all are compared.
    """

    def __init__(
        self, *, table: nn.Embedding, width: int, softmax: CatalogueSoftmax | None
    ) -> None:
        super().__init__()
        self.table = table
        self.softmax = softmax
        self.map = nn.Linear(width, table.embedding_dim, bias=False)
        # Near the identity a state is compared with items in the space it was made from.
        nn.init.eye_(self.map.weight)
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings - FIRST_ID))

    def loss(self, state_RE: Tensor, target: Tensor, shift: Shift | None = None) -> Tensor:
        """Return the mean cross-entropy over the rows whose target is a real value.

        Args:
            state_RE: States to predict from.
            target: Ids to predict, [R], or [R, G] for a feature with several values, whose
                target is the uniform distribution over them.
            shift: What is added to some scores of a feature with one value.
        """
        if self.softmax is None:
            return self._loss_of_sets(state_RE, target)
        known_R = target >= FIRST_ID
        if not bool(known_R.all()):
            shift = None if shift is None else shift.of(known_R)
            state_RE, target = state_RE[known_R], target[known_R]
        table_VF = self.table.weight[FIRST_ID:]
        return self.softmax.loss(self.map(state_RE), table_VF, self.bias, target - FIRST_ID, shift)

    def flops(self, rows: Count) -> Flops:
        """Return the forward work of the loss of so many rows."""
        classes = self.bias.numel()
        compared = classes if self.softmax is None else self.softmax.compared(classes)
        return linear(rows, self.map.weight.numel() + compared * self.table.embedding_dim)

    def _loss_of_sets(self, state_RE: Tensor, target_RG: Tensor) -> Tensor:
        known_RG = target_RG >= FIRST_ID
        count_R = known_RG.sum(dim=1)
        scores_RV = F.linear(self.map(state_RE), self.table.weight[FIRST_ID:], self.bias)
        log_RV = scores_RV.float().log_softmax(dim=-1)
        log_RG = log_RV.gather(1, (target_RG - FIRST_ID).clamp(min=0)) * known_RG
        per_row_R = -log_RG.sum(dim=1) / count_R.clamp(min=1)
        return per_row_R.sum() / (count_R > 0).sum().clamp(min=1)


class FeatureHeads(nn.ModuleDict):
    """One head per feature that an encoder reads; the item's one also ranks the catalogue.

    A feature of which the data has no value, as where no item has a category, has no head.

    Args:
        vocabulary: Says which features have several values.
        embedding: Holds the tables.
        width: Width E of the states.
        softmax: How a state is compared with the table of a feature with one value.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        embedding: EventEmbedding,
        width: int,
        softmax: CatalogueSoftmax,
    ) -> None:
        super().__init__(
            {
                name: FeatureHead(
                    table=embedding.table(name),
                    width=width,
                    softmax=None if name in vocabulary.multi_valued else softmax,
                )
                for name in embedding.tables
                if vocabulary.sizes[name] > FIRST_ID
            }
        )
        self._ready = Ready()

    def loss(
        self, state_RE: Tensor, targets: Mapping[str, Tensor], shift: Shift | None = None
    ) -> Tensor:
        """Return the plain average over features of their mean cross-entropy.

        Args:
            state_RE: States to predict from.
            targets: Ids to predict per feature, [R] or [R, G].
            shift: What is added to some scores of items.
        """
        shifts = {ITEM_FEATURE: shift}
        losses = [self._head(n).loss(state_RE, targets[n], shifts.get(n)) for n in self]
        return torch.stack(losses).mean()

    def flops(self, rows: Count) -> Flops:
        """Return the forward work of the loss of so many rows."""
        return sum((self._head(name).flops(rows) for name in self), Flops())

    @property
    def item_table(self) -> Tensor:
        """Return one vector per item id [I+3, E], in the space of the states."""
        head = self._head(ITEM_FEATURE)
        weights = [*head.table.parameters(), head.map.weight]
        return self._ready(lambda: head.table.weight @ head.map.weight, weights)

    @property
    def item_bias(self) -> Tensor:
        """Return one bias per item id [I+3]; -inf for the special ids."""
        return F.pad(self._head(ITEM_FEATURE).bias, (FIRST_ID, 0), value=-torch.inf)

    def item_scores(self, state_BE: Tensor) -> Tensor:
        """Return one score per item id [B, I+3]; -inf for the special ids."""
        return F.linear(state_BE, self.item_table, self.item_bias)

    def item_flops(self, states: Count) -> Flops:
        """Return the work of :meth:`item_scores` with a ready item table."""
        head = self._head(ITEM_FEATURE)
        return linear(states, head.bias.numel() * head.map.in_features)

    def _head(self, name: str) -> FeatureHead:
        return cast(FeatureHead, self[name])
