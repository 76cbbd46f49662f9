"""The children of many trie nodes at once, and how likely each is.

Shape suffixes: B batch, K nodes per row, M children of one node, N trie nodes, V tokens that are
told apart.
"""

import numpy as np
import torch
from torch import Tensor

from userllm.task.prior import NodePrior
from userllm.task.protocol import Ints
from userllm.task.trie import Trie


class ChildTable:
    """A trie as tensors on a device.

    Args:
        trie: All answers.
        column_N: Column of each node's token among the logits.
        siblings: Whether a token is chosen among the children alone.
        device: Where.
    """

    def __init__(self, trie: Trie, column_N: Ints, *, siblings: bool, device: torch.device) -> None:
        self.siblings = siblings
        self.token_N = torch.from_numpy(trie.token_N).to(device)
        self.column_N = torch.from_numpy(column_N).to(device)
        self.parent_N = torch.from_numpy(trie.parent_N).to(device)
        self.depth_N = torch.from_numpy(trie.depth_N).to(device)
        self.is_leaf_N = torch.from_numpy(trie.is_leaf_N).to(device)
        self.order = torch.from_numpy(trie.child_order).to(device)
        # One more entry in front: node -2 stands for an empty place and has no children.
        starts = np.concatenate([[0], trie.child_start])
        self.start = torch.from_numpy(starts).to(device)

    def children(self, nodes_BK: Tensor) -> Tensor:
        """Return the children ``[B, K, M]`` of each node, M being the most that any has.

        Node -1 is the root; -1 among the children stands for none.
        """
        first_BK1 = self.start[nodes_BK + 2][:, :, None]
        count_BK1 = self.start[nodes_BK + 3][:, :, None] - first_BK1
        column_M = torch.arange(int(count_BK1.max()), device=nodes_BK.device)
        index_BKM = (first_BK1 + column_M).clamp(max=len(self.order) - 1)
        return self.order[index_BKM].masked_fill(column_M >= count_BK1, -1)

    def log_probs(
        self, logits_BKV: Tensor, kids_BKM: Tensor, prior: NodePrior | None = None
    ) -> Tensor:
        """Return the log-probabilities ``[B, K, M]`` of children as of :meth:`children`.

        Where there is no child the value means nothing.

        Args:
            logits_BKV: The language model's logits at the nodes.
            kids_BKM: The nodes' children.
            prior: What is known of them besides, only among siblings.
        """
        nodes_BKM = kids_BKM.clamp(min=0)
        chosen_BKM = logits_BKV.gather(2, self.column_N[nodes_BKM]).float()
        if prior is not None:
            chosen_BKM = prior.add(chosen_BKM, nodes_BKM)
        if not self.siblings:
            return chosen_BKM - logits_BKV.float().logsumexp(dim=2, keepdim=True)
        real_BKM = kids_BKM >= 0
        # A node without children, an empty place, must not give NaN.
        open_BKM = real_BKM | ~real_BKM.any(dim=2, keepdim=True)
        return chosen_BKM - chosen_BKM.masked_fill(~open_BKM, -torch.inf).logsumexp(2, keepdim=True)
