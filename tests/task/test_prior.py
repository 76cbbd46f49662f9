"""Titles that are spelled from the encoder's ranking: whose probabilities they have, and when."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.context.fakes import BagEncoder, histories
from tests.context.families import token_rows
from tests.context.test_contexts import make_model, whole
from tests.task import made
from userllm.context.encoder_prior import LM_WEIGHT, EncoderPrior
from userllm.context.model import UserLLM
from userllm.context.work import Lengths, training_flops
from userllm.data.gather import EventBatch
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError
from userllm.run.question_work import Asking, append_flops, question_flops, stored_bytes
from userllm.task.answers import AnswerTokens
from userllm.task.prior import LEAST, log_mass
from userllm.task.scorer import TitleScorer
from userllm.task.trie import Trie
from userllm.tuning.parts import parts_of

END = 2
TITLES = [[5, 6, 7], [5, 6], [5, 9, 9, 4], [8], [8, 8], [10, 11], [5, 6]]
"""The last one is called like the second."""


class FewItems(BagEncoder):
    """Ranks one item per title."""

    @property
    def item_table(self) -> Tensor:
        """Return the first vectors."""
        return self.table.weight[: len(TITLES) + 3]

    @property
    def item_bias(self) -> Tensor:
        """Return no preference among the real items."""
        return F.pad(torch.zeros(len(TITLES)), (3, 0), value=-torch.inf)


def model_of(*, weight: float = 1.0, lm_weight: float = LM_WEIGHT) -> UserLLM:
    """Return an opened model with a prior."""
    model = make_model("gated")
    torch.manual_seed(3)
    model.encoder = FewItems().requires_grad_(False)
    model.prior = EncoderPrior()
    model.prior.weight.data.fill_(weight)
    model.prior.lm_weight.data.fill_(lm_weight)
    return model


def scorer_of(beams: int | None = None) -> TitleScorer:
    answers = AnswerTokens(sequences=TITLES, end=END, softmax="siblings")
    return TitleScorer(answers=answers, beams=beams, from_prior=True)


def ranked(model: UserLLM, events: EventBatch) -> Tensor:
    """Return the encoder's probabilities of titles: those with one name share theirs."""
    scores_BI = model.encoder.item_scores(model.encoder(events).state_BE, events)
    prob_BA = scores_BI[:, 3:].softmax(dim=1)
    same_AA = torch.tensor([[1.0 * (one == other) for one in TITLES] for other in TITLES])
    return (prob_BA @ same_AA).log()


def test_the_mass_of_a_node_is_that_of_all_answers_below_it() -> None:
    torch.manual_seed(0)
    log_prob_BA = torch.randn(3, len(TITLES)).log_softmax(dim=1)
    trie = Trie([[*title, END] for title in TITLES])
    found = log_mass(log_prob_BA, trie)
    for node in range(len(trie.token_N)):
        below = [a for a in range(len(TITLES)) if node in trie.path(a)]
        expected = log_prob_BA[:, below].logsumexp(dim=1)
        torch.testing.assert_close(found[:, node], expected)
        assert all(node <= leaf < trie.end_N[node] for leaf in trie.leaf_A[below])


def test_an_impossible_answer_has_a_finite_mass() -> None:
    log_prob_BA = torch.tensor([[0.0, -torch.inf, *[-torch.inf] * (len(TITLES) - 2)]])
    found = log_mass(log_prob_BA, Trie([[*title, END] for title in TITLES]))
    assert found.isfinite().all()
    assert found.min().item() == pytest.approx(np.log(LEAST))


@pytest.mark.parametrize("beams", [None, 100])
def test_without_the_language_model_titles_are_ranked_as_the_encoder_does(
    beams: int | None,
) -> None:
    model, events = model_of(lm_weight=0.0), histories([4, 2, 3])
    with torch.inference_mode():
        scores = scorer_of(beams).scores(model, model.read_user(events), whole(token_rows(3, 5)))
        torch.testing.assert_close(scores, ranked(model, events), atol=1e-5, rtol=1e-5)


def test_without_the_prior_titles_are_ranked_as_the_language_model_does() -> None:
    model, events = model_of(weight=0.0, lm_weight=1.0), histories([4, 2, 3])
    prompts, scorer = whole(token_rows(3, 5)), scorer_of()
    with torch.inference_mode():
        memory = model.read_user(events)
        scores = scorer.scores(model, memory, prompts)
        scorer.from_prior = False
        torch.testing.assert_close(scores, scorer.scores(model, memory, prompts))


