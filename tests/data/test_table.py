"""A person's own file is read as it is meant, and everything wrong with it is named."""

import gzip
import re
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, TITLE, USER, YEAR
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.table import Table
from userllm.data.vocabulary import FIRST_ID
from userllm.errors import UserError

ROLES = ("user", "item", "timestamp", "rating", "title", "categories", "text", "year")
HEADER = "user,item,timestamp,rating,title,categories,text,year"
LINES = [
    '007,00012345678901234567,1300000000,4.5,"Soup, hot",Food|Warm,"Fine.\nAgain!",1999',
    "007,b,1300000001,,Bread,Food,,",
    '008,b,1300000002,1,Bread,Food,"I said ""no"".",',
]


def table(path, columns=None, **changes):
    settings = {
        "name": "mine",
        "columns": {**dict.fromkeys(ROLES), **(columns or {})},
        "timestamp": "auto",
        "separator": None,
        "category_separator": "|",
        "on_bad_line": "fail",
        "nouns": {"item": "dish", "category": "course"},
        "min_user_events": 1,
        "min_item_events": 1,
    }
    return Table(path=str(path), **{**settings, **changes})


def write(path, lines, header=HEADER, end="\n"):
    content = "".join(f"{line}{end}" for line in [header, *lines]).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def complaint(path, **changes):
    with pytest.raises(UserError) as caught:
        table(path, **changes).read()
    return str(caught.value)


def test_csv_is_read_as_it_was_written(tmp_path):
    raw = table(write(tmp_path / "own.csv", LINES)).read()
    assert raw.events.select(USER, ITEM, TIMESTAMP, RATING, TEXT).rows() == [
        ("007", "00012345678901234567", 1_300_000_000, 4.5, "Fine.\nAgain!"),
        ("007", "b", 1_300_000_001, None, None),
        ("008", "b", 1_300_000_002, 1.0, 'I said "no".'),
    ]
    assert raw.items.select(ITEM, TITLE, CATEGORIES, YEAR).rows() == [
        ("00012345678901234567", "Soup, hot", ["Food", "Warm"], 1999),
        ("b", "Bread", ["Food"], None),
    ]
    assert raw.nouns == {"item": "dish", "category": "course"}


def as_parquet(path):
    frame = pl.read_csv(path, infer_schema=False).with_columns(
        pl.col("timestamp").cast(pl.Int64),
        pl.col("rating").cast(pl.Float64),
        pl.col("categories").str.split("|"),
        pl.col("year").cast(pl.Int16),
    )
    frame.write_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


@pytest.mark.parametrize("kind", ["gz", "tsv", "windows", "parquet", "semicolon", "mark"])
def test_every_kind_of_file_gives_the_same(kind, tmp_path):
    plain = write(tmp_path / "own.csv", LINES)
    expected = table(plain).read()
    settings = {}
    if kind == "gz":
        path = write(tmp_path / "own.csv.gz", LINES)
    elif kind == "tsv":
        path = tmp_path / "own.tsv"
        pl.read_csv(plain, infer_schema=False).write_csv(path, separator="\t")
    elif kind == "semicolon":
        path, settings = tmp_path / "own.txt", {"separator": ";"}
        pl.read_csv(plain, infer_schema=False).write_csv(path, separator=";")
    elif kind == "parquet":
        path = as_parquet(plain)
    elif kind == "mark":
        path = tmp_path / "mark.csv"
        path.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    else:
        path = write(tmp_path / "dos.csv", LINES, end="\r\n")
    raw = table(path, **settings).read()
    assert raw.events.equals(expected.events)
    assert raw.items.equals(expected.items)


def test_row_order_does_not_matter(tmp_path):
    lines = [f"{n % 4},{n % 7},{n % 3},,title {n % 5},c{n % 2},text {n}," for n in range(60)]
    fingerprints = set()
    for number, order in enumerate((lines, lines[::-1], lines[30:] + lines[:30])):
        raw = table(write(tmp_path / f"{number}.csv", order)).read()
        folder = tmp_path / str(number)
        write_corpus(raw, name="x", min_user_events=1, min_item_events=1, folder=folder)
        fingerprints.add(Corpus.open(folder).fingerprint)
    assert len(fingerprints) == 1


