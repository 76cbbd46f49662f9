"""Which of an encoder's vectors a context keeps.

Shape suffixes: B batch, U user vectors, E user width.
"""

import torch

from userllm.encoder.memory import UserMemory


def last_vectors(memory: UserMemory, count: int | None) -> UserMemory:
    """Keep each user's last ``count`` vectors, oldest first; None keeps all."""
    if count is None or count >= memory.vectors_BUE.shape[1]:
        return memory
    lengths_B1 = memory.mask_BU.sum(dim=1, keepdim=True)
    first_B1 = (lengths_B1 - count).clamp(min=0)
    index_BU = first_B1 + torch.arange(count, device=lengths_B1.device)
    kept_BU = index_BU < lengths_B1
    index_BU = index_BU.clamp(max=memory.vectors_BUE.shape[1] - 1)
    index_BUE = index_BU[:, :, None].expand(-1, -1, memory.vectors_BUE.shape[2])
    return UserMemory(memory.vectors_BUE.gather(1, index_BUE), kept_BU, memory.state_BE)
