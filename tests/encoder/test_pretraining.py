"""Windows, groups, training, and taking the encoder out of its run folder."""

import json
from copy import copy

import numpy as np
import pytest
import torch
from encoder_events import hand_corpus
from omegaconf import OmegaConf

from userllm.data.gather import HistoryGather
from userllm.encoder.autoregressive import AutoregressiveEncoder
from userllm.encoder.lit import EncoderModule, WindowBatches, encoder_groups
from userllm.encoder.load import load_encoder
from userllm.encoder.ranking import EncoderScorer, rank_next_item
from userllm.errors import UserError
from userllm.metric.ranking import Ranking
from userllm.run.pretrain import Stage
from userllm.softmax.exact import ExactSoftmax
from userllm.training.fit import fit

STEPS = 40


def window_batches(corpus, gather, *, seed=0):
    return WindowBatches(
        gather=gather, split=corpus.split("leave_last_out"), length=13, batch_size=8, seed=seed
    )


def pretrain(corpus, gather, encoder, folder, *, steps=STEPS):
    module = EncoderModule(
        encoder=encoder,
        groups=encoder_groups(encoder, learning_rate=1e-2, weight_decay=0.1),
        steps=steps,
        betas=[0.9, 0.98],
        eps=1e-8,
        warmup=0.1,
    )
    return fit(
        module,
        window_batches(corpus, gather),
        steps=steps,
        seed=0,
        folder=folder,
        trainer_options={"accelerator": "cpu", "devices": 1, "log_every_n_steps": 10},
        loggers=[],
        checkpoint_every=steps,
        validate=lambda step: {"ndcg@10": float(step)},
        validate_every=steps,
        monitor="ndcg@10",
    )


def test_batch_holds_training_events_only(corpus, gather):
    split, batches = corpus.split("leave_last_out"), window_batches(corpus, gather)
    for number in range(12):
        batch = batches(number)
        for user, mask, items in zip(
            batch.users, batch.events.mask, batch.events.features["item"], strict=True
        ):
            start = corpus.offsets[user]
            trained = corpus.features["item"][start : start + split.train_end[user]].tolist()
            window = items[mask].tolist()
            assert any(
                trained[i : i + len(window)] == window
                for i in range(len(trained) - len(window) + 1)
            )


def test_batch_depends_on_seed_and_number_only(corpus, gather):
    first, second = window_batches(corpus, gather), window_batches(corpus, gather)
    for number in range(20):
        first(number)
    assert np.array_equal(first(5).users, second(5).users)
    assert torch.equal(first(5).events.features["item"], second(5).events.features["item"])
    assert not np.array_equal(window_batches(corpus, gather, seed=1)(5).users, second(5).users)


