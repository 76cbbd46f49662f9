"""Simulated users are reproducible, do not depend on each other, and can be learned from."""

import numpy as np
import polars as pl
import pytest

from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, TITLE, USER
from userllm.data.synthetic import Synthetic
from userllm.data.synthetic_names import category_name
from userllm.errors import UserError


def world(**changes):
    settings = {
        "name": "x",
        "users": 120,
        "items": 90,
        "events_per_user": 20,
        "categories": 6,
        "drift": 0.01,
        "texts": True,
        "seed": 0,
        "min_user_events": 1,
        "min_item_events": 1,
    }
    return Synthetic(**{**settings, **changes})


def test_same_seed_gives_the_same_users_and_another_seed_others():
    first, again, other = world().read(), world().read(), world(seed=1).read()
    assert first.events.equals(again.events)
    assert first.items.equals(again.items)
    assert not first.events.equals(other.events)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_streaming_equals_one_shot(size):
    dataset = world()
    assert pl.concat(dataset.chunks(size)).equals(dataset.read().events)


def test_more_users_do_not_change_the_first_ones():
    few, many = world(users=30).read().events, world(users=60).read().events
    assert many.filter(pl.col(USER) < 30).equals(few)


def test_nobody_sees_an_item_twice():
    events = world(items=50, events_per_user=25).read().events
    assert not events.select(USER, ITEM).is_duplicated().any()


def test_events_are_as_many_as_asked_for_and_in_time_order():
    events = world(users=1000).read().events
    assert events.height / 1000 == pytest.approx(20, rel=0.1)
    assert events.group_by(USER).agg(pl.col(TIMESTAMP).diff().min().alias("gap"))["gap"].min() >= 0
    assert set(events[RATING].unique()) <= {1.0, 2.0, 3.0, 4.0, 5.0}


def test_titles_are_unique_and_categories_one_to_three():
    items = world(items=1500).items()
    assert items[TITLE].n_unique() == 1500
    assert set(items[CATEGORIES].list.len().unique()) == {1, 2, 3}


def categories_of(dataset):
    """Main categories of all events, as (user, category) columns."""
    main = dict(
        zip(dataset.catalogue.item.tolist(), dataset.catalogue.category.tolist(), strict=True)
    )
    return dataset.read().events.select(USER, pl.col(ITEM).replace_strict(main).alias("category"))


def test_favourite_category_varies_between_users():
    counts = categories_of(world(users=600)).group_by(USER, "category").len()
    favourite = counts.sort("len", descending=True).group_by(USER).first()["category"]
    shares = favourite.value_counts(normalize=True)["proportion"]
    assert len(shares) == 6
    assert shares.max() < 0.4


def test_next_category_depends_on_the_one_before():
    steps = categories_of(world(users=600)).with_columns(
        pl.col("category").shift().over(USER).alias("before")
    )
    same = steps.drop_nulls().select((pl.col("category") == pl.col("before")).mean()).item()
    # Users' own interests alone would give the share of equal categories in shuffled histories.
    shuffled = steps.with_columns(pl.col("category").shuffle(seed=0).over(USER)).with_columns(
        pl.col("category").shift().over(USER).alias("before")
    )
    chance = shuffled.drop_nulls().select((pl.col("category") == pl.col("before")).mean()).item()
    assert same > chance + 0.1


def test_interests_drift():
    def overlap(drift):
        table = categories_of(world(users=400, items=900, events_per_user=40, drift=drift))
        place = pl.int_range(pl.len()).over(USER) / pl.len().over(USER)
        halves = table.with_columns((place >= 0.5).alias("late"))
        counts = halves.group_by(USER, "category").agg(
            pl.col("late").sum(), (~pl.col("late")).sum().alias("early")
        )
        values = counts.select("early", "late").to_numpy().astype(float)
        return np.corrcoef(values.T)[0, 1]

    assert overlap(0.05) < overlap(0.0) - 0.1


@pytest.mark.parametrize(
    "bad", [{"users": 0}, {"categories": 91}, {"events_per_user": 46}, {"events_per_user": 2}]
)
def test_impossible_worlds_are_refused(bad):
    with pytest.raises(UserError, match=rf"data\.{next(iter(bad))}"):
        world(**bad)


def test_texts_change_no_event():
    silent, talking = world(texts=False).read().events, world().read().events
    assert TEXT not in silent.columns
    assert talking.drop(TEXT).equals(silent)


def test_texts_follow_the_item_the_rating_and_the_user():
    dataset = world(users=400, drift=0.0)
    main = dict(
        zip(dataset.catalogue.item.tolist(), dataset.catalogue.category.tolist(), strict=True)
    )
    events = dataset.read().events.with_columns(pl.col(ITEM).replace_strict(main).alias("category"))
    assert 0.05 < events[TEXT].null_count() / events.height < 0.15
    written = events.drop_nulls(TEXT)
    named = written.select(
        pl.col(TEXT)
        .str.to_lowercase()
        .str.contains(
            pl.col("category").map_elements(lambda c: category_name(c).lower(), pl.String)
        )
    )
    assert named.to_series().all()

    # Who knows category, rating and user has at most two texts to choose from; without the user
    # there are many more.
    def choices(*known):
        return written.group_by(known).agg(pl.col(TEXT).n_unique().alias("n"))["n"].max()

    assert choices("category", RATING, USER) == 2
    assert choices("category", RATING) > 20
