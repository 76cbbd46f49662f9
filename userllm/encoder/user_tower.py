"""Late fusion: a Transformer per feature, whose states are combined into user vectors.

Shape suffixes: B batch, P positions (the begin of history comes first), R positions of a batch
without padding, G categories per item, W width of one feature, E user width, N user vectors.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from userllm.cost.flops import Count, Flops, linear, weight_count
from userllm.data.vocabulary import Vocabulary
from userllm.encoder.embedding import EventEmbedding
from userllm.encoder.reading import Step
from userllm.encoder.transformer import Blocks, Layout, Transformer


class FeatureTower(nn.Module):
    """A causal Transformer that reads one feature of the events.

    Args:
        vocabulary: Sizes of the id spaces.
        feature: Name of the feature.
        width: Width W of its table and its states.
        layers: Number of blocks.
        heads: Attention heads; must divide ``width``.
        feed_forward: Width of the feed-forward layers, in widths.
        dropout: Probability of dropping a value after the embedding and in every block.
        attention_dropout: Probability of dropping an attention weight.
        max_events: Most events it can read.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        feature: str,
        width: int,
        layers: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
        max_events: int,
    ) -> None:
        super().__init__()
        self.feature = feature
        self.embedding = EventEmbedding(
            vocabulary=vocabulary, features=[feature], feature_width={feature: width}, width=width
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

    def forward(self, ids: Tensor, layout: Layout | Step) -> Tensor:
        """Return states [R, W] from the feature's ids [B, P] or [B, P, G]."""
        embedded_RW = self.embedding({self.feature: layout.pack(ids)})
        states: Tensor = self.transformer(embedded_RW, layout)
        return states

    def flops(self, made: Count, read: Count) -> Flops:
        """Return the work of making so many positions, which read so many."""
        return linear(made, weight_count(self.embedding)) + self.transformer.flops(made, read)


class UserTower(nn.Module):
    """Reads every feature on its own, and fuses the states into vectors of the history so far.

    The fusion layers are a projection of all features' states, and one causal block per user
    vector, which reads the fused history its own way. All layers are causal, so one pass gives
    the vectors of every beginning of a history.

    Source: User-LLM section 3.1 and appendix (dual encoder); paper.md 2.2.

    Args:
        vocabulary: Sizes of the id spaces.
        features: Names of the features to read.
        feature_width: Width W of each feature's Transformer.
        width: Width E of the vectors.
        embeddings: Number N of vectors per history.
        layers: Blocks of each feature's Transformer.
        heads: Attention heads; must divide every width.
        feed_forward: Width of the feed-forward layers, in widths.
        dropout: Probability of dropping a value.
        attention_dropout: Probability of dropping an attention weight.
        max_events: Most events it can read.
    """

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        features: list[str],
        feature_width: dict[str, int],
        width: int,
        embeddings: int,
        layers: int,
        heads: int,
        feed_forward: int,
        dropout: float,
        attention_dropout: float,
        max_events: int,
    ) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(
            {
                name: FeatureTower(
                    vocabulary=vocabulary,
                    feature=name,
                    width=feature_width[name],
                    layers=layers,
                    heads=heads,
                    feed_forward=feed_forward,
                    dropout=dropout,
                    attention_dropout=attention_dropout,
                    max_events=max_events,
                )
                for name in features
            }
        )
        self.fuse = nn.Linear(sum(feature_width[name] for name in features), width)
        self.fusion = nn.ModuleList(
            Blocks(
                layers=1,
                width=width,
                heads=heads,
                feed_forward=feed_forward,
                dropout=dropout,
                attention_dropout=attention_dropout,
                causal=True,
            )
            for _ in range(embeddings)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Mapping[str, Tensor], layout: Layout | Step) -> Tensor:
        """Return the vectors [R, N, E] of the history up to every position.

        Raises:
            ValueError: If there are more than ``max_events`` events.
        """
        read = [tower(ids[name], layout) for name, tower in self.towers.items()]
        fused_RE = self.fuse(torch.cat(read, dim=-1))
        vectors_RNE = torch.stack([block(fused_RE, layout) for block in self.fusion], dim=1)
        normed: Tensor = self.norm(vectors_RNE)
        return normed

    def flops(self, made: Count, read: Count) -> Flops:
        """Return the work of making so many positions, which read so many."""
        parts = [*self.towers.values(), *self.fusion]
        return sum(
            (part.flops(made, read) for part in parts), linear(made, weight_count(self.fuse))
        )
