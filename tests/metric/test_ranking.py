"""Ranks against a naive loop, metrics against an independent library."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score
from torchmetrics.retrieval import RetrievalMRR

from userllm.metric.ranking import Ranking, rank_of_target


def naive_rank(scores, target, seen):
    allowed = [i for i in range(len(scores)) if i == target or not seen[i]]
    return 1 + sum(1 for i in allowed if i != target and not scores[i] < scores[target])


@given(seed=st.integers(0, 2**31), levels=st.integers(1, 20))
def test_rank_equals_a_naive_loop_with_ties_and_seen_items(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, size=(4, 12)).astype(np.float32)
    target = rng.integers(0, 12, size=4)
    seen = rng.random((4, 12)) < 0.3
    seen[np.arange(4), target] = False
    ranks = rank_of_target(*map(torch.from_numpy, (scores, target, seen)))
    expected = [naive_rank(*row) for row in zip(scores, target, seen, strict=True)]
    assert ranks.tolist() == expected


def test_constant_scores_do_not_look_like_a_perfect_model():
    assert rank_of_target(torch.zeros(2, 7), torch.tensor([0, 6])).tolist() == [7, 7]


def test_scores_that_are_not_numbers_do_not_look_like_a_perfect_model():
    scores = torch.full((1, 7), float("nan"))
    assert rank_of_target(scores, torch.tensor([3])).tolist() == [7]


def test_target_that_is_masked_comes_last():
    scores, seen = torch.eye(3)[:1], torch.tensor([[True, False, False]])
    assert rank_of_target(scores, torch.tensor([0]), seen).tolist() == [3]


def test_metrics_agree_with_scikit_learn_and_torchmetrics():
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(50, 30)), rng.integers(0, 30, size=50)
    ranks = rank_of_target(torch.from_numpy(scores), torch.from_numpy(target)).numpy()
    metrics = Ranking(cutoffs=(1, 5, 10, 20), mask_seen=True).per_user(ranks)
    relevant = np.eye(30)[target]
    labels = np.arange(30)
    for k in (1, 5, 10, 20):
        expected = top_k_accuracy_score(target, scores, k=k, labels=labels)
        assert metrics[f"recall@{k}"].mean() == pytest.approx(expected)
    assert metrics["ndcg@10"].mean() == pytest.approx(ndcg_score(relevant, scores, k=10))
    expected = label_ranking_average_precision_score(relevant, scores)
    assert metrics["mrr"].mean() == pytest.approx(expected)
    queries = torch.arange(50).repeat_interleave(30)
    flat, hits = (
        torch.from_numpy(scores).sigmoid().flatten(),
        torch.from_numpy(relevant).bool().flatten(),
    )
    assert metrics["mrr"].mean() == pytest.approx(
        RetrievalMRR()(flat, hits, indexes=queries).item()
    )


def test_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="ranks start at 1, got 0"):
        Ranking(cutoffs=(1, 5, 10, 20), mask_seen=True).per_user(np.array([3, 0]))


def test_protocol_says_whether_seen_items_are_ranked():
    ranking = Ranking(cutoffs=[1, 10], mask_seen=True)
    assert "seen items not ranked" in ranking.protocol(mask_seen=True)
    assert "seen items ranked" in ranking.protocol(mask_seen=False)
