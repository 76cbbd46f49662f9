"""What is encoded of an item."""

import torch

from tests.context.fakes import CATALOGUE, VOCABULARY
from userllm.sentence.hashed import HashedSentence
from userllm.sentence.items import item_texts, item_vectors

HASHED = HashedSentence(width=32, buckets=512, ngrams=[3], seed=0)


def test_a_text_is_the_title_and_the_categories_and_special_ids_have_none():
    texts = item_texts(CATALOGUE, VOCABULARY)
    assert texts[:3] == ["", "", ""]
    assert texts[3] == "Thing 0, kind 0, kind 0"
    assert texts[3 + 10] == "Thing 10, kind 2, kind 1"
    assert len(texts) == VOCABULARY.sizes["item"]


def test_on_the_meta_device_nothing_is_encoded():
    class Refusing(HashedSentence):
        def encode(self, texts):
            raise AssertionError

    refusing = Refusing(width=32, buckets=512, ngrams=[3], seed=0)
    with torch.device("meta"):
        vectors = item_vectors(refusing, CATALOGUE, VOCABULARY)
    assert vectors.is_meta
    assert vectors.shape == item_vectors(HASHED, CATALOGUE, VOCABULARY).shape
