"""A corpus depends on the events only, and is whole or not there."""

import errno
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userllm.data import tables
from userllm.data.columns import ITEM, RATING, TIMESTAMP, USER
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.hashing import hash_keys
from userllm.data.protocol import RawData
from userllm.errors import UserError

rows = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 7),
        st.integers(100, 104),
        st.sampled_from([None, 0.5, 3.0, 5.0]),
    ),
    min_size=1,
    max_size=40,
)


def raw_data(events, ids=pl.Int32):
    frame = pl.DataFrame(
        events,
        schema={USER: pl.Int64, ITEM: pl.Int64, TIMESTAMP: pl.Int64, RATING: pl.Float32},
        orient="row",
    ).with_columns(pl.col(USER, ITEM).cast(ids))
    items = pl.DataFrame(
        {
            "item": range(8),
            "title": [f"film {n}" for n in range(8)],
            "categories": [["b", "a"][: n % 3] for n in range(8)],
            "year": [None, *range(1991, 1998)],
        },
        schema={
            "item": pl.Int64,
            "title": pl.String,
            "categories": pl.List(pl.String),
            "year": pl.Int32,
        },
    ).with_columns(pl.col(ITEM).cast(ids))
    return RawData(frame, items, {"source": "test", "licence": "none"})


def make(raw, folder, users=1, items=1):
    write_corpus(raw, name="x", min_user_events=users, min_item_events=items, folder=folder)
    return Corpus.open(folder)


def history(corpus, user):
    first, last = corpus.offsets[user : user + 2]
    return [
        (int(corpus.timestamps[i]), int(corpus.features["item"][i])) for i in range(first, last)
    ]


@settings(max_examples=25, deadline=None)
@given(events=rows, data=st.data())
def test_corpus_ignores_row_order(events, data, tmp_path_factory):
    shuffled = data.draw(st.permutations(events))
    folder = tmp_path_factory.mktemp("order")
    first = make(raw_data(events), folder / "a")
    second = make(raw_data(shuffled), folder / "b")
    assert first.fingerprint == second.fingerprint
    for name in first.card["files"]:
        if name.endswith(".npy"):
            assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()


@settings(max_examples=25, deadline=None)
@given(events=rows)
def test_corpus_holds_every_distinct_event_in_order(events, tmp_path_factory):
    corpus = make(raw_data(events), tmp_path_factory.mktemp("content") / "c")
    users, items = corpus.users[USER].to_list(), corpus.items[ITEM].to_list()
    stored = set()
    for user, name in enumerate(users):
        past = history(corpus, user)
        assert past == sorted(past, key=lambda event: event[0])
        ratings = corpus.features["rating"][corpus.offsets[user] : corpus.offsets[user + 1]]
        for (time, item), rating in zip(past, ratings, strict=True):
            value = None if rating == 2 else corpus.rating_values[rating - 3]
            stored.add((int(name), int(items[item - 3]), time, value))
    assert stored == set(events)
    assert (
        corpus.offsets[-1]
        == len(set(events))
        == pl.read_parquet(corpus.folder / "events.parquet").height
    )


def test_ties_follow_the_hash_of_user_and_item_and_not_the_item(tmp_path):
    events = [(user, item, 100, 3.0) for user in range(6) for item in range(8)]
    corpus = make(raw_data(events), tmp_path / "c")
    orders = [[item for _, item in history(corpus, user)] for user in range(6)]
    for user, order in enumerate(orders):
        keys = hash_keys(user, np.arange(8))
        assert order == [int(item) + 3 for item in np.argsort(keys)]
    assert len({tuple(order) for order in orders}) == 6
    assert corpus.card["statistics"]["tied_share"] == 1.0


def test_exact_duplicates_are_dropped_and_counted(tmp_path):
    events = [(1, 1, 100, 3.0)] * 3 + [(1, 1, 100, 4.0), (1, 1, 101, 3.0)]
    corpus = make(raw_data(events), tmp_path / "c")
    assert [step["events"] for step in corpus.card["counts"][:2]] == [5, 3]
    assert corpus.offsets[-1] == 3


def test_filters_hold_together_and_are_counted(tmp_path):
    # Item 7 is rare; without it user 2 has too few events; without user 2 item 6 is rare.
    events = [(user, item, 100 + item, 3.0) for user in (0, 1) for item in (0, 1, 2)]
    events += [(0, 6, 106, 3.0), (2, 6, 106, 3.0), (2, 0, 100, 3.0), (2, 7, 107, 3.0)]
    corpus = make(raw_data(events), tmp_path / "c", users=3, items=2)
    assert corpus.users[USER].to_list() == ["0", "1"]
    assert corpus.items[ITEM].to_list() == ["0", "1", "2"]
    counted = [(step["events"], step["users"], step["items"]) for step in corpus.card["counts"]]
    assert counted == [(10, 3, 8), (10, 3, 8), (9, 3, 4), (7, 2, 4), (6, 2, 3)]


def test_zero_keeps_items_nobody_touched(tmp_path):
    corpus = make(raw_data([(0, 3, 100, 3.0)]), tmp_path / "c", items=0)
    assert corpus.items.height == 8
    assert corpus.vocabulary.sizes == {"item": 11, "category": 5, "rating": 4}


def test_empty_result_lists_the_counts_of_every_filter(tmp_path):
    with pytest.raises(UserError) as caught:
        make(raw_data([(0, 1, 100, 3.0), (0, 2, 101, 3.0)]), tmp_path / "c", users=9)
    message = str(caught.value)
    assert "users with >= 9 events" in message
    assert "The longest history holds 2 events" in message
    assert "data.min_user_events" in message
    assert not (tmp_path / "c").exists()


