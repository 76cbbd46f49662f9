"""Items known by their texts: what unseen items are worth, and what stays out of checkpoints."""

import json

import numpy as np
import pytest
import torch
from encoder_events import hand_corpus
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

from userllm.data.catalogue import Catalogue, catalogue_of
from userllm.data.gather import HistoryGather
from userllm.data.vocabulary import Vocabulary
from userllm.encoder.autoregressive_text import AutoregressiveTextEncoder
from userllm.encoder.lit import encoder_groups
from userllm.encoder.load import load_encoder
from userllm.encoder.text_table import TextTable
from userllm.sentence.hashed import HashedSentence
from userllm.softmax.exact import ExactSoftmax

HASHED = {"width": 64, "buckets": 4096, "ngrams": [3, 4], "seed": 0}
SETTINGS = {
    "width": 16,
    "layers": 1,
    "heads": 2,
    "feed_forward": 4,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "item_dropout": 0.0,
    "repeat_score": False,
    "max_events": 12,
}
KINDS = ("tractor", "violin", "harbour", "galaxy")
WORDS = ("red", "old", "small", "quiet", "northern", "golden", "broken", "early", "late", "tall")
ITEMS = len(KINDS) * len(WORDS)
COLD = [kind * len(WORDS) + 2 * kind + word for kind in range(len(KINDS)) for word in (0, 1)]
"""Two items of each kind that nobody touches; their words are known from other items."""


def make(vocabulary, catalogue, *, item_ids, features=("item", "category", "rating")):
    torch.manual_seed(0)
    return AutoregressiveTextEncoder(
        vocabulary=vocabulary,
        catalogue=catalogue,
        sentence=HashedSentence(**HASHED),
        item_ids=item_ids,
        features=list(features),
        feature_width={"item": 16, "category": 4, "rating": 3},
        softmax=ExactSoftmax(memory_mib=1),
        cache=None,
        **SETTINGS,
    )


@pytest.fixture(params=[True, False], ids=["ids", "texts"])
def encoder(request, corpus):
    return make(corpus.vocabulary, catalogue_of(corpus), item_ids=request.param).eval()


