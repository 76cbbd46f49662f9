"""Texts stay with their events, whatever the row order, and change nothing else."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_corpus import make, raw_data, rows
from userllm.data.columns import ITEM, TEXT, USER
from userllm.data.protocol import RawData
from userllm.errors import UserError

TEXTS = [None, "", " \n", "zut", "Ünïcode — “quotes” \U0001f600", "two\nlines", "a" * 1000]


def with_texts(raw, texts):
    column = pl.Series(TEXT, texts, dtype=pl.String)
    return RawData(raw.events.with_columns(column), raw.items, raw.provenance)


@settings(max_examples=25, deadline=None)
@given(events=rows, data=st.data())
def test_texts_stay_with_their_events_in_any_row_order(events, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    said = data.draw(st.lists(st.sampled_from(TEXTS), min_size=len(events), max_size=len(events)))
    order = data.draw(st.permutations(range(len(events))))
    first = make(with_texts(raw_data(events), said), folder / "a")
    shuffled = raw_data([events[n] for n in order])
    second = make(with_texts(shuffled, [said[n] for n in order]), folder / "b")
    assert first.fingerprint == second.fingerprint
    expected = {}
    for event, text in sorted(zip(events, said, strict=True), key=lambda pair: pair[1] or ""):
        # The first text in text order, and any text before none; blanks are none.
        expected[event] = expected.get(event) or (text if (text or "").strip() else "")
    users, items = first.users[USER].to_list(), first.items[ITEM].to_list()
    numbers = np.repeat(np.arange(len(users)), np.diff(first.offsets))
    stored = {}
    for position, text in enumerate(first.texts(np.arange(len(numbers)))):
        rating = first.features["rating"][position]
        value = None if rating == 2 else first.rating_values[rating - 3]
        item = int(items[first.features["item"][position] - 3])
        time = int(first.timestamps[position])
        stored[int(users[numbers[position]]), item, time, value] = text
    assert stored == expected


def test_texts_change_nothing_else(tmp_path):
    raw = raw_data([(user, item, 100, 3.0) for user in range(3) for item in range(5)])
    silent, talking = make(raw, tmp_path / "a"), make(with_texts(raw, ["x"] * 15), tmp_path / "b")
    for name in silent.card["files"]:
        if name.endswith(".npy"):
            assert (silent.folder / name).read_bytes() == (talking.folder / name).read_bytes()
    assert silent.fingerprint != talking.fingerprint
    assert (silent.has_texts, silent.text_offsets, silent.texts([0, 1])) == (False, None, ["", ""])
    assert talking.has_texts
    assert len(talking.text_offsets) == 16
    assert talking.card["statistics"]["events_with_text"] == 15


def test_another_text_is_another_corpus(tmp_path):
    raw = raw_data([(0, 3, 100, 3.0), (0, 4, 100, 3.0)])
    prints = {
        make(with_texts(raw, texts), tmp_path / "c").fingerprint
        for texts in (["ab", "c"], ["a", "bc"], ["ab", "d"], [None, None])
    }
    assert len(prints) == 4


def test_corpus_where_nobody_wrote_anything_can_be_opened(tmp_path):
    corpus = make(with_texts(raw_data([(0, 3, 100, 3.0)]), [None]), tmp_path / "c")
    assert corpus.texts(np.array([0])) == [""]


def test_texts_are_joined_in_pieces_without_a_seam(tmp_path, monkeypatch):
    raw = raw_data([(user, item, 100, 3.0) for user in range(3) for item in range(5)])
    raw = with_texts(raw, [f"text {n} é" * (n % 3) for n in range(15)])
    whole = make(raw, tmp_path / "a")
    monkeypatch.setattr("userllm.data.texts.PIECE", 4)
    pieces = make(raw, tmp_path / "b")
    assert whole.fingerprint == pieces.fingerprint
    assert whole.texts(np.arange(15)) == pieces.texts(np.arange(15))


def test_texts_of_another_type_are_refused(tmp_path):
    raw = raw_data([(0, 3, 100, 3.0)])
    broken = RawData(raw.events.with_columns(pl.lit(5).alias(TEXT)), raw.items, raw.provenance)
    with pytest.raises(UserError, match=r"events\.text: expected String"):
        make(broken, tmp_path / "c")
