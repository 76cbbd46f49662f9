"""The arrays and tables a corpus consists of, made from coded events.

Shape suffixes: N users, I real items, G categories per item.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, USER
from userllm.data.ordering import Coded
from userllm.data.split import SPLITS
from userllm.data.texts import OFFSETS, text_offsets, utf8_pieces, write_bytes
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, PAD, RATING_FEATURE, UNKNOWN

Array = NDArray[Any]


@dataclass(frozen=True)
class Tables:
    """Everything of a corpus except its card.

    Attributes:
        arrays: Stored as ``<name>.npy``; the bytes of the texts are not among them, since they may
            be larger than all the rest.
        vocabulary: Category names and rating values, in the order of their ids.
        coded: Stored as the tables events, items and users.
    """

    arrays: dict[str, Array]
    vocabulary: dict[str, list[Any]]
    coded: Coded

    def write(self, folder: Path) -> None:
        """Store everything in ``folder``."""
        for name, array in self.arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        if OFFSETS in self.arrays:
            write_bytes(self.coded.events[TEXT], int(self.arrays[OFFSETS][-1]), folder)
        words = json.dumps(self.vocabulary, ensure_ascii=False)
        (folder / "vocabulary.json").write_text(words, encoding="utf-8")
        self.users.write_parquet(folder / "users.parquet")
        self.items.write_parquet(folder / "items.parquet")
        self._events().write_parquet(folder / "events.parquet")

    @property
    def users(self) -> pl.DataFrame:
        """The ids of the users, as strings."""
        return self.coded.users.select(pl.col(USER).cast(pl.String))

    @property
    def items(self) -> pl.DataFrame:
        """The item table, ids as strings."""
        return self.coded.items.with_columns(pl.col(ITEM).cast(pl.String))

    def _events(self) -> pl.DataFrame:
        """Return the events with the ids of the data instead of codes."""
        events = self.coded.events
        return events.with_columns(
            self.users[USER].gather(events[USER]), self.items[ITEM].gather(events[ITEM])
        )

    def fingerprint(self) -> str:
        """Return the sha256 of the content, which does not depend on file formats."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        if OFFSETS in self.arrays:
            for piece in utf8_pieces(self.coded.events[TEXT]):
                digest.update(piece)
        tables = [frame.to_dict(as_series=False) for frame in (self.users, self.items)]
        digest.update(json.dumps([self.vocabulary, *tables]).encode())
        return digest.hexdigest()


def make_tables(coded: Coded) -> Tables:
    """Lay coded, ordered events out as flat arrays with user offsets."""
    events = coded.events
    length_N = np.bincount(events[USER].to_numpy(), minlength=coded.users.height)
    categories = sorted(coded.items[CATEGORIES].explode().drop_nulls().unique())
    ratings = sorted(events[RATING].drop_nulls().unique())
    arrays: dict[str, Array] = {
        "offsets": np.concatenate([[0], np.cumsum(length_N)]),
        "timestamps": events[TIMESTAMP].to_numpy(),
        ITEM_FEATURE: events[ITEM].to_numpy() + np.int32(FIRST_ID),
        RATING_FEATURE: _rating_ids(events[RATING], ratings),
        "item_categories": _category_ids(coded.items[CATEGORIES].to_list(), categories),
    }
    if TEXT in events.columns:
        arrays[OFFSETS] = text_offsets(events[TEXT])
    for name, make in SPLITS.items():
        split = make(arrays["offsets"], arrays["timestamps"])
        arrays[f"split_{name}"] = split.as_array().astype(np.int32)
    return Tables(arrays, {"categories": categories, "ratings": ratings}, coded)


def _rating_ids(ratings: pl.Series, values: list[float]) -> Array:
    ids = range(FIRST_ID, FIRST_ID + len(values))
    kind = pl.Int16 if _fits(values) else pl.Int32
    return ratings.replace_strict(values, list(ids), default=UNKNOWN, return_dtype=kind).to_numpy()


def _fits(values: Sequence[object]) -> bool:
    """Return whether ids of so many values fit into 16 bits."""
    return len(values) + FIRST_ID <= np.iinfo(np.int16).max


def _category_ids(names: list[list[str]], categories: list[str]) -> Array:
    """Return category ids by item id, [I+3, G]; the special ids' rows are padding."""
    id_of = {name: index for index, name in enumerate(categories, start=FIRST_ID)}
    width = max([1, *map(len, names)])
    shape = (len(names) + FIRST_ID, width)
    ids = np.full(shape, PAD, dtype=np.int16 if _fits(categories) else np.int32)
    for row, values in enumerate(names, start=FIRST_ID):
        ids[row, : len(values)] = [id_of[name] for name in values]
    return ids
