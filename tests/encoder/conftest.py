"""A small encoder and the two ways to hold a corpus's events."""

import numpy as np
import pytest
import torch

from userllm.data.gather import HistoryGather
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.softmax.exact import ExactSoftmax


def _make_encoder(vocabulary, **changes):
    settings = {
        "width": 16,
        "layers": 2,
        "heads": 4,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "item_dropout": 0.0,
        "repeat_score": False,
        "feed_forward": 4,
        "max_events": 12,
        "features": ["item", "category", "rating"],
        "feature_width": {"item": 16, "category": 4, "rating": 3},
        "softmax": ExactSoftmax(memory_mib=1),
    }
    torch.manual_seed(0)
    return AutoregressiveEncoder(vocabulary=vocabulary, **settings | changes)


@pytest.fixture
def make_encoder():
    """Make an encoder like the usual one, but for what is passed by name."""
    return _make_encoder


@pytest.fixture
def encoder(corpus):
    return _make_encoder(corpus.vocabulary).eval()


@pytest.fixture
def gather(corpus):
    return HistoryGather(corpus)


@pytest.fixture
def events(gather):
    """Eight users with 1 to 12 events."""
    return gather(np.arange(8), np.array([1, 2, 3, 5, 7, 9, 12, 4]), 12)
