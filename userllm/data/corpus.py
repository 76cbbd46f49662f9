"""A prepared dataset on disk: flat arrays with user offsets, memory-mapped, plus readable tables.

Files: ``offsets timestamps item rating item_categories .npy``, ``text_bytes text_offsets .npy``
if there are texts, one ``.npy`` per split,
``events items users .parquet``, ``vocabulary.json`` and the data card, which is written last and
lists the size of every other file.

Shape suffixes: N users, I real items, G categories per item.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from userllm.data.atomic import whole_folder
from userllm.data.card import split_statistics, statistics, write_card
from userllm.data.columns import ITEM, USER
from userllm.data.filters import count, keep_frequent, refuse_empty
from userllm.data.ordering import Coded, encode, in_order, without_duplicates
from userllm.data.paper_counts import paper_counts
from userllm.data.progress import stage
from userllm.data.protocol import NOUNS, RawData
from userllm.data.schema import check_raw
from userllm.data.split import SPLITS, Split
from userllm.data.tables import make_tables
from userllm.data.texts import BYTES, OFFSETS, read_texts
from userllm.data.vocabulary import (
    CATEGORY_FEATURE,
    FIRST_ID,
    ITEM_FEATURE,
    RATING_FEATURE,
    Vocabulary,
)
from userllm.errors import UserError

Array = NDArray[Any]
FORMAT_VERSION = 1


class Corpus:
    """A prepared dataset, opened without reading more than is asked for.

    Attributes:
        folder: Where it lies.
        card: The data card (counts, hashes, source, licence, statistics).
        fingerprint: sha256 over the content; two corpora with the same one are the same.
        offsets: int64 [N+1]; user n owns the flat positions ``offsets[n] .. offsets[n+1] - 1``.
        timestamps: int64, flat, seconds since 1970, ascending inside a user.
        features: Per event, flat: "item" (int32) and "rating" (int16) ids, and those added.
        item_categories: int16 or int32 [I+3, G]; category ids by item id, padded with 0.
        category_names: The category of id ``index + 3``.
        rating_values: The rating of id ``index + 3``.
        nouns: What an "item" and a "category" are called here, in the singular.
        has_texts: Whether users wrote texts.
        text_offsets: int64 [events + 1], counted in bytes, by flat position; None without texts.
    """

    def __init__(self, folder: Path, card: dict[str, Any]) -> None:
        self.folder = folder
        self.card = card
        self.fingerprint: str = card["fingerprint"]
        self.offsets = self._array("offsets")
        self.timestamps = self._array("timestamps")
        self.features = {name: self._array(name) for name in (ITEM_FEATURE, RATING_FEATURE)}
        self.item_categories = self._array("item_categories")
        words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self.category_names: list[str] = words["categories"]
        self.rating_values: list[float] = words["ratings"]
        # Corpora of older versions know no nouns.
        self.nouns: dict[str, str] = card.get("nouns", dict(NOUNS))
        self.has_texts = f"{OFFSETS}.npy" in card["files"]
        self.text_offsets = self._array(OFFSETS) if self.has_texts else None

    @classmethod
    def open(cls, folder: Path | str) -> Corpus:
        """Open a corpus.

        Raises:
            UserError: There is none, it is incomplete, or another version wrote it.
        """
        folder = Path(folder)
        remedy = "run 'userllm prepare' for it again"
        try:
            card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
            version, files = card["format_version"], card["files"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder} is not a corpus ({error!r}): {remedy}") from error
        if version != FORMAT_VERSION:
            versions = f"version {version}, this userllm reads {FORMAT_VERSION}"
            raise UserError(f"the corpus in {folder} has {versions}: {remedy}")
        sizes = _file_sizes(folder)
        for name, expected in files.items():
            if sizes.get(name) != expected:
                found = "is missing" if name not in sizes else f"has {sizes[name]:,} bytes"
                given = f"{folder / name} {found}, {expected:,} bytes expected"
                raise UserError(f"{given}: the corpus is damaged, {remedy}")
        return cls(folder, card)

    def _array(self, name: str) -> Array:
        array: Array = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    def add_feature(self, name: str, flat: Array) -> None:
        """Let batches hold one more feature, those of gathers made before included.

        An encoder asks for it when it is built, which is after the questions about the users are.
        """
        self.features[name] = flat

    def texts(self, positions: Array) -> list[str]:
        """Return what was written at each flat position; "" where nothing was."""
        if self.text_offsets is None:
            return [""] * len(positions)
        return read_texts(self._text_bytes, self.text_offsets, positions)

    @cached_property
    def _text_bytes(self) -> Array:
        return self._array(BYTES)

    @cached_property
    def items(self) -> pl.DataFrame:
        """One row per real item (item, title, categories, year); row r has id r + 3."""
        return pl.read_parquet(self.folder / "items.parquet")

    @cached_property
    def users(self) -> pl.DataFrame:
        """One row per user (user); row n is user n of the arrays."""
        return pl.read_parquet(self.folder / "users.parquet")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The sizes of the id spaces, for the encoders."""
        return Vocabulary(
            sizes={
                ITEM_FEATURE: len(self.item_categories),
                CATEGORY_FEATURE: len(self.category_names) + FIRST_ID,
                RATING_FEATURE: len(self.rating_values) + FIRST_ID,
            },
            item_categories=torch.from_numpy(self.item_categories.astype(np.int64)),
        )

    def split(self, name: str) -> Split:
        """Return a stored split.

        Raises:
            UserError: The name is unknown, or the split leaves nothing to train on or to test.
        """
        if name not in SPLITS:
            raise UserError(f"split={name} does not exist, expected one of: {', '.join(SPLITS)}")
        split = Split(name, *self._array(f"split_{name}").astype(np.int64))
        if not split.train_end.any() or not len(split.targets("test")[0]):
            raise UserError(
                f"split={name} leaves {int(split.train_end.sum())} training events and "
                f"{len(split.targets('test')[0])} test users of {self.folder}; use another split "
                "or a corpus with longer histories"
            )
        return split


