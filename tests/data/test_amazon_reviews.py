"""Every release of the Amazon reviews gives the same data, and bad files clear errors."""

import re

import polars as pl
import pytest

from tests.data.reviews import (
    AMAZON_WRITERS,
    PRODUCTS,
    ROOT,
    amazon,
    counted,
    new_review,
    old_review,
    review_rows,
    write_2014,
    write_lines,
)
from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, TITLE, USER
from userllm.data.corpus import Corpus, write_corpus
from userllm.errors import UserError

ROW = review_rows(PRODUCTS)[0]


def complaint(folder, **changes) -> str:
    with pytest.raises(UserError) as caught:
        amazon(folder, **changes).read()
    return str(caught.value)


def fingerprint(raw, folder):
    write_corpus(raw, name="films", min_user_events=1, min_item_events=1, folder=folder)
    return Corpus.open(folder).fingerprint


@pytest.mark.parametrize("release", AMAZON_WRITERS)
@pytest.mark.parametrize(("text", "column"), [("summary", 4), ("body", 5)])
def test_release_is_read_as_it_was_written(release, text, column, tmp_path):
    AMAZON_WRITERS[release](tmp_path)
    raw = amazon(tmp_path, text=text).read()
    expected = [(*row[:4], row[column]) for row in review_rows(PRODUCTS)]
    assert sorted(raw.events.select(USER, ITEM, RATING, TIMESTAMP, TEXT).rows()) == sorted(expected)
    assert sorted(raw.items.select(ITEM, TITLE, CATEGORIES).rows()) == sorted(PRODUCTS)
    assert str(release) in raw.provenance["source"].replace("'23", "2023")
    assert raw.paper_dataset == "Amazon Review"


def test_all_releases_give_the_same_corpus_in_whatever_order_the_lines_come(tmp_path):
    found = set()
    for release, write in AMAZON_WRITERS.items():
        folder = tmp_path / str(release)
        write(folder)
        found.add(fingerprint(amazon(folder).read(), folder / "corpus"))
    write_2014(tmp_path, rows=review_rows(PRODUCTS)[::-1])
    found.add(fingerprint(amazon(tmp_path).read(), tmp_path / "corpus"))
    assert len(found) == 1


def test_texts_can_be_cut_or_left_out(tmp_path):
    write_2014(tmp_path)
    raw = amazon(tmp_path, text="body", text_chars=7).read()
    assert set(raw.events[TEXT]) == {"A long "}
    assert counted(raw)["texts cut"] == raw.events.height
    assert TEXT not in amazon(tmp_path, text=None).read().events.columns
    with pytest.raises(UserError, match="text_chars=0"):
        amazon(tmp_path, text_chars=0)


def test_categories_of_most_items_can_be_left_out(tmp_path):
    """Three of four films share one, and each has others; items that nobody rated do not count."""
    write_2014(tmp_path)
    names = dict.fromkeys([i for i, *_ in PRODUCTS[:3]], "Film") | {"unseen": "Rare"}
    meta = [
        {"asin": i, "title": title, "categories": [[ROOT, names.get(i, "Other"), *rest]]}
        for i, title, rest in [*PRODUCTS, ("unseen", "x", [])]
    ]
    write_lines(tmp_path / "meta_Movies_and_TV.json.gz", map(repr, meta))
    kept = {
        i: set(c)
        for i, c in amazon(tmp_path, max_category_share=0.75)
        .read()
        .items.select(ITEM, CATEGORIES)
        .rows()
    }
    assert "Film" in kept["B00000000C"]
    raw = amazon(tmp_path, max_category_share=0.74).read()
    left = {i: set(c) for i, c in raw.items.select(ITEM, CATEGORIES).rows()}
    assert left == {i: c - {"Film"} for i, c in kept.items()}
    assert raw.provenance["categories left out as too common"] == "Film"
    assert "Rare" in left["unseen"]
    assert "Horror" in left["B00000000C"]
    with pytest.raises(UserError, match="max_category_share=50"):
        amazon(tmp_path, max_category_share=50)


def test_unrated_and_silent_reviews_are_kept_and_counted(tmp_path):
    silent = old_review(*ROW) | {"overall": None, "summary": "  "}
    lines = [silent, silent | {"overall": 0.0, "summary": None, "unixReviewTime": -5}]
    del lines[0]["reviewText"]
    write_2014(tmp_path)
    write_lines(tmp_path / "reviews_Movies_and_TV.json.gz", [*lines, old_review(*ROW)])
    raw = amazon(tmp_path).read()
    assert raw.events[RATING].null_count() == raw.events[TEXT].null_count() == 2
    assert raw.events[TIMESTAMP].min() == -5
    assert counted(raw)["reviews without a rating"] == 2
    assert counted(raw)["reviews without a text"] == 2
    assert counted(raw)["further reviews of the same item by the same user"] == 2


