"""Make small files in every format of Amazon reviews and of Google Local, from the same reviews."""

import gzip
import json
from pathlib import Path

import numpy as np

from userllm.data.amazon_reviews import AmazonReviews

CATEGORY = "Movies_and_TV"
ROOT = "Movies & TV"
# id, title, categories
PRODUCTS = [
    ("0000000116", "Toy Story", ["Animation", "Comedy"]),
    ("B00000000B", "Les Misérables & More", ["Drama"]),
    ("B00000000C", "Alien", ["Horror", "Sci-Fi"]),
    ("B00000000D", "No Category At All", []),
]
# id, name, categories
PLACES = [
    ("0x89c2:0x1", "Joe's Pizza", ["Pizza restaurant", "Takeout Restaurant"]),
    ("0x89c2:0x2", "Café Müller", ["Cafe"]),
    ("0x89c2:0x3", "Strand", []),
]


def review_rows(items, seed=0):
    """Return shuffled rows of user, item, stars, seconds, short and long text; times are tied."""
    rng = np.random.default_rng(seed)
    rows = [
        (
            f"1111825950776743668{user:02}",
            item,
            int(rng.integers(1, 6)),
            1_150_000_000 + 86_400 * int(rng.integers(0, 3)),
            f"short {user} {item}",
            f"A long text of {user} on {item}, with “quotes”.",
        )
        for user in range(8)
        for item, *_ in items
    ]
    return [rows[index] for index in rng.permutation(len(rows))]


def write_lines(path: Path, lines) -> Path:
    """Write text lines, packed when the name says so; objects become JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(
        f"{line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)}\n"
        for line in lines
    ).encode()
    path.write_bytes(gzip.compress(text) if path.name.endswith(".gz") else text)
    return path


def old_review(user, item, stars, time, short, long):
    """A line of 2014 or 2018."""
    return {
        "reviewerID": user,
        "asin": item,
        "reviewerName": "A reviewer",
        "reviewText": long,
        "overall": float(stars),
        "summary": short,
        "unixReviewTime": time,
    }


def new_review(user, item, stars, time, short, long):
    """A line of 2023."""
    return {
        "rating": float(stars),
        "title": short,
        "text": long,
        "images": [],
        "asin": "B0VARIANT0",
        "parent_asin": item,
        "user_id": user,
        "timestamp": time * 1000 + 345,
        "verified_purchase": True,
    }


def write_2014(folder: Path, name="reviews_Movies_and_TV.json.gz", rows=None) -> None:
    """Metadata are Python literals there."""
    write_lines(folder / name, [old_review(*row) for row in rows or review_rows(PRODUCTS)])
    meta = [
        {"asin": i, "title": title, "categories": [[ROOT], [ROOT, *names]], "price": 9.49}
        for i, title, names in PRODUCTS
    ]
    ending = name[name.index(".") :]
    write_lines(folder / f"meta_{CATEGORY}{ending}", map(repr, meta))


def write_2018(folder: Path, name="Movies_and_TV.json.gz") -> None:
    """Bullet points end up among the categories there."""
    rows = [old_review(*row) | {"verified": True, "vote": "3"} for row in review_rows(PRODUCTS)]
    write_lines(folder / name, rows)
    meta = [
        {
            "asin": i,
            "title": title.replace("&", "&amp;"),
            "category": [ROOT, *names, "Two discs.", "</span></span></span>", "No region"],
            "feature": ["Two discs.", "No region"],
            "rank": [">#1 in Movies"],
        }
        for i, title, names in PRODUCTS
    ]
    write_lines(folder / "meta_Movies_and_TV.json.gz", meta)


def write_2023(folder: Path, name="Movies_and_TV.jsonl.gz") -> None:
    """Several variants of a product share a parent there."""
    write_lines(folder / name, [new_review(*row) for row in review_rows(PRODUCTS)])
    meta = [
        {"main_category": ROOT, "title": title, "categories": [ROOT, *names], "parent_asin": i}
        for i, title, names in PRODUCTS
    ]
    write_lines(folder / "meta_Movies_and_TV.jsonl.gz", meta)


AMAZON_WRITERS = {2014: write_2014, 2018: write_2018, 2023: write_2023}


def google_review(user, item, stars, time, _, long):
    """A line of a state's reviews."""
    return {
        "user_id": user,
        "name": "A reviewer",
        "time": time * 1000 + 811,
        "rating": stars,
        "text": long,
        "pics": None,
        "resp": None,
        "gmap_id": item,
    }


def write_google(folder: Path, name="review-New_York.json.gz", rows=None) -> None:
    """One state."""
    write_lines(folder / name, rows or [google_review(*row) for row in review_rows(PLACES)])
    meta = [
        {"name": name, "gmap_id": i, "category": names or None, "description": None}
        for i, name, names in PLACES
    ]
    write_lines(folder / "meta-New_York.json.gz", meta)


def amazon(folder, **changes):
    """Return the dataset for a folder (None = none given)."""
    settings = {
        "name": "films",
        "dir": folder and str(folder),
        "release": None,
        "category": CATEGORY,
        "core": None,
        "text": "summary",
        "text_chars": None,
        "max_category_share": None,
        "on_bad_line": "fail",
        "min_user_events": 1,
        "min_item_events": 1,
        "cache": str(folder and folder / "cache"),
    }
    return AmazonReviews(**settings | changes)


def counted(raw):
    """Return what a reader counted at least once."""
    return {what: number for what, number in raw.provenance["counted"].items() if number}
