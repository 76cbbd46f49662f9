"""Tiny users and a tiny language model; no test, and no process of one, reaches a network."""

import gc
import os

import pytest

# Before anything imports a hub client, and for child processes, which pytest-socket cannot stop.
os.environ.update(
    HF_HUB_OFFLINE="1",
    WANDB_MODE="offline",
    WANDB_SILENT="true",
    OMP_NUM_THREADS="1",
    NO_PROXY="localhost,127.0.0.1",
    HTTP_PROXY="http://127.0.0.1:9",
    HTTPS_PROXY="http://127.0.0.1:9",
)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep what tests make out of the cache of the person who runs them."""
    before = os.environ.get("USERLLM_CACHE")
    os.environ["USERLLM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["USERLLM_CACHE"]
    else:
        os.environ["USERLLM_CACHE"] = before


@pytest.fixture(scope="module", autouse=True)
def _quick_collections():
    """Keep what is loaded by now, mostly code, out of the collections that a run makes."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A synthetic corpus: 60 users, 40 items, about 20 events a user."""
    from userllm.data.corpus import Corpus, write_corpus
    from userllm.data.synthetic import Synthetic

    dataset = Synthetic(
        name="tiny",
        users=60,
        items=40,
        events_per_user=20,
        categories=6,
        drift=0.01,
        texts=True,
        seed=0,
        min_user_events=5,
        min_item_events=1,
    )
    folder = tmp_path_factory.mktemp("corpus") / "tiny"
    write_corpus(
        dataset.read(),
        name=dataset.name,
        min_user_events=dataset.min_user_events,
        min_item_events=dataset.min_item_events,
        folder=folder,
    )
    return Corpus.open(folder)


@pytest.fixture
def tiny_lm():
    """A random two-block Llama over bytes, new for each test because tests change it."""
    from userllm.lm.tiny import TinyLM

    return TinyLM(width=32, layers=2, heads=4, seed=0).load()
