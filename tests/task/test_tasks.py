"""What the tasks ask, whom, and that nothing after the cut can matter."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from userllm.data.corpus import Corpus, write_corpus
from userllm.data.protocol import RawData
from userllm.errors import UserError
from userllm.lm.tiny import byte_tokenizer
from userllm.metric.ranking import Ranking
from userllm.task.batch import QuestionReader
from userllm.task.favorite_category import FavoriteCategory
from userllm.task.next_item import NextItem
from userllm.task.prompt import PromptWriter, TokenTable

CATEGORIES = ["Comedy", "Drama", "War"]
METRIC = Ranking(cutoffs=[1, 5], mask_seen=True)


def raw(*, changed_after: int | None = None, users: int = 40, events: int = 12) -> RawData:
    """Return random histories; with ``changed_after``, events from that position on differ."""
    rng = np.random.default_rng(0)
    items = rng.permuted(np.tile(np.arange(30), (users, 1)), axis=1)[:, :events]
    ratings = rng.integers(1, 6, size=(users, events))
    if changed_after is not None:
        items[:, changed_after:] = items[:, changed_after:][:, ::-1]
        ratings[:, changed_after:] = 6 - ratings[:, changed_after:]
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(users), events),
            "item": items.ravel(),
            "timestamp": np.tile(np.arange(events), users) * 1000,
            "rating": ratings.ravel().astype(np.float32),
        }
    )
    catalogue = pl.DataFrame(
        {
            "item": np.arange(30),
            "title": [f"Title {i}" for i in range(30)],
            "categories": [[CATEGORIES[i % 3]] for i in range(30)],
            "year": pl.Series([1990 + i for i in range(30)], dtype=pl.Int32),
        }
    )
    return RawData(frame, catalogue, {"source": "test", "licence": "none", "files": {}})


def corpus_of(folder: Path, data: RawData) -> Corpus:
    write_corpus(data, name="test", min_user_events=1, min_item_events=0, folder=folder)
    return Corpus.open(folder)


def favorite(**changes) -> FavoriteCategory:
    options = {
        "metric": METRIC,
        "scorer": "exhaustive",
        "question": "Which category?",
        "window": 5,
        "held_out": 0.3,
        "min_history": 3,
        "beams": 5,
        "overlap_users": 0,
    }
    return FavoriteCategory(**(options | changes))


def next_item(**changes) -> NextItem:
    options = {
        "metric": METRIC,
        "scorer": "item_head",
        "question": "What next?",
        "min_history": 1,
        "encoder_skip": True,
        "beams": 5,
        "overlap_users": 0,
    }
    return NextItem(**(options | changes))


def reader(corpus: Corpus, task, text_events: int = 4) -> QuestionReader:
    writer = PromptWriter(
        tokenizer=byte_tokenizer(),
        corpus=corpus,
        question=task.question,
        text_events=text_events,
    )
    return QuestionReader(corpus=corpus, task=task, writer=writer, history=6)


@pytest.mark.parametrize("task", [favorite(), next_item()], ids=lambda t: t.name)
def test_events_after_the_cut_change_nothing_that_a_model_reads(tmp_path: Path, task) -> None:
    cut = 8
    before = corpus_of(tmp_path / "a", raw())
    after = corpus_of(tmp_path / "b", raw(changed_after=cut))
    users, cuts = np.arange(40), np.full(40, cut)
    first, second = (reader(c, task)(users, cuts) for c in (before, after))
    assert first.prompt.ids_BT.equal(second.prompt.ids_BT)
    for name, values in first.events.features.items():
        assert values.equal(second.events.features[name]), name
    assert not np.array_equal(before.features["item"], after.features["item"])


def test_training_questions_end_before_every_held_out_event(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", raw())
    split = corpus.split("leave_last_out")
    for task in (favorite(), next_item()):
        train = task.questions(corpus, split, "train")
        assert (train.cuts < split.valid[train.users]).all()
        assert (train.cuts < split.test[train.users]).all()


def test_favorite_category_tests_users_that_are_never_trained_on(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", raw())
    split = corpus.split("leave_last_out")
    parts = ("train", "valid", "test")
    users = {p: set(favorite().questions(corpus, split, p).users) for p in parts}
    assert all(users.values())
    assert not users["train"] & users["test"]
    assert not users["train"] & users["valid"]
    assert not users["valid"] & users["test"]


def test_the_label_counts_the_window_and_ties_go_to_the_category_seen_last(tmp_path: Path) -> None:
    kinds = [["Drama"], ["Comedy"], ["Comedy"], ["War"], ["Drama"], ["War"]]
    data = RawData(
        pl.DataFrame(
            {
                "user": [0] * 6,
                "item": list(range(6)),
                "timestamp": list(range(6)),
                "rating": pl.Series([1.0] * 6, dtype=pl.Float32),
            }
        ),
        pl.DataFrame(
            {
                "item": list(range(6)),
                "title": [f"T{i}" for i in range(6)],
                "categories": kinds,
                "year": pl.Series([None] * 6, dtype=pl.Int32),
            }
        ),
        {"source": "test", "licence": "none", "files": {}},
    )
    corpus = corpus_of(tmp_path / "c", data)
    names = corpus.category_names

    def label(window: int, cut: int) -> str:
        return names[favorite(window=window).labels(corpus, np.array([0]), np.array([cut]))[0]]

    assert label(5, 3) == "Comedy"
    assert label(5, 5) == "Drama"  # two Comedy, two Drama: Drama was seen last
    assert label(2, 4) == "War"  # Comedy and War once each: War was seen last
    assert label(1, 1) == "Drama"


def test_counting_the_visible_history_gives_the_label_itself(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", raw())
    split = corpus.split("leave_last_out")
    task = favorite()
    asked = task.questions(corpus, split, "test")
    counted = task.references(corpus, split, asked)["count_history"]
    assert (counted.argmax(axis=1) == task.labels(corpus, asked.users, asked.cuts)).all()


def test_the_majority_floor_does_not_see_held_out_users(tmp_path: Path) -> None:
    base, changed = raw(), raw()
    corpus = corpus_of(tmp_path / "a", base)
    split = corpus.split("leave_last_out")
    task = favorite()
    asked = task.questions(corpus, split, "test")
    held_out = corpus.users["user"].gather(asked.users).cast(pl.Int64)
    events = changed.events.with_columns(
        pl.when(pl.col("user").is_in(held_out.implode()))
        .then(pl.lit(0, dtype=pl.Int64))
        .otherwise(pl.col("item"))
        .alias("item")
    )
    other = corpus_of(tmp_path / "b", RawData(events, changed.items, changed.provenance))
    floor = task.references(corpus, split, asked)["majority"]
    again = task.references(other, other.split("leave_last_out"), asked)["majority"]
    assert np.array_equal(floor, again)


def test_next_item_leaves_out_exactly_the_items_seen_before_the_cut(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", raw())
    users, cuts = np.array([3, 7]), np.array([4, 9])
    seen = next_item().seen(corpus, users, cuts)
    for row, (user, cut) in enumerate(zip(users, cuts, strict=True)):
        start = corpus.offsets[user]
        assert set(np.flatnonzero(seen[row])) == set(
            corpus.features["item"][start : start + cut] - 3
        )
    assert next_item(metric=Ranking(cutoffs=[1], mask_seen=False)).seen(corpus, users, cuts) is None


def test_next_item_labels_are_the_events_at_the_cut(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", raw())
    labels = next_item().labels(corpus, np.array([2]), np.array([5]))
    title = next_item().answers(corpus)[labels[0]]
    item = corpus.features["item"][corpus.offsets[2] + 5]
    assert title == corpus.items["title"][int(item) - 3]


def test_a_prompt_reads_as_written(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", raw())
    task = next_item()
    batch = reader(corpus, task, text_events=2)(np.array([0, 1]), np.array([5, 1]))
    tokenizer = byte_tokenizer()
    texts = [
        tokenizer.decode(ids[mask])
        for ids, mask in zip(batch.prompt.ids_BT, batch.prompt.mask_BT, strict=True)
    ]
    start = int(corpus.offsets[0])
    lines = []
    for at in (start + 3, start + 4):
        row = corpus.items.row(int(corpus.features["item"][at]) - 3, named=True)
        rating = corpus.rating_values[int(corpus.features["rating"][at]) - 3]
        lines.append(f"{row['title']}, {row['categories'][0]}, {rating:g}\n")
    assert texts[0].endswith("".join(lines) + "What next?\nAnswer:")
    assert texts[1].count("Title") == 1


def test_rows_of_a_token_table_are_what_was_put_in() -> None:
    sequences = [[4, 5], [], [6], [7, 8, 9]]
    table = TokenTable(sequences)
    batch = table.joined(np.array([[0, 3, -1], [1, -1, 2]]))
    assert [ids[mask].tolist() for ids, mask in zip(batch.ids_BT, batch.mask_BT, strict=True)] == [
        [4, 5, 7, 8, 9],
        [6],
    ]
    assert not batch.mask_BT[1, 0]
    assert batch.mask_BT[1, -1]


def test_a_share_of_held_out_users_that_leaves_nobody_is_refused() -> None:
    with pytest.raises(UserError, match=r"held_out=0\.9"):
        favorite(held_out=0.9)
