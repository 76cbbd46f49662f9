"""Rank the next item of many users in the whole catalogue, whoever gives the scores.

Shape suffixes: B users of a batch, N users, I real items, L events.
"""

from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from userllm.data.gather import HistoryGather
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE
from userllm.encoder.protocol import UserEncoder
from userllm.metric.ranking import rank_of_target

Ids = NDArray[np.int64]
BATCH_USERS = 256


class Scorer(Protocol):
    """Anything that scores every item as the next one of a history."""

    def scores(self, users: Ids, ends: Ids) -> Tensor:
        """Return [B, I+3] from events ``0 .. end-1`` of each user; -inf for the special ids."""


class EncoderScorer:
    """Scores with an encoder's state after the last events it can read."""

    def __init__(self, encoder: UserEncoder, gather: HistoryGather) -> None:
        self.encoder = encoder
        self.gather = gather

    def scores(self, users: Ids, ends: Ids) -> Tensor:
        """Return [B, I+3] from events ``0 .. end-1`` of each user; -inf for the special ids."""
        device = next(cast(nn.Module, self.encoder).parameters()).device
        events = self.gather(users, ends, self.encoder.max_events).to(device)
        state_BE = self.encoder(events).state_BE
        assert state_BE is not None, "every encoder option gives a state"
        return self.encoder.item_scores(state_BE, events)


def rank_next_item(
    scorer: Scorer,
    gather: HistoryGather,
    users: Ids,
    ends: Ids,
    *,
    mask_seen: bool,
    batch_users: int = BATCH_USERS,
) -> NDArray[np.int64]:
    """Return the rank of event ``end`` of each user among all items, [N]; ties count against.

    Args:
        scorer: Gives the scores.
        gather: The corpus's histories.
        users: User codes.
        ends: Positions of the events to predict.
        mask_seen: Leave the items of events ``0 .. end-1`` out of the ranking.
        batch_users: Users scored at once.
    """
    items = gather.flat[ITEM_FEATURE]
    target_N = torch.from_numpy(items[gather.offsets[users] + ends].astype(np.int64))
    ranks = []
    for start in range(0, len(users), batch_users):
        part = slice(start, start + batch_users)
        with torch.inference_mode():
            scores_BI = scorer.scores(users[part], ends[part]).float()
            where = scores_BI.device
            if mask_seen:
                row_S, item_S = seen_items(gather, users[part], ends[part])
                scores_BI[row_S.to(where), item_S.to(where)] = -torch.inf
            # Special ids are no items: a target that may not be ranked would tie with them.
            items_BI, target_B = scores_BI[:, FIRST_ID:], target_N[part].to(where) - FIRST_ID
            ranks.append(rank_of_target(items_BI, target_B).cpu().numpy())
    return np.concatenate(ranks) if ranks else np.empty(0, np.int64)


def seen_items(gather: HistoryGather, users: Ids, ends: Ids) -> tuple[Tensor, Tensor]:
    """Return every (row, item id) of the histories before ``ends``, whatever their length."""
    row_S = np.repeat(np.arange(len(users)), ends)
    first_B = np.cumsum(ends) - ends
    position_S = np.arange(len(row_S)) + np.repeat(gather.offsets[users] - first_B, ends)
    item_S = gather.flat[ITEM_FEATURE][position_S].astype(np.int64)
    return torch.from_numpy(row_S), torch.from_numpy(item_S)
