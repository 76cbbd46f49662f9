"""The item head starts from the encoder's own ranking."""

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.context.fakes import BagEncoder, histories, make_context
from tests.context.families import tiny_model, token_rows
from tests.context.test_contexts import whole
from userllm.config import load
from userllm.context.item_head import ItemHead
from userllm.context.model import UserLLM
from userllm.context.work import Lengths, forward_flops, training_flops
from userllm.data.gather import EventBatch
from userllm.data.vocabulary import FIRST_ID
from userllm.run.contestants import enter, entries
from userllm.run.question_work import Asking, append_flops, stored_bytes


class SeenEncoder(BagEncoder):
    """Ranks by more than its state: what a user has seen comes first."""

    def item_scores(
        self, state_BE: Tensor, events: EventBatch, answer_B: Tensor | None = None
    ) -> Tensor:
        """Return one score per item id."""
        scores_BI = super().item_scores(state_BE, events)
        seen_BL = events.mask.to(scores_BI.dtype)
        return scores_BI.scatter_add(1, events.features["item"], seen_BL)


def model_with_head(*, skip: bool) -> UserLLM:
    encoder = SeenEncoder()
    bias_I = torch.zeros(len(encoder.item_table))
    head = ItemHead(text_dim=32, table_IE=encoder.item_table, bias_I=bias_I, skip=skip)
    context = make_context("gated")
    return UserLLM(lm=tiny_model("llama"), context=context, encoder=encoder, item_head=head).eval()


def test_at_the_first_step_the_ranking_is_the_encoders_own() -> None:
    model, events = model_with_head(skip=True), histories([4, 2, 0])
    with torch.no_grad():
        scores = model.item_scores(model.read_user(events), whole(token_rows(3, 5)))
        expected = model.encoder.item_scores(model.encoder(events).state_BE, events)
    assert torch.equal(scores, expected)


def test_a_whole_run_starts_there_too_with_counts(tmp_path: Path) -> None:
    shared = "'size.users=60 transitions@encoder.transitions=counted task=next_item'"
    words = ["methods=['context=cross_attention']", f"shared={shared}", f"paths.runs={tmp_path}"]
    cfg = load("benchmark", words).config
    (one,) = enter(entries(cfg)[0], cfg, torch.device("cpu"))
    batch = one.exam.reader(one.asked.users[:8], one.asked.cuts[:8])
    with torch.inference_mode():
        scores = one.exam.answer(one.model, batch)
        encoder, state_BE = one.model.encoder, one.model.encoder(batch.events).state_BE
        expected = encoder.item_scores(state_BE, batch.events)[:, FIRST_ID:]
        by_state = encoder.heads.item_scores(state_BE)[:, FIRST_ID:]
    torch.testing.assert_close(scores, expected)
    assert not torch.allclose(scores, by_state)


def test_mixed_precision_rounds_no_score_that_an_answer_starts_from() -> None:
    model, events = model_with_head(skip=True), histories([4, 2, 7])
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        read = model.read_user(events)
        state_BE = model.encoder(events).state_BE
    assert state_BE.dtype == torch.bfloat16
    assert torch.equal(read.scores_BI, model.encoder.item_scores(state_BE.float(), events))


def test_training_alone_leaves_the_answer_out_of_what_was_counted(tmp_path: Path) -> None:
    words = ["methods=['context=cross_attention']", f"paths.runs={tmp_path}"]
    shared = "'size.users=60 transitions@encoder.transitions=counted task=next_item'"
    cfg = load("benchmark", [*words, f"shared={shared}"]).config
    (one,) = enter(entries(cfg)[0], cfg, torch.device("cpu"))
    batch = one.exam.reader(one.asked.users[:8], one.asked.cuts[:8])
    given, encoder = [], one.model.encoder
    scores = encoder.item_scores
    encoder.item_scores = lambda state, events, answer=None: (
        given.append(answer) or scores(state, events, answer)
    )
    one.exam.loss(one.model, batch)
    one.exam.answer(one.model, batch)
    corpus = one.exam.material.corpus
    ids = corpus.features["item"][corpus.offsets[one.asked.users[:8]] + one.asked.cuts[:8]]
    assert given[0].tolist() == ids.tolist()
    assert given[1] is None


def test_scoring_what_the_head_starts_from_is_counted() -> None:
    lengths = Lengths(events=5.0, prompt=6.0, answer=0.0, logits=0.0, ranked=1.0)
    model, without = model_with_head(skip=True), model_with_head(skip=False)
    work = forward_flops(model, lengths)
    assert work.pop("prior") == model.encoder.item_flops(1.0).total > 0
    assert work == forward_flops(without, lengths)


def test_what_it_starts_from_is_stored_with_the_memory_and_made_anew_behind_an_event() -> None:
    lengths = Lengths(events=5.0, prompt=6.0, answer=0.0, logits=0.0, ranked=1.0)
    asking = Asking(lengths=lengths, question=6.0, event=0.0, answer=1.0)
    model, without = model_with_head(skip=True), model_with_head(skip=False)
    work, held = (
        of(model, asking, "memory") - of(without, asking, "memory")
        for of in (append_flops, stored_bytes)
    )
    assert work == model.encoder.item_flops(1.0).total
    assert held == 4 * len(model.encoder.item_table)


def test_without_the_skip_the_language_model_alone_decides() -> None:
    model = model_with_head(skip=False)
    with torch.no_grad():
        prompt = whole(token_rows(1, 5))
        first, second = (
            model.item_scores(model.read_user(histories([4], seed)), prompt) for seed in (1, 2)
        )
    assert torch.equal(first, second)  # the gates are still closed


def test_what_the_head_learns_costs_what_training_it_is_counted_as() -> None:
    lengths = Lengths(events=4.0, prompt=5.0, answer=0.0, logits=0.0, ranked=1.0)

    def trained(*, head_learns: bool) -> tuple[float, int]:
        model = model_with_head(skip=False)
        model.lm.requires_grad_(False)
        model.item_head.requires_grad_(head_learns)
        with FlopCounterMode(display=False) as counter:
            scores = model.item_scores(model.read_user(histories([4])), whole(token_rows(1, 5)))
            scores.square().mean().backward()
        return float(training_flops(model, lengths)), counter.get_total_flops()

    (told, seen), (told_frozen, seen_frozen) = trained(head_learns=True), trained(head_learns=False)
    assert told - told_frozen == seen - seen_frozen > 0


def test_the_table_is_a_copy_and_learns_on_its_own() -> None:
    model = model_with_head(skip=True)
    scores = model.item_scores(model.read_user(histories([4])), whole(token_rows(1, 5)))
    scores.square().mean().backward()
    assert model.item_head.table_IE.grad.any()
    assert model.item_head.table_IE is not model.encoder.table.weight


def test_a_language_model_in_half_precision_can_be_ranked_from() -> None:
    model = model_with_head(skip=False)
    model.lm.to(torch.bfloat16)
    with torch.no_grad():
        scores = model.item_scores(model.read_user(histories([4])), whole(token_rows(1, 5)))
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
