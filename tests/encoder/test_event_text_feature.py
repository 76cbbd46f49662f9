"""What users wrote as a feature: it is read from its event on, never predicted, never saved."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from encoder_events import one_event_changed, row
from omegaconf import OmegaConf
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.data.test_corpus import make as corpus_of
from tests.data.test_corpus import raw_data
from tests.data.test_texts import with_texts
from userllm.build import build
from userllm.data.corpus import Corpus
from userllm.data.gather import HistoryGather
from userllm.encoder.embedding import check_features
from userllm.encoder.event_text_table import EventTextTable
from userllm.encoder.lit import encoder_groups
from userllm.encoder.load import encoder_inputs, load_encoder
from userllm.errors import UserError

ALL = ["item", "category", "rating", "text"]
NODE = {
    "_target_": "userllm.encoder.autoregressive_text.AutoregressiveTextEncoder",
    "sentence": {
        "_target_": "userllm.sentence.hashed.HashedSentence",
        "width": 32,
        "buckets": 4096,
        "ngrams": [3, 4],
        "seed": 0,
    },
    "softmax": {"_target_": "userllm.softmax.exact.ExactSoftmax", "memory_mib": 1},
    "item_ids": True,
    "width": 16,
    "layers": 2,
    "heads": 2,
    "feed_forward": 4,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "item_dropout": 0.0,
    "repeat_score": False,
    "max_events": 12,
    "feature_width": {"item": 16, "category": 4, "rating": 3, "text": 8},
    "cache": None,
}
EVENTS = 9
USERS = 12
KINDS = ("tractor", "violin", "harbour", "galaxy")


def make(corpus, features=ALL, **changes):
    torch.manual_seed(0)
    return build({**NODE, "features": list(features), **changes}, **encoder_inputs(corpus))


def said_corpus(folder, said):
    """Return 12 users with 9 events each; ``said(user, event)`` is the text of an event."""
    pairs = [(user, event) for user in range(USERS) for event in range(EVENTS)]
    events = [(user, (user * 5 + event * 3) % 8, 100 + event, 3.0) for user, event in pairs]
    return corpus_of(with_texts(raw_data(events), [said(*pair) for pair in pairs]), folder)


@pytest.fixture
def corpus(corpus):
    """Return the shared corpus opened anew, as such an encoder changes what batches hold."""
    return Corpus.open(corpus.folder)


@pytest.fixture
def encoder(corpus):
    return make(corpus).eval()


@pytest.fixture
def events(encoder, gather):
    """Return histories that have texts: the encoder asks for them."""
    return gather(np.arange(8), np.array([1, 2, 3, 5, 7, 9, 12, 4]), 12)


def test_changing_a_text_leaves_earlier_states_alone_and_moves_later_ones(encoder, events):
    changed = one_event_changed(events, "text", user=6, position=7)
    before, after = encoder.states(events)[6], encoder.states(changed)[6]
    assert torch.equal(before[:8], after[:8])
    assert ((before[8:] - after[8:]).abs().amax(dim=1) > 1e-6).all()


def test_an_event_is_not_predicted_from_its_own_text(encoder, events):
    """The loss of a window reads the texts of all its events but the last."""
    window = row(events, 6)
    last = one_event_changed(window, "text", user=0, position=11)
    earlier = one_event_changed(window, "text", user=0, position=10)
    loss = encoder.pretraining_loss(window)
    assert torch.equal(encoder.pretraining_loss(last), loss)
    assert not torch.equal(encoder.pretraining_loss(earlier), loss)


@pytest.mark.parametrize("cut", [0, 1, 5, EVENTS])
def test_no_text_at_or_after_a_cut_is_read(tmp_path, cut):
    truth = said_corpus(tmp_path / "a", lambda user, event: f"word {user} and {event % 4}")
    future = said_corpus(
        tmp_path / "b",
        lambda user, event: f"word {user} and {event % 4}" if event < cut else f"else {event}",
    )
    past = said_corpus(
        tmp_path / "c",
        lambda user, event: f"word {user} and {event % 4}" if event >= cut else f"else {event}",
    )
    memories, states = [], []
    for corpus in (truth, future, past):
        encoder = make(corpus).eval()
        users = np.arange(USERS)
        gather = HistoryGather(corpus)
        memories.append(encoder(gather(users, np.full(USERS, cut), 12)))
        states.append(encoder.states(gather(users, np.full(USERS, EVENTS), 12)))
    assert torch.equal(memories[0].state_BE, memories[1].state_BE)
    assert torch.equal(memories[0].vectors_BUE, memories[1].vectors_BUE)
    assert torch.equal(states[0][:, : cut + 1], states[1][:, : cut + 1])
    assert cut == 0 or (memories[0].state_BE != memories[2].state_BE).any(dim=1).all()


def test_texts_teach_where_they_say_what_comes_next(tmp_path):
    """Items are chance, and each text names the next one; a reader of texts learns the names."""
    item_UL = np.random.default_rng(0).integers(0, 4, size=(60, EVENTS))
    pairs = [(user, event) for user in range(60) for event in range(EVENTS)]
    events = [(u, int(item_UL[u, e]), 100 + e, 3.0) for u, e in pairs]
    said = [KINDS[item_UL[u, (e + 1) % EVENTS]] for u, e in pairs]
    corpus = corpus_of(with_texts(raw_data(events), said), tmp_path / "c")
    right = {}
    for features in (ALL[:3], ALL):
        encoder = make(corpus, features)
        gather = HistoryGather(corpus)
        groups = encoder_groups(encoder, learning_rate=1e-2, weight_decay=0.1)
        optimizer = torch.optim.AdamW([{**group} for group in groups])
        train = gather(np.arange(40), np.full(40, EVENTS), 12)
        for _ in range(60):
            optimizer.zero_grad()
            encoder.pretraining_loss(train).backward()
            optimizer.step()
        others, cut = np.arange(40, 60), EVENTS - 1
        with torch.no_grad():
            asked = gather(others, np.full(20, cut), 12)
            best = encoder.item_scores(encoder.eval()(asked).state_BE, asked).argmax(dim=1).numpy()
        position = corpus.offsets[others] + cut
        right[len(features)] = (best == corpus.features["item"][position]).mean()
    assert right[4] > 0.9
    assert right[3] < 0.6  # chance: 0.25


def test_it_has_no_head(encoder):
    assert set(encoder.heads) == {"item", "category", "rating"}


def test_every_parameter_learns(encoder, events):
    encoder.pretraining_loss(events).backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_not_asked_for_it_costs_nothing(corpus, gather):
    encoder = make(corpus, ALL[:3])
    batch = gather(np.arange(4), np.array([3, 5, 2, 6]), 12)
    assert "text" not in batch.features
    assert not [name for name, _ in encoder.named_parameters() if "written" in name]


def test_no_text_has_a_learned_vector_whatever_else_there_is():
    table = EventTextTable(vectors_DW=np.ones((2, 6), np.float16), width=4)
    read = table(torch.tensor([2, 3, 2, 4, 1]))
    assert torch.equal(read[0], table.special.weight[2])
    assert torch.equal(read[2], read[0])
    assert torch.equal(read[4], table.special.weight[1])
    torch.testing.assert_close(read[1], table.map(torch.ones(6)))
    assert (
        EventTextTable(vectors_DW=np.ones((0, 6), np.float16), width=4)(torch.tensor([2, 1]))
        .isfinite()
        .all()
    )


def test_closed_form_equals_the_counter_on_unfused_attention(encoder, corpus, gather):
    events = gather(np.array([0, 1]), np.array([9, 9]), 9)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        encoder(events)
    assert counter.get_total_flops() == 2 * encoder.flops(9).total
    # Mapped from 32 to 8, and 8 wider in front of the projection to 16; 9 events and the begin.
    extra = encoder.flops(9).total - make(corpus, ALL[:3]).flops(9).total
    assert extra == 2 * 10 * (32 * 8 + 8 * 16)


def test_work_is_counted_where_there_are_no_events_to_read(encoder, corpus):
    inputs = encoder_inputs(corpus)
    bare = replace(inputs["catalogue"], texts=None)
    outline = build({**NODE, "features": ALL}, **{**inputs, "catalogue": bare})
    assert outline.flops(9).total == encoder.flops(9).total
    assert outline.pretraining_flops(9).total == encoder.pretraining_flops(9).total


def test_half_precision_reads_texts(encoder, events):
    with torch.autocast("cpu", torch.bfloat16):
        loss = encoder.pretraining_loss(events)
    assert loss.item() == pytest.approx(encoder.pretraining_loss(events).item(), rel=0.05)


def test_other_encoders_say_who_reads_texts(corpus):
    with pytest.raises(ValueError, match="text: encoder=autoregressive_text"):
        check_features(["item", "text"], {"item": 4}, corpus.vocabulary)


def test_nothing_saved_is_as_long_as_the_texts(tmp_path):
    shapes = []
    for texts in (2, USERS * EVENTS):
        corpus = said_corpus(
            tmp_path / str(texts), lambda u, e, n=texts: f"text {(u * EVENTS + e) % n}"
        )
        saved = make(corpus).state_dict()
        shapes.append({n: v.shape for n, v in saved.items() if "vectors" not in n})
        assert len(saved) == len(shapes[-1])
    assert shapes[0] == shapes[1]


def test_a_run_folder_gives_the_encoder_back(corpus, encoder, events, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    learned = {f"encoder.{name}": p.detach() for name, p in encoder.named_parameters()}
    torch.save({"state_dict": learned}, tmp_path / "checkpoints" / "best.ckpt")
    OmegaConf.save({"encoder": {**NODE, "features": ALL}}, tmp_path / "config.yaml")
    result = {"environment": {"data_fingerprint": corpus.fingerprint}}
    (tmp_path / "result.json").write_text(json.dumps(result))
    again = Corpus.open(corpus.folder)
    loaded = load_encoder(tmp_path, again)
    same = HistoryGather(again)(np.arange(8), np.array([1, 2, 3, 5, 7, 9, 12, 4]), 12)
    assert torch.equal(loaded(same).vectors_BUE, encoder(events).vectors_BUE)


def test_padding_and_other_users_change_nothing(encoder, events):
    together = encoder.states(events)
    for user in range(8):
        alone = encoder.states(row(events, user))[0]
        torch.testing.assert_close(together[user, : len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_data_without_texts_is_refused(tmp_path):
    corpus = corpus_of(raw_data([(0, item, 100, 3.0) for item in range(8)]), tmp_path / "c")
    with pytest.raises(UserError, match=r"have no texts.*data\.text=summary"):
        make(corpus)
    with pytest.raises(UserError, match=r"feature_width has no entry for \['text'\]"):
        make(corpus, feature_width={"item": 16, "category": 4, "rating": 3})
