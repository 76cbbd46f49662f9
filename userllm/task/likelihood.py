"""Exhaustive scoring: the exact log-likelihood of every answer, with shared prefixes read once.

Shape suffixes: B batch, A answers, N trie nodes, C nodes of one piece, S cached positions,
V vocabulary.
"""

import torch
from torch import Tensor

from userllm.context.model import Prefill, UserLLM, positions
from userllm.task.trie import Piece, Trie

PIECE = 256


def exhaustive_scores(model: UserLLM, prefill: Prefill, trie: Trie) -> Tensor:
    """Return the log-likelihood ``[B, A]`` of every answer and its terminator after the prompt."""
    device = prefill.logits_BV.device
    batch = prefill.logits_BV.shape[0]
    steps_BN = torch.zeros(batch, len(trie.token_N), device=device)
    roots = torch.from_numpy(trie.children(-1)).to(device)
    tokens_N = torch.from_numpy(trie.token_N).to(device)
    steps_BN[:, roots] = token_log_probs(prefill.logits_BV[:, None], tokens_N[roots][None, None])[
        :, 0
    ]
    for piece in trie.pieces(PIECE):
        _read_piece(model, prefill, trie, piece, steps_BN)
    totals_BN = _sum_along_paths(steps_BN, trie)
    return totals_BN[:, torch.from_numpy(trie.leaf_A).to(device)]


def _read_piece(
    model: UserLLM, prefill: Prefill, trie: Trie, piece: Piece, steps_BN: Tensor
) -> None:
    """Score the children of a piece's nodes, then forget the piece's keys and values."""
    device = steps_BN.device
    batch = prefill.mask_BS.shape[0]
    nodes = torch.from_numpy(trie.token_N[piece.nodes_C]).to(device)
    depth_C = torch.from_numpy(trie.depth_N[piece.nodes_C]).to(device)
    visible_CC = torch.from_numpy(piece.visible_CC).to(device)
    mask_B1CS = torch.cat(
        [
            prefill.mask_BS[:, None, :].expand(-1, len(nodes), -1),
            visible_CC.expand(batch, -1, -1),
        ],
        dim=2,
    )[:, None]
    at_BC = prefill.mask_BS.sum(dim=1, keepdim=True) + depth_C
    keys_at_BS = torch.cat([positions(prefill.mask_BS), at_BC], dim=1)
    logits_BCV = model.extend(prefill.cache, nodes.expand(batch, -1), mask_B1CS, at_BC, keys_at_BS)
    prefill.cache.crop(-len(nodes))
    children = torch.from_numpy(piece.children).to(device)
    readers = torch.from_numpy(piece.readers).to(device)
    normalizer_BC = logits_BCV.logsumexp(dim=2)
    tokens = torch.from_numpy(trie.token_N[piece.children]).to(device)
    steps_BN[:, children] = (logits_BCV[:, readers, tokens] - normalizer_BC[:, readers]).float()


def _sum_along_paths(steps_BN: Tensor, trie: Trie) -> Tensor:
    totals_BN = steps_BN.clone()
    for depth in range(1, int(trie.depth_N.max(initial=0)) + 1):
        level = torch.from_numpy((trie.depth_N == depth).nonzero()[0]).to(steps_BN.device)
        parents = torch.from_numpy(trie.parent_N).to(steps_BN.device)[level]
        totals_BN[:, level] += totals_BN[:, parents]
    return totals_BN


def token_log_probs(logits_BKV: Tensor, tokens_BKM: Tensor) -> Tensor:
    """Return log-probabilities ``[B, K, M]`` of chosen tokens, without a full softmax."""
    chosen = tokens_BKM.expand(logits_BKV.shape[0], logits_BKV.shape[1], -1)
    return (logits_BKV.gather(2, chosen) - logits_BKV.logsumexp(dim=2, keepdim=True)).float()
