"""Prompts as rows of ready-made token segments, so that no text is tokenized twice.

A prompt is: start token, heading, one line per event (item part, rating part), question. Every
segment is tokenized once for the whole corpus; a batch of prompts is two look-ups.

Shape suffixes: B batch, L events, S segments, T text tokens.
"""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from userllm.context.model import TokenBatch
from userllm.data.columns import CATEGORIES, TITLE, YEAR
from userllm.data.corpus import Corpus
from userllm.data.gather import ragged_gather
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, RATING_FEATURE

HEADING = "The user's history, oldest first (title, categories, rating):\n"


def item_names(items: pl.DataFrame) -> list[str]:
    """Return ``Title (year)`` for every item, in the order of item ids; for people to read."""
    return [
        f"{title} ({year})" if year is not None else str(title)
        for title, year in items.select(TITLE, YEAR).iter_rows()
    ]


class TokenTable:
    """Token sequences of many texts, stored flat; rows are put together by look-up.

    Args:
        sequences: Token ids of each text.
    """

    def __init__(self, sequences: list[list[int]]) -> None:
        self.lengths = np.array([len(s) for s in sequences], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.flat = np.array([t for s in sequences for t in s], dtype=np.int64)

    def rows(self, index_B: NDArray[np.int64]) -> TokenBatch:
        """Return one sequence per row, padded on the right."""
        ids, mask = ragged_gather(self.flat, self.starts[index_B], self.lengths[index_B])
        return TokenBatch(torch.from_numpy(ids), torch.from_numpy(mask))

    def joined(self, segments_BS: NDArray[np.int64]) -> TokenBatch:
        """Return each row's segments one after the other, padded on the left; -1 is no segment."""
        lengths_BS = np.where(segments_BS >= 0, self.lengths[segments_BS], 0)
        totals_B = lengths_BS.sum(axis=1)
        flat_lengths = lengths_BS.ravel()
        token = np.repeat(self.starts[segments_BS].ravel(), flat_lengths)
        token += _count_up(flat_lengths)
        columns = int(totals_B.max(initial=0))
        mask = np.arange(columns) >= columns - totals_B[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = self.flat[token]
        return TokenBatch(torch.from_numpy(ids), torch.from_numpy(mask))


def _count_up(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0 … n-1 for each length n, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Return the token ids of each text, without special tokens."""
    encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return encoded


class PromptWriter:
    """Writes the prompt of any (user, cut): the last events as text, then the question.

    Args:
        tokenizer: The language model's tokenizer.
        corpus: Where items and histories come from.
        question: What is asked.
        text_events: How many of the last events are written; 0 asks the question alone.
    """

    def __init__(
        self,
        *,
        tokenizer: PreTrainedTokenizerBase,
        corpus: Corpus,
        question: str,
        text_events: int,
    ) -> None:
        self.corpus, self.text_events = corpus, text_events
        ratings = [", not rated\n"] * FIRST_ID + [f", {r:g}\n" for r in corpus.rating_values]
        lines = self._item_lines() if text_events else []
        texts = [HEADING, f"{question}\nAnswer:", *ratings, *lines]
        segments = tokenize(tokenizer, texts)
        opening = tokenizer("")["input_ids"][:1]
        target = 0 if text_events else 1
        if opening and opening[0] == tokenizer.bos_token_id:
            segments[target] = [*opening, *segments[target]]
        self.table = TokenTable(segments)
        self.first_rating = 2
        self.first_item = self.first_rating + len(ratings)

    def _item_lines(self) -> list[str]:
        categories = self.corpus.items[CATEGORIES].to_list()
        titles = self.corpus.items[TITLE].to_list()
        lines = [
            ", ".join([title, *(kinds or [])])
            for title, kinds in zip(titles, categories, strict=True)
        ]
        return ["unknown"] * FIRST_ID + lines

    def __call__(self, users: NDArray[np.int64], cuts: NDArray[np.int64]) -> TokenBatch:
        """Return one prompt per user: events before the cut, never the cut itself or later."""
        question_B1 = np.full((len(users), 1), 1, dtype=np.int64)
        if not self.text_events:
            return self.table.joined(question_B1)
        lengths = np.minimum(cuts, self.text_events)
        starts = np.asarray(self.corpus.offsets)[users] + cuts - lengths
        items_BL, mask_BL = ragged_gather(self.corpus.features[ITEM_FEATURE], starts, lengths)
        ratings_BL, _ = ragged_gather(self.corpus.features[RATING_FEATURE], starts, lengths)
        events_BL2 = np.stack(
            [
                np.where(mask_BL, items_BL.astype(np.int64) + self.first_item, -1),
                np.where(mask_BL, ratings_BL.astype(np.int64) + self.first_rating, -1),
            ],
            axis=2,
        )
        heading_B1 = np.zeros_like(question_B1)
        events_BS = events_BL2.reshape(len(users), -1)
        return self.table.joined(np.concatenate([heading_B1, events_BS, question_B1], axis=1))
