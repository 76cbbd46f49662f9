"""Review: what does this user write about an item that they gave a rating (paper §5.2)?

The item and its rating stand in the question, as in the paper's Appendix F. The text at the cut
is the answer and is read by nobody; neither is any later event.

Shape suffixes: B batch, Q questions.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from userllm.data.columns import TITLE
from userllm.data.corpus import Corpus
from userllm.data.hashing import hash_keys
from userllm.data.split import Split
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, RATING_FEATURE
from userllm.data.windows import training_cuts
from userllm.errors import UserError
from userllm.metric.rouge import Rouge
from userllm.task.batch import Material
from userllm.task.exam import Exam
from userllm.task.protocol import Ints, Part, Questions, Values, Writer
from userllm.task.writing import writing_exam

ORDER = 0x2EF1
FREQUENT_SAMPLE = 100_000
"""Training texts among which the most frequent one is sought."""


class Review:
    """Write the text of the event at the cut; answers are numbered by the event's flat position.

    Args:
        metric: How far a written text is from the true one.
        templates: What is asked: ``review``, ``review_title``, or the path of a file of one's own.
        paraphrases: How many of its wordings are used; None uses all.
        min_history: Least number of events before the cut of a training question.
        beams: Width of the beam search that writes; 1 takes the likeliest token each time.
        max_answer_tokens: Longest text learned and written, in tokens of the language model.
            Scores compare with the whole true text.
        min_answer_tokens: How many tokens are written before the text may end.
    """

    name = "review"
    fields = frozenset({"title", "rating", "categories"})

    def __init__(
        self,
        *,
        metric: Rouge,
        templates: str,
        paraphrases: int | None,
        min_history: int,
        beams: int,
        max_answer_tokens: int,
        min_answer_tokens: int,
    ) -> None:
        if beams < 1 or max_answer_tokens < 1:
            raise UserError(
                f"task.beams={beams} task.max_answer_tokens={max_answer_tokens}: expected at least "
                "1 each. Type task.beams=1 task.max_answer_tokens=64"
            )
        if not 0 <= min_answer_tokens < max_answer_tokens:
            raise UserError(
                f"task.min_answer_tokens={min_answer_tokens}: expected 0 or more, and less than "
                f"task.max_answer_tokens={max_answer_tokens}. Type task.min_answer_tokens=0"
            )
        self.metric, self.primary = metric, metric.primary
        self.templates, self.paraphrases = templates, paraphrases
        self.min_history, self.beams = min_history, beams
        self.min_answer_tokens, self.max_answer_tokens = min_answer_tokens, max_answer_tokens

    def questions(self, corpus: Corpus, split: Split, part: Part) -> Questions:
        """Return users at their held-out event, or all training targets, that have a text."""
        sizes = self._text_sizes(corpus)
        if part == "train":
            users, cuts = training_cuts(split, min_history=self.min_history)
        else:
            users, cuts = split.targets(part)
            order = np.argsort(hash_keys(users, ORDER))
            users, cuts = users[order], cuts[order]
        written = sizes[self.labels(corpus, users, cuts)] > 0
        return Questions(users[written], cuts[written], self._protocol(split))

    def labels(self, corpus: Corpus, users: Ints, cuts: Ints) -> Ints:
        """Return the flat position of the event at each cut."""
        labels: Ints = np.asarray(corpus.offsets)[users] + cuts
        return labels

    def texts(self, corpus: Corpus, labels_B: Ints) -> list[str]:
        """Return what the users wrote."""
        return [text.strip() for text in corpus.texts(labels_B)]

    def metrics(self, written_Q: list[str], true_Q: list[str]) -> dict[str, Values]:
        """Return ROUGE per user, 0 to 100."""
        return self.metric.per_user(written_Q, true_Q)

    def references(self, corpus: Corpus, split: Split) -> dict[str, Writer]:
        """Return the item's title, and the text that is most frequent in training.

        The latter over all training events and over those of the same rating; a text that differs
        in one letter is another text, so long reviews have no frequent one.
        """
        sample = self.questions(corpus, split, "train").sample(FREQUENT_SAMPLE)
        labels = self.labels(corpus, sample.users, sample.cuts)
        texts = self.texts(corpus, labels)
        ratings = np.asarray(corpus.features[RATING_FEATURE])
        overall = _most_frequent(texts)
        by_rating = {
            rating: _most_frequent(
                text for text, mine in zip(texts, ratings[labels] == rating, strict=True) if mine
            )
            for rating in set(ratings[labels].tolist())
        }

        def title(users: Ints, cuts: Ints) -> list[str]:
            items = corpus.features[ITEM_FEATURE][self.labels(corpus, users, cuts)]
            names: list[str] = (
                corpus.items[TITLE].gather(items.astype(np.int64) - FIRST_ID).to_list()
            )
            return names

        def of_rating(users: Ints, cuts: Ints) -> list[str]:
            asked = ratings[self.labels(corpus, users, cuts)].tolist()
            return [by_rating.get(rating, overall) for rating in asked]

        return {
            "title": title,
            "frequent_text": lambda users, cuts: [overall] * len(users),
            "frequent_text_of_rating": of_rating,
        }

    def exams(self, material: Material, weight: float) -> list[Exam]:
        """Return the one exam."""
        return [writing_exam(self, material, weight)]

    def _text_sizes(self, corpus: Corpus) -> NDArray[np.int64]:
        """Return the length of every event's text in bytes, 0 where there is none."""
        if corpus.text_offsets is None:
            raise UserError(
                f"task=review: the events of {corpus.folder} have no texts. Expected reviews: type "
                "data=amazon_reviews, data=google_local or data=synthetic, give data=table a text "
                "column, or type task=next_item."
            )
        return np.diff(corpus.text_offsets)

    def _protocol(self, split: Split) -> str:
        least = f"at least {self.min_answer_tokens} and " if self.min_answer_tokens else ""
        beams = f"{self.beams} beam{'' if self.beams == 1 else 's'}"
        return (
            f"{split.name}, events with a text, {least}at most {self.max_answer_tokens} tokens "
            f"written with {beams}, {self.metric.protocol()}"
        )


def _most_frequent(texts: Iterable[str]) -> str:
    """Return the most frequent text; of equally frequent ones, the first in alphabetical order."""
    counts = Counter(texts)
    return min(counts, key=lambda text: (-counts[text], text), default="")
