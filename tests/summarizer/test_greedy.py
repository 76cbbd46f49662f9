"""Greedy answers: the same alone and in a batch, and what they cost."""

import pytest
import torch

from userllm.lm.protocol import LoadedLM
from userllm.lm.tiny import TinyLM
from userllm.summarizer.greedy import GreedyWriter, without_repetition, writing_work
from userllm.summarizer.store import Written

TEXTS = ["A, 5\n", "A much longer history, Drama, 3\nB, War, 1\n", ""]
CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"


@pytest.fixture
def loaded() -> LoadedLM:
    return TinyLM(width=16, layers=2, heads=2, seed=3).load()


def writer(loaded: LoadedLM) -> GreedyWriter:
    return GreedyWriter(loaded=loaded, instruction="Summarize.", max_new_tokens=6)


def test_a_batch_answers_as_single_texts_do(loaded: LoadedLM) -> None:
    write = writer(loaded)
    assert write(TEXTS) == [write([text])[0] for text in TEXTS]


def test_every_answer_token_is_the_most_likely_one(loaded: LoadedLM) -> None:
    write = writer(loaded)
    ids = loaded.tokenizer(write.prompt(TEXTS[1]))["input_ids"]
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
    answer = loaded.tokenizer.decode(ids[-6:], skip_special_tokens=True)
    assert write([TEXTS[1]])[0].text == without_repetition(answer)


def test_a_chat_template_is_used_where_there_is_one(loaded: LoadedLM) -> None:
    assert writer(loaded).prompt("A\n") == "A\n\nSummarize.\nSummary:"
    loaded.tokenizer.chat_template = CHAT
    assert writer(loaded).prompt("A\n") == "<|user|>A\n\nSummarize.<|assistant|>"


def test_nothing_is_counted_after_the_end_of_an_answer(loaded: LoadedLM) -> None:
    torch.nn.init.zeros_(loaded.model.get_output_embeddings().weight)
    write = writer(loaded)
    write.ends = [0]  # all logits are equal, so the first token is always taken
    assert write(["A"]) == [Written("", len(loaded.tokenizer(write.prompt("A"))["input_ids"]), 1)]


def test_work_is_two_flops_for_each_weight_and_token(loaded: LoadedLM) -> None:
    blocks = sum(
        module.weight.numel()
        for name, module in loaded.model.named_modules()
        if isinstance(module, torch.nn.Linear) and "layers" in name
    )
    head = loaded.model.lm_head.weight.numel()
    work = writing_work(loaded.model)
    assert work.flops(Written("", 10, 3)) == 2 * (13 * blocks + 3 * head)


def test_sentences_are_said_once() -> None:
    assert without_repetition(" A is. B is! A is.\nA is? B is! ") == "A is. B is! A is?"
