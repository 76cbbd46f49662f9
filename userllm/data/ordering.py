"""Give users and items integer codes and put events into their one order.

Many events share their timestamp with another event of the same user (three in four in
MovieLens-100K), so "the last event" needs a written rule. Inside a user, events are ordered by
(timestamp to the nanosecond, hash of user and item, item, rating). Row order in the file must not
matter, and sorting ties by item id would leak an artificial order that a sequence model can learn.
Rows that are equal in all of these are one event, whatever their texts are. What is hashed are
codes, so more users or items in a file let ties fall otherwise.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from userllm.data.columns import CATEGORIES, ITEM, NANOSECOND, RATING, TEXT, TIMESTAMP, USER
from userllm.data.hashing import hash_keys
from userllm.data.protocol import RawData

TIE, GROUP = "tie", "group"
EVENT_COLUMNS = [USER, ITEM, TIMESTAMP, RATING]


@dataclass(frozen=True)
class Coded:
    """Events by code, and what the codes stand for (row r has code r).

    Attributes:
        events: Columns user and item (Int32 codes), timestamp, nanosecond until they are ordered,
            rating, and text if there is any.
        users: Column user, sorted.
        items: The item table, sorted by item.
    """

    events: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame


def encode(raw: RawData) -> Coded:
    """Replace users and items by their rank among the sorted ids."""
    has_texts = TEXT in raw.events.columns
    users = raw.events.select(pl.col(USER).unique().sort())
    items = raw.items.sort(ITEM).with_columns(pl.col(CATEGORIES).list.unique().list.sort())
    events = raw.events.select(
        _codes(raw.events[USER], users[USER]),
        _codes(raw.events[ITEM], items[ITEM]),
        pl.col(TIMESTAMP),
        *finer(raw.events),
        pl.col(RATING),
        # A text of blanks is no text.
        *([pl.when(pl.col(TEXT).str.strip_chars() != "").then(pl.col(TEXT))] if has_texts else []),
    )
    return Coded(events, users, items)


def _codes(values: pl.Series, sorted_values: pl.Series) -> pl.Series:
    codes = pl.Series(np.arange(len(sorted_values), dtype=np.int32))
    return values.replace_strict(sorted_values, codes, return_dtype=pl.Int32)


def in_order(events: pl.DataFrame) -> pl.DataFrame:
    """Sort coded events by user and, inside a user, by the rule at the top of this file."""
    tie = hash_keys(events[USER].to_numpy(), events[ITEM].to_numpy())
    keyed = events.with_columns(pl.Series(TIE, tie))
    return keyed.sort(USER, TIMESTAMP, *finer(events), TIE, ITEM, RATING).drop(TIE)


def finer(events: pl.DataFrame) -> list[str]:
    """Return the column of what is finer than a second, where there is one."""
    return [NANOSECOND] if NANOSECOND in events.columns else []


def without_duplicates(ordered: pl.DataFrame) -> pl.DataFrame:
    """Drop rows that repeat the row before them in everything but the text, and nanoseconds.

    Of several texts the first in text order stays, so that row order in the file never matters.
    """
    columns = [*EVENT_COLUMNS, *finer(ordered)]
    same = [pl.col(column).eq_missing(pl.col(column).shift()) for column in columns]
    first = ordered.select(~pl.all_horizontal(same)).to_series()
    ordered = ordered.drop(finer(ordered))
    kept = ordered.filter(first)
    if TEXT not in ordered.columns or kept.height == ordered.height:
        return kept
    # Number the groups, and look only into those with several rows.
    group = (first.cum_sum() - 1).alias(GROUP)
    texts = ordered.select(TEXT, group).filter(~first | ~first.shift(-1, fill_value=True))
    chosen = texts.group_by(GROUP).agg(pl.col(TEXT).min())
    return kept.with_columns(kept[TEXT].scatter(chosen[GROUP], chosen[TEXT]))
