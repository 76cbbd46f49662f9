"""Every release format gives the same data, and every broken file a clear error."""

import re

import polars as pl
import pytest

from tests.data.releases import FILMS, WRITERS, ratings, write_csv
from userllm.data.columns import CATEGORIES, ITEM, TIMESTAMP, TITLE, USER, YEAR
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.movielens import MovieLens
from userllm.data.movielens_items import split_title
from userllm.errors import UserError


def movielens(folder, **changes):
    settings = {"release": None, "min_user_events": 1, "min_item_events": 1, "cache": None}
    return MovieLens(name="films", dir=str(folder), **{**settings, **changes})


def complaint(folder, **changes) -> str:
    with pytest.raises(UserError) as caught:
        movielens(folder, **changes).read()
    return str(caught.value)


def edit(path, change, encoding="utf-8"):
    path.write_bytes(change(path.read_bytes().decode(encoding)).encode(encoding))


@pytest.mark.parametrize("kind", WRITERS)
def test_format_is_read_as_it_was_written(kind, tmp_path):
    WRITERS[kind](tmp_path)
    raw = movielens(tmp_path).read()
    assert sorted(raw.events.select(USER, ITEM, "rating", TIMESTAMP).rows()) == sorted(ratings())
    expected = [(i, title, sorted(genres), year) for i, title, year, genres in FILMS]
    table = raw.items.select(ITEM, TITLE, pl.col(CATEGORIES).list.sort(), YEAR)
    assert table.sort(ITEM).rows() == expected


def test_all_formats_give_the_same_corpus(tmp_path):
    fingerprints = set()
    for kind, write in WRITERS.items():
        write(tmp_path / kind)
        raw = movielens(tmp_path / kind).read()
        folder = tmp_path / f"corpus-{kind}"
        write_corpus(raw, name="films", min_user_events=1, min_item_events=1, folder=folder)
        fingerprints.add(Corpus.open(folder).fingerprint)
    assert len(fingerprints) == 1


def test_windows_line_ends_change_nothing(tmp_path):
    write_csv(tmp_path)
    before = movielens(tmp_path).read()
    for path in tmp_path.iterdir():
        edit(path, lambda text: text.replace("\n", "\r\n"))
    after = movielens(tmp_path).read()
    assert before.events.equals(after.events)
    assert before.items.equals(after.items)


@pytest.mark.parametrize(
    ("written", "title", "year"),
    [
        ("Usual Suspects, The (1995)", "The Usual Suspects", 1995),
        ("Good, The Bad and The Ugly, The (1966)", "The Good, The Bad and The Ugly", 1966),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura (The Adventure)", 1960),
        ("Time of the Giving (1995) (V)", "Time of the Giving", 1995),
        ("Some Series (2009- )", "Some Series (2009- )", None),
        ("Some Series (2006-2007)", "Some Series", 2006),
        ("unknown", "unknown", None),
        ("Sex, Lies, and Videotape (1989)", "Sex, Lies, and Videotape", 1989),
        ("Title (V)", "Title (V)", None),
    ],
)
def test_titles_begin_with_their_article_and_lose_their_year(written, title, year):
    assert split_title(written) == (title, year)


def test_recbole_spelling_of_unknown_is_repaired(tmp_path):
    WRITERS["recbole"](tmp_path)
    edit(tmp_path / "ml-100k.item", lambda text: text + "9\tunkonwn\tunkonwn\tunknown\n")
    edit(tmp_path / "ml-100k.item", lambda text: text + "10\tLand Before (1995)\tV\tComedy\n")
    items = movielens(tmp_path).read().items
    assert items.filter(pl.col(ITEM) == 9).row(0) == (9, "unknown", [], None)
    assert items.filter(pl.col(ITEM) == 10).row(0) == (10, "Land Before", ["Comedy"], 1995)


BROKEN_RATINGS = {
    "a word for a rating": ("3,1,good,900000000\n", r"rating should be .* found 'good'"),
    "a rating out of range": ("3,1,6.0,900000000\n", r"rating should be .* found '6.0'"),
    "a rating between steps": ("3,1,3.3,900000000\n", r"rating should be .* found '3.3'"),
    "an empty field": ("3,,3.0,900000000\n", r"item should be a whole number, found ''"),
    "a missing field": ("3,1,3.0\n", r"found 3 field"),
    "a field too many": ("3,1,3.0,900000000,7\n", r"found 5 field"),
    "a negative user": ("-3,1,3.0,900000000\n", r"user should be a whole number"),
    "milliseconds": ("3,1,3.0,900000000000\n", r"timestamp should be seconds"),
    "an empty line": ("\n", r"found 1 field"),
}


