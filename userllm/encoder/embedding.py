"""From the ids of an event's features to one vector, and back to scores of ids.

Shape suffixes: R events of a batch without padding, G categories per item, E user width,
F feature width, V ids of a feature.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from userllm.data.vocabulary import FIRST_ID, PAD, Vocabulary
from userllm.encoder.loss import linear_cross_entropy

INITIAL_STD = 0.02


class EventEmbedding(nn.Module):
    """Looks every feature up, concatenates, and projects to the encoder's width.

    Source: User-LLM section 3.1 (early fusion).

    Args:
        vocabulary: Sizes of the id spaces, and which features have several values.
        features: Names of the features to read.
        feature_width: Width F of each feature's table.
        width: Width E of the result.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        features: Sequence[str],
        feature_width: Mapping[str, int],
        width: int,
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleDict(
            {name: nn.Embedding(vocabulary.sizes[name], feature_width[name]) for name in features}
        )
        for name in features:
            nn.init.normal_(self.table(name).weight, std=INITIAL_STD)
        self.project = nn.Linear(sum(feature_width[name] for name in features), width)

    def forward(self, ids: Mapping[str, Tensor]) -> Tensor:
        """Return [R, E] from ids [R], or [R, G] where a feature has several values."""
        parts = [self._look_up(name, ids[name]) for name in self.tables]
        fused: Tensor = self.project(torch.cat(parts, dim=-1))
        return fused

    def table(self, name: str) -> nn.Embedding:
        """Return the table of one feature."""
        return cast(nn.Embedding, self.tables[name])

    def _look_up(self, name: str, ids: Tensor) -> Tensor:
        table = self.table(name).weight
        if ids.dim() == 1:
            return F.embedding(ids, table)
        # Padding is left out of the mean; an event without any value gets zeros.
        return F.embedding_bag(ids, table, mode="mean", padding_idx=PAD)


class FeatureHead(nn.Module):
    """Predicts a feature of the next event with the very table that reads it.

    h = W e, scores = h T^T + b over the real values; the special ids are never predicted.

    Source: User-LLM section 3.1 (feature-specific projection), tied as in paper.md 2.1.

    Args:
        table: The feature's embedding; shared, so that training one trains the other.
        width: Width E of the states.
        rows: Rows of a score matrix that exist at the same time.
    """

    def __init__(self, *, table: nn.Embedding, width: int, rows: int) -> None:
        super().__init__()
        self.table = table
        self.rows = rows
        self.map = nn.Linear(width, table.embedding_dim, bias=False)
        # Near the identity a state is compared with items in the space it was made from.
        nn.init.eye_(self.map.weight)
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings - FIRST_ID))

    def loss(self, state_RE: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy over the rows whose target is a real value.

        Args:
            state_RE: States before the events.
            target: Ids of the events, [R], or [R, G] for a feature with several values, whose
                target is the uniform distribution over them.
        """
        if target.dim() == 2:
            return self._loss_of_sets(state_RE, target)
        known_R = target >= FIRST_ID
        if not bool(known_R.all()):
            state_RE, target = state_RE[known_R], target[known_R]
        weight, bias = self.table.weight[FIRST_ID:], self.bias
        return linear_cross_entropy(
            self.map(state_RE), weight, bias, target - FIRST_ID, rows=self.rows
        )

    def _loss_of_sets(self, state_RE: Tensor, target_RG: Tensor) -> Tensor:
        known_RG = target_RG >= FIRST_ID
        count_R = known_RG.sum(dim=1)
        scores_RV = F.linear(self.map(state_RE), self.table.weight[FIRST_ID:], self.bias)
        log_RV = scores_RV.float().log_softmax(dim=-1)
        log_RG = log_RV.gather(1, (target_RG - FIRST_ID).clamp(min=0)) * known_RG
        per_row_R = -log_RG.sum(dim=1) / count_R.clamp(min=1)
        return per_row_R.sum() / (count_R > 0).sum().clamp(min=1)