def test_the_most_frequent_title_holds_and_ties_go_by_text(tmp_path):
    said = [("a", "X"), ("a", "Y"), ("a", "Y"), ("b", "Q"), ("b", "P"), ("c", ""), ("c", " ")]
    lines = [f"u,{item},{n},,{title},," for n, (item, title) in enumerate(said)]
    raw = table(write(tmp_path / "own.csv", lines)).read()
    assert raw.items[TITLE].to_list() == ["Y", "P", "item c"]
    assert raw.provenance["items_without_title"] == 1
    assert raw.provenance["items_with_several_titles"] == 2


def test_three_columns_are_enough_and_can_be_called_anything(tmp_path):
    path = write(tmp_path / "own.csv", ["u,i,5", "v,i,6"], header="who,what,when")
    raw = table(path, columns={"user": "who", "item": "what", "timestamp": "when"}).read()
    assert raw.events.columns == [USER, ITEM, TIMESTAMP, RATING]
    assert raw.events[RATING].null_count() == 2
    assert raw.items.row(0) == ("i", "item i", [], None)


def test_category_is_another_name_for_categories(tmp_path):
    path = write(tmp_path / "own.csv", ["u,i,5,A"], header="user,item,timestamp,category")
    assert table(path).read().items[CATEGORIES].to_list() == [["A"]]


def test_category_separator_can_be_set(tmp_path):
    path = write(tmp_path / "own.csv", ["u,i,5,A; B;A;"], header="user,item,timestamp,category")
    assert table(path, category_separator=";").read().items[CATEGORIES].to_list() == [["A", "B"]]


NOON = datetime(2014, 3, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOON.timestamp())


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        (str(SECONDS), "seconds"),
        (f"{SECONDS}.75", "seconds"),
        (f"{SECONDS}123", "milliseconds"),
        (f"{SECONDS}123456", "microseconds"),
        (f"{SECONDS}123456789", "nanoseconds"),
        ("2014-03-01 12:00", "ISO"),
        ("2014-03-01T12:00:00.9Z", "ISO"),
        ("2014-03-01T14:00:00+02:00", "ISO"),
    ],
)
def test_time_of_any_form_is_recognised_and_named(written, taken, tmp_path):
    path = write(tmp_path / "own.csv", [f"u,i,{written}"], header="user,item,timestamp")
    raw = table(path).read()
    assert raw.events[TIMESTAMP].to_list() == [SECONDS]
    assert raw.provenance["timestamps"].startswith(taken)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (NOON.replace(tzinfo=None), SECONDS),
        (NOON.astimezone(timezone(timedelta(hours=5))), SECONDS),
        (date(2014, 3, 1), SECONDS - 12 * 3600),
        (SECONDS, SECONDS),
        (-1.5, -2),
    ],
)
def test_typed_times_are_read(value, seconds, tmp_path):
    path = tmp_path / "own.parquet"
    pl.DataFrame({"user": [1], "item": [2], "timestamp": [value]}).write_parquet(path)
    assert table(path).read().events[TIMESTAMP].to_list() == [seconds]


def test_a_set_unit_holds(tmp_path):
    path = write(tmp_path / "own.csv", ["u,i,5000"], header="user,item,timestamp")
    raw = table(path, timestamp="milliseconds").read()
    assert raw.events[TIMESTAMP].to_list() == [5]
    assert "as set" in raw.provenance["timestamps"]


BAD = {
    "no user": (",b,1300000003,,,,,", r"no user"),
    "no item": ("u,,1300000003,,,,,", r"no item"),
    "no time": ("u,b,,,,,,", r"no timestamp"),
    "a short line": ("u,b", r"no timestamp"),
    "a word for a time": ("u,b,yesterday,,,,,", r"timestamp should be seconds.*'yesterday'"),
    "a word for a rating": ("u,b,1300000003,good,,,,", r"rating should be a number.*'good'"),
    "an endless rating": ("u,b,1300000003,inf,,,,", r"rating should be a number.*'inf'"),
    "half a year": ("u,b,1300000003,,,,,1999.5", r"year should be a whole number.*'1999.5'"),
    "too many values": ("u,b,1300000003,,,,,1,2", r"expected 8 values, found 9"),
    "a stray quote": ('u,b,1300000003,,"a" b,,,', r"expected after"),
}


