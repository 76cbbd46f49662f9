"""A prompt with a summary: what is in it, and that nothing after the cut can be."""

from pathlib import Path

import numpy as np
import pytest

from tests.summarizer.histories import USERS, histories
from userllm.build import build
from userllm.config import load
from userllm.context.text_summary import TextSummary
from userllm.data.corpus import Corpus
from userllm.lm.tiny import byte_tokenizer
from userllm.summarizer.protocol import Summaries
from userllm.task.prompt import PromptWriter
from userllm.task.template import read_templates

USED = np.arange(USERS)


@pytest.fixture(scope="module")
def context() -> TextSummary:
    return build(load("contextualize", ["context=text_summary"]).config.context)


def prompts(corpus: Corpus, summaries: Summaries, cuts: np.ndarray, **changes: int) -> list[str]:
    tokenizer = byte_tokenizer()
    writer = PromptWriter(
        tokenizer=tokenizer,
        corpus=corpus,
        templates=read_templates("next_item", corpus.nouns, 1),
        summaries=summaries,
        seed=0,
        **({"text_events": 0} | changes),
    )
    batch = writer(USED, cuts)
    return [
        tokenizer.decode(ids[mask]) for ids, mask in zip(batch.ids_BT, batch.mask_BT, strict=True)
    ]


def test_the_prompt_is_the_summary_and_the_question(tmp_path: Path, context: TextSummary) -> None:
    corpus = histories(tmp_path / "corpus")
    summaries = context.summarizer.open(corpus)
    cuts = np.arange(USERS) * 6
    texts = summaries.texts(USED, cuts)
    assert prompts(corpus, summaries, cuts) == [
        f"A summary of the user's history:\n{text}\nWhat is the item that the user wants next?\n"
        "Answer:"
        for text in texts
    ]


def test_a_summary_and_the_last_events_can_stand_together(tmp_path, context) -> None:
    corpus = histories(tmp_path / "corpus")
    summaries = context.summarizer.open(corpus)
    cuts = np.full(USERS, 9)
    with_both = prompts(corpus, summaries, cuts, text_events=2)
    for text, summary in zip(with_both, summaries.texts(USED, cuts), strict=True):
        assert text.startswith(f"A summary of the user's history:\n{summary}\nThe user's history")
        assert text.count("\nTitle") == 2


def test_events_after_the_cut_change_no_prompt(tmp_path: Path, context: TextSummary) -> None:
    cut = 27
    texts = [
        prompts(corpus, context.summarizer.open(corpus), np.full(USERS, cut))
        for corpus in (
            histories(tmp_path / "a"),
            histories(tmp_path / "b", changed_after=cut),
        )
    ]
    assert texts[0] == texts[1]


def test_the_language_model_needs_no_encoder(context: TextSummary) -> None:
    assert not context.reads_memory
    assert not list(context.parameters())
