"""Make a small MovieLens release in every format, from the same made-up films and ratings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

GENRES = ["Action", "Children's", "Comedy", "Film-Noir", "Sci-Fi"]
# id, title with the article in front, year, genres
FILMS = [
    (1, "The Usual Suspects", 1995, ["Action", "Film-Noir"]),
    (2, "Les Misérables", 1995, ["Comedy"]),
    (3, "L'Avventura", 1960, ["Sci-Fi"]),
    (5, "Toy Story", 1995, ["Children's", "Comedy"]),
    (8, "No Genre At All", 1971, []),
]
FILE_TITLES = {
    1: "Usual Suspects, The",
    2: "Misérables, Les",
    3: "Avventura, L'",
}


def ratings(users: int = 7, seed: int = 0) -> list[tuple[int, int, int, int]]:
    """Return (user, film, rating, timestamp) rows with many tied timestamps, shuffled."""
    rng = np.random.default_rng(seed)
    rows = [
        (user, film, int(rng.integers(1, 6)), 900_000_000 + int(rng.integers(0, 3)))
        for user in range(1, users + 1)
        for film, *_ in FILMS
    ]
    return [rows[index] for index in rng.permutation(len(rows))]


def _file_title(film: int, title: str, year: int) -> str:
    return f"{FILE_TITLES.get(film, title)} ({year})"


def write_csv(folder: Path) -> None:
    """latest-small, 20m, 25m, 32m."""
    lines = [f"{u},{f},{r}.0,{t}" for u, f, r, t in ratings()]
    _write(folder / "ratings.csv", ["userId,movieId,rating,timestamp", *lines], "utf-8")
    films = [
        f'{i},"{_file_title(i, title, year)}",{"|".join(genres) or "(no genres listed)"}'
        for i, title, year, genres in FILMS
    ]
    _write(folder / "movies.csv", ["movieId,title,genres", *films], "utf-8")


def write_dat(folder: Path) -> None:
    """1m."""
    _write(folder / "ratings.dat", ["::".join(map(str, row)) for row in ratings()], "latin-1")
    films = [
        f"{i}::{_file_title(i, title, year)}::{'|'.join(genres)}"
        for i, title, year, genres in FILMS
    ]
    _write(folder / "movies.dat", films, "latin-1")


def write_100k(folder: Path) -> None:
    """The first release."""
    _write(folder / "u.data", ["\t".join(map(str, row)) for row in ratings()], "latin-1")
    names = ["unknown", *GENRES]
    _write(folder / "u.genre", [*(f"{g}|{n}" for n, g in enumerate(names)), ""], "latin-1")
    films = []
    for i, title, year, genres in FILMS:
        flags = [str(int(name in (genres or ["unknown"]))) for name in names]
        fields = [str(i), _file_title(i, title, year), f"01-Jan-{year}", "", "http://x", *flags]
        films.append("|".join(fields))
    _write(folder / "u.item", films, "latin-1")


def write_recbole(folder: Path) -> None:
    """The copy inside the recbole package."""
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    lines = ["\t".join(map(str, row)) for row in ratings()]
    _write(folder / "ml-100k.inter", [header, *lines], "utf-8")
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    films = [
        f"{i}\t{FILE_TITLES.get(i, title)}\t{year}\t{' '.join(genres) or 'unknown'}"
        for i, title, year, genres in FILMS
    ]
    _write(folder / "ml-100k.item", [header, *films], "utf-8")


def _write(path: Path, lines: list[str], encoding: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))


WRITERS: dict[str, Callable[[Path], None]] = {
    "csv": write_csv,
    "dat": write_dat,
    "100k": write_100k,
    "recbole": write_recbole,
}
