"""Exhaustive scoring: the exact log-likelihood of every answer, with shared prefixes read once.

Shape suffixes: B batch, A answers, K nodes per row, M children of one node, N trie nodes,
C nodes of one piece, S cached positions, V tokens that are told apart.
"""

import numpy as np
import torch
from torch import Tensor

from userllm.context.model import Prefill, UserLLM
from userllm.task.answers import AnswerTokens
from userllm.task.known_text import KnownBatch
from userllm.task.piece import PIECE, piece_inputs
from userllm.task.prior import NodePrior
from userllm.task.protocol import Ints
from userllm.task.trie import Piece, Trie


def exhaustive_scores(
    model: UserLLM,
    prefill: Prefill,
    answers: AnswerTokens,
    known: KnownBatch | None,
    prior: NodePrior | None = None,
) -> Tensor:
    """Return the log-likelihood ``[B, A]`` of every answer and its terminator after the prompt.

    Args:
        model: The joined model.
        prefill: What reading the prompts left behind.
        answers: The answers, and how a next token is chosen.
        known: What need not be read again; None reads everything.
        prior: What is known of the answers besides.
    """
    trie = answers.trie
    device = prefill.logits_BV.device
    batch = prefill.logits_BV.shape[0]
    steps_BN = torch.zeros(batch, len(trie.token_N), device=device)
    roots = trie.children(-1)
    at_root = np.zeros(len(roots), dtype=np.int64)
    steps_BN[:, torch.from_numpy(roots).to(device)] = _steps(
        prefill.logits_BV[:, None], answers, roots, at_root, prior
    )
    for piece in trie.pieces(PIECE):
        _read_piece(model, prefill, answers, known, piece, steps_BN, prior)
    totals_BN = _sum_along_paths(steps_BN, trie)
    return totals_BN[:, torch.from_numpy(trie.leaf_A).to(device)]


def _read_piece(
    model: UserLLM,
    prefill: Prefill,
    answers: AnswerTokens,
    known: KnownBatch | None,
    piece: Piece,
    steps_BN: Tensor,
    prior: NodePrior | None,
) -> None:
    """Score the children of a piece's nodes, then forget the piece's keys and values."""
    given = piece_inputs(answers.trie, piece, prefill.mask_BS)
    logits_BCV = model.extend(
        prefill.cache,
        given.ids_BC,
        given.mask_B1CS,
        given.at_BC,
        given.keys_at_BS,
        tokens_V=answers.tokens_V,
        above_BSD=None if known is None else known.nodes(given.nodes_BC),
    )
    prefill.cache.crop(-len(piece.nodes_C))
    children = torch.from_numpy(piece.children).to(steps_BN.device)
    steps_BN[:, children] = _steps(logits_BCV, answers, piece.children, piece.readers, prior)


def _steps(
    logits_BCV: Tensor,
    answers: AnswerTokens,
    children: Ints,
    readers: Ints,
    prior: NodePrior | None,
) -> Tensor:
    """Return the log-probabilities of all children of some nodes, each read by its parent's row."""
    device = logits_BCV.device
    readers_M = torch.from_numpy(readers).to(device)
    columns_M = torch.from_numpy(answers.column_N[children]).to(device)
    logits_BM = logits_BCV[:, readers_M, columns_M].float()
    if prior is not None:
        nodes_M = torch.from_numpy(children).to(device)
        logits_BM = prior.add(logits_BM, nodes_M.expand_as(logits_BM))
    if answers.softmax != "siblings":
        return logits_BM - logits_BCV.float().logsumexp(dim=2)[:, readers_M]
    readers_BM = readers_M.expand(len(logits_BM), -1)
    lowest_BC = torch.full(logits_BCV.shape[:2], -torch.inf, device=device)
    highest_BC = lowest_BC.scatter_reduce(1, readers_BM, logits_BM, reduce="amax")
    shifted_BM = (logits_BM - highest_BC[:, readers_M]).exp()
    total_BC = torch.zeros_like(highest_BC).index_add_(1, readers_M, shifted_BM)
    return logits_BM - (highest_BC + total_BC.log())[:, readers_M]


def _sum_along_paths(steps_BN: Tensor, trie: Trie) -> Tensor:
    totals_BN = steps_BN.clone()
    for depth in range(1, int(trie.depth_N.max(initial=0)) + 1):
        level = torch.from_numpy((trie.depth_N == depth).nonzero()[0]).to(steps_BN.device)
        parents = torch.from_numpy(trie.parent_N).to(steps_BN.device)[level]
        totals_BN[:, level] += totals_BN[:, parents]
    return totals_BN
