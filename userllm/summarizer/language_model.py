"""Summaries written by an instruct language model, each once and kept on disk (paper §6, TS)."""

import time
from dataclasses import asdict

import numpy as np
import torch

from userllm.data.corpus import Corpus
from userllm.data.download import cache_dir
from userllm.data.event_lines import HistoryText
from userllm.data.progress import track
from userllm.lm.blocks import decoder_blocks
from userllm.lm.protocol import LanguageModelSource, LoadedLM
from userllm.summarizer.greedy import GreedyWriter, writing_work
from userllm.summarizer.protocol import NO_HISTORY, Ints, SummaryCost
from userllm.summarizer.refresh import refreshed
from userllm.summarizer.store import SummaryStore
from userllm.training.weights import weights_hash

Pair = tuple[int, int]
"""A user and the cut that a summary is made at."""


class LanguageModelSummarizer:
    """Let a language model summarize the last events before a cut.

    Args:
        lm: Who writes; any option of the ``lm`` group, best an instruct model.
        instruction: What it is told; the events follow, one a line.
        events: How many of the last events it reads.
        refresh: Events between two summaries; between them the last one is used.
        max_new_tokens: Longest summary, in tokens.
        batch_size: Histories read at once.
        cache: Folder where summaries are kept; None is the project's cache folder.
    """

    def __init__(
        self,
        *,
        lm: LanguageModelSource,
        instruction: str,
        events: int,
        refresh: int,
        max_new_tokens: int,
        batch_size: int,
        cache: str | None,
    ) -> None:
        for key, value in (
            ("events", events),
            ("refresh", refresh),
            ("max_new_tokens", max_new_tokens),
            ("batch_size", batch_size),
        ):
            if value < 1:
                raise ValueError(f"{key} ({value}) must be at least 1")
        self.lm, self.instruction, self.cache = lm, instruction, cache
        self.events, self.refresh = events, refresh
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size

    def open(self, corpus: Corpus) -> "LanguageModelSummaries":
        """Return the summaries of a corpus; the language model is loaded, so that it is there."""
        return LanguageModelSummaries(self, corpus)


class LanguageModelSummaries:
    """Finds summaries on disk and has the missing ones written.

    Args:
        options: Who writes, what, and how often.
        corpus: Histories and items.
    """

    def __init__(self, options: LanguageModelSummarizer, corpus: Corpus) -> None:
        self.options = options
        self.history = HistoryText(corpus=corpus, events=options.events)
        loaded = options.lm.load()
        self.writer: GreedyWriter | None = self._writer(loaded)
        self.store = SummaryStore(
            cache_dir(options.cache) / "summaries",
            {
                "language_model": loaded.source,
                # Folders and random models may share a name; fine-tuning changes the last block.
                "last_block": weights_hash(decoder_blocks(loaded.model)[-1]),
                "dtype": str(loaded.model.dtype),
                "prompt": self.writer.prompt("..."),
                "max_new_tokens": options.max_new_tokens,
            },
        )
        self.work = writing_work(loaded.model)
        self.known: dict[Pair, str] = {}
        self.flops: dict[Pair, float] = {}
        self.keys: set[str] = set()
        self.written, self.seconds = 0, 0.0

    def prepare(self, users: Ints, cuts: Ints) -> None:
        """Write what is missing, then let the language model go: training needs the memory."""
        self._know(self._pairs(users, cuts))
        self.writer = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def texts(self, users: Ints, cuts: Ints) -> list[str]:
        """Return one summary per user; those that were not prepared are written now."""
        pairs = self._pairs(users, cuts)
        self._know(pairs)
        return [self.known[pair] for pair in pairs]

    def cost(self, users: Ints, cuts: Ints) -> dict[str, float]:
        """Return what all summaries took so far, and what those of these questions take."""
        asked = [self.flops[pair] for pair in self._pairs(users, cuts)]
        return asdict(
            SummaryCost(
                written=self.written,
                cached=len(self.keys) - self.written,
                seconds=self.seconds,
                flops_per_summary=float(np.mean(asked)),
            )
        )

    def _writer(self, loaded: LoadedLM) -> GreedyWriter:
        return GreedyWriter(
            loaded=loaded,
            instruction=self.options.instruction,
            max_new_tokens=self.options.max_new_tokens,
        )

    def _pairs(self, users: Ints, cuts: Ints) -> list[Pair]:
        ends = refreshed(cuts, self.options.refresh)
        return list(zip(users.tolist(), ends.tolist(), strict=True))

    def _know(self, pairs: list[Pair]) -> None:
        """Find these summaries, and write those that nobody wrote yet."""
        unknown = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        missing = [pair for pair in unknown if not self._find(pair)]
        if missing:
            with self.store.lock:
                # Another process may have written them while this one waited.
                self._write([pair for pair in missing if not self._find(pair)])

    def _find(self, pair: Pair) -> bool:
        """Take a summary from the disk; return whether it was there."""
        if pair[1] == 0:
            self.known[pair], self.flops[pair] = NO_HISTORY, 0.0
            return True
        key = self.store.key(self.history(*pair))
        found = self.store.get(key)
        if found is not None:
            self.known[pair], self.flops[pair] = found.text, self.work.flops(found)
            self.keys.add(key)
        return found is not None

    def _write(self, pairs: list[Pair]) -> None:
        """Write summaries in batches of like length, the longest first; each is kept at once."""
        texts = {pair: self.history(*pair) for pair in pairs}
        # Equal histories have one summary.
        once = {text: pair for pair, text in texts.items()}
        ordered = sorted(once, key=len, reverse=True)
        size = self.options.batch_size
        firsts = range(0, len(ordered), size)
        for first in track(firsts, f"writing {len(ordered):,} summaries", len(firsts)):
            started = time.perf_counter()
            if self.writer is None:
                self.writer = self._writer(self.options.lm.load())
            batch = ordered[first : first + size]
            for text, written in zip(batch, self.writer(batch), strict=True):
                self.store.put(self.store.key(text), written)
            self.written += len(batch)
            self.seconds += time.perf_counter() - started
        for pair in pairs:
            self._find(pair)
