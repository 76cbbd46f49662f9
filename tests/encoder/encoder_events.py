"""Small corpora and edited event batches that several tests need."""

from types import SimpleNamespace

import numpy as np
import torch

from userllm.data.gather import EventBatch
from userllm.data.split import Split
from userllm.data.vocabulary import FIRST_ID, Vocabulary


def row(events, user):
    """Return one user's history without padding."""
    length = int(events.mask[user].sum())
    features = {n: ids[user : user + 1, :length] for n, ids in events.features.items()}
    return EventBatch(features, events.mask[user : user + 1, :length])


def one_event_changed(events, feature, *, user, position):
    """Return a copy in which one feature of one event has another real value."""
    features = {name: ids.clone() for name, ids in events.features.items()}
    ids = features[feature][user, position].view(-1)
    ids[0] = 3 if ids[0] != 3 else 4
    return EventBatch(features, events.mask)


def hand_corpus(histories, *, items, train_end):
    """Return as much of a corpus as the baselines read, and its split; items count from 0."""
    flat = np.concatenate([np.array(h) + FIRST_ID for h in histories]).astype(np.int32)
    offsets = np.cumsum([0, *map(len, histories)])
    categories = np.zeros((items + FIRST_ID, 1), np.int16)
    corpus = SimpleNamespace(
        offsets=offsets,
        features={"item": flat, "rating": np.zeros(len(flat), np.int16)},
        item_categories=categories,
        vocabulary=Vocabulary({"item": items + FIRST_ID}, torch.from_numpy(categories)),
    )
    nobody = np.full(len(histories), -1)
    return corpus, Split("by hand", np.array(train_end), nobody, nobody)