@pytest.mark.parametrize(("line", "problem"), BROKEN_RATINGS.values(), ids=BROKEN_RATINGS)
def test_bad_rating_is_reported_with_file_and_line(line, problem, tmp_path):
    write_csv(tmp_path)
    edit(tmp_path / "ratings.csv", lambda text: re.sub(r"^(.*\n.*\n)", rf"\g<1>{line}", text))
    message = complaint(tmp_path)
    assert "ratings.csv, line 3:" in message
    assert re.search(problem, message)


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv"])
def test_file_that_was_cut_off_is_refused_with_its_last_line(name, tmp_path):
    write_csv(tmp_path)
    edit(tmp_path / name, lambda text: text[:-4])
    lines = (tmp_path / name).read_text(encoding="utf-8").count("\n") + 1
    assert f"{name}, line {lines}: the file ends in the middle" in complaint(tmp_path)


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv"])
def test_empty_file_is_refused(name, tmp_path):
    write_csv(tmp_path)
    (tmp_path / name).write_bytes(b"")
    assert f"{name} is empty" in complaint(tmp_path)


def test_header_alone_is_refused(tmp_path):
    write_csv(tmp_path)
    edit(tmp_path / "ratings.csv", lambda text: text[: text.index("\n") + 1])
    assert "ratings.csv has no ratings" in complaint(tmp_path)


@pytest.mark.parametrize("name", ["ratings.csv", "movies.csv"])
def test_other_columns_are_refused_in_line_one(name, tmp_path):
    write_csv(tmp_path)
    edit(tmp_path / name, lambda text: text.replace("movieId", "bookId"))
    message = complaint(tmp_path)
    assert f"{name}, line 1: expected the header" in message
    assert "bookId" in message


def test_film_with_too_few_fields_is_reported_with_its_line(tmp_path):
    WRITERS["dat"](tmp_path)
    edit(tmp_path / "movies.dat", lambda text: text.replace("::Comedy", ""), "latin-1")
    assert "movies.dat, line 2: expected 3 fields, found 2" in complaint(tmp_path)


def test_film_that_is_there_twice_is_reported_with_its_line(tmp_path):
    write_csv(tmp_path)
    edit(tmp_path / "movies.csv", lambda text: text + "1,Again (1999),Comedy\n")
    assert "movies.csv, line 7: film 1 is there twice" in complaint(tmp_path)


def test_text_in_another_encoding_is_reported_with_its_line(tmp_path):
    write_csv(tmp_path)
    path = tmp_path / "movies.csv"
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))
    assert "movies.csv, line 3: expected utf-8 text" in complaint(tmp_path)


def test_the_10m_releases_utf8_is_read_as_what_it_is(tmp_path):
    for name in ("1m", "10m"):
        (tmp_path / name).mkdir()
        WRITERS["dat"](tmp_path / name)
    path = tmp_path / "10m" / "movies.dat"
    path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-8"))
    one, other = (movielens(tmp_path / name).read().items.sort(ITEM) for name in ("1m", "10m"))
    assert one.equals(other)
    assert not one[TITLE].str.contains("Ã").any()


def test_missing_file_is_named(tmp_path):
    write_csv(tmp_path)
    (tmp_path / "movies.csv").unlink()
    assert "lacks movies.csv" in complaint(tmp_path)


def test_folder_without_a_release_says_what_was_found(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    message = complaint(tmp_path)
    assert "ratings.csv, movies.csv" in message
    assert "found holiday.jpg" in message


def test_folder_that_does_not_exist_is_refused(tmp_path):
    assert "is not a folder" in complaint(tmp_path / "nowhere")


def test_release_that_does_not_match_the_folder_is_refused(tmp_path):
    write_csv(tmp_path)
    assert "has ratings.dat, movies.dat; drop data.release" in complaint(tmp_path, release="1m")


def test_unknown_release_lists_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="20m"):
        movielens(tmp_path, release="20k")


def test_neither_folder_nor_release_says_what_to_type():
    with pytest.raises(UserError, match=r"data\.dir=<folder"):
        MovieLens(
            name="x", dir=None, release=None, min_user_events=1, min_item_events=1, cache=None
        )


def test_rated_film_without_a_row_is_refused(tmp_path):
    write_csv(tmp_path)
    edit(tmp_path / "movies.csv", lambda text: "".join(text.splitlines(keepends=True)[:-1]))
    raw = movielens(tmp_path).read()
    with pytest.raises(UserError, match="1 items that the item table does not have, for example 8"):
        write_corpus(
            raw, name="x", min_user_events=1, min_item_events=1, folder=tmp_path / "corpus"
        )


def test_folder_below_the_data_variable_is_found_without_a_setting(tmp_path, monkeypatch):
    write_csv(tmp_path / "movielens")
    monkeypatch.setenv("USERLLM_DATA", str(tmp_path))
    settings = {"min_user_events": 1, "min_item_events": 1, "cache": None}
    raw = MovieLens(name="x", dir=None, release="20m", **settings).read()
    assert raw.events.height == len(ratings())
    assert raw.nouns == {"item": "movie", "category": "genre"}
    assert raw.paper_dataset == "MovieLens-20M"
    assert MovieLens(name="x", dir=None, release=None, **settings).read().paper_dataset is None


def test_data_variable_without_a_release_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("USERLLM_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"\$USERLLM_DATA/movielens"):
        MovieLens(
            name="x", dir=None, release=None, min_user_events=1, min_item_events=1, cache=None
        )
