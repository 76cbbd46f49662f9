"""Questions as rows of ready-made token segments: which wording, and the fields of its target.

Shape suffixes: B batch, P paraphrases, S segments.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from userllm.data.columns import CATEGORIES, TITLE
from userllm.data.corpus import Corpus
from userllm.data.hashing import hash_keys
from userllm.data.vocabulary import FIRST_ID, ITEM_FEATURE, RATING_FEATURE
from userllm.task.template import Templates

Ints = NDArray[np.int64]

TAIL = "\nAnswer:"
WORDING = 0xA5C
"""Makes the choice of a wording independent of everything else that is hashed."""


@dataclass(frozen=True)
class _Field:
    """One target field: its texts by id of a feature."""

    feature: str
    texts: list[str]


@dataclass(frozen=True)
class _Place:
    """Where wordings show a field, and the segment of the field's id 0."""

    feature: str
    shown_PS: NDArray[np.bool_]
    first: int


class QuestionSegments:
    """Puts the question of any (user, cut) together from segments.

    Args:
        corpus: Where the event at the cut is looked up; only its allowed fields are.
        templates: The wordings.
        seed: Which wording is whose; the same for every method that is compared.
        add: Stores texts as segments and returns the number of the first.
    """

    def __init__(
        self, *, corpus: Corpus, templates: Templates, seed: int, add: Callable[[list[str]], int]
    ) -> None:
        self.corpus, self.wordings, self.seed = corpus, templates.wordings, seed
        used = {slot.field for slots in self.wordings for slot in slots if slot.field}
        self.fields = {name: _field(corpus, name) for name in used}
        columns = 2 * max(len(slots) for slots in self.wordings)
        self.fixed_PS = np.full((len(self.wordings), columns), -1, dtype=np.int64)
        places: dict[tuple[str, str], NDArray[np.bool_]] = {}
        for row, slots in enumerate(self.wordings):
            for number, slot in enumerate(slots):
                # Tokenizers join a space to the word after it, so it goes into the field.
                before = " " if slot.field and slot.text.endswith(" ") else ""
                text = slot.text.removesuffix(before) + ("" if slot.field else TAIL)
                if text:
                    self.fixed_PS[row, 2 * number] = add([text])
                if slot.field:
                    shown_PS = places.setdefault(
                        (slot.field, before), np.zeros(self.fixed_PS.shape, dtype=bool)
                    )
                    shown_PS[row, 2 * number + 1] = True
        self.places = [
            _Place(field.feature, shown_PS, add([before + text for text in field.texts]))
            for (name, before), shown_PS in places.items()
            for field in [self.fields[name]]
        ]

    def __call__(self, users: Ints, cuts: Ints) -> Ints:
        """Return the segments of each question ``[B, S]``, -1 for none."""
        which_B = self.wording(users, cuts)
        segments_BS = self.fixed_PS[which_B]
        for place in self.places:
            ids_B = self._targets(place.feature, users, cuts)
            shown_BS = place.shown_PS[which_B]
            segments_BS = np.where(shown_BS, ids_B[:, None] + place.first, segments_BS)
        return segments_BS

    def wording(self, users: Ints, cuts: Ints) -> Ints:
        """Return which wording each (user, cut) is asked in, by chance but always the same."""
        hashes = hash_keys(users, cuts, self.seed, WORDING)
        return (hashes % np.uint64(len(self.wordings))).astype(np.int64)

    def text(self, user: int, cut: int) -> str:
        """Return one question as a person reads it."""
        users, cuts = np.array([user]), np.array([cut])
        words = []
        for slot in self.wordings[int(self.wording(users, cuts)[0])]:
            words.append(slot.text)
            if slot.field:
                field = self.fields[slot.field]
                words.append(field.texts[int(self._targets(field.feature, users, cuts)[0])])
        return "".join(words)

    def _targets(self, feature: str, users: Ints, cuts: Ints) -> Ints:
        offsets = np.asarray(self.corpus.offsets)
        at = offsets[users] + cuts
        if (at >= offsets[users + 1]).any():
            raise ValueError("a question about the event at the cut needs one: history too short")
        return np.asarray(self.corpus.features[feature][at], dtype=np.int64)


def _field(corpus: Corpus, name: str) -> _Field:
    """Return the texts of a target field, by id."""
    unknown = ["unknown"] * FIRST_ID
    if name == "rating":
        return _Field(RATING_FEATURE, [*unknown, *(f"{r:g}" for r in corpus.rating_values)])
    if name == "title":
        return _Field(ITEM_FEATURE, [*unknown, *corpus.items[TITLE].to_list()])
    kinds = [", ".join(names or ["unknown"]) for names in corpus.items[CATEGORIES].to_list()]
    return _Field(ITEM_FEATURE, [*unknown, *kinds])
