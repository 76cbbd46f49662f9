"""Read the film table of any MovieLens release: ids, titles, years and genres."""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from userllm.data.columns import CATEGORIES, ITEM, TITLE, YEAR
from userllm.data.movielens_ratings import check_whole
from userllm.errors import UserError

# A film as it stands in the file: id, title with year, genres.
Row = tuple[str, str, list[str]]

NO_GENRE = {"(no genres listed)", "unknown", ""}
MISSPELT_UNKNOWN = "unkonwn"  # the recbole copy's spelling, for a title and for a year
YEAR_AT_END = re.compile(
    r"^(?P<title>.*?)\s*\((?P<year>\d{4})(?:[-\u2013]\d*)?\)\s*(?:\([A-Z]+\))?$"
)
ARTICLE_AT_END = re.compile(
    r"(?P<rest>[^()]*?), (?P<article>The|An?|L[aeo]s?|L'|Il|Un[ae]?|D(?:as|er|ie|en|et)|E[ln])"
    r"(?=\s*(?:\)|\(|$))"
)


def read_items(path: Path, rows: Callable[[Path], Iterator[tuple[int, Row]]]) -> pl.DataFrame:
    """Return the item table.

    Args:
        path: The film file.
        rows: Yields (line number, film) for its format.

    Raises:
        UserError: The file is empty, cut off or of another format; names the file and the line.
    """
    check_whole(path)
    films: dict[int, tuple[str, list[str], int | None]] = {}
    for number, (identifier, full_title, genres) in rows(path):
        if not identifier.isdecimal():
            raise _bad(
                path, number, f"the film's id should be a whole number, found {identifier!r}"
            )
        if int(identifier) in films:
            raise _bad(path, number, f"film {identifier} is there twice")
        title, year = split_title(full_title)
        films[int(identifier)] = (title, [g for g in genres if g not in NO_GENRE], year)
    titles, categories, years = zip(*films.values(), strict=True) if films else ((), (), ())
    return pl.DataFrame(
        {ITEM: list(films), TITLE: titles, CATEGORIES: categories, YEAR: years},
        schema={
            ITEM: pl.Int32,
            TITLE: pl.String,
            CATEGORIES: pl.List(pl.String),
            YEAR: pl.Int32,
        },
    )


def split_title(full_title: str) -> tuple[str, int | None]:
    """Return ("The Usual Suspects", 1995) for "Usual Suspects, The (1995)"."""
    match = YEAR_AT_END.match(full_title.strip())
    title, year = (match["title"], int(match["year"])) if match else (full_title.strip(), None)
    return ARTICLE_AT_END.sub(_article_first, title), year


def _article_first(match: re.Match[str]) -> str:
    article, rest = match["article"], match["rest"]
    space = "" if article.endswith("'") else " "
    lead = rest[: len(rest) - len(rest.lstrip())]
    return f"{lead}{article}{space}{rest.lstrip()}"


def csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Films of ``movies.csv``: movieId,title,genres with genres joined by a bar."""
    lines = csv.reader((line for _, line in _lines(path, "utf-8")), strict=True)
    expected = ["movieId", "title", "genres"]
    try:
        for fields in lines:
            if lines.line_num == 1:
                if fields != expected:
                    raise _bad(path, 1, f"expected the header {expected}, found {fields}")
                continue
            identifier, title, genres = _fields(path, lines.line_num, fields, 3)
            yield lines.line_num, (identifier, title, genres.split("|"))
    except csv.Error as error:
        raise _bad(path, lines.line_num, str(error)) from error


def dat_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Films of ``movies.dat``: id::title::genres, in UTF-8 in the 10M release, else ISO-8859-1."""
    for number, line in _lines(path, "utf-8" if _is_utf8(path) else "iso-8859-1"):
        identifier, title, genres = _fields(path, number, line.split("::"), 3)
        yield number, (identifier, title, genres.split("|"))


def bar_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Films of ``u.item``: five fields and one 0/1 flag per genre of ``u.genre``, ISO-8859-1."""
    genre_file = path.with_name("u.genre")
    genres = [line.split("|")[0] for _, line in _lines(genre_file, "iso-8859-1") if line]
    for number, line in _lines(path, "iso-8859-1"):
        fields = _fields(path, number, line.split("|"), 5 + len(genres))
        flags = zip(genres, fields[5:], strict=True)
        yield number, (fields[0], fields[1], [genre for genre, flag in flags if flag == "1"])


def recbole_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Films of ``ml-100k.item``: id, title, year, genres joined by spaces, separated by tabs."""
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    for number, line in _lines(path, "utf-8"):
        if number == 1:
            if line != header:
                raise _bad(path, 1, f"expected the header {header!r}, found {line!r}")
            continue
        identifier, title, year, genres = _fields(path, number, line.split("\t"), 4)
        full_title = "unknown" if title == MISSPELT_UNKNOWN else f"{title} ({year})"
        yield number, (identifier, full_title, genres.split(" "))


def _is_utf8(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, raw.decode(encoding).rstrip("\r\n").removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                raise _bad(path, number, f"expected {encoding} text ({error.reason})") from error


def _fields(path: Path, number: int, fields: list[str], expected: int) -> list[str]:
    if len(fields) != expected:
        raise _bad(path, number, f"expected {expected} fields, found {len(fields)}: {fields}")
    return fields


def _bad(path: Path, number: int, problem: str) -> UserError:
    return UserError(f"{path}, line {number}: {problem}")
