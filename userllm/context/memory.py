"""Which of an encoder's vectors, or of a user's events, a context keeps.

Shape suffixes: B batch, U user vectors, E user width.
"""

import numpy as np
import torch
from torch import Tensor

from userllm.cost.flops import Count
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory


def last_vectors(memory: UserMemory, count: int | None) -> UserMemory:
    """Keep each user's last ``count`` vectors, oldest first; None keeps all."""
    if count is None or count >= memory.vectors_BUE.shape[1]:
        return memory
    index_BU, kept_BU = _last(memory.mask_BU, count)
    index_BUE = index_BU[:, :, None].expand(-1, -1, memory.vectors_BUE.shape[2])
    return UserMemory(memory.vectors_BUE.gather(1, index_BUE), kept_BU, memory.state_BE)


def kept_vectors(vectors: Count, count: int | None) -> Count:
    """Return how many of so many vectors :func:`last_vectors` keeps."""
    return vectors if count is None else np.minimum(vectors, count)


def last_events(events: EventBatch, count: int) -> EventBatch:
    """Keep each user's last ``count`` events, oldest first."""
    if count >= events.mask.shape[1]:
        return events
    index_BU, kept_BU = _last(events.mask, count)
    features = {}
    for name, ids in events.features.items():
        index = index_BU if ids.dim() == 2 else index_BU[:, :, None].expand(-1, -1, ids.shape[2])
        features[name] = ids.gather(1, index)
    return EventBatch(features, kept_BU)


def _last(mask_BU: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return where the last ``count`` columns of each row lie, and which of these are real."""
    lengths_B1 = mask_BU.sum(dim=1, keepdim=True)
    index_BU = (lengths_B1 - count).clamp(min=0) + torch.arange(count, device=mask_BU.device)
    return index_BU.clamp(max=mask_BU.shape[1] - 1), index_BU < lengths_B1
