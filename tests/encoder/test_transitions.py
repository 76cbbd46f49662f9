"""Counts beside an encoder's scores: what they are made of, and what they change."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from userllm.build import build
from userllm.config import load
from userllm.data.vocabulary import FIRST_ID
from userllm.encoder.lit import EncoderModule, encoder_groups
from userllm.encoder.load import encoder_inputs, load_encoder
from userllm.encoder.markov import WindowedMarkov
from userllm.transitions.counted import Transitions, fit_transitions

SETTINGS = {"window": 2, "last": 3, "decay": 0.5, "weight": 2.0, "floor": 1e-3}


def transitions_of(corpus, split, **changes):
    counts = Transitions(**{**SETTINGS, "followers": 10_000, **changes})
    counts.fit(corpus, split)
    return counts


def test_it_adds_the_logarithm_of_the_baselines_shares(corpus, gather):
    split = corpus.split("leave_last_out")
    users, ends = np.arange(8), np.array([0, 1, 2, 3, 5, 7, 9, 12])
    markov = WindowedMarkov(window=2, last=3, decay=0.5).fit(corpus, split)
    votes = np.minimum(ends, 3)
    total_B = torch.tensor([sum(0.5**k for k in range(count)) or 1.0 for count in votes])
    share_BI = markov.scores(users, ends)[:, FIRST_ID:] / total_B[:, None]
    events = gather(users, ends, 12)
    before = torch.randn(8, corpus.vocabulary.sizes["item"])
    added = transitions_of(corpus, split).add(before, events) - before
    torch.testing.assert_close(added[:, FIRST_ID:], 2.0 * (share_BI + 1e-3).log())


def test_only_the_most_frequent_followers_are_kept(corpus):
    split = corpus.split("leave_last_out")
    whole, few = transitions_of(corpus, split), transitions_of(corpus, split, followers=4)
    torch.testing.assert_close(few.share_IK, whole.share_IK.sort(dim=1, descending=True)[0][:, :4])
    assert few.share_IK.shape == few.follower_IK.shape == (corpus.vocabulary.sizes["item"], 4)


@pytest.mark.parametrize("name", ["leave_last_out", "global_time"])
def test_what_comes_after_the_training_events_is_not_counted(name, corpus):
    split = corpus.split(name)
    shorter = replace(split, train_end=np.maximum(split.train_end - 1, 0))
    whole, less = transitions_of(corpus, split), transitions_of(corpus, shorter)
    assert not torch.equal(whole.share_IK, less.share_IK)  # The last training event counts.
    items = np.array(corpus.features["item"])
    for user, end in enumerate(split.train_end):
        rest = items[corpus.offsets[user] + end : corpus.offsets[user + 1]]
        rest[:] = rest[::-1].copy()
    changed = SimpleNamespace(
        features={"item": items}, offsets=corpus.offsets, vocabulary=corpus.vocabulary
    )
    assert torch.equal(transitions_of(changed, split).follower_IK, whole.follower_IK)
    assert torch.equal(transitions_of(changed, split).share_IK, whole.share_IK)


@pytest.mark.parametrize("window", [1, 3, 20])
def test_for_what_learns_a_question_is_asked_as_if_its_answer_had_not_been_counted(
    window, corpus, gather
):
    split = corpus.split("leave_last_out")
    whole = transitions_of(corpus, split, window=window, last=20)
    zeros = torch.zeros(1, corpus.vocabulary.sizes["item"])
    differ = 0
    for user in np.flatnonzero(split.train_end > 2)[:20]:
        cut = split.train_end[user] - 1
        # The answer is the last event that is counted.
        without = replace(
            split, train_end=split.train_end - (np.arange(len(split.train_end)) == user)
        )
        events = gather(np.array([user]), np.array([cut]), 12)
        answer = torch.tensor([int(corpus.features["item"][corpus.offsets[user] + cut])])
        asked = whole.add(zeros, events, answer)
        expected = transitions_of(corpus, without, window=window, last=20).add(zeros, events)
        torch.testing.assert_close(asked, expected)
        differ += not torch.allclose(asked, whole.add(zeros, events))
    assert differ > 10


def test_an_encoder_ranks_with_them_and_learns_without(make_encoder, corpus, events):
    counts = Transitions(**SETTINGS, followers=50)
    plain = make_encoder(corpus.vocabulary).eval()
    encoder = make_encoder(corpus.vocabulary, transitions=counts).eval()
    fit_transitions(encoder, corpus, "leave_last_out")
    assert encoder.pretraining_loss(events).item() == plain.pretraining_loss(events).item()
    state_BE = encoder(events).state_BE
    expected = counts.add(plain.item_scores(state_BE, events), events)
    assert torch.equal(encoder.item_scores(state_BE, events), expected)
    assert not torch.equal(expected, plain.item_scores(state_BE, events))


@pytest.mark.parametrize("split", ["leave_last_out", "global_time"])
@pytest.mark.parametrize("option", ["autoregressive", "masked", "dual"])
def test_a_run_folder_gives_the_same_ranking_back(option, split, corpus, events, tmp_path):
    words = [f"encoder={option}", "transitions@encoder.transitions=counted"]
    config = load("pretrain", [*words, f"split={split}", "size=tiny", "history=12"]).config
    torch.manual_seed(0)
    trained = build(config.encoder, **encoder_inputs(corpus)).eval()
    fit_transitions(trained, corpus, split)
    module = EncoderModule(
        encoder=trained,
        groups=encoder_groups(trained, learning_rate=1e-3, weight_decay=0.0),
        steps=1,
        betas=[0.9, 0.98],
        eps=1e-8,
        warmup=0.0,
    )
    (tmp_path / "checkpoints").mkdir()
    weights = module.state_dict()
    assert not [name for name in weights if "transitions" in name]
    torch.save({"state_dict": weights}, tmp_path / "checkpoints" / "best.ckpt")
    OmegaConf.save(config, tmp_path / "config.yaml")
    result = {"environment": {"data_fingerprint": corpus.fingerprint}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    loaded = load_encoder(tmp_path, corpus)
    with torch.no_grad():
        before, after = (one.item_scores(one(events).state_BE, events) for one in (trained, loaded))
    assert torch.equal(before, after)


@pytest.mark.parametrize("option", ["autoregressive", "autoregressive_text", "dual", "masked"])
def test_every_encoder_takes_them(option):
    words = [f"encoder={option}", "transitions@encoder.transitions=counted"]
    assert load("pretrain", words).config.encoder.transitions.window == 4
    assert "transitions" not in load("pretrain", words[:1]).config.encoder