def test_repeated_reviews_count_once(tmp_path):
    write_2014(tmp_path)
    once = fingerprint(amazon(tmp_path).read(), tmp_path / "corpus")
    write_2014(tmp_path, rows=[*review_rows(PRODUCTS), ROW, ROW])
    raw = amazon(tmp_path).read()
    assert counted(raw)["further reviews of the same item by the same user"] == 2
    assert fingerprint(raw, tmp_path / "corpus") == once


@pytest.mark.parametrize("turn", [1, -1])
def test_metadata_is_cleaned_whatever_the_order_of_its_lines(turn, tmp_path):
    write_2014(tmp_path)
    meta = [
        {"asin": "0000000116", "categories": [[ROOT]]},
        {"asin": "0000000116", "title": "Toy  Story &amp; More", "categories": [[ROOT, "A"]]},
        {"asin": "0000000116", "title": "Toy", "categories": [["Movies &amp; TV", "B", "A"]]},
        {"asin": "B00000000B", "title": '<span class="a-size-medium', "categories": [[ROOT]]},
        {"asin": "B00000000C", "title": "var aPageStart = (new Date()).getTime();"},
        {"asin": "B00000000X", "title": "Nobody's", "categories": None},
    ]
    write_lines(tmp_path / "meta_Movies_and_TV.json.gz", [repr(line) for line in meta[::turn]])
    raw = amazon(tmp_path).read()
    assert sorted(raw.items.select(ITEM, TITLE, CATEGORIES).rows()) == [
        ("0000000116", "Toy", ["A", "B"]),
        ("B00000000B", "item B00000000B", []),
        ("B00000000C", "item B00000000C", []),
        ("B00000000D", "item B00000000D", []),
        ("B00000000X", "Nobody's", []),
    ]
    assert counted(raw) == {
        "repeated metadata lines, dropped": 2,
        "reviewed items without metadata": 1,
        "items without a usable title, called 'item <id>'": 3,
        "items without a category": 4,
    }


def test_metadata_that_is_code_is_named_and_not_executed(tmp_path):
    write_2014(tmp_path)
    victim = tmp_path / "victim"
    code = f"{{'asin': '1', 'title': open({str(victim)!r}, 'w').name}}"
    path = write_lines(tmp_path / "meta_Movies_and_TV.json.gz", ["{'asin': '2'}", code])
    assert re.search(rf"{path}, line 2: Python code .* not executed", complaint(tmp_path))
    raw = amazon(tmp_path, on_bad_line="skip").read()
    skipped = raw.provenance["bad lines skipped in"]
    assert skipped == {"reviews_Movies_and_TV.json.gz": 0, "meta_Movies_and_TV.json.gz": 1}
    assert not victim.exists()


def test_review_that_is_none_is_named_or_counted(tmp_path):
    write_2014(tmp_path)
    lines = [old_review(*ROW), old_review(*ROW) | {"reviewerID": 5}, "garbage"]
    path = write_lines(tmp_path / "reviews_Movies_and_TV.json.gz", lines)
    assert f"{path}, line 2: reviewerID should be text, found 5" in complaint(tmp_path)
    raw = amazon(tmp_path, on_bad_line="skip").read()
    assert raw.events.height == 1
    assert raw.provenance["bad lines skipped in"][path.name] == 2


def test_file_of_another_kind_says_what_it_holds(tmp_path):
    write_2014(tmp_path)
    write_lines(tmp_path / "reviews_Movies_and_TV.json.gz", [new_review(*ROW)])
    message = complaint(tmp_path)
    assert "line 1: expected a review with reviewerID, asin, overall, unixReviewTime" in message
    assert "parent_asin" in message


def test_nothing_but_bad_lines_is_refused(tmp_path):
    write_2014(tmp_path)
    write_lines(tmp_path / "reviews_Movies_and_TV.json.gz", ["garbage"])
    assert "has no line with a review" in complaint(tmp_path, on_bad_line="skip")


def test_half_a_character_becomes_a_question(tmp_path):
    write_2014(tmp_path)
    line = (
        '{"reviewerID": "u", "asin": "i", "overall": 5, "summary": "\\ud83d!", "unixReviewTime": 1}'
    )
    write_lines(tmp_path / "reviews_Movies_and_TV.json.gz", [line])
    text = amazon(tmp_path).read().events[TEXT]
    assert text.dtype == pl.String
    assert text[0].endswith("!")
