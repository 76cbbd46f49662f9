"""What users wrote as one more feature of their events: equal texts have one id.

Texts repeat ("Five Stars"), so they are numbered once for a corpus and whoever makes vectors of
them makes one per different text. Nothing is done, and no batch gets larger, unless it is asked.

Shape suffixes: N events, D different texts.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from filelock import FileLock
from numpy.typing import NDArray

from userllm.data.atomic import whole_folder
from userllm.data.corpus import Corpus
from userllm.data.download import cache_dir
from userllm.data.progress import track
from userllm.data.vocabulary import FIRST_ID, TEXT_FEATURE, UNKNOWN
from userllm.errors import UserError

RULE = "without blanks at both ends, numbered by the first event"
"""Part of what names stored ids and vectors; another rule gets other files."""

PIECE = 200_000
"""Events whose texts are in memory at once."""

Array = NDArray[Any]


class EventTexts:
    """The texts of a corpus's events, ready to become a feature.

    Args:
        corpus: Whose events.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def as_feature(self, cache: str | None) -> "DifferentTexts":
        """Let every batch of the corpus's events have text ids, and return what they stand for.

        Id ``FIRST_ID + d`` is the d-th different text; an event without one has ``UNKNOWN``.

        Args:
            cache: Folder where the ids are kept; None is the project's cache folder.

        Raises:
            UserError: The corpus has no texts.
        """
        if not self.corpus.has_texts:
            raise UserError(
                f"encoder.features: {TEXT_FEATURE} is what users wrote, and the events of "
                f"{self.corpus.folder} have no texts. Expected data with texts: type "
                "data=synthetic, data=amazon_reviews data.text=summary or data=google_local "
                "data.text=body, give data=table a column with data.columns.text, or leave "
                f"{TEXT_FEATURE} out of encoder.features."
            )
        ids_N = self._ids(cache_dir(cache) / "text_ids")
        self.corpus.add_feature(TEXT_FEATURE, ids_N)
        return DifferentTexts(self.corpus, ids_N)

    def _ids(self, cache: Path) -> Array:
        """Return the id of every event, int32 [N], made once for every copy of the corpus."""
        name = blake2b(f"{self.corpus.fingerprint} {RULE}".encode(), digest_size=16).hexdigest()
        file = cache / name / "ids.npy"
        if not file.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{name}.lock"):
                if not file.is_file():
                    with whole_folder(file.parent) as unfinished:
                        np.save(unfinished / file.name, text_ids(self.corpus))
        ids_N: Array = np.load(file, mmap_mode="r", allow_pickle=False)
        return ids_N


@dataclass(frozen=True)
class DifferentTexts:
    """The different texts of a corpus as a sequence that reads only what is asked for.

    Attributes:
        corpus: Whose events.
        ids_N: The text id of every event; a text's first event has the lowest position.
    """

    corpus: Corpus
    ids_N: Array

    @property
    def name(self) -> str:
        """Return what decides the texts and their order."""
        return f"{self.corpus.fingerprint} {RULE}"

    def __len__(self) -> int:
        """Return D."""
        return max(int(self.ids_N.max(initial=0)) - FIRST_ID + 1, 0)

    def __getitem__(self, at: slice) -> list[str]:
        """Return some of the texts, without blanks at both ends."""
        return [text.strip() for text in self.corpus.texts(self._first[at])]

    @cached_property
    def _first(self) -> Array:
        """The first event with each text: the one whose id is above all before it."""
        highest_N = np.maximum.accumulate(self.ids_N)
        is_new_N = np.diff(highest_N, prepend=UNKNOWN) > 0
        return np.flatnonzero(is_new_N)


def text_ids(corpus: Corpus) -> NDArray[np.int32]:
    """Return the id of every event's text, [N]; in the order of the events they first come with."""
    events = len(corpus.timestamps)
    hashes_N2 = np.zeros((events, 2), np.uint64)
    has_text_N = np.zeros(events, np.bool_)
    starts = range(0, events, PIECE)
    for start in track(starts, f"numbering the texts of {events:,} events", len(starts)):
        at = slice(start, min(start + PIECE, events))
        texts = [text.strip() for text in corpus.texts(np.arange(at.start, at.stop))]
        # Two texts that share 128 bits do not occur.
        digests = b"".join(blake2b(text.encode(), digest_size=16).digest() for text in texts)
        hashes_N2[at] = np.frombuffer(digests, np.uint64).reshape(-1, 2)
        has_text_N[at] = [bool(text) for text in texts]
    written = np.flatnonzero(has_text_N)
    ids_N = np.full(events, UNKNOWN, np.int32)
    ids_N[written] = FIRST_ID + _numbered(hashes_N2[written])
    return ids_N


def _numbered(hashes_N2: NDArray[np.uint64]) -> Array:
    """Return 0, 1, 2, ... in the order in which hashes first come."""
    frame = pl.DataFrame({"one": hashes_N2[:, 0], "two": hashes_N2[:, 1]}).with_row_index("at")
    first_N = frame.select(pl.col("at").min().over("one", "two"))["at"].to_numpy()
    number_N: Array = np.unique(first_N, return_inverse=True)[1]
    return number_N
