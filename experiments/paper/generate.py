"""Write small made-up files in the format of every dataset of the paper, traps included.

Usage: python experiments/paper/generate.py FOLDER [--users 80] [--release 2014] [--plain]

With USERLLM_DATA=FOLDER the readers find them: data=movielens, data=amazon_reviews and
data=google_local. The events are those of data=synthetic, so there is something to learn, and
nothing in the results says anything about real people.
"""

import argparse
import csv
import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, TITLE, USER, YEAR
from userllm.data.hashing import hash_keys
from userllm.data.synthetic import Synthetic
from userllm.data.synthetic_names import category_name
from userllm.data.synthetic_reviews import reviews

CATEGORY, ROOT, STATE = "Movies_and_TV", "Movies & TV", "New_York"
PLACES = ["Pizza restaurant", "Museum", "Bakery", "Book store", "Park", "Cafe", "Theater", "Gym"]
PLACE_KEYS = [
    *("name", "address", "gmap_id", "description", "latitude", "longitude", "category"),
    *("avg_rating", "num_of_reviews", "price", "hours", "MISC", "state", "relative_results", "url"),
]
RELEASES = (2014, 2018, 2023)
DAY = 86_400
# Every so many lines, items or places have a trap: a repeated line, a missing field, ...
TRAP = 40
# Last digit of the users who write twice only.
RARE = 9


@dataclass(frozen=True)
class World:
    """Simulated events, and the names that a dataset gives to things.

    Attributes:
        rows: (user, item, seconds, rating, text or None) of every event, in no order.
        items: (title, categories, year) by item number.
    """

    rows: list[tuple[int, int, int, float, str | None]]
    items: list[tuple[str, list[str], int]]


def make_world(users: int, items: int, events: int, seed: int, kinds: list[str]) -> World:
    """Simulate people; ``kinds`` are the names of the categories."""
    simulated = Synthetic(
        name="generated",
        users=users,
        items=items,
        events_per_user=events,
        categories=len(kinds),
        drift=0.01,
        texts=False,
        seed=seed,
        min_user_events=1,
        min_item_events=1,
    )
    raw = simulated.read()
    main = np.empty(items, dtype=np.int64)
    main[simulated.catalogue.item] = simulated.catalogue.category
    user, item, rating = (raw.events[column].to_numpy() for column in (USER, ITEM, RATING))
    text = reviews(seed, user, item, rating, main[item], kinds)
    kind_of = {category_name(number): kind for number, kind in enumerate(kinds)}
    nth = pl.col(TIMESTAMP).rank("ordinal").over(USER)
    mixed = np.argsort(hash_keys(seed, user, item))
    told = raw.events.with_columns(text.alias(TEXT), nth=nth)[mixed]
    # Some people hardly ever write; a core leaves them out.
    stays = (pl.col(USER) % 10 != RARE) | (pl.col("nth") <= 2)
    return World(
        told.filter(stays).select(USER, ITEM, TIMESTAMP, RATING, TEXT).rows(),
        [
            (title, [kind_of[name] for name in names], year)
            for title, names, year in raw.items.select(TITLE, CATEGORIES, YEAR).rows()
        ],
    )


