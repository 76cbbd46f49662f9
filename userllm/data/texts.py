"""The texts of a corpus's events: one run of UTF-8 bytes and where each text begins in it.

Texts are stored flat and memory-mapped like everything else of a corpus, so that a corpus whose
texts are larger than the memory can be opened, and a text is found with two look-ups.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[Any]

BYTES, OFFSETS = "text_bytes", "text_offsets"
# Events whose texts are joined at a time; the texts exist twice for so many events only.
PIECE = 200_000


def text_offsets(texts: pl.Series) -> Array:
    """Return where each text begins, and at last the end: int64 [events + 1], counted in bytes.

    Args:
        texts: One per event (String); null is stored as a text of no bytes.
    """
    lengths = texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64)
    return np.concatenate([[0], np.cumsum(lengths)])


def utf8_pieces(texts: pl.Series) -> Iterator[bytes]:
    """Yield the bytes of all texts, some events at a time."""
    for first in range(0, len(texts), PIECE):
        yield "".join(texts.slice(first, PIECE).drop_nulls().to_list()).encode()


def write_bytes(texts: pl.Series, size: int, folder: Path) -> None:
    """Store the bytes of all texts as ``text_bytes.npy`` without holding them all.

    Args:
        texts: One per event.
        size: The last of their offsets.
        folder: Where the file goes.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    with (folder / f"{BYTES}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for piece in utf8_pieces(texts):
            file.write(piece)


def read_texts(data: Array, offsets: Array, positions: Array) -> list[str]:
    """Return one text per position; "" where the user wrote nothing.

    Args:
        data: The bytes of all texts, uint8.
        offsets: Where each text begins, int64 [events + 1].
        positions: Flat positions of events.
    """
    where = np.asarray(positions, dtype=np.int64)
    ends = zip(offsets[where].tolist(), offsets[where + 1].tolist(), strict=True)
    return [data[first:last].tobytes().decode() for first, last in ends]
