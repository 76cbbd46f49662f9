"""What a dataset hands over, before anything is filtered, coded or split."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import polars as pl

NOUNS = {"item": "item", "category": "category"}
"""What items and categories are called where nobody said anything better."""


@dataclass(frozen=True)
class RawData:
    """One dataset as its reader found it, in any row order.

    Attributes:
        events: Columns user, item (both integers or both strings), timestamp (Int64, seconds since
            1970, UTC) and rating (Float32; null = not rated); if times are finer, nanosecond
            (Int32, behind the second); if the data has any, text (String, what the user wrote
            about the item; null = nothing).
        items: Columns item (as in ``events``, unique), title (String), categories (List[String],
            may be empty) and year (Int32; null = not known).
        provenance: For the data card: ``source``, ``licence``, ``url`` or ``package``, ``files``
            (name -> sha256) and what the reader dropped.
        nouns: What an "item" and a "category" are called, in the singular, for prompts.
        paper_dataset: Its row in the paper's Table 1 (a key of ``paper_counts.TABLE_1``), or None.
        files: The files that were read; what was prepared from them is refused once they change.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    provenance: dict[str, Any]
    nouns: dict[str, str] = field(default_factory=lambda: dict(NOUNS))
    paper_dataset: str | None = None
    files: tuple[Path, ...] = ()


class Dataset(Protocol):
    """A source of events that ``prepare`` can turn into a corpus.

    Attributes:
        name: Names the dataset in cards, tables and errors.
        min_user_events: Users with fewer events are dropped.
        min_item_events: Items with fewer events are dropped.
    """

    name: str
    min_user_events: int
    min_item_events: int

    def read(self) -> RawData:
        """Return everything; raise ``UserError`` for files that cannot be used."""
        ...
