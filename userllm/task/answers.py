"""The answers of a closed set as tokens, and among which tokens an answer's next one is chosen.

Shape suffixes: B batch, T steps, A answers, M children of one node, N trie nodes, V tokens that
are told apart.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from userllm.task.children import ChildTable
from userllm.task.known_text import KnownTexts
from userllm.task.prior import NodePrior
from userllm.task.prompt import TokenTable
from userllm.task.protocol import Softmax
from userllm.task.trie import Trie, until_decided


class AnswerTokens:
    """The answers' token sequences, as rows for training and as a trie for ranking.

    Args:
        sequences: Token ids of every answer.
        end: Token that ends an answer.
        softmax: Among which tokens each next one is chosen: all of the ``vocabulary`` (the
            likelihood that the language model gives a text), those of the ``catalogue`` (that
            occur in some answer), or the ``siblings``, those that continue some answer from
            here (what constrained decoding draws from: the likelihoods of all answers add up
            to one). There, what follows the last choice is certain and is not read.

    Attributes:
        possible_V: Tokens that occur in some answer: who writes one of them needs no other logits.
        tokens_V: Tokens whose logits likelihoods need; None is the whole vocabulary.
        column_N: Column of each trie node's token among these logits.
        table: Token ids of each answer, as far as they are chosen.
        paths: The trie nodes of these.
        texts: What need not be read again.
    """

    def __init__(self, *, sequences: list[list[int]], end: int, softmax: Softmax) -> None:
        self.softmax = softmax
        whole = [[*tokens, end] for tokens in sequences]
        steps = until_decided(whole) if softmax == "siblings" else whole
        self.table = TokenTable(steps)
        self.trie = Trie(steps)
        self.paths = TokenTable([self.trie.path(answer) for answer in range(len(steps))])
        possible_V, columns_N = np.unique(self.trie.token_N, return_inverse=True)
        self.possible_V = torch.from_numpy(possible_V)
        whole_head = softmax == "vocabulary"
        self.tokens_V = None if whole_head else self.possible_V
        self.column_N = self.trie.token_N if whole_head else columns_N
        self.texts = KnownTexts(self.trie)
        self._children: ChildTable | None = None

    def children(self, device: torch.device) -> ChildTable:
        """Return the trie's children as tensors on a device."""
        if self._children is None or self._children.token_N.device != device:
            self._children = ChildTable(
                self.trie,
                self.column_N,
                siblings=self.softmax == "siblings",
                device=device,
            )
        return self._children

    def loss(
        self,
        logits_BTV: Tensor,
        nodes_BT: Tensor,
        mask_BT: Tensor,
        prior: NodePrior | None = None,
    ) -> Tensor:
        """Return the mean cross-entropy of the steps of answers.

        Args:
            logits_BTV: Logits that predict each step.
            nodes_BT: The trie node of each step.
            mask_BT: False where an answer has ended.
            prior: What is known of the nodes besides, only among siblings.
        """
        table = self.children(nodes_BT.device)
        if self.softmax != "siblings":
            columns = table.column_N[nodes_BT[mask_BT]]
            return F.cross_entropy(logits_BTV[mask_BT].float(), columns)
        kids_BTM = table.children(table.parent_N[nodes_BT])
        log_BTM = table.log_probs(logits_BTV, kids_BTM, prior)
        is_it_BTM = kids_BTM == nodes_BT[:, :, None]
        return -log_BTM.masked_fill(~is_it_BTM, 0.0).sum(dim=2)[mask_BT].mean()