def write_corpus(
    raw: RawData, *, name: str, min_user_events: int, min_item_events: int, folder: Path
) -> None:
    """Order, filter, code and store a dataset, so that ``folder`` is a whole corpus or untouched.

    Args:
        raw: What the dataset's reader returned; hand it over, so that its memory can be freed.
        name: Name of the dataset, for the card and for errors.
        min_user_events: Users with fewer events are dropped.
        min_item_events: Items with fewer events are dropped; 0 keeps items nobody touched.
        folder: Where the corpus goes; an old one there is replaced.

    Raises:
        UserError: The tables break the contract, nothing is left, or the disk is full.
    """
    check_raw(raw, name)
    origin = {"provenance": raw.provenance, "nouns": raw.nouns}
    with stage(f"ordering {raw.events.height:,} events"):
        coded, dataset = encode(raw), raw.paper_dataset
        # From here on codes stand for the ids, which take most of the memory.
        del raw
        counts = [count("read", coded)]
        coded = replace(coded, events=in_order(coded.events))
        coded = replace(coded, events=without_duplicates(coded.events))
        counts.append(count("exact duplicates dropped", coded))
        origin["paper_counts"] = _paper_counts(coded, dataset)
        longest = int(np.bincount(coded.events[USER].to_numpy()).max(initial=0))
        coded, dropped = keep_frequent(coded, min_user_events, min_item_events)
        counts += dropped
    refuse_empty(counts, longest, name)
    with stage(f"writing {coded.events.height:,} events"), whole_folder(folder) as unfinished:
        tables = make_tables(coded)
        tables.write(unfinished)
        card = {
            "format_version": FORMAT_VERSION,
            "name": name,
            "fingerprint": tables.fingerprint(),
            **origin,
            "counts": [asdict(step) for step in counts],
            "statistics": statistics(tables.arrays),
            "splits": split_statistics(tables.arrays["offsets"], tables.arrays["timestamps"]),
            "files": _file_sizes(unfinished),
        }
        write_card(card, unfinished)


def _paper_counts(coded: Coded, dataset: str | None) -> dict[str, Any]:
    users, items = (coded.events[column].to_numpy() for column in (USER, ITEM))
    return paper_counts(users, items, catalogue=coded.items.height, dataset=dataset)


def _file_sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
