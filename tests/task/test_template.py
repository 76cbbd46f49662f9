"""Question files: what is read from them, and what is said about mistakes."""

from pathlib import Path

import pytest

from userllm.errors import UserError
from userllm.task.template import SHIPPED, Slot, read_templates

NOUNS = {"item": "movie", "category": "genre"}
REVIEW = frozenset({"title", "rating"})
NAMES = sorted(Path(entry.name).stem for entry in SHIPPED.iterdir())


def own(folder: Path, text: str) -> str:
    path = folder / "own.txt"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_file_has_five_different_wordings(name: str) -> None:
    wordings = read_templates(name, NOUNS, None, REVIEW).wordings
    assert len(set(wordings)) == 5


@pytest.mark.parametrize("name", ["next_item", "favorite_category"])
def test_ranking_questions_give_nothing_of_the_answer_away(name: str) -> None:
    for wording in read_templates(name, NOUNS, None).wordings:
        assert [slot.field for slot in wording] == [None]


def test_the_first_wordings_are_used_when_fewer_are_asked_for() -> None:
    every = read_templates("next_item", NOUNS, None).wordings
    assert read_templates("next_item", NOUNS, 2).wordings == every[:2]


def test_nouns_are_filled_in_and_target_fields_are_kept(tmp_path: Path) -> None:
    path = own(tmp_path, "# asked\n\n  Rate the {item_noun} {title}: {rating}  \n{{so}} it is\n")
    assert read_templates(path, NOUNS, None, REVIEW).wordings == (
        (Slot("Rate the movie ", "title"), Slot(": ", "rating"), Slot("", None)),
        (Slot("{so} it is", None),),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fine\nWhat {thing}?", r"own\.txt, line 2: .*\{thing\} is not known.*\{item_noun\}"),
        ("# only this\n", "no questions"),
        ("", "no questions"),
        ("What {item_noun?", "line 1: the braces do not pair"),
        ("What item_noun}?", "line 1: the braces do not pair"),
        ("What {}?", r"\{\} is not known"),
        ("What {item_noun!r}?", "with a format"),
        ("What {item_noun:>9}?", "with a format"),
        ("About {categories}", r"would give away .*\{rating\}, \{title\}"),
        ("About {title.x}", "is not known"),
    ],
)
def test_mistakes_name_the_place_and_what_is_expected(tmp_path: Path, text, message) -> None:
    with pytest.raises(UserError, match=message):
        read_templates(own(tmp_path, text), NOUNS, None, REVIEW)


def test_a_task_that_asks_for_the_item_may_not_name_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\{title\} would give away what this task asks for"):
        read_templates(own(tmp_path, "Is it {title}?"), NOUNS, None)


@pytest.mark.parametrize("where", ["next_itme", "./nowhere.txt", "."])
def test_a_file_that_is_not_there_is_an_error_with_the_shipped_names(where: str) -> None:
    with pytest.raises(UserError, match="favorite_category, next_item, review"):
        read_templates(where, NOUNS, None)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no UTF-8 text"):
        read_templates(str(tmp_path / "own.txt"), NOUNS, None)


@pytest.mark.parametrize("count", [0, 6])
def test_more_wordings_than_there_are_cannot_be_asked_for(count: int) -> None:
    with pytest.raises(UserError, match="Expected 1 to 5"):
        read_templates("next_item", NOUNS, count)
