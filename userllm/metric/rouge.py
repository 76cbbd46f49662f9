"""How much of a true text's wording a written text has: ROUGE (Lin, 2004), by rouge-score.

Shape suffix: Q questions.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer

from userllm.errors import UserError

Values = NDArray[np.float64]

KINDS = re.compile(r"rouge([1-9]|L|Lsum)")
SENTENCE_END = re.compile(r"\n+|(?:(?<=[.!?…])|(?<=[.!?…][\"')\]]))\s+")
SCALE = 100.0


class Rouge:
    """ROUGE F1 of one written text against one true text, times 100 as in the paper's tables.

    Words are runs of the letters a-z and of digits, in lower case; the paper names neither
    package, stemming nor averaging, so the protocol line of every table does. ROUGE-Lsum compares
    sentence by sentence. Here a sentence ends at a line break, or at one of ``. ! ? …`` (with
    one closing quote or bracket) before white space; nothing has to be downloaded for it.

    Args:
        kinds: ``rouge1``, ``rouge2``, ``rougeL``, ``rougeLsum``; tables sort by the first.
        stemmer: Whether words are reduced to their stems (Porter), so that "loves" is "love".

    Source: User-LLM section 5 and Table 2 (ROUGE-Lsum of review generation).
    """

    def __init__(self, *, kinds: Sequence[str], stemmer: bool) -> None:
        unknown = [kind for kind in kinds if not KINDS.fullmatch(kind)]
        if unknown or not kinds:
            raise UserError(
                f"metric.kinds={list(kinds)}: expected some of rouge1, rouge2, rougeL, rougeLsum. "
                "Type kinds=[rougeLsum,rouge1,rouge2]"
            )
        self.kinds, self.stemmer = tuple(kinds), stemmer
        self.scorer = RougeScorer(list(kinds), use_stemmer=stemmer)

    @property
    def primary(self) -> str:
        """Name of the metric that tables sort by."""
        return self.kinds[0]

    def per_user(self, written_Q: Sequence[str], true_Q: Sequence[str]) -> dict[str, Values]:
        """Return one value per question and kind, from 0 to 100."""
        pairs = zip(written_Q, true_Q, strict=True)
        scores = [self.scorer.score(by_sentence(true), by_sentence(said)) for said, true in pairs]
        return {
            kind: np.array([SCALE * score[kind].fmeasure for score in scores], dtype=np.float64)
            for kind in self.kinds
        }

    def protocol(self) -> str:
        """Return what a reader has to know before comparing two tables, in one line."""
        stems = "stemmed" if self.stemmer else "not stemmed"
        return f"F1 × 100 by rouge-score, words {stems}, sentences split at . ! ? and line breaks"


def by_sentence(text: str) -> str:
    """Return the text with one sentence a line, as rouge-score expects it."""
    return "\n".join(part for part in SENTENCE_END.split(text.strip()) if part.strip())
