"""Every context answers users it is told nothing about, and all of them alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.contract.contexts import CASES, make
from tests.task.made import corpus_of, exams, material, raw
from userllm.data.corpus import Corpus
from userllm.task.protocol import Questions


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("strangers") / "corpus", raw())


@pytest.mark.parametrize("case", CASES)
def test_strangers_who_are_asked_the_same_get_the_same_answer(
    corpus: Corpus, case: str, tmp_path: Path
) -> None:
    model = make(case)
    summarizer = getattr(model.context, "summarizer", None)
    made = replace(
        material(corpus, text_events=model.context.text_events),
        summaries=summarizer.open(corpus) if summarizer else None,
    )
    own = tmp_path / "ask.txt"
    own.write_text("Write something.", encoding="utf-8")
    [exam] = exams("review", made, {"templates": str(own), "max_answer_tokens": 6})
    users, cuts = np.array([0, 1, 2]), np.array([3, 9, 6])
    batch = exam.reader.without_history(users, cuts)
    with torch.no_grad():
        prompt = batch.prompt
        logits = model.prefill(model.read_user(batch.events), prompt).logits_BV
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits[0], logits[1])
    asked = Questions(users, cuts, "")
    said = exam.without_history(model, asked, device=torch.device("cpu"))
    assert len({text for [text] in said}) == 1
    known = exam.reader(users, cuts)
    with torch.no_grad():
        personal = model.prefill(model.read_user(known.events), known.prompt).logits_BV
    assert torch.allclose(personal, logits) == (
        case in ("none", "hybrid none") and not made.text_events
    )
