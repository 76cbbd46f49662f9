"""The text and the questions that language retention is measured on; they ship with the package.

Both were written for this project, so no model has seen them and no licence limits their use.
"""

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class FourChoice:
    """A question of general knowledge: the right answer and three wrong ones."""

    question: str
    answer: str
    others: list[str]

    @property
    def options(self) -> list[str]:
        """Return all answers, the right one first; scoring does not depend on the order."""
        return [self.answer, *self.others]


def passages() -> list[str]:
    """Return the paragraphs of plain prose: stories, explanations, a letter, a report."""
    text = (files(__package__) / "prose.txt").read_text(encoding="utf-8")
    return [passage.strip() for passage in text.split("\n\n") if passage.strip()]


def questions() -> list[FourChoice]:
    """Return the four-choice questions."""
    text = (files(__package__) / "questions.json").read_text(encoding="utf-8")
    return [FourChoice(**row) for row in json.loads(text)]
