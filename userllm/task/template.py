"""Questions in plain text files: one paraphrase a line, ``#`` comments, fields in braces.

``{item_noun}`` and ``{category_noun}`` are what the data calls its items and categories.
``{title}``, ``{rating}`` and ``{categories}`` belong to the event at the cut: they say what the
question is about, so a file may use them only where its task does not ask for them.

Source: paper §5.1 for the questions; several wordings a task as in SeqLLM (arXiv 2608.03063).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Formatter

from userllm.errors import UserError

TARGET_FIELDS = frozenset({"title", "rating", "categories"})
"""Fields of the event at the cut."""

SHIPPED = resources.files("userllm.task") / "templates"


@dataclass(frozen=True)
class Slot:
    """A stretch of fixed text and the target field after it; None ends the question."""

    text: str
    field: str | None


@dataclass(frozen=True)
class Templates:
    """The wordings of one question, nouns filled in.

    Attributes:
        where: The file, as it was given.
        wordings: Slots of every paraphrase; the last slot of each has no field.
    """

    where: str
    wordings: tuple[tuple[Slot, ...], ...]


def read_templates(
    where: str,
    nouns: Mapping[str, str],
    paraphrases: int | None,
    fields: frozenset[str] = frozenset(),
) -> Templates:
    """Read a file of questions.

    Args:
        where: Name of a shipped file (``next_item``), or path of an own one (``mine/ask.txt``).
        nouns: What an ``item`` and a ``category`` are called.
        paraphrases: How many of the file's wordings are used, the first ones; None uses all.
        fields: Target fields that the task allows, of ``title``, ``rating``, ``categories``.

    Raises:
        UserError: No such file, no question in it, braces that do not pair, a field that is
            unknown or not allowed, or fewer wordings than asked for.
    """
    filled = {f"{what}_noun": noun for what, noun in nouns.items()}
    lines = [
        (number, line.strip())
        for number, line in enumerate(_text(where).splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise UserError(
            f"templates={where}: the file has no questions. Expected one a line, such as: "
            "Which {item_noun} comes next?"
        )
    if paraphrases is not None and not 1 <= paraphrases <= len(lines):
        raise UserError(
            f"paraphrases={paraphrases}: {where} has {len(lines)}. Expected 1 to {len(lines)}, or "
            "null for all of them."
        )
    wordings = (
        _slots(f"{where}, line {number}", line, filled, fields)
        for number, line in lines[:paraphrases]
    )
    return Templates(where, tuple(wordings))


def _text(where: str) -> str:
    """Return what a file holds; a bare word is the name of a shipped one."""
    is_path = len(Path(where).parts) > 1 or Path(where).suffix
    file = Path(where).expanduser() if is_path else SHIPPED / f"{where}.txt"
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no UTF-8 text" if isinstance(error, UnicodeDecodeError) else "not found"
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            reason = error.strerror or str(error)
        names = sorted(Path(entry.name).stem for entry in SHIPPED.iterdir())
        raise UserError(
            f"templates={where}: {reason}. Expected one of {', '.join(names)}, or the path of a "
            "text file with one question a line, such as ./questions.txt"
        ) from error


def _slots(
    place: str, line: str, nouns: Mapping[str, str], fields: frozenset[str]
) -> tuple[Slot, ...]:
    """Cut one question at its target fields."""
    slots, text = [], ""
    try:
        pieces = list(Formatter().parse(line))
    except ValueError as error:
        raise UserError(
            f"{place}: the braces do not pair ({error}). Expected fields such as {{item_noun}}; a "
            "brace that is meant as such is written twice."
        ) from error
    for literal, name, form, conversion in pieces:
        text += literal
        if name is None:
            continue
        if form or conversion:
            raise UserError(f"{place}: expected a bare {{{name}}}, got one with a format")
        if name in nouns:
            text += nouns[name]
        elif name in fields:
            slots.append(Slot(text, name))
            text = ""
        else:
            raise UserError(_refusal(place, name, nouns, fields))
    return (*slots, Slot(text, None))


def _refusal(place: str, name: str, nouns: Mapping[str, str], fields: frozenset[str]) -> str:
    why = "is not known"
    if name in TARGET_FIELDS:
        why = "would give away what this task asks for"
    known = ", ".join(f"{{{field}}}" for field in [*nouns, *sorted(fields)])
    return f"{place}: the field {{{name}}} {why}. Expected: {known}"
