"""What a dataset hands over, before anything is filtered, coded or split."""

from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl


@dataclass(frozen=True)
class RawData:
    """One dataset as its reader found it, in any row order.

    Attributes:
        events: Columns user, item (both integers or both strings), timestamp (Int64, seconds since
            1970, UTC) and rating (Float32; null = not rated).
        items: Columns item (as in ``events``, unique), title (String), categories (List[String],
            may be empty) and year (Int32; null = not known).
        provenance: For the data card: ``source``, ``licence``, ``url`` or ``package``, ``files``
            (name -> sha256) and what the reader dropped.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    provenance: dict[str, Any]


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
