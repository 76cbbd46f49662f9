"""Whether people come back to what they had: one learned number for all items of a history.

Shape suffixes: B batch, L events, R rows (what is predicted), P pairs of a row and a class, I items
incl. 3 special ids.
"""

import torch
from torch import Tensor, nn

from userllm.data.gather import EventBatch
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.softmax.protocol import Shift

SPEED = 10.0
"""How many times faster it moves than other weights: AdamW's steps are as long for it as for them,
and where nothing is ever repeated it has to go far."""


class RepeatScore(nn.Module):
    """Adds a learned number to the scores of the items that a user has had, 0 at the start.

    Where nobody rates a film twice it becomes strongly negative: states need not say which films
    were seen, and a ranking with all items left in loses little. Where people buy the same things
    again it becomes positive. An item counts once, however often it came, and only among the events
    that the encoder reads.

    It belongs to the encoder's own ranking, and to answers that start from that ranking
    (`task.encoder_skip`, `task.encoder_prior`). What a language model reads of the encoder (states,
    `memory=candidates`) and the table that an item head starts with are made without it.

    Source: ours, beyond the paper; the simplest form of the repeat mode of RepeatNet (arXiv
    1812.02646).
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    @property
    def value(self) -> Tensor:
        """Return what is added."""
        return self.weight * SPEED

    def shift(self, item_BL: Tensor, user_R: Tensor, before_R: Tensor) -> Shift:
        """Return whose scores of which items move.

        Args:
            item_BL: Items of the windows; special ids move nothing.
            user_R: Which window a row predicts an event of, ascending.
            before_R: How many events of the window a row's history is.
        """
        place_L = torch.arange(item_BL.shape[1], device=item_BL.device)
        # An item moves the rows behind its first event.
        same_BLL = item_BL[:, :, None] == item_BL[:, None, :]
        counts_BL = (same_BLL.int().argmax(dim=2) == place_L) & (item_BL >= FIRST_ID)
        moved_RL = counts_BL[user_R] & (place_L < before_R[:, None])
        row_P, _ = moved_RL.nonzero(as_tuple=True)
        return Shift(row_P, item_BL[user_R][moved_RL] - FIRST_ID, self.value)

    def add(self, scores_BI: Tensor, events: EventBatch) -> Tensor:
        """Return the scores of the next item with the number added to all items of the events."""
        had_BI = torch.zeros_like(scores_BI).scatter(1, events.features[ITEM_FEATURE], 1.0)
        had_BI[:, :FIRST_ID] = 0.0
        return scores_BI + self.value * had_BI
