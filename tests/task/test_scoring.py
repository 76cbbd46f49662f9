"""Likelihood scorers: exhaustive equals one title at a time, beams equal exhaustive when wide."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.context.fakes import histories
from tests.context.families import families, token_rows
from tests.context.test_contexts import left_padded, make_model, whole
from userllm.context.model import UserLLM
from userllm.task import likelihood
from userllm.task.answers import AnswerTokens
from userllm.task.beam import beam_scores, top_overlap
from userllm.task.likelihood import exhaustive_scores
from userllm.task.protocol import Softmax
from userllm.task.scorer import TitleScorer
from userllm.task.trie import Trie, until_decided

END = 2
TITLES = [
    [5, 6, 7],
    [5, 6],
    [5, 9, 9, 4],
    [8],
    [8, 8],
    [8, 8, 8, 8, 8],
    [10, 11],
    [5, 6, 7],
    [30, 31, 32, 33],
]


def one_by_one(model: UserLLM, prompts, memory) -> Tensor:
    """Score every title on its own, without cache or trie."""
    columns = []
    for title in TITLES:
        answer = torch.tensor([[*title, END]]).expand(prompts.ids_BT.shape[0], -1)
        logits = model.answer_logits(memory, prompts, whole(answer))
        steps = logits.log_softmax(-1).gather(2, answer[:, :, None])[:, :, 0]
        columns.append(steps.sum(dim=1))
    return torch.stack(columns, dim=1)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "PIECE", 3)


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("kind", ["none", "gated", "plain", "soft_prompt"])
@pytest.mark.usefixtures("small_pieces")
def test_cached_tree_scoring_equals_uncached_titles(family: str, kind: str) -> None:
    model = make_model(kind, family)
    prompts = left_padded(token_rows(2, 7), [7, 4])
    answers = AnswerTokens(sequences=TITLES, end=END, softmax="vocabulary")
    with torch.no_grad():
        memory = model.read_user(histories([4, 2]))
        expected = one_by_one(model, prompts, memory)
        exact = exhaustive_scores(model, model.prefill(memory, prompts), answers, None)
        wide = beam_scores(model, model.prefill(memory, prompts), answers, 100, None)
    torch.testing.assert_close(exact, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(wide, expected, atol=1e-4, rtol=1e-4)


def test_a_narrow_beam_scores_what_it_reaches_exactly_and_the_rest_not_at_all() -> None:
    model = make_model("gated")
    prompts = whole(token_rows(2, 5))
    answers = AnswerTokens(sequences=TITLES, end=END, softmax="vocabulary")
    with torch.no_grad():
        memory = model.read_user(histories([4, 2]))
        exact = exhaustive_scores(model, model.prefill(memory, prompts), answers, None)
        narrow = beam_scores(model, model.prefill(memory, prompts), answers, 1, None)
    reached = torch.isfinite(narrow)
    assert 0 < int(reached.sum()) < reached.numel()
    torch.testing.assert_close(narrow[reached], exact[reached], atol=1e-4, rtol=1e-4)


def test_scoring_leaves_the_prompt_cache_as_it_was() -> None:
    model = make_model("none")
    prompts = whole(token_rows(1, 5))
    answers = AnswerTokens(sequences=TITLES, end=END, softmax="vocabulary")
    with torch.no_grad():
        prefill = model.prefill(None, prompts)
        first = exhaustive_scores(model, prefill, answers, None)
        beam_scores(model, prefill, answers, 2, None)
        again = exhaustive_scores(model, prefill, answers, None)
    assert torch.equal(first, again)


def test_equal_titles_share_a_leaf_and_prefixes_do_not() -> None:
    trie = Trie([[*title, END] for title in TITLES])
    assert trie.leaf_A[0] == trie.leaf_A[7]
    assert len(set(trie.leaf_A.tolist())) == len(TITLES) - 1
    assert trie.is_leaf_N.sum() == len(TITLES) - 1


def test_pieces_score_every_node_below_the_first_level_once() -> None:
    trie = Trie([[*title, END] for title in TITLES])
    for size in (1, 2, 100):
        scored = np.concatenate([piece.children for piece in trie.pieces(size)])
        assert sorted(scored) == sorted(np.flatnonzero(trie.parent_N >= 0))


def test_all_probabilities_of_a_complete_trie_sum_to_one_at_most() -> None:
    model = make_model("none")
    answers = AnswerTokens(sequences=[[t] for t in range(3, 97)], end=END, softmax="vocabulary")
    with torch.no_grad():
        prefill = model.prefill(None, whole(token_rows(1, 4)))
        scores = exhaustive_scores(model, prefill, answers, None)
    assert 0 < float(scores.exp().sum()) <= 1


@pytest.mark.parametrize("family", families())
@pytest.mark.usefixtures("small_pieces")
def test_among_siblings_the_probabilities_of_different_titles_sum_to_one(family: str) -> None:
    model = make_model("gated", family)
    prompts = left_padded(token_rows(2, 7), [7, 4])
    answers = AnswerTokens(sequences=TITLES, end=END, softmax="siblings")
    different = [number for number in range(len(TITLES)) if number != 7]
    with torch.no_grad():
        memory = model.read_user(histories([4, 2]))
        prefill = model.prefill(memory, prompts, tokens_V=answers.tokens_V)
        exact = exhaustive_scores(model, prefill, answers, None)
        wide = beam_scores(model, prefill, answers, 100, None)
    torch.testing.assert_close(exact[:, different].exp().sum(dim=1), torch.ones(2))
    torch.testing.assert_close(wide, exact, atol=1e-5, rtol=1e-5)


def test_what_no_choice_follows_is_not_read() -> None:
    steps = until_decided([[*title, END] for title in TITLES])
    assert steps == [
        [5, 6, 7],
        [5, 6, END],
        [5, 9],
        [8, END],
        [8, 8, END],
        [8, 8, 8],
        [10],
        [5, 6, 7],
        [30],
    ]
    assert until_decided([[3, 4, END]]) == [[3]]


def test_unlikely_siblings_are_told_apart_beside_a_token_that_cannot_follow() -> None:
    answers = AnswerTokens(sequences=[[5, 7], [5, 8], [9]], end=END, softmax="siblings")
    node = answers.trie.path(0)[0]
    children = answers.trie.children(node)
    logits = torch.zeros(1, 1, len(answers.tokens_V))
    logits[0, 0, answers.column_N[children]] = torch.tensor([0.0, 1.0])
    logits[0, 0, answers.column_N[answers.trie.path(2)[0]]] = 1e4
    steps = likelihood._steps(logits, answers, children, np.zeros(2, dtype=np.int64), None)
    torch.testing.assert_close(steps[0], torch.tensor([0.0, 1.0]).log_softmax(0))


@pytest.mark.parametrize("softmax", ["vocabulary", "catalogue", "siblings"])
def test_a_next_token_is_chosen_among_the_tokens_that_the_softmax_names(softmax: Softmax) -> None:
    model = make_model("gated")
    prompts = whole(token_rows(1, 5))
    answers = AnswerTokens(sequences=TITLES, end=END, softmax=softmax)
    used = sorted({*(token for title in TITLES for token in title), END})
    with torch.no_grad():
        memory = model.read_user(histories([4]))
        prefill = model.prefill(memory, prompts, tokens_V=answers.tokens_V)
        got = exhaustive_scores(model, prefill, answers, None)[0]
        for number, title in enumerate(TITLES):
            tokens = [*title, END]
            logits = model.answer_logits(memory, prompts, whole(torch.tensor([tokens])))[0]
            total = 0.0
            for step, token in enumerate(tokens):
                others = {
                    "vocabulary": list(range(logits.shape[1])),
                    "catalogue": used,
                    "siblings": sorted(
                        {
                            [*other, END][step]
                            for other in TITLES
                            if other[:step] == title[:step] and len(other) >= step
                        }
                    ),
                }[softmax]
                total += float(logits[step, token] - logits[step, others].logsumexp(0))
            assert float(got[number]) == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("softmax", ["vocabulary", "catalogue", "siblings"])
def test_the_training_loss_is_that_of_the_scores(softmax: Softmax) -> None:
    model = make_model("gated")
    prompts = whole(token_rows(3, 5))
    answers = AnswerTokens(sequences=TITLES, end=END, softmax=softmax)
    scorer = TitleScorer(answers=answers, beams=None)
    labels = torch.tensor([2, 5, 3])
    with torch.no_grad():
        memory = model.read_user(histories([4, 2, 3]))
        loss = scorer.loss(model, memory, prompts, labels)
        scores = scorer.scores(model, memory, prompts)
    # Among siblings only the steps up to the last one with an alternative are learned.
    steps = {"siblings": 2 + 3 + 2}.get(softmax, 5 + 6 + 2)
    expected = -scores[torch.arange(3), labels].sum() / steps
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def test_overlap_counts_common_best_answers() -> None:
    first = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    second = torch.tensor([[4.0, 1.0, 3.0, 2.0]])
    assert top_overlap(first, second, 2) == 0.5


def test_answers_that_a_beam_has_not_reached_overlap_with_nothing() -> None:
    found = torch.full((1, 18), -torch.inf)
    found[0, 17] = 1.0
    exact = torch.arange(18.0)[None]
    assert top_overlap(found, exact, 10) == pytest.approx(0.1)


def test_likelihoods_of_logits_in_half_precision_are_normalized_in_single() -> None:
    answers = AnswerTokens(sequences=TITLES, end=END, softmax="vocabulary")
    children = answers.children(torch.device("cpu"))
    logits_BKV = (4 * torch.randn(3, 1, 5000, generator=torch.manual_seed(0))).bfloat16()
    kids_BKM = children.children(torch.full((3, 1), -1))
    found = children.log_probs(logits_BKV, kids_BKM)
    expected = logits_BKV.double().log_softmax(2).gather(2, children.column_N[kids_BKM])
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)
