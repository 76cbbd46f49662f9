"""The encoder's own best items as vectors, so that the next one is chosen and spelled.

Shape suffixes: B batch, L events, U states, C candidates, I items incl. 3 special ids, E user
width, D text width.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from userllm.cost.flops import Count, linear
from userllm.data.catalogue import Catalogue
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.encoder.memory import UserMemory
from userllm.encoder.protocol import UserEncoder
from userllm.lm.name_vectors import name_vectors
from userllm.lm.token_scale import token_scale
from userllm.memory.protocol import MemoryFlops

RANK_STD = 0.02
"""Standard deviation of rank vectors at the start, small beside items of standard deviation 1."""


class Candidates(nn.Module):
    """The items that the encoder ranks first, best first, behind its states or instead of them.

    A candidate is norm(item vector) + projected title + rank vector. The encoder's state is a
    guess that lies between items, and a language model has to learn which names are near it; a
    candidate is an item, and its title says how to begin to spell it. The title is the mean token
    embedding that the language model starts with, and does not follow it where it is tuned.

    Nothing but the events before the cut decides who the candidates are, and no gradient passes
    through that choice; one reaches the item vectors of an encoder that learns. Of a catalogue or
    of unseen items fewer than ``count`` the rest is masked, as everything is for a user without
    events.

    One thing differs between training and test questions: the encoder was pretrained on the
    training events, so the true item is more often among the candidates of a training question.
    What is learned is to trust the ranks more than new users warrant.

    The titles take I × D numbers in float32, in no checkpoint: 4 MB for 1,682 items at D = 576.

    Source: ours, beyond the paper; the item vectors as input are those of E4SRec (arXiv
    2312.02443).

    Args:
        text_dim: Width D of the language model.
        user_dim: Width E of the encoder.
        catalogue: Titles.
        tokenizer: The language model's tokenizer.
        count: Number C of candidates.
        states: Whether the encoder's states are read beside them.
        seen: Whether items of the events that were read can be candidates.
        titles: Whether a candidate's vector says its title.
    """

    titles_ID: Tensor | None

    def __init__(
        self,
        *,
        text_dim: int,
        user_dim: int,
        catalogue: Catalogue,
        tokenizer: PreTrainedTokenizerBase,
        count: int,
        states: bool,
        seen: bool,
        titles: bool,
    ) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"count ({count}) must be at least 1; memory=states has no candidates")
        self.count, self.states, self.seen = count, states, seen
        self.tokenizer, self.names = tokenizer, catalogue.titles
        self.norm = nn.LayerNorm(user_dim)
        self.rank_CE = nn.Parameter(torch.randn(count, user_dim) * RANK_STD)
        self.title = nn.Linear(text_dim, user_dim, bias=False) if titles else None
        if self.title is not None:
            nn.init.normal_(self.title.weight, std=text_dim**-0.5)
        table_ID = torch.zeros(len(self.names), text_dim) if titles else None
        self.register_buffer("titles_ID", table_ID, persistent=False)

    def attach(self, model: PreTrainedModel) -> None:
        """Make the titles' vectors, of standard deviation 1, from the model's token embeddings."""
        if self.titles_ID is None:
            return
        vectors_ID = name_vectors(
            # With the space in front that an answer has, since the tokens are then others.
            [f" {name}" if name else "" for name in self.names],
            tokenizer=self.tokenizer,
            table_VD=model.get_input_embeddings().get_parameter("weight").detach(),
            scale=token_scale(model),
        )
        self.titles_ID.copy_(F.layer_norm(vectors_ID, vectors_ID.shape[1:]))

    def forward(self, encoded: UserMemory, events: EventBatch, encoder: UserEncoder) -> UserMemory:
        """Return the states, where they are kept, with the candidates behind them.

        Raises:
            UserError: The encoder has no vector for a whole history, so it ranks no items.
        """
        state_BE = encoded.state_for("memory=candidates")
        with torch.autocast(state_BE.device.type, enabled=False):
            table_IE = encoder.item_table
        ids_BC, real_BC = self.choose(state_BE, events, table_IE, encoder.item_bias)
        vectors_BCE = self.norm(table_IE[ids_BC]) + self.rank_CE
        if self.title is not None and self.titles_ID is not None:
            vectors_BCE = vectors_BCE + self.title(self.titles_ID[ids_BC])
        real_BC = real_BC & events.mask.any(dim=1, keepdim=True)
        if not self.states:
            return UserMemory(vectors_BCE, real_BC, encoded.state_BE)
        vectors_BUE = torch.cat([encoded.vectors_BUE, vectors_BCE], dim=1)
        mask_BU = torch.cat([encoded.mask_BU, real_BC], dim=1)
        return UserMemory(vectors_BUE, mask_BU, encoded.state_BE)

    @torch.no_grad()
    def choose(
        self, state_BE: Tensor, events: EventBatch, table_IE: Tensor, bias_I: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the ids of the best items [B, C], best first, and which of them are real.

        Args:
            state_BE: The encoder's states.
            events: What they were made of.
            table_IE: The encoder's item table.
            bias_I: The encoder's item biases.
        """
        with torch.autocast(state_BE.device.type, enabled=False):
            # As exact in training in half precision as in scoring: near ranks would change places.
            real_IE, real_I = table_IE[FIRST_ID:].float(), bias_I[FIRST_ID:].float()
            scores_BI = F.linear(state_BE.float(), real_IE, real_I)
        scores_BI = F.pad(scores_BI, (FIRST_ID, 0), value=-torch.inf)
        if not self.seen:
            scores_BI = scores_BI.scatter(1, events.features[ITEM_FEATURE], -torch.inf)
        best = scores_BI.topk(min(self.count, scores_BI.shape[1]), dim=1)
        lacking = self.count - best.indices.shape[1]
        return F.pad(best.indices, (0, lacking)), F.pad(best.values > -torch.inf, (0, lacking))

    def vectors(self, states: Count) -> Count:
        """Return the candidates beside the states; none where there are none."""
        candidates = 1.0 * self.count * (1.0 * states > 0)
        return cast(Count, states + candidates if self.states else candidates)

    def flops(self, encoder: UserEncoder) -> MemoryFlops:
        """Return the work of scoring the catalogue, and of projecting titles."""
        weights = 0 if self.title is None else self.title.weight.numel()
        return MemoryFlops(encoder.item_flops(1.0), linear(self.count, weights))