def write_movielens(folder: Path, world: World) -> None:
    """Write ratings.csv and movies.csv as in ml-20m: tied times, films without year or genre."""
    folder.mkdir(parents=True, exist_ok=True)
    ratings = [
        (user + 1, item + 1, f"{rating:.1f}", seconds // 120 * 120)
        for user, item, seconds, rating, _ in sorted(world.rows)
    ]
    films = []
    for number, (title, genres, year) in enumerate(world.items):
        name = f"{title.removeprefix('The ')}, The"
        shown = "(no genres listed)" if number % TRAP == 1 else "|".join(genres)
        films.append((number + 1, name if number % TRAP == 2 else f"{name} ({year})", shown))
    for name, header, rows in (
        ("ratings.csv", ("userId", "movieId", "rating", "timestamp"), ratings),
        ("movies.csv", ("movieId", "title", "genres"), films),
    ):
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([header, *rows])
        (folder / name).write_text(text.getvalue(), encoding="utf-8")


def write_amazon(folder: Path, world: World, release: int, ending: str) -> None:
    """Write the reviews, the 5-core (2014 and 2018) and the metadata of a release."""
    review = _review_2023 if release == 2023 else _review_2014
    stem = f"reviews_{CATEGORY}" if release == 2014 else CATEGORY
    complete = (review(*_amazon(world, row)) for row in world.rows)
    write_lines(folder / f"{stem}{ending}", _repeated(complete))
    if release != 2023:
        core = (review(*_amazon(world, row)) for row in k_core(world.rows, 5))
        write_lines(folder / f"{stem}_5{ending}", _repeated(core))
    write_lines(folder / f"meta_{CATEGORY}{ending}", _metadata(world, release))


def _amazon(world: World, row: tuple[int, int, int, float, str | None]) -> tuple[Any, ...]:
    """Return user id, item id, rating, day, short text and long text of an event."""
    user, item, seconds, rating, text = row
    title = world.items[item][0]
    body = None if text is None else f"{text} I mean {title}, and I do not often write."
    return _user_id(user), _asin(item), rating, seconds // DAY * DAY, text, body


def _user_id(user: int) -> str:
    return f"A{np.base_repr(int(hash_keys(user, 3)), 36)[-12:]}"


def _asin(item: int) -> str:
    """Return an id; some are the digits of a book number and begin with zeros."""
    return f"{5_019_281 + item:010}" if item % 5 == 0 else f"B00{np.base_repr(item + 36**5, 36)}X"


def _review_2014(
    user: str, item: str, rating: float, day: int, summary: str | None, body: str | None
) -> dict[str, Any]:
    """Return a review of 2014 or 2018; whoever wrote nothing has no field or an empty one."""
    text = {"summary": ""} if body is None else {"reviewText": body, "summary": summary}
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": "A reviewer",
        **text,
        "overall": rating,
        "unixReviewTime": day,
        "reviewTime": f"{datetime.fromtimestamp(day, tz=UTC):%m %d, %Y}",
    }


def _review_2023(
    user: str, item: str, rating: float, day: int, title: str | None, body: str | None
) -> dict[str, Any]:
    """Return a review of 2023: milliseconds, and a variant beside its parent."""
    return {
        "rating": rating,
        "title": title or "",
        "text": body or "",
        "asin": f"{item[:-1]}V",
        "parent_asin": item,
        "user_id": user,
        "timestamp": day * 1000 + 345,
    }


def _metadata(world: World, release: int) -> Iterable[dict[str, Any] | str]:
    """Yield metadata; of 2014 as Python literals. Some lack a title, or have a twin, or are not."""
    for number, (title, names, _) in enumerate(world.items):
        row: dict[str, Any] = {"asin": _asin(number), "title": f"{title}: director's cut"}
        if release == 2014:
            row["categories"] = [[ROOT, "Movies"], [ROOT, *names]]
        else:
            row["category"] = [
                ROOT,
                *names,
                *(["</span></span></span>"] if number % 9 == 0 else []),
            ]
        if release == 2023:
            row = {"main_category": ROOT, "title": row["title"], "categories": row["category"]}
            row |= {"price": None, "parent_asin": _asin(number)}
        if number % TRAP == 1:
            row.pop("title") if release == 2014 else row.update(title=None)
        if number % TRAP == 2 and release == 2018:
            row["title"] = '<span class="a-size-medium a-color-secondary">'
        if number % TRAP == 3:
            row["title"] = row["title"].replace(":", " &amp; more:")
        line = repr(row) if release == 2014 else row
        yield from [line] * {4: 0, 5: 2}.get(number % TRAP, 1)