@pytest.mark.parametrize(("line", "problem"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_bad_line_is_reported_with_its_place_or_skipped(line, problem, suffix, tmp_path):
    good = table(write(tmp_path / "good.csv", LINES)).read()
    path = write(tmp_path / f"bad.{suffix}", [LINES[0], "", LINES[1], line, LINES[2]])
    message = complaint(path)
    # The first row takes two lines, and the second is blank.
    assert f"bad.{suffix}, line 6:" in message
    assert re.search(problem, message)
    assert "data.on_bad_line=skip" in message
    raw = table(path, on_bad_line="skip").read()
    assert raw.events.equals(good.events)
    assert sum(raw.provenance["skipped"].values()) == 1


def test_text_in_another_encoding_is_reported_with_its_line(tmp_path):
    path = write(tmp_path / "own.csv", LINES)
    path.write_bytes(path.read_bytes().replace(b"Bread", b"Br\xe9d", 1))
    assert re.search(r"line 4: expected UTF-8 text", complaint(path))
    assert table(path, on_bad_line="skip").read().events.height == 2


def test_a_quote_that_never_ends_counts_all_lines_it_swallows(tmp_path):
    path = write(tmp_path / "own.csv", [LINES[1], 'u,b,1300000003,,"open,,,', *[LINES[1]] * 2])
    assert "line 3: unexpected end" in complaint(path)
    raw = table(path, on_bad_line="skip").read()
    assert raw.events.height == 1
    assert raw.provenance["skipped"] == {"unreadable lines": 3}


def test_unusual_but_unambiguous_quotes_are_kept(tmp_path):
    path = write(tmp_path / "own.csv", ['u,b,1300000003,,6" disc,,,'])
    assert table(path).read().items[TITLE].to_list() == ['6" disc']


def test_bad_row_of_a_parquet_file_is_reported(tmp_path):
    path = tmp_path / "own.parquet"
    frame = {"user": ["a", None, "c"], "item": [1, 2, 3], "timestamp": [1, 2, 3]}
    pl.DataFrame(frame).write_parquet(path)
    assert "own.parquet, row 2: no user" in complaint(path)
    assert table(path, on_bad_line="skip").read().provenance["skipped"] == {"no user": 1}


def test_ids_that_lost_digits_are_refused(tmp_path):
    path = tmp_path / "own.parquet"
    pl.DataFrame({"user": [1.1e20], "item": [1], "timestamp": [1]}).write_parquet(path)
    assert re.search(r"'user': expected text or whole numbers.*lost digits", complaint(path))


def test_missing_columns_are_all_named_with_what_to_type(tmp_path):
    path = write(tmp_path / "own.csv", ["u,b,1"], header="userId,item,when")
    message = complaint(path, columns={"rating": "stars"})
    for part in (
        "has the columns userId, item, when",
        "no column 'user': type data.columns.user=<column>; did you mean 'userId'?",
        "type data.columns.timestamp=<column>; expected one of: item, userId, when",
        "no column 'stars'",
    ):
        assert part in message


def test_one_column_is_another_separator(tmp_path):
    path = write(tmp_path / "own.csv", ["u;b;1"], header="user;item;timestamp")
    assert "type data.separator=" in complaint(path)


def test_more_ratings_than_16_bits_hold_keep_ids_of_their_own(tmp_path):
    rows = [f"u{row % 40},i{row % 50},{row},{row}" for row in range(33_000)]
    path = write(tmp_path / "own.csv", rows, header="user,item,timestamp,rating")
    write_corpus(
        table(path).read(),
        name="seconds",
        min_user_events=3,
        min_item_events=0,
        folder=tmp_path / "corpus",
    )
    ids = Corpus.open(tmp_path / "corpus").features["rating"]
    assert np.array_equal(np.unique(ids), np.arange(FIRST_ID, FIRST_ID + 33_000))


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    path = write(tmp_path / "own.csv", ["u,b,1,u"], header="user,item,timestamp,user")
    assert "column 'user' is there 2 times" in complaint(path)


def test_wrong_paths_and_kinds_say_what_is_expected(tmp_path):
    write(tmp_path / "visits.csv", LINES)
    assert "did you mean 'visits.csv'?" in complaint(tmp_path / "vists.csv")
    assert "data.separator=" in complaint(write(tmp_path / "own.dat", LINES))
    (tmp_path / "empty.csv").touch()
    assert "is empty" in complaint(tmp_path / "empty.csv")
    (tmp_path / "x.parquet").write_text("no")
    assert "no whole Parquet file" in complaint(tmp_path / "x.parquet")
    whole = write(tmp_path / "own.csv.gz", LINES * 200).read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(whole[:-20])
    assert "no whole gzip file" in complaint(tmp_path / "cut.csv.gz")
    assert "no row that is an event" in complaint(write(tmp_path / "header.csv", []))
