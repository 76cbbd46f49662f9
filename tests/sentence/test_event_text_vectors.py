"""Vectors of what users wrote: one per different text, made once, never all in memory."""

import numpy as np
import pytest
import torch

from tests.data.test_event_texts import written
from userllm.data.event_texts import EventTexts
from userllm.sentence import store
from userllm.sentence.event_texts import event_text_vectors
from userllm.sentence.hashed import HashedSentence

SAID = ["five stars", "", "two films too long", "five stars", "quiet"]
DIFFERENT = ["five stars", "two films too long", "quiet"]


class Counting(HashedSentence):
    """Remembers the chunks it was asked for."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(width=16, buckets=512, ngrams=[3], seed=seed)
        self.asked: list[list[str]] = []

    def load(self):
        encode = super().load()

        def remember(texts: list[str]) -> torch.Tensor:
            self.asked.append(texts)
            return encode(texts)

        return remember


@pytest.fixture
def texts(tmp_path):
    return EventTexts(written(SAID, tmp_path / "c")).as_feature(str(tmp_path))


def test_rows_are_the_vectors_of_the_different_texts(texts, tmp_path):
    sentence = Counting()
    found = event_text_vectors(sentence, texts, str(tmp_path))
    assert found.dtype == np.float16
    assert isinstance(found, np.memmap)
    assert sentence.asked == [DIFFERENT]
    np.testing.assert_allclose(found, Counting().encode(DIFFERENT).numpy(), atol=1e-3)


def test_they_are_read_and_encoded_a_shard_at_a_time(texts, tmp_path, monkeypatch):
    whole = event_text_vectors(Counting(), texts, str(tmp_path / "whole"))
    monkeypatch.setattr(store, "SHARD", 2)
    sentence = Counting()
    shards = event_text_vectors(sentence, texts, str(tmp_path / "shards"))
    assert sentence.asked == [DIFFERENT[:2], DIFFERENT[2:]]
    np.testing.assert_array_equal(shards, whole)


def test_they_are_made_once_for_a_sentence_encoder_and_a_corpus(texts, tmp_path):
    first, again, other = Counting(), Counting(), Counting(seed=1)
    event_text_vectors(first, texts, str(tmp_path))
    event_text_vectors(again, texts, str(tmp_path))
    event_text_vectors(other, texts, str(tmp_path))
    changed = EventTexts(written(["x", *SAID], tmp_path / "d")).as_feature(str(tmp_path))
    event_text_vectors(again, changed, str(tmp_path))
    assert (len(first.asked), len(other.asked)) == (1, 1)
    assert again.asked == [["x", *DIFFERENT]]


def test_where_nobody_wrote_anything_nothing_is_encoded(tmp_path):
    texts = EventTexts(written([None, " "], tmp_path / "c")).as_feature(str(tmp_path))
    sentence = Counting()
    assert event_text_vectors(sentence, texts, str(tmp_path)).shape == (0, 16)
    assert not sentence.asked
