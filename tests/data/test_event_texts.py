"""Text ids say which texts are equal, belong to their events, and are there only when asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_corpus import make, raw_data
from tests.data.test_texts import with_texts
from userllm.data import event_texts
from userllm.data.corpus import Corpus
from userllm.data.event_texts import EventTexts, text_ids
from userllm.data.gather import HistoryGather
from userllm.errors import UserError

SAID = st.lists(
    st.sampled_from([None, "", " \n", "zut", " zut", "Zut", "fünf Sterne ", "fünf Sterne"]),
    min_size=1,
    max_size=20,
)


def written(texts, folder):
    """Return a corpus of one user whose n-th event says ``texts[n]``."""
    raw = raw_data([(0, n % 8, 100 + n, 3.0) for n in range(len(texts))])
    return make(with_texts(raw, texts), folder)


@pytest.fixture
def fresh(corpus):
    """Return the shared corpus opened anew, as asking for texts changes what batches hold."""
    return Corpus.open(corpus.folder)


@settings(max_examples=40, deadline=None)
@given(texts=SAID, piece=st.integers(1, 7))
def test_ids_are_equal_where_texts_are_and_count_in_the_order_of_events(
    texts, piece, tmp_path_factory
):
    corpus = written(texts, tmp_path_factory.mktemp("said") / "c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_texts, "PIECE", piece)
        ids = text_ids(corpus)
    number = {}
    for text in texts:
        if (text or "").strip():
            number.setdefault(text.strip(), 3 + len(number))
    assert ids.tolist() == [number.get((text or "").strip(), 2) for text in texts]


@settings(max_examples=20, deadline=None)
@given(texts=SAID)
def test_every_id_stands_for_the_text_of_its_event(texts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("said")
    corpus = written(texts, folder / "c")
    different = EventTexts(corpus).as_feature(str(folder / "cache"))
    ids = corpus.features["text"]
    assert len(different) == len({text.strip() for text in texts if (text or "").strip()})
    for n, text in enumerate(texts):
        said = (text or "").strip()
        assert different[ids[n] - 3 : ids[n] - 2] == [said] if said else ids[n] == 2
    assert len(different[0:1000]) == len(different)


def test_batches_hold_texts_only_after_they_were_asked_for(fresh, tmp_path):
    gather = HistoryGather(fresh)
    users, ends = np.arange(9), np.arange(9)
    before = gather(users, ends, 5)
    assert "text" not in before.features
    different = EventTexts(fresh).as_feature(str(tmp_path))
    # The same one: a run makes its gathers before its encoder.
    after = gather(users, ends, 5)
    for row in range(9):
        first = fresh.offsets[row] + max(0, row - 5)
        said = [text.strip() for text in fresh.texts(np.arange(first, fresh.offsets[row] + row))]
        ids = after.features["text"][row, : len(said)].tolist()
        assert [different[n - 3 : n - 2][0] if n > 2 else "" for n in ids] == said
        assert not after.features["text"][row, len(said) :].any()
    for name, value in before.features.items():
        assert (after.features[name] == value).all()


def test_a_prepared_corpus_is_left_as_it_is(fresh, tmp_path):
    before = {path.name: path.stat().st_mtime_ns for path in fresh.folder.iterdir()}
    EventTexts(fresh).as_feature(str(tmp_path))
    assert {path.name: path.stat().st_mtime_ns for path in fresh.folder.iterdir()} == before


def test_texts_are_numbered_once_for_all_copies_of_a_corpus(tmp_path, monkeypatch):
    one = written(["a", "b", "a"], tmp_path / "one")
    same = written(["a", "b", "a"], tmp_path / "same")
    other = written(["a", "a", "b"], tmp_path / "other")
    EventTexts(one).as_feature(str(tmp_path))
    EventTexts(other).as_feature(str(tmp_path))
    monkeypatch.setattr(event_texts, "text_ids", None)
    EventTexts(same).as_feature(str(tmp_path))
    assert same.features["text"].tolist() == [3, 4, 3]
    assert other.features["text"].tolist() == [3, 3, 4]


def test_data_without_texts_is_refused_with_what_to_type(tmp_path):
    corpus = make(raw_data([(0, 3, 100, 3.0)]), tmp_path / "c")
    with pytest.raises(UserError, match=r"have no texts.*data\.text=summary.*leave text out"):
        EventTexts(corpus).as_feature(str(tmp_path))
    assert "text" not in corpus.features