def test_no_events_at_all_is_an_error_and_not_a_crash(tmp_path):
    with pytest.raises(UserError, match="no events are left"):
        make(raw_data([]), tmp_path / "c")


def test_categories_are_padded_and_named(tmp_path):
    corpus = make(raw_data([(0, item, 100, 3.0) for item in range(8)]), tmp_path / "c")
    assert corpus.category_names == ["a", "b"]
    expected = [[0, 0]] * 3 + [[[0, 0], [4, 0], [3, 4]][n % 3] for n in range(8)]
    assert corpus.item_categories.tolist() == expected
    assert corpus.vocabulary.item_categories.tolist() == expected


def test_string_ids_work_as_well(tmp_path):
    corpus = make(raw_data([(0, 3, 100, 3.0), (1, 3, 100, 3.0)], pl.String), tmp_path / "c")
    assert corpus.users[USER].to_list() == ["0", "1"]


def test_tables_that_break_the_contract_are_all_reported(tmp_path):
    raw = raw_data([(0, 3, 100, 3.0)])
    events = raw.events.drop(RATING).with_columns(pl.lit(None, pl.Int64).alias(TIMESTAMP))
    broken = RawData(events, raw.items.rename({"title": "name"}), {})
    with pytest.raises(UserError) as caught:
        make(broken, tmp_path / "c")
    for part in ("'rating' is missing", "events.timestamp: 1 rows", "'title' is missing"):
        assert part in str(caught.value)


def test_preparing_again_gives_the_same_corpus(tmp_path):
    raw = raw_data([(user, item, 100, 3.0) for user in range(3) for item in range(5)])
    first = make(raw, tmp_path / "c").fingerprint
    assert make(raw, tmp_path / "c").fingerprint == first
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def short_write(*_, **__):
    raise OSError("1000 requested and 384 written")


@pytest.mark.parametrize("failure", [full_disk, short_write])
def test_full_disk_is_a_clear_error_and_leaves_the_old_corpus(failure, tmp_path, monkeypatch):
    before = make(raw_data([(0, 3, 100, 3.0)]), tmp_path / "c").fingerprint
    monkeypatch.setattr(tables.np, "save", failure)
    with pytest.raises(UserError, match="disk is full"):
        make(raw_data([(0, 4, 100, 3.0)]), tmp_path / "c")
    assert Corpus.open(tmp_path / "c").fingerprint == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_interrupted_preparation_leaves_no_corpus(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("userllm.data.corpus.write_card", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(raw_data([(0, 4, 100, 3.0)]), tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    from userllm.data.atomic import _unfinished

    left = _unfinished(tmp_path / "c", 2**22 + 1)
    left.mkdir()
    make(raw_data([(0, 4, 100, 3.0)]), tmp_path / "c")
    assert not left.exists()


@pytest.mark.parametrize("damage", ["remove", "cut", "card", "half a card", "version"])
def test_damaged_corpus_is_refused(damage, tmp_path):
    make(raw_data([(0, 4, 100, 3.0)]), tmp_path / "c")
    card, array = tmp_path / "c" / "card.json", tmp_path / "c" / "item.npy"
    if damage == "remove":
        array.unlink()
    elif damage == "cut":
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "card":
        card.unlink()
    elif damage == "half a card":
        card.write_text(card.read_text()[:50])
    else:
        card.write_text(json.dumps({**json.loads(card.read_text()), "format_version": 99}))
    with pytest.raises(UserError, match="userllm prepare"):
        Corpus.open(tmp_path / "c")


def test_card_says_where_the_data_comes_from(tmp_path):
    make(raw_data([(0, item, 100 + item, 3.0) for item in range(5)]), tmp_path / "c")
    text = (tmp_path / "c" / "card.md").read_text()
    for part in ("| source | test |", "| licence | none |", "users with >= 1 events", "leave_last"):
        assert part in text


def test_unknown_split_lists_the_known_ones(corpus):
    with pytest.raises(UserError, match="leave_last_out, global_time"):
        corpus.split("random")


def test_split_that_leaves_nothing_to_test_is_refused(tmp_path):
    corpus = make(raw_data([(user, 1, 100, 3.0) for user in range(3)]), tmp_path / "c")
    with pytest.raises(UserError, match="0 test users"):
        corpus.split("leave_last_out")


def test_nouns_are_kept_and_older_corpora_have_the_general_ones(tmp_path):
    raw = raw_data([(0, 3, 100, 3.0)])
    nouns = {"item": "film", "category": "genre"}
    named = RawData(raw.events, raw.items, raw.provenance, nouns=nouns)
    corpus = make(named, tmp_path / "c")
    assert corpus.nouns == corpus.card["nouns"] == nouns
    older = {key: value for key, value in corpus.card.items() if key != "nouns"}
    (corpus.folder / "card.json").write_text(json.dumps(older))
    assert Corpus.open(corpus.folder).nouns == {"item": "item", "category": "category"}


def test_nouns_and_paper_datasets_that_do_not_exist_are_refused(tmp_path):
    raw = raw_data([(0, 3, 100, 3.0)])
    for changes, problem in (
        ({"nouns": {"item": "film"}}, "nouns: expected a word"),
        ({"paper_dataset": "ML"}, "paper_dataset: found 'ML'.*MovieLens-20M"),
    ):
        broken = RawData(raw.events, raw.items, raw.provenance, **changes)
        with pytest.raises(UserError, match=problem):
            make(broken, tmp_path / "c")
