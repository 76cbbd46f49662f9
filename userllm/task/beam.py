"""Trie-constrained beam search that maps to answers and never leaves the catalogue.

Hypotheses are nodes of the answers' trie. Their keys and values are appended to the prompt's
cache level by level, and a mask lets each see its own ancestors: nothing is copied or reordered,
and a width that prunes nothing gives the exhaustive scores exactly.

Shape suffixes: B batch, A answers, K hypotheses, M children of one node, N trie nodes,
S cached positions, V tokens that are told apart.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from userllm.context.model import Prefill, UserLLM
from userllm.context.places import positions
from userllm.task.answers import AnswerTokens
from userllm.task.children import ChildTable
from userllm.task.known_text import KnownBatch
from userllm.task.prior import NodePrior


@dataclass
class _Beams:
    """Live hypotheses: trie nodes, their scores, and which cached positions they may see."""

    nodes_BK: Tensor
    scores_BK: Tensor
    visible_BKS: Tensor


def beam_scores(
    model: UserLLM,
    prefill: Prefill,
    answers: AnswerTokens,
    beams: int,
    known: KnownBatch | None,
    prior: NodePrior | None = None,
) -> Tensor:
    """Return log-likelihoods ``[B, A]`` of the answers that were reached, -inf for the others.

    Args:
        model: The joined model.
        prefill: What reading the prompts left behind.
        answers: The answers, and how a next token is chosen.
        beams: Most hypotheses kept of a level.
        known: What need not be read again; None reads everything.
        prior: What is known of the answers besides.
    """
    device = prefill.logits_BV.device
    batch, prompt_length = prefill.mask_BS.shape
    table = answers.children(device)
    reached_BN = torch.full((batch, len(table.token_N)), -torch.inf, device=device)
    keys_at_BS = positions(prefill.mask_BS)
    root = _Beams(
        torch.full((batch, 1), -1, device=device),
        torch.zeros(batch, 1, device=device),
        prefill.mask_BS[:, None],
    )
    live = _advance(root, prefill.logits_BV[:, None], table, beams, reached_BN, prior)
    while live is not None:
        count = live.nodes_BK.shape[1]
        own_KK = torch.eye(count, dtype=torch.bool, device=device)
        live.visible_BKS = torch.cat([live.visible_BKS, own_KK.expand(batch, -1, -1)], dim=2)
        nodes = live.nodes_BK.clamp(min=0)
        at_BK = prefill.mask_BS.sum(dim=1, keepdim=True) + table.depth_N[nodes]
        keys_at_BS = torch.cat([keys_at_BS, at_BK], dim=1)
        logits_BKV = model.extend(
            prefill.cache,
            table.token_N[nodes],
            live.visible_BKS[:, None],
            at_BK,
            keys_at_BS,
            tokens_V=answers.tokens_V,
            above_BSD=None if known is None else known.nodes(nodes),
        )
        live = _advance(live, logits_BKV, table, beams, reached_BN, prior)
    if keys_at_BS.shape[1] > prompt_length:
        prefill.cache.crop(prompt_length - keys_at_BS.shape[1])
    return reached_BN[:, torch.from_numpy(answers.trie.leaf_A).to(device)]


def _advance(
    live: _Beams,
    logits_BKV: Tensor,
    table: ChildTable,
    beams: int,
    reached_BN: Tensor,
    prior: NodePrior | None,
) -> _Beams | None:
    """Score all children, note the finished answers and keep the best unfinished nodes."""
    kids_BKM = table.children(live.nodes_BK)
    real_BKM = kids_BKM >= 0
    totals_BKM = live.scores_BK[:, :, None] + table.log_probs(logits_BKV, kids_BKM, prior)
    kids_BKM = kids_BKM.clamp(min=0)
    totals_BKM = totals_BKM.masked_fill(~real_BKM, -torch.inf)
    batch, width = kids_BKM.shape[0], kids_BKM.shape[2]
    kids_BX, totals_BX = kids_BKM.reshape(batch, -1), totals_BKM.reshape(batch, -1)
    leaf_BX = table.is_leaf_N[kids_BX]
    finished_BX = totals_BX.masked_fill(~leaf_BX, -torch.inf)
    reached_BN.scatter_reduce_(1, kids_BX, finished_BX, reduce="amax")
    open_BX = totals_BX.masked_fill(leaf_BX, -torch.inf)
    keep = min(beams, int((open_BX > -torch.inf).sum(dim=1).max()))
    if keep == 0:
        return None
    scores_BK, index_BK = open_BX.topk(keep, dim=1)
    source_BK = index_BK // width
    visible_BKS = live.visible_BKS.gather(
        1, source_BK[:, :, None].expand(-1, -1, live.visible_BKS.shape[2])
    )
    nodes_BK = kids_BX.gather(1, index_BK).masked_fill(scores_BK == -torch.inf, -2)
    return _Beams(nodes_BK, scores_BK, visible_BKS)


def top_overlap(first_BA: Tensor, second_BA: Tensor, k: int) -> float:
    """Return the mean share of the second scoring's k best answers that the first one's k have.

    An answer that the first has not reached, whose score is -inf, is none of its best.
    """
    k = min(k, first_BA.shape[1])
    (scores_BK, best_first), best_second = first_BA.topk(k), second_BA.topk(k).indices
    reached_BK1 = (scores_BK > -torch.inf)[:, :, None]
    shared_BK = ((best_first[:, :, None] == best_second[:, None, :]) & reached_BK1).any(dim=2)
    return float(shared_BK.float().mean())
