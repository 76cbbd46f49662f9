"""Retention is measured on the bare language model and says nothing changed when nothing did."""

import numpy as np
import pytest
import torch

from userllm.retention import measure
from userllm.retention.compare import retention
from userllm.retention.material import passages, questions
from userllm.retention.measure import LanguageScores, score_language


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(measure, "passages", lambda: [p[:150] for p in passages()[:4]])
    monkeypatch.setattr(measure, "questions", lambda: questions()[:9])


def test_the_same_weights_score_the_same(tiny_lm):
    first, again = (score_language(tiny_lm.model, tiny_lm.tokenizer) for _ in range(2))
    change = retention(first, again)
    assert change["perplexity"]["change"]["mean"] == 1.0
    assert change["accuracy"]["change"]["mean"] == 0.0
    assert change["perplexity"]["change"]["n"] == 4
    assert change["accuracy"]["before"]["n"] == 9


def test_batches_of_any_size_give_the_same_scores(tiny_lm, monkeypatch):
    together = score_language(tiny_lm.model, tiny_lm.tokenizer)
    monkeypatch.setattr(measure, "BATCH", 2)
    monkeypatch.setattr(measure, "LOGITS", 1)
    alone = score_language(tiny_lm.model, tiny_lm.tokenizer)
    np.testing.assert_allclose(together.surprise_P, alone.surprise_P, rtol=1e-5)
    np.testing.assert_array_equal(together.right_Q, alone.right_Q)


def test_perplexity_is_that_of_the_models_own_loss(tiny_lm):
    text = measure.passages()[0]
    ids = [tiny_lm.tokenizer.bos_token_id, *tiny_lm.tokenizer(text)["input_ids"]]
    row = torch.tensor([ids])
    with torch.no_grad():
        loss = tiny_lm.model(input_ids=row, labels=row).loss.item()
    assert score_language(tiny_lm.model, tiny_lm.tokenizer).surprise_P[0] == pytest.approx(
        loss, rel=1e-5
    )


def test_answers_behind_a_shared_prompt_score_as_whole_sequences(tiny_lm):
    tokenizer, model = tiny_lm.tokenizer, tiny_lm.model
    prompts = [
        tokenizer("Question: a?")["input_ids"],
        tokenizer("Question: much longer?")["input_ids"],
    ]
    answers = [
        tokenizer(f" {word}")["input_ids"]
        for word in ("a", "bcd", "ef", "gh", "k", "l", "mn", "op")
    ]
    with torch.no_grad():
        shared = measure._answer_scores(model, prompts, answers)
        for number, answer in enumerate(answers):
            prompt = prompts[number // measure.CHOICES]
            ids = torch.tensor([prompt + answer])
            chosen = measure._chosen(model(ids).logits[:, :-1], ids[:, 1:])
            expected = chosen[0, len(prompt) - 1 :].sum()
            assert shared[number].item() == pytest.approx(expected.item(), rel=1e-4)


def test_changed_weights_show(tiny_lm):
    before = score_language(tiny_lm.model, tiny_lm.tokenizer)
    with torch.no_grad():
        for weight in tiny_lm.model.parameters():
            weight.mul_(3.0)
    after = score_language(tiny_lm.model, tiny_lm.tokenizer)
    assert retention(before, after)["perplexity"]["change"]["mean"] != 1.0


def test_the_mode_of_every_part_is_left_as_it_was(tiny_lm):
    # As after adding LoRA to a model that was loaded to be scored: its dropout is to be active.
    tiny_lm.model.eval()
    part = tiny_lm.model.get_output_embeddings()
    part.train()
    score_language(tiny_lm.model, tiny_lm.tokenizer)
    assert part.training
    assert not tiny_lm.model.training


def test_a_change_is_paired_passage_by_passage():
    before = LanguageScores(np.array([1.0, 3.0, 5.0]), np.array([1.0, 0.0, 1.0, 0.0]))
    after = LanguageScores(np.array([1.5, 3.5, 5.5]), np.array([0.0, 0.0, 1.0, 0.0]))
    change = retention(before, after)
    ratio = change["perplexity"]["change"]
    assert ratio["mean"] == pytest.approx(np.exp(0.5))
    assert ratio["low"] == pytest.approx(ratio["high"])
    assert change["perplexity"]["before"]["mean"] == pytest.approx(np.exp(3.0))
    assert change["accuracy"]["change"]["mean"] == -0.25
