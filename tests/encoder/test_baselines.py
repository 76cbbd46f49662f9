"""Popularity, Markov and the ranking of any scorer."""

import numpy as np
import pytest
import torch
from encoder_events import hand_corpus

from userllm.data.gather import HistoryGather
from userllm.data.vocabulary import FIRST_ID
from userllm.encoder.markov import WindowedMarkov
from userllm.encoder.popularity import Popularity, events_of_targets
from userllm.encoder.ranking import EncoderScorer, rank_next_item, seen_items
from userllm.metric.ranking import Ranking


def test_popularity_counts_training_events_only():
    corpus, split = hand_corpus([[0, 1, 1, 2], [1, 2, 2, 2]], items=4, train_end=[3, 2])
    scores = Popularity().fit(corpus, split).scores(np.array([0, 1]), np.array([3, 2]))
    assert scores[:, FIRST_ID:].tolist() == [[1, 3, 1, 0]] * 2
    assert torch.isneginf(scores[:, :FIRST_ID]).all()


def test_events_of_a_target_are_those_of_training_whoever_met_it_later():
    corpus, split = hand_corpus([[0, 1, 1, 2], [1, 2, 2, 3]], items=4, train_end=[3, 2])
    counted = events_of_targets(corpus, split, np.array([0, 1, 0]), np.array([3, 3, 1]))
    assert counted.tolist() == [1, 0, 3]


def test_markov_equals_an_example_worked_out_by_hand():
    # Within two events: a is followed by b, c (twice b: from both users), b by c, a.
    a, b, c = range(3)
    corpus, split = hand_corpus([[a, b, c], [a, b, a, c]], items=3, train_end=[3, 3])
    markov = WindowedMarkov(window=2, last=2, decay=0.5).fit(corpus, split)
    # Pairs: user 0 gives ab, bc, ac; user 1, cut after three, gives ab, ba, aa.
    after_a = np.array([1, 2, 1]) / 4
    after_b = np.array([1, 0, 1]) / 2
    scores = markov.scores(np.array([0, 1]), np.array([2, 1]))[:, FIRST_ID:]
    assert scores[0].tolist() == pytest.approx((after_b + 0.5 * after_a).tolist())
    assert scores[1].tolist() == pytest.approx(after_a.tolist())


def test_markov_reads_no_more_than_the_last_events():
    corpus, split = hand_corpus([[0, 1, 2, 3]], items=4, train_end=[4])
    markov = WindowedMarkov(window=1, last=1, decay=0.5).fit(corpus, split)
    assert markov.scores(np.array([0]), np.array([2]))[0, FIRST_ID:].tolist() == [0, 0, 1, 0]


def test_pairs_never_span_two_users():
    corpus, split = hand_corpus([[0], [1]], items=2, train_end=[1, 1])
    assert WindowedMarkov(window=3, last=1, decay=0.5).fit(corpus, split).follows_II.nnz == 0


@pytest.mark.parametrize("make", [Popularity, lambda: WindowedMarkov(window=3, last=5, decay=0.8)])
def test_changing_events_after_the_cut_changes_no_score(make):
    histories = [[0, 1, 2, 3, 4], [2, 1, 0, 3, 3]]
    changed = [[0, 1, 2, 4, 0], [2, 1, 0, 0, 1]]
    users, ends = np.array([0, 1]), np.array([3, 3])
    scores = [
        make().fit(*hand_corpus(h, items=5, train_end=[3, 3])).scores(users, ends)
        for h in (histories, changed)
    ]
    assert torch.equal(*scores)


class Constant:
    """Gives every item the same score."""

    def __init__(self, size):
        self.size = size

    def scores(self, users, ends):
        return torch.zeros(len(users), self.size)


def test_constant_scores_rank_last(corpus, gather):
    size = corpus.vocabulary.sizes["item"]
    users, ends = corpus.split("leave_last_out").targets("test")
    ranks = rank_next_item(Constant(size), gather, users, ends, mask_seen=False)
    assert (ranks == size - FIRST_ID).all()
    assert Ranking(cutoffs=(1, 5, 10, 20), mask_seen=True).per_user(ranks)["recall@20"].sum() == 0


@pytest.mark.parametrize("mask_seen", [True, False])
def test_ranking_equals_a_naive_loop_over_users(corpus, encoder, gather, mask_seen):
    users, ends = corpus.split("leave_last_out").targets("test")
    scorer = EncoderScorer(encoder, gather)
    ranks = rank_next_item(scorer, gather, users, ends, mask_seen=mask_seen, batch_users=7)
    items = corpus.features["item"]
    for user, end, rank in list(zip(users, ends, ranks, strict=True))[:10]:
        start = corpus.offsets[user]
        with torch.inference_mode():
            scores = scorer.scores(np.array([user]), np.array([end]))[0].tolist()
        target, seen = items[start + end], set(items[start : start + end].tolist())
        excluded = seen if mask_seen else set()
        better = [i for i in range(3, len(scores)) if i not in excluded and i != target]
        expected = 1 + sum(scores[i] >= scores[target] for i in better)
        assert rank == expected or target in excluded


def test_a_seen_target_comes_last_among_items_and_nothing_else():
    corpus, _ = hand_corpus([[4, 2, 4]], items=10, train_end=[1])
    gather = HistoryGather(corpus)
    scorer = Constant(10 + FIRST_ID)
    ranks = rank_next_item(scorer, gather, np.array([0]), np.array([2]), mask_seen=True)
    assert ranks.tolist() == [10]


def test_seen_items_are_the_whole_history_before_the_target(corpus, gather):
    rows, items = seen_items(gather, np.array([2, 0]), np.array([4, 1]))
    flat, offsets = corpus.features["item"], corpus.offsets
    assert rows.tolist() == [0, 0, 0, 0, 1]
    assert items.tolist() == [*flat[offsets[2] : offsets[2] + 4].tolist(), int(flat[offsets[0]])]