def test_beams_and_loss_agree_with_the_exhaustive_scores() -> None:
    model, events, prompts = model_of(), histories([4, 2, 3]), whole(token_rows(3, 5))
    labels = torch.tensor([2, 5, 3])
    with torch.no_grad():
        memory = model.read_user(events)
        scores = scorer_of().scores(model, memory, prompts)
        torch.testing.assert_close(scorer_of(100).scores(model, memory, prompts), scores)
        loss = scorer_of().loss(model, memory, prompts, labels)
    assert not torch.allclose(scores, ranked(model, events), atol=1e-3)
    steps = sum(len(scorer_of().answers.trie.path(int(label))) for label in labels)
    expected = -scores[torch.arange(3), labels].sum() / steps
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_likelihoods_of_different_titles_add_up_to_one() -> None:
    model, events = model_of(), histories([4, 2, 3])
    with torch.inference_mode():
        scores = scorer_of().scores(model, model.read_user(events), whole(token_rows(3, 5)))
    torch.testing.assert_close(scores[:, :-1].exp().sum(dim=1), torch.ones(3))


def test_both_weights_learn_and_a_frozen_encoder_does_not() -> None:
    model, prompts = model_of(), whole(token_rows(3, 5))
    memory = model.read_user(histories([4, 2, 3]))
    scorer_of().loss(model, memory, prompts, torch.tensor([2, 5, 3])).backward()
    assert model.prior is not None
    assert all(p.grad is not None and p.grad != 0 for p in model.prior.parameters())
    assert {id(p) for p in parts_of(model)["head"]} >= {id(p) for p in model.prior.parameters()}
    assert all(p.grad is None for p in model.encoder.parameters())


def test_a_loss_reaches_an_encoder_that_learns_through_the_ranking() -> None:
    model, prompts = model_of(lm_weight=0.0), whole(token_rows(3, 5))
    model.encoder.requires_grad_(True)
    memory = model.read_user(histories([4, 2, 3]))
    scorer_of().loss(model, memory, prompts, torch.tensor([2, 5, 3])).backward()
    assert model.encoder.project.weight.grad.abs().sum() > 0


def test_ranking_all_items_is_counted_and_saved_with_the_memory() -> None:
    model, plain = model_of(), model_of()
    plain.prior = None
    lengths = Lengths(events=5.0, prompt=6.0, answer=2.0, logits=3.0)
    asking = Asking(lengths=lengths, question=6.0, event=0.0, answer=1.0)
    work = model.encoder.item_flops(1.0).total
    assert question_flops(model, asking, "nothing")["prior"] == work > 0
    assert "prior" not in question_flops(model, asking, "memory")
    more = append_flops(model, asking, "memory") - append_flops(plain, asking, "memory")
    assert more == work
    kept = stored_bytes(model, asking, "memory") - stored_bytes(plain, asking, "memory")
    assert kept == 4 * len(model.encoder.item_table)
    assert training_flops(model, lengths) - training_flops(plain, lengths) == work


@pytest.mark.parametrize(
    "changes",
    [
        {"scorer": "beam"},
        {"scorer": "item_head", "softmax": "siblings"},
        {"scorer": "exhaustive", "softmax": "catalogue"},
    ],
)
def test_other_tokens_than_the_titles_cannot_be_ranked(changes: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"task\.softmax=siblings"):
        made.task("next_item", {"encoder_prior": True, **changes})


def test_an_encoder_that_ranks_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, events = model_of(), histories([4])
    stateless = UserMemory(torch.zeros(1, 4, 16), events.mask)
    monkeypatch.setattr(model.encoder, "forward", lambda _: stateless)
    with pytest.raises(UserError, match=r"encoder_prior=true: .* no vector for a whole history"):
        model.read_user(events)


def test_an_exam_asks_for_a_prior_only_where_titles_are_spelled(tmp_path: Path) -> None:
    material = made.material(made.corpus_of(tmp_path, made.raw()))
    spelled = {"scorer": "beam", "softmax": "siblings", "encoder_prior": True}
    (exam,) = made.exams("next_item", material, spelled)
    assert exam.encoder_prior
    (exam,) = made.exams("next_item", material)
    assert not exam.encoder_prior
