"""Prompts as rows of ready-made token segments, so that no text is tokenized twice.

A prompt is: start token, summary, heading, one line per event (item part, rating part), question.
Every segment but the summaries is tokenized once for the whole corpus; a batch of prompts is two
look-ups.

Shape suffixes: B batch, L events, S segments, T text tokens.
"""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from userllm.context.model import TokenBatch
from userllm.data.columns import TITLE, YEAR
from userllm.data.corpus import Corpus
from userllm.data.event_lines import COLUMNS, item_parts, rating_parts
from userllm.data.gather import ragged_gather
from userllm.data.vocabulary import ITEM_FEATURE, RATING_FEATURE
from userllm.summarizer.protocol import Summaries
from userllm.task.question import QuestionSegments
from userllm.task.template import Templates

HEADING = f"The user's history, oldest first ({COLUMNS}):\n"
SUMMARY_HEADING = "A summary of the user's history:\n"


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
    """Return the token ids of each text as it follows another, without special tokens.

    The tokenizers of Llama 2 and Mistral put a space in front of a text that stands alone. There
    every text is given a line break to follow, which is taken off again; one that the break would
    melt into, as may one that starts with a break itself, keeps the tokens that it has alone.
    """

    def ids(texts: list[str]) -> list[list[int]]:
        encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return encoded

    if not texts:
        return []
    alone = ids(texts)
    line_break, letter, both = ids(["\n", "a", "\na"])
    if both == [*line_break, *letter]:
        return alone
    start = len(line_break)
    following = ids([f"\n{text}" for text in texts])
    return [
        row[start:] if row[:start] == line_break else whole
        for whole, row in zip(alone, following, strict=True)
    ]


def packed(parts: list[TokenBatch]) -> TokenBatch:
    """Return each row's parts one after the other, all padding moved to the left."""
    ids_BT = torch.cat([part.ids_BT for part in parts], dim=1)
    mask_BT = torch.cat([part.mask_BT for part in parts], dim=1)
    order_BT = mask_BT.long().argsort(dim=1, stable=True)
    longest = int(mask_BT.sum(dim=1).max()) if len(mask_BT) else 0
    order_BT = order_BT[:, order_BT.shape[1] - longest :]
    return TokenBatch(ids_BT.gather(1, order_BT), mask_BT.gather(1, order_BT))


class PromptWriter:
    """Writes the prompt of any (user, cut): the history as text, where asked for, and the question.

    Args:
        tokenizer: The language model's tokenizer.
        corpus: Where items and histories come from.
        templates: The wordings of what is asked.
        text_events: How many of the last events are written; 0 writes none.
        summaries: Summaries of the history to write in front; None for none.
        seed: Decides which (user, cut) is asked in which wording.
    """

    def __init__(
        self,
        *,
        tokenizer: PreTrainedTokenizerBase,
        corpus: Corpus,
        templates: Templates,
        text_events: int,
        summaries: Summaries | None,
        seed: int,
    ) -> None:
        self.tokenizer, self.corpus = tokenizer, corpus
        self.text_events, self.summaries = text_events, summaries
        opening = tokenizer("")["input_ids"][:1]
        starts = bool(opening) and opening[0] == tokenizer.bos_token_id
        sequences: list[list[int]] = [opening if starts else []]

        def add(texts: list[str]) -> int:
            first = len(sequences)
            sequences.extend(tokenize(tokenizer, texts))
            return first

        self.questions = QuestionSegments(corpus=corpus, templates=templates, seed=seed, add=add)
        self.summary_heading = add([SUMMARY_HEADING])
        self.heading = add([HEADING])
        self.first_rating = add(rating_parts(corpus))
        self.first_item = add(item_parts(corpus) if text_events else [])
        self.table = TokenTable(sequences)

    def __call__(self, users: NDArray[np.int64], cuts: NDArray[np.int64]) -> TokenBatch:
        """Return one prompt per user; of the event at a cut, only what the wording shows is read.

        Later events are never read, and what the wording may show is the task's choice.
        """
        opening_B1 = np.zeros((len(users), 1), dtype=np.int64)
        rest_BS = [self._events(users, cuts)] if self.text_events else []
        rest_BS.append(self.questions(users, cuts))
        if self.summaries is None:
            return self.table.joined(np.concatenate([opening_B1, *rest_BS], axis=1))
        front_BS = np.concatenate([opening_B1, opening_B1 + self.summary_heading], axis=1)
        texts = [f"{text}\n" for text in self.summaries.texts(users, cuts)]
        return packed(
            [
                self.table.joined(front_BS),
                TokenTable(tokenize(self.tokenizer, texts)).joined(np.arange(len(users))[:, None]),
                self.table.joined(np.concatenate(rest_BS, axis=1)),
            ]
        )

    def question(self, user: int, cut: int) -> str:
        """Return the question of a (user, cut) as a person reads it."""
        return self.questions.text(user, cut)

    def _events(self, users: NDArray[np.int64], cuts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the segments of the heading and of the last events before each cut."""
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
        heading_B1 = np.full((len(users), 1), self.heading, dtype=np.int64)
        events_BS = events_BL2.reshape(len(users), 2 * events_BL2.shape[1])
        return np.concatenate([heading_B1, events_BS], axis=1)
