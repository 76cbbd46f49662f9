"""Next item: what the answer is, and what is left out of the ranking."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.task.made import corpus_of, exams, joined, material, raw, task
from userllm.context.model import Prefill, TokenBatch
from userllm.data.corpus import Corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("next") / "corpus", raw())


def test_exactly_the_items_seen_before_the_cut_are_left_out(corpus: Corpus) -> None:
    users, cuts = np.array([3, 7]), np.array([4, 9])
    seen = task("next_item").seen(corpus, users, cuts)
    for row, (user, cut) in enumerate(zip(users, cuts, strict=True)):
        start = corpus.offsets[user]
        assert set(np.flatnonzero(seen[row])) == set(
            corpus.features["item"][start : start + cut] - 3
        )
    ranked = task("next_item", {"metric.mask_seen": False})
    assert ranked.seen(corpus, users, cuts) is None


def test_labels_are_the_events_at_the_cut(corpus: Corpus) -> None:
    subject = task("next_item")
    labels = subject.labels(corpus, np.array([2]), np.array([5]))
    title = subject.answers(corpus)[labels[0]]
    item = corpus.features["item"][corpus.offsets[2] + 5]
    assert title == corpus.items["title"][int(item) - 3]


def test_popularity_counts_training_events_only(corpus: Corpus, tmp_path: Path) -> None:
    split = corpus.split("leave_last_out")
    users, cuts = split.targets("test")
    scores = task("next_item").references(corpus, split)["popularity"](users[:2], cuts[:2])
    assert scores.shape == (2, 30)
    assert scores[0].sum() == split.train_end.sum()
    assert np.array_equal(scores[0], scores[1])


@pytest.mark.parametrize(("kind", "text_events", "read"), [("none", 0, 1), ("none", 6, 4)])
def test_equal_prompts_are_read_once_and_answer_as_single_ones(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, kind: str, text_events: int, read: int
) -> None:
    made = material(corpus, text_events)
    [exam] = exams("next_item", made, {"scorer": "exhaustive", "paraphrases": 1})
    model = joined(kind)
    rows: list[int] = []
    prefill = model.prefill

    def counted(memory: None, prompt: TokenBatch, **more: Any) -> Prefill:
        rows.append(len(prompt.ids_BT))
        return prefill(memory, prompt, **more)

    users, cuts = np.array([3, 7, 3, 9, 11]), np.array([4, 9, 4, 6, 8])
    singles = [
        exam.answer(model, exam.reader(users[row : row + 1], cuts[row : row + 1]))
        for row in range(5)
    ]
    monkeypatch.setattr(model, "prefill", counted)
    together = exam.answer(model, exam.reader(users, cuts))
    assert rows == [read]
    torch.testing.assert_close(together, torch.cat(singles))