def world(order=None):
    """Return histories of users who each like one kind, and titles; ``order`` renames the ids."""
    order = np.arange(ITEMS) if order is None else order
    rng = np.random.default_rng(0)
    warm = [item for item in range(ITEMS) if item not in COLD]
    likes = [user % len(KINDS) for user in range(60)]
    chosen = [
        rng.choice([item for item in warm if item // len(WORDS) == kind], size=7) for kind in likes
    ]
    corpus, _ = hand_corpus([order[items] for items in chosen], items=ITEMS, train_end=[7] * 60)
    titles = [""] * ITEMS
    for item in range(ITEMS):
        titles[order[item]] = f"{WORDS[item % len(WORDS)]} {KINDS[item // len(WORDS)]}"
    return corpus, Catalogue(["", "", "", *titles], ["", "", ""], ["", "", ""]), likes


def trained(corpus, catalogue, *, item_ids, steps):
    encoder = make(corpus.vocabulary, catalogue, item_ids=item_ids, features=["item"])
    groups = encoder_groups(encoder, learning_rate=1e-2, weight_decay=0.1)
    optimizer = torch.optim.AdamW([{**group} for group in groups])
    events = HistoryGather(corpus)(np.arange(60), np.full(60, 7), 12)
    for _ in range(steps):
        optimizer.zero_grad()
        encoder.pretraining_loss(events).backward()
        optimizer.step()
    encoder.eval()
    with torch.no_grad():
        return encoder.item_scores(encoder(events).state_BE, events)[:, 3:]


def test_an_item_nobody_touched_is_ranked_by_what_its_title_says():
    corpus, catalogue, likes = world()
    scores = trained(corpus, catalogue, item_ids=False, steps=40)
    kind_of = torch.tensor(COLD) // len(WORDS)
    liked, others = [], []
    for user, kind in enumerate(likes):
        cold = scores[user, COLD]
        liked.append((cold[kind_of == kind][:, None] > cold[kind_of != kind]).float().mean())
        ranks = (scores[user] > cold[kind_of == kind][:, None]).sum(dim=1) + 1
        others.append(ranks.float().mean())
    assert torch.stack(liked).mean() > 0.9  # chance: 0.5
    assert torch.stack(others).mean() < ITEMS / 3  # chance: half of the catalogue


def test_renaming_the_ids_of_unseen_items_changes_nothing():
    order = np.arange(ITEMS)
    order[COLD] = np.roll(COLD, 3)
    corpus, catalogue, _ = world()
    renamed_corpus, renamed_catalogue, _ = world(order)
    scores = trained(corpus, catalogue, item_ids=False, steps=5)
    renamed = trained(renamed_corpus, renamed_catalogue, item_ids=False, steps=5)
    torch.testing.assert_close(renamed[:, order], scores, atol=1e-3, rtol=1e-3)


def test_without_ids_nothing_that_learns_is_as_long_as_the_catalogue(corpus):
    catalogue, items = catalogue_of(corpus), corpus.vocabulary.sizes["item"]
    for item_ids in (True, False):
        encoder = make(corpus.vocabulary, catalogue, item_ids=item_ids)
        lengths = {length for p in encoder.parameters() for length in p.shape}
        assert bool({items, items - 3} & lengths) == item_ids


def test_ids_only_add_to_what_the_texts_say(corpus, events):
    """With zeros for the ids' own vectors both encoders are one and the same."""
    catalogue = catalogue_of(corpus)
    with_ids = make(corpus.vocabulary, catalogue, item_ids=True).eval()
    texts_only = make(corpus.vocabulary, catalogue, item_ids=False).eval()
    weights = dict(with_ids.named_parameters())
    table = "embedding.tables.item.own.weight"
    with torch.no_grad():
        with_ids.get_parameter(table)[3:] = 0.0
    for name, parameter in texts_only.named_parameters():
        parameter.data.copy_(weights[name][: len(parameter)])
    torch.testing.assert_close(texts_only(events).vectors_BUE, with_ids(events).vectors_BUE)
    torch.testing.assert_close(texts_only.item_table, with_ids.item_table)


@pytest.mark.parametrize("item_ids", [True, False])
def test_reading_some_rows_equals_taking_them_from_the_whole_table(item_ids):
    vectors = torch.cat([torch.zeros(3, 8), torch.randn(20, 8)])
    table = TextTable(vectors_IW=vectors, width=5, item_ids=item_ids)
    ids = torch.tensor([0, 1, 2, 3, 22, 7, 7])
    torch.testing.assert_close(table(ids), table.weight[ids])


def test_every_parameter_learns(encoder, events):
    encoder.pretraining_loss(events).backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_item_scores_are_states_times_the_item_table(encoder, events):
    state = encoder(events).state_BE
    scores = encoder.item_scores(state, events)
    torch.testing.assert_close(scores, state @ encoder.item_table.T + encoder.item_bias)
    assert torch.isneginf(scores[:, :3]).all()
    assert torch.isfinite(scores[:, 3:]).all()


def test_scores_follow_every_step_of_a_fused_optimizer(encoder, events):
    """Such a step leaves the version counters of weights alone, so nothing may rely on them."""
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.01, fused=True)
    with torch.inference_mode():
        before = encoder.item_table
    encoder.pretraining_loss(events).backward()
    optimizer.step()
    with torch.inference_mode():
        assert (encoder.item_table - before)[3:].abs().amax(dim=1).min() > 0


def test_text_vectors_are_in_no_state_dict(encoder):
    saved = encoder.state_dict()
    assert not [name for name in saved if "vectors" in name]
    assert set(dict(encoder.named_parameters())) <= set(saved)


def test_closed_form_equals_the_counter_on_unfused_attention(encoder, gather):
    events = gather(np.array([0, 1]), np.array([9, 9]), 9)
    kernel = torch.nn.attention.SDPBackend.MATH
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(kernel):
        encoder(events)
    assert counter.get_total_flops() == 2 * encoder.flops(9).total


@pytest.mark.parametrize("item_ids", [True, False])
def test_a_loaded_encoder_finds_the_same_text_vectors_again(corpus, gather, tmp_path, item_ids):
    encoder = make(corpus.vocabulary, catalogue_of(corpus), item_ids=item_ids).eval()
    learned = {f"encoder.{name}": p.detach() for name, p in encoder.named_parameters()}
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": learned}, tmp_path / "checkpoints" / "best.ckpt")
    node = {
        "_target_": "userllm.encoder.autoregressive_text.AutoregressiveTextEncoder",
        "sentence": {"_target_": "userllm.sentence.hashed.HashedSentence", **HASHED},
        "softmax": {"_target_": "userllm.softmax.exact.ExactSoftmax", "memory_mib": 1},
        "item_ids": item_ids,
        "features": ["item", "category", "rating"],
        "feature_width": {"item": 16, "category": 4, "rating": 3},
        "cache": None,
        **SETTINGS,
    }
    OmegaConf.save({"encoder": node}, tmp_path / "config.yaml")
    result = {"environment": {"data_fingerprint": corpus.fingerprint}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    loaded = load_encoder(tmp_path, corpus)
    events = gather(np.arange(4), np.array([3, 5, 2, 6]), 12)
    assert torch.equal(loaded(events).vectors_BUE, encoder(events).vectors_BUE)


def test_an_empty_history_and_an_unknown_item_can_be_read(corpus):
    encoder = make(corpus.vocabulary, catalogue_of(corpus), item_ids=False).eval()
    events = HistoryGather(corpus)(np.arange(2), np.array([0, 3]), 12)
    events.features["item"][1, 1] = 2
    memory = encoder(events)
    assert memory.mask_BU.sum(dim=1).tolist() == [0, 3]
    assert torch.isfinite(memory.state_BE).all()


def test_items_of_a_vocabulary_without_categories_are_their_titles():
    vocabulary = Vocabulary({"item": 5}, torch.zeros(5, 1, dtype=torch.int64))
    catalogue = Catalogue(["", "", "", "a", "b"], [""] * 3, [""] * 3)
    encoder = make(vocabulary, catalogue, item_ids=False, features=["item"])
    assert encoder.item_table.shape == (5, 16)