def write_google(folder: Path, world: World, ending: str) -> None:
    """Write the reviews, the 10-core and the metadata of a state."""
    # What came from travel sites has neither a user nor a rating.
    unknown = [_google_review((0, 0, 1_600_000_000, 1, None)) | {"user_id": None, "rating": None}]
    for stem, rows in (("", world.rows), ("_10", k_core(world.rows, 10))):
        lines = _repeated(map(_google_review, rows))
        write_lines(folder / f"review-{STATE}{stem}{ending}", [*unknown, *lines])
    write_lines(folder / f"meta-{STATE}{ending}", map(_place, range(len(world.items)), world.items))


def _google_review(row: tuple[int, int, int, float, str | None]) -> dict[str, Any]:
    """Return a review; ids of 21 digits lose some when they are read as numbers."""
    user, item, seconds, rating, text = row
    return {
        "user_id": f"1{int(hash_keys(user, 4)):020}",
        "name": "A reviewer",
        "time": (seconds // 3600 * 3600 - (30 * 365 * DAY if user % TRAP == 1 else 0)) * 1000 + 811,
        "rating": int(rating),
        "text": text,
        "pics": None,
        "resp": {"time": seconds * 1000, "text": "Thank you!"} if item % 7 == 0 else None,
        "gmap_id": _gmap_id(item),
    }


def _gmap_id(item: int) -> str:
    return f"0x89c2{int(hash_keys(item, 5)) % 16**12:012x}:0x{int(hash_keys(item, 6)):016x}"


def _place(number: int, item: tuple[str, list[str], int]) -> dict[str, Any]:
    title, names, _ = item
    return dict.fromkeys(PLACE_KEYS) | {
        "name": f"{title.removeprefix('The ')} {names[0].split()[0].lower()}",
        "gmap_id": _gmap_id(number),
        "category": None if number % TRAP == 1 else names,
        "num_of_reviews": 12,
        "price": "$$" if number % 2 else None,
    }


def k_core(rows: list[Any], least: int) -> list[Any]:
    """Return the rows of users and items with at least so many of the rows that are returned."""
    frame = pl.DataFrame([row[:2] for row in rows], [USER, ITEM], orient="row")
    frame = frame.with_row_index("place")
    height = -1
    while frame.height != height:
        height = frame.height
        frame = frame.filter(pl.len().over(ITEM) >= least).filter(pl.len().over(USER) >= least)
    return [rows[place] for place in frame["place"]]


def _repeated(lines: Iterable[Any]) -> Iterable[Any]:
    """Yield lines, some of them twice."""
    for number, line in enumerate(lines):
        yield from (line, line) if number % TRAP == 0 else (line,)


def write_lines(path: Path, lines: Iterable[dict[str, Any] | str]) -> None:
    """Write text lines or JSON lines, packed when the name says so, always the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    content = "".join(f"{text}\n" for text in texts).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def generate(
    folder: Path, *, users: int, items: int, events: int, seed: int, release: int, plain: bool
) -> None:
    """Write movielens/, amazon_reviews/ and google_local/ below a folder.

    Args:
        folder: What USERLLM_DATA is to name.
        users: Number of people.
        items: Number of films, products and places.
        events: Mean number of events of a person.
        seed: Another seed gives other people.
        release: Year of the Amazon release, one of ``RELEASES``.
        plain: Whether to leave the files unpacked.
    """
    kinds = [category_name(number) for number in range(len(PLACES))]
    films = make_world(users, items, events, seed, kinds)
    write_movielens(folder / "movielens", films)
    packed = "" if plain else ".gz"
    ending = f".jsonl{packed}" if release == 2023 else f".json{packed}"
    write_amazon(folder / "amazon_reviews", films, release, ending)
    places = make_world(users, items, events, seed + 1, PLACES)
    write_google(folder / "google_local", places, f".json{packed}")


def main() -> None:
    """Read the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    for name, number in (("users", 80), ("items", 200), ("events", 70), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--release", type=int, choices=RELEASES, default=RELEASES[0])
    parser.add_argument("--plain", action="store_true", help="leave the files unpacked")
    generate(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
