"""User memory: what an encoder hands to the language model.

Shape suffixes: B batch, L events (position 0 is the start token), U user vectors, E user width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class UserMemory:
    """Vectors that stand for a user, and which of them are real.

    Attributes:
        vectors_BUE: User vectors; padded ones may hold anything.
        mask_BU: True where a vector is real. A user without events has none.
        state_BE: The encoder's state after the last event, for whoever ranks items with it.
    """

    vectors_BUE: Tensor
    mask_BU: Tensor
    state_BE: Tensor | None = None


def last_events(states_BLE: Tensor, mask_BL: Tensor, count: int | None) -> UserMemory:
    """Keep the states of each user's last ``count`` events, oldest first.

    Args:
        states_BLE: Encoder states of the events, without the start token's.
        mask_BL: True where there is an event; events are on the left.
        count: How many to keep; None keeps all.
    """
    if count is None or count >= states_BLE.shape[1]:
        return UserMemory(states_BLE, mask_BL)
    lengths_B1 = mask_BL.sum(dim=1, keepdim=True)
    first_B1 = (lengths_B1 - count).clamp(min=0)
    index_BU = first_B1 + torch.arange(count, device=states_BLE.device)
    kept_BU = index_BU < lengths_B1
    index_BU = index_BU.clamp(max=states_BLE.shape[1] - 1)
    index_BUE = index_BU[:, :, None].expand(-1, -1, states_BLE.shape[2])
    return UserMemory(states_BLE.gather(1, index_BUE), kept_BU)