def test_tables_norms_and_biases_do_not_decay(encoder):
    decayed, spared = encoder_groups(encoder, learning_rate=0.1, weight_decay=0.5)
    names = {id(p): name for name, p in encoder.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {
        name
        for name in names.values()
        if name.endswith("weight")
        and "norm" not in name
        and "tables" not in name
        and "position" not in name
    }
    assert decayed["weight_decay"] == 0.5
    assert spared["weight_decay"] == 0.0


def test_training_finds_a_rule_that_holds_for_unseen_events(make_encoder, tmp_path):
    """Every item is followed by the next one in a circle."""
    starts = np.random.default_rng(0).integers(0, 10, size=60)
    histories = [[(start + i) % 10 for i in range(8)] for start in starts]
    corpus, split = hand_corpus(histories, items=10, train_end=[7] * 60)
    corpus.split = lambda _: split
    gather = HistoryGather(corpus)
    encoder = make_encoder(
        corpus.vocabulary, features=["item"], feature_width={"item": 16}, dropout=0.0
    )
    pretrain(corpus, gather, encoder, tmp_path, steps=100)
    encoder.eval()
    users, ends = np.arange(60), np.full(60, 7)
    ranks = rank_next_item(EncoderScorer(encoder, gather), gather, users, ends, mask_seen=False)
    assert (ranks == 1).mean() > 0.9


@pytest.mark.parametrize("mask_seen", [True, False])
def test_validation_asks_no_more_users_than_it_is_told_and_always_the_same(
    corpus, gather, encoder, mask_seen
):
    ranking = Ranking(cutoffs=(1, 5, 10, 20), mask_seen=mask_seen)
    stage = Stage(corpus, corpus.split("leave_last_out"), gather, ranking)
    scorer = EncoderScorer(encoder, gather)
    every = stage.per_user(scorer, "valid", mask_seen=mask_seen)["mrr"]
    some = [stage.per_user(scorer, "valid", mask_seen=mask_seen, most=7)["mrr"] for _ in range(2)]
    assert len(every) > 7 == len(some[0])
    assert some[0].tolist() == some[1].tolist()
    assert set(some[0]) <= set(every)
    enough = stage.per_user(scorer, "valid", mask_seen=mask_seen, most=len(every))["mrr"]
    assert enough.tolist() == every.tolist()


@pytest.fixture(scope="module")
def run_folder(corpus, tmp_path_factory):
    """A pretraining run as the verb leaves it, as far as loading reads it."""
    folder = tmp_path_factory.mktemp("run")
    settings = {
        "width": 16,
        "layers": 1,
        "heads": 2,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "item_dropout": 0.0,
        "repeat_score": False,
        "feed_forward": 4,
        "max_events": 12,
        "features": ["item", "rating"],
        "feature_width": {"item": 8, "rating": 4},
    }
    softmax = {"memory_mib": 1}
    encoder = AutoregressiveEncoder(
        vocabulary=corpus.vocabulary, softmax=ExactSoftmax(**softmax), **settings
    )
    pretrain(corpus, HistoryGather(corpus), encoder, folder)
    target = "userllm.encoder.autoregressive.AutoregressiveEncoder"
    softmax["_target_"] = "userllm.softmax.exact.ExactSoftmax"
    node = {"_target_": target, "softmax": softmax, **settings}
    OmegaConf.save({"encoder": node}, folder / "config.yaml")
    result = {"environment": {"data_fingerprint": corpus.fingerprint}}
    (folder / "result.json").write_text(json.dumps(result))
    return folder, encoder.eval()


def test_loaded_encoder_gives_the_states_of_the_trained_one(run_folder, corpus, gather):
    folder, trained = run_folder
    loaded = load_encoder(folder, corpus)
    events = gather(np.arange(4), np.array([3, 5, 2, 6]), 12)
    assert not loaded.training
    assert torch.equal(loaded.states(events), trained.states(events))


def test_encoder_of_another_corpus_is_refused_with_both_hashes(run_folder, corpus):
    message = f"{corpus.fingerprint[:12]}, but .* corpus 0123456789ab"
    other = copy(corpus)
    other.fingerprint = "0123456789abcdef"
    with pytest.raises(UserError, match=message):
        load_encoder(run_folder[0], other)


def test_encoder_of_another_shape_is_refused_with_both_shapes(run_folder, corpus, tmp_path):
    folder = run_folder[0]
    config = OmegaConf.load(folder / "config.yaml")
    config.encoder.max_events = 9
    for name in ("result.json", "checkpoints"):
        (tmp_path / name).symlink_to(folder / name)
    OmegaConf.save(config, tmp_path / "config.yaml")
    with pytest.raises(UserError, match=r"position.weight is \(13, 16\), expected \(10, 16\)"):
        load_encoder(tmp_path, corpus)


def test_unfinished_run_is_refused(corpus, tmp_path):
    with pytest.raises(UserError, match=r"no result\.json"):
        load_encoder(tmp_path, corpus)


def test_missing_checkpoint_is_refused(run_folder, corpus, tmp_path):
    for name in ("result.json", "config.yaml"):
        (tmp_path / name).symlink_to(run_folder[0] / name)
    with pytest.raises(UserError, match=r"best\.ckpt cannot be read"):
        load_encoder(tmp_path, corpus)
