"""What an encoder's ranking says of every token of a trie of titles.

Shape suffixes: B batch, A answers, N trie nodes, X nodes of any selection.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from userllm.context.encoder_prior import EncoderPrior
from userllm.task.trie import Trie

LEAST = 1e-12
"""Probability that nothing falls below: sums of double precision say no more."""


@dataclass(frozen=True)
class NodePrior:
    """How a language model's logits and an encoder's ranking are put together.

    Attributes:
        prior: The weights.
        log_mass_BN: Logarithm of the probability of all answers below each node.
    """

    prior: EncoderPrior
    log_mass_BN: Tensor

    def add(self, logits_BX: Tensor, nodes_BX: Tensor) -> Tensor:
        """Return the logits of some nodes, to be compared with those of their siblings.

        Args:
            logits_BX: The language model's, [B, ...].
            nodes_BX: Whose they are, of the same shape.
        """
        mass_BX = self.log_mass_BN.gather(1, nodes_BX.flatten(1)).view_as(logits_BX)
        return self.prior.lm_weight * logits_BX + self.prior.weight * mass_BX


def log_mass(log_prob_BA: Tensor, trie: Trie) -> Tensor:
    """Return the logarithm of the probability of all answers below each node, [B, N].

    Args:
        log_prob_BA: Of the answers; those with the same title add up.
        trie: The answers. Nodes are numbered depth first, so what is below one lies behind it.
    """
    leaf_A = torch.from_numpy(trie.leaf_A).to(log_prob_BA.device)
    end_N = torch.from_numpy(trie.end_N).to(log_prob_BA.device)
    empty_BN = log_prob_BA.new_zeros(len(log_prob_BA), len(trie.end_N), dtype=torch.float64)
    at_leaf_BN = empty_BN.index_add(1, leaf_A, log_prob_BA.double().exp())
    before_BN = F.pad(at_leaf_BN.cumsum(dim=1), (1, 0))
    mass_BN = before_BN[:, end_N] - before_BN[:, :-1]
    return mass_BN.clamp(min=LEAST).log().to(log_prob_BA.dtype)
