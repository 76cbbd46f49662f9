"""What every option of ``encoder=`` must satisfy; a new file in conf/encoder is found by itself.

None of these compares a causal encoder with one that reads in both directions: whatever the option,
the memory of a history is made from its events alone, so a cut is kept by not handing later events
over.
"""

import json
from functools import cache

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.context.families import tiny_model, token_rows
from tests.context.test_contexts import whole
from userllm.build import build
from userllm.config import conf_dir, load
from userllm.context.model import UserLLM
from userllm.data.catalogue import catalogue_of
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.gather import EventBatch, HistoryGather
from userllm.encoder.lit import EncoderModule, WindowBatches, encoder_groups
from userllm.encoder.load import encoder_inputs, load_encoder
from userllm.memory.candidates import Candidates

OPTIONS = sorted(path.stem for path in (conf_dir() / "encoder").glob("*.yaml"))
SETTINGS = ["size=tiny", "history=12"]
ENDS = np.array([5, 1, 12, 3])


@cache
def node(option: str) -> DictConfig:
    config = load("pretrain", [f"encoder={option}", *SETTINGS]).config.encoder
    if "sentence" in config:
        # A sentence model would have to be fetched.
        config.sentence = OmegaConf.load(conf_dir() / "sentence" / "hashed.yaml")
    return config


def make(option, corpus):
    torch.manual_seed(0)
    return build(node(option), **encoder_inputs(corpus))


@pytest.fixture(params=OPTIONS)
def option(request):
    return request.param


@pytest.fixture
def encoder(option, corpus):
    return make(option, corpus).eval()


@pytest.fixture(scope="module")
def bare_corpus(tmp_path_factory):
    """Return four users of a file with nothing but user, item and time."""
    folder = tmp_path_factory.mktemp("bare")
    lines = [f"{user},{(user + step) % 20},{step}" for user in range(4) for step in range(14)]
    (folder / "mine.csv").write_text("\n".join(["user,item,timestamp", *lines]))
    dataset = build(load("prepare", ["data=table", f"data.path={folder}/mine.csv"]).config.data)
    write_corpus(
        dataset.read(),
        name="bare",
        min_user_events=1,
        min_item_events=1,
        folder=folder / "corpus",
    )
    return Corpus.open(folder / "corpus")


@pytest.fixture
def gather(corpus):
    return HistoryGather(corpus)


@pytest.fixture
def events(gather):
    """Return four histories of 1 to 12 events."""
    return gather(np.arange(4), ENDS, 12)


def module_of(encoder):
    groups = encoder_groups(encoder, learning_rate=1e-2, weight_decay=0.1)
    return EncoderModule(
        encoder=encoder, groups=groups, steps=40, betas=[0.9, 0.98], eps=1e-8, warmup=0.1
    )


def alone(events, user):
    """Return one history without padding."""
    length = int(events.mask[user].sum())
    features = {n: ids[user : user + 1, :length] for n, ids in events.features.items()}
    return EventBatch(features, events.mask[user : user + 1, :length])


