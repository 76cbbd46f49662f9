"""Vectors from hashed words and parts of words: no model, no download, the same everywhere.

Texts that share words or parts of words point into similar directions, and that is all these
vectors know. For tests, smoke runs and as the floor that a language model has to beat.

Shape suffixes: N texts, W sentence width, K buckets.
"""

import json
import re
from functools import cached_property
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from userllm.data.hashing import normal
from userllm.data.progress import track
from userllm.sentence.protocol import Encode

CHUNK = 4096
"""Texts handled at once; bounds memory."""

WORDS = 300_000
"""Words remembered; bounds memory."""


class HashedSentence:
    """Sum fixed random vectors of a text's words and their n-grams, scaled to length one.

    Args:
        width: Width W.
        buckets: Different random vectors K; pieces that meet in a bucket are taken for one.
        ngrams: Lengths of the pieces of words, in characters; empty for whole words only.
        seed: Decides the random vectors.
    """

    def __init__(self, *, width: int, buckets: int, ngrams: list[int], seed: int) -> None:
        self._width, self.buckets, self.ngrams, self.seed = width, buckets, ngrams, seed

    @property
    def width(self) -> int:
        """Return W."""
        return self._width

    @property
    def identity(self) -> str:
        """Return everything that decides a vector beside the text."""
        return json.dumps(["hashed", self.width, self.buckets, self.ngrams, self.seed])

    def load(self) -> Encode:
        """Return the encoder of chunks of texts; it remembers words it has seen."""
        buckets_of: dict[str, list[int]] = {}
        return lambda texts: torch.from_numpy(self._vectors(texts, buckets_of))

    def encode(self, texts: list[str]) -> Tensor:
        """Return one vector per text, [N, W]; zero where a text has no letter and no digit."""
        vectors_NW = torch.zeros(len(texts), self.width)
        encode = self.load()
        starts = range(0, len(texts), CHUNK)
        for start in track(starts, f"hashing {len(texts):,} texts", len(starts)):
            vectors_NW[start : start + CHUNK] = encode(texts[start : start + CHUNK])
        return vectors_NW

    def _vectors(self, texts: list[str], buckets_of: dict[str, list[int]]) -> NDArray[np.float32]:
        sums_NW = self._counts(texts, buckets_of) @ self._table
        length_N1 = np.linalg.norm(sums_NW, axis=1, keepdims=True)
        vectors_NW: NDArray[np.float32] = sums_NW / np.maximum(length_N1, 1e-12)
        return vectors_NW

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        """One random vector per bucket, [K, W]."""
        buckets_K1 = np.arange(self.buckets)[:, None]
        return normal(self.seed, buckets_K1, np.arange(self.width)).astype(np.float32)

    def _counts(self, texts: list[str], buckets_of: dict[str, list[int]]) -> sparse.csr_array:
        """Return how often each text has a piece of each bucket, [N, K]."""
        if len(buckets_of) > WORDS:
            buckets_of.clear()
        columns: list[int] = []
        ends = [0]
        for text in texts:
            for word in re.findall(r"\w+", text.casefold()):
                if word not in buckets_of:
                    buckets_of[word] = self._buckets(word)
                columns.extend(buckets_of[word])
            ends.append(len(columns))
        ones = np.ones(len(columns), dtype=np.float32)
        return sparse.csr_array((ones, columns, ends), shape=(len(texts), self.buckets))

    def _buckets(self, word: str) -> list[int]:
        marked = f"<{word}>"
        pieces = [
            marked[start : start + n] for n in self.ngrams for start in range(len(marked) - n + 1)
        ]
        return [
            crc32(piece.encode("utf-8", "surrogatepass")) % self.buckets
            for piece in [word, *pieces]
        ]
