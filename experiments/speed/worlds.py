"""Simulated users that several scripts train on or read."""

from pathlib import Path

from userllm.data.corpus import Corpus, write_corpus
from userllm.data.synthetic import Synthetic


def simulated(folder: Path, *, users: int, items: int, events_per_user: int) -> Corpus:
    """Write and open a corpus of simulated users that keeps every item."""
    world = Synthetic(
        name="speed",
        users=users,
        items=items,
        events_per_user=events_per_user,
        categories=18,
        drift=0.01,
        texts=False,
        seed=0,
        min_user_events=5,
        min_item_events=0,
    )
    write_corpus(world.read(), name=world.name, min_user_events=5, min_item_events=0, folder=folder)
    return Corpus.open(folder)