def assert_same_user(memory, user, single):
    mask, mask_single = memory.mask_BU[user], single.mask_BU[0]
    torch.testing.assert_close(
        memory.vectors_BUE[user][mask], single.vectors_BUE[0][mask_single], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(memory.state_BE[user], single.state_BE[0], atol=1e-5, rtol=1e-4)


def test_a_padded_batch_equals_single_users(encoder, events):
    with torch.no_grad():
        memory = encoder(events)
        for user in range(4):
            assert_same_user(memory, user, encoder(alone(events, user)))


def test_nothing_beside_a_history_is_read(encoder, events):
    other = EventBatch({n: ids.clone() for n, ids in events.features.items()}, events.mask)
    for ids in other.features.values():
        ids[~events.mask] = 4  # What stands at padded places.
        ids[2] = 5  # Another user's events.
    with torch.no_grad():
        memory, changed = encoder(events), encoder(other)
    for user in (0, 1, 3):
        assert torch.equal(
            memory.vectors_BUE[user][memory.mask_BU[user]],
            changed.vectors_BUE[user][changed.mask_BU[user]],
        )
        assert torch.equal(memory.state_BE[user], changed.state_BE[user])
    assert not torch.equal(memory.state_BE[2], changed.state_BE[2])


def test_a_user_without_events_has_no_vectors_and_a_finite_state(encoder, gather):
    with torch.no_grad():
        beside = encoder(gather(np.arange(2), np.array([0, 4]), 12))
        nobody = encoder(gather(np.arange(2), np.array([0, 0]), 12))
    assert not beside.mask_BU[0].any()
    assert beside.mask_BU[1].any()
    assert not nobody.mask_BU.any()
    assert torch.isfinite(nobody.state_BE).all()
    torch.testing.assert_close(beside.state_BE[0], nobody.state_BE[0], atol=1e-5, rtol=1e-4)


def test_the_number_of_vectors_is_that_of_true_mask_entries(encoder, events):
    with torch.no_grad():
        mask_BU = encoder(events).mask_BU
    assert mask_BU.sum(dim=1).tolist() == encoder.vectors(1.0 * ENDS).tolist()
    assert encoder.vectors(0.0) == 0
    assert encoder(events).vectors_BUE.shape == (*mask_BU.shape, encoder.width)


def test_special_ids_are_never_recommended(encoder, events):
    scores_BI = encoder.item_scores(encoder(events).state_BE, events)
    assert torch.isneginf(scores_BI[:, :3]).all()
    assert torch.isfinite(scores_BI[:, 3:]).all()


def test_item_scores_are_states_times_the_item_table_plus_the_bias(encoder, events, corpus):
    state_BE = encoder(events).state_BE
    expected_BI = state_BE @ encoder.item_table.T + encoder.item_bias
    assert expected_BI.shape == (4, corpus.vocabulary.sizes["item"])
    torch.testing.assert_close(
        encoder.item_scores(state_BE, events), expected_BI, atol=1e-5, rtol=1e-4
    )


def test_the_item_table_of_a_frozen_encoder_is_made_once_until_a_weight_changes(encoder):
    learning = encoder.item_table
    assert learning.requires_grad
    module_of(encoder).requires_grad_(False)
    with torch.inference_mode():
        ready = encoder.item_table
        assert encoder.item_table is ready
        assert torch.equal(ready, learning)
    assert not ready.is_inference()
    for weight in module_of(encoder).parameters():
        weight.add_(0.1 * torch.randn_like(weight))
        now = encoder.item_table
        module_of(encoder).requires_grad_()
        assert torch.equal(encoder.item_table, now)
        module_of(encoder).requires_grad_(False)


def test_closed_form_equals_the_counter_on_unfused_attention(encoder, gather):
    # Every position filled, as the counter does not know that padding is skipped.
    events = gather(np.array([0, 1]), np.array([9, 9]), 9)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        encoder(events)
    assert counter.get_total_flops() == 2 * encoder.flops(9.0).total


def test_costs_take_arrays_and_grow_with_the_history(encoder):
    for form in (encoder.flops, encoder.pretraining_flops):
        both = form(np.array([3.0, 9.0])).total
        assert both.shape == (2,)
        assert 0 < both[0] < both[1]
        assert both[1] == pytest.approx(form(9.0).total)


def test_longer_history_than_it_can_read_is_refused(encoder, gather):
    with pytest.raises(ValueError, match="13 events, but max_events is 12"):
        encoder(gather(np.array([0]), np.array([13]), 13))


def test_training_lowers_the_loss(option, corpus, gather):
    encoder = make(option, corpus)
    module = module_of(encoder)
    optimizer = module.configure_optimizers()["optimizer"]
    batches = WindowBatches(
        gather=gather, split=corpus.split("leave_last_out"), length=13, batch_size=16, seed=0
    )
    losses = []
    for number in range(40):
        loss = module.training_step(batches(number), number)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02


def test_events_without_categories_and_ratings_are_enough(option, bare_corpus):
    assert bare_corpus.vocabulary.sizes["category"] == bare_corpus.vocabulary.sizes["rating"] == 3
    encoder = make(option, bare_corpus)
    events = HistoryGather(bare_corpus)(np.arange(4), ENDS, 12)
    loss = encoder.pretraining_loss(events)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss > 0
    assert encoder.item_scores(encoder.eval()(events).state_BE, events)[:, 3:].isfinite().all()


def test_every_parameter_learns_from_the_loss(encoder, events):
    torch.manual_seed(0)
    encoder.pretraining_loss(events).backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_loss_does_not_depend_on_padding(encoder, gather):
    losses = []
    for pad_to in (None, 13):
        torch.manual_seed(0)
        batch = gather(np.arange(3), np.array([6, 4, 1]), 13, pad_to=pad_to)
        losses.append(encoder.pretraining_loss(batch).item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_run_folder_gives_the_encoder_back(option, corpus, events, tmp_path):
    trained = make(option, corpus)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    (tmp_path / "checkpoints").mkdir()
    weights = module_of(trained).state_dict()
    torch.save({"state_dict": weights}, tmp_path / "checkpoints" / "best.ckpt")
    OmegaConf.save({"encoder": node(option)}, tmp_path / "config.yaml")
    result = {"environment": {"data_fingerprint": corpus.fingerprint}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    loaded = load_encoder(tmp_path, corpus)
    with torch.no_grad():
        before, after = trained.eval()(events), loaded(events)
    assert torch.equal(before.state_BE, after.state_BE)
    assert torch.equal(before.vectors_BUE[before.mask_BU], after.vectors_BUE[after.mask_BU])
    assert torch.equal(trained.item_table, loaded.item_table)


def test_its_best_items_can_be_candidates(option, corpus, events):
    encoder = make(option, corpus)
    given = {"text_dim": 8, "user_dim": encoder.width, "tokenizer": None, "titles": False}
    memory = Candidates(**given, catalogue=catalogue_of(corpus), count=5, states=False, seen=True)
    encoded = encoder(events)
    table, bias = encoder.item_table, encoder.item_bias
    ids_BC, real_BC = memory.choose(encoded.state_BE, events, table, bias)
    scores_BI = encoder.item_scores(encoded.state_BE, events)
    assert real_BC.all()
    best_BC = scores_BI.gather(1, ids_BC)
    torch.testing.assert_close(best_BC, scores_BI.topk(5).values, atol=1e-5, rtol=1e-4)
    assert memory(encoded, events, encoder).vectors_BUE.shape == (len(ids_BC), 5, encoder.width)


def test_a_language_model_reads_it_and_teaches_it(option, corpus, events):
    encoder = make(option, corpus)
    config = load("contextualize", [f"encoder={option}", "context=soft_prompt", *SETTINGS]).config
    context = build(config.context, text_dim=32, user_dim=encoder.width, num_blocks=3)
    model = UserLLM(lm=tiny_model("llama"), context=context, encoder=encoder, item_head=None)
    memory = model.read_user(events)
    logits = model.answer_logits(memory, whole(token_rows(4, 6)), whole(token_rows(4, 3)))
    assert torch.isfinite(logits).all()
    logits.square().mean().backward()
    assert any(p.grad is not None and p.grad.any() for p in encoder.parameters())
