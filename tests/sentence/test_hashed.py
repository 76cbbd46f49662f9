"""Hashed words: what they know, and that they know it everywhere alike."""

import pytest
import torch

from userllm.sentence.hashed import HashedSentence


def hashed(seed: int = 0, ngrams: tuple[int, ...] = (3, 4)) -> HashedSentence:
    return HashedSentence(width=128, buckets=4096, ngrams=list(ngrams), seed=seed)


TEXTS = ["Star Wars (1977), Science Fiction", "Toy Story, Animation", "8½", "日本 の 映画", "a"]


def test_vectors_have_length_one_and_depend_on_text_and_seed_alone():
    first, second = hashed().encode(TEXTS), hashed().encode(TEXTS)
    assert torch.equal(first, second)
    assert torch.allclose(first.norm(dim=1), torch.ones(len(TEXTS)))
    assert not torch.allclose(hashed(seed=1).encode(TEXTS), first, atol=0.1)


def test_a_batch_equals_single_texts_and_chunks_change_nothing(monkeypatch):
    whole = hashed().encode(TEXTS)
    assert torch.allclose(torch.cat([hashed().encode([text]) for text in TEXTS]), whole)
    monkeypatch.setattr("userllm.sentence.hashed.CHUNK", 2)
    assert torch.allclose(hashed().encode(TEXTS), whole)


@pytest.mark.parametrize("text", ["", " ", "-- !"])
def test_a_text_without_letters_is_zero(text):
    assert not hashed().encode([text, "x"])[0].any()


def test_shared_words_and_shared_stems_bring_texts_closer():
    one, same_word, same_stem, other = hashed().encode(
        ["red tractor", "a tractor in town", "tractors", "violin sonata"]
    )
    assert one @ same_word > 0.3
    assert one @ same_stem > 0.3
    assert abs(one @ other) < 0.25


def test_case_and_punctuation_do_not_matter():
    one, two = hashed().encode(["Drama, Comedy", "comedy drama!"])
    assert torch.allclose(one, two, atol=1e-6)


def test_without_ngrams_only_whole_words_count():
    one, stem = hashed(ngrams=()).encode(["tractor", "tractors"])
    assert abs(one @ stem) < 0.3
