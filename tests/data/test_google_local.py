"""States of Google Local are read with all their gaps, and bad files give clear errors."""

import pytest

from tests.data.reviews import (
    PLACES,
    counted,
    google_review,
    review_rows,
    write_google,
    write_lines,
)
from userllm.data import download
from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, TITLE, USER
from userllm.data.corpus import Corpus, write_corpus
from userllm.data.google_local import GoogleLocal
from userllm.errors import UserError

LINE = google_review(*review_rows(PLACES)[0])


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.delenv("USERLLM_DATA", raising=False)
    monkeypatch.setattr(download, "connection_problem", lambda url, seconds: "no route to host")


def google(folder, **changes):
    settings = {
        "name": "places",
        "dir": folder and str(folder),
        "state": "New_York",
        "core": None,
        "text": "body",
        "text_chars": None,
        "on_bad_line": "fail",
        "min_user_events": 1,
        "min_item_events": 1,
        "cache": str(folder and folder / "cache"),
    }
    return GoogleLocal(**settings | changes)


def complaint(folder, **changes) -> str:
    with pytest.raises(UserError) as caught:
        google(folder, **changes).read()
    return str(caught.value)


def fingerprint(raw, folder, least=1):
    write_corpus(raw, name="places", min_user_events=least, min_item_events=1, folder=folder)
    return Corpus.open(folder).fingerprint


@pytest.mark.parametrize("name", ["review-New_York.json.gz", "review-New_York_10.jsonl"])
def test_state_is_read_as_it_was_written(name, tmp_path):
    write_google(tmp_path, name)
    raw = google(tmp_path).read()
    expected = [
        (user, item, stars, t, text) for user, item, stars, t, _, text in review_rows(PLACES)
    ]
    assert sorted(raw.events.select(USER, ITEM, RATING, TIMESTAMP, TEXT).rows()) == sorted(expected)
    assert sorted(raw.items.select(ITEM, TITLE, CATEGORIES).rows()) == sorted(PLACES)
    assert raw.nouns["item"] == "place"
    assert raw.paper_dataset == "Google Review"


def test_row_order_and_repeated_rows_change_nothing(tmp_path):
    write_google(tmp_path)
    before = fingerprint(google(tmp_path).read(), tmp_path / "corpus")
    lines = [google_review(*row) for row in review_rows(PLACES)]
    write_google(tmp_path, rows=[LINE, *lines[::-1], LINE])
    raw = google(tmp_path).read()
    assert counted(raw)["further reviews of the same item by the same user"] == 2
    assert fingerprint(raw, tmp_path / "corpus") == before


def test_gaps_are_kept_or_dropped_and_counted(tmp_path):
    write_google(tmp_path)
    lines = [
        LINE,
        LINE | {"rating": None, "text": None, "gmap_id": "0x89c2:0x2"},
        LINE | {"user_id": None, "rating": None},
        LINE | {"user_id": ""},
        LINE | {"time": -1, "gmap_id": "0x89c2:0x9"},
        LINE | {"time": -62_135_596_800_000, "text": ""},
    ]
    write_lines(tmp_path / "review-New_York.json.gz", lines)
    raw = google(tmp_path).read()
    assert raw.events.height == 4
    # A time is rounded down, on both sides of 1970.
    assert raw.events[TIMESTAMP].to_list()[2:] == [-1, -62_135_596_800]
    assert raw.events[USER].unique().to_list() == [LINE["user_id"]]
    assert counted(raw) == {
        "reviews without a user, dropped": 2,
        "reviews without a rating": 1,
        "reviews without a text": 2,
        "further reviews of the same item by the same user": 1,
        "reviewed items without metadata": 1,
        "items without a usable title, called 'place <id>'": 1,
        "items without a category": 2,
    }
    assert "place 0x89c2:0x9" in raw.items[TITLE].to_list()
    fingerprint(raw, tmp_path / "corpus")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user_id": 1.091298e20}, "user_id should be text or null, found 1.091298e+20"),
        ({"gmap_id": None}, "gmap_id should be text, found null"),
        ({"time": None}, "time should be a whole number"),
        ({"time": 10**18}, "time should be a whole number"),
        ({"rating": 7}, "rating should be a number or null from 0 to 5, found 7"),
    ],
)
def test_bad_line_is_named_or_counted(change, message, tmp_path):
    write_google(tmp_path)
    path = write_lines(tmp_path / "review-New_York.json.gz", [LINE, LINE | change])
    assert f"{path}, line 2: {message}" in complaint(tmp_path)
    raw = google(tmp_path, on_bad_line="skip").read()
    assert raw.events.height == raw.provenance["bad lines skipped in"][path.name] == 1


def test_sample_with_names_of_places_needs_no_metadata(tmp_path):
    lines = [
        google_review(*row) | {"business_name": f"Name {number % 2}", "state": "Alaska"}
        for number, row in enumerate(review_rows(PLACES)[:5])
    ]
    write_lines(tmp_path / "sample.jsonl.gz", lines)
    raw = google(tmp_path).read()
    assert raw.events.height == 5
    assert set(raw.items[TITLE]) <= {"Name 0", "Name 1"}
    assert "not checked" in raw.provenance["state"]
    assert raw.paper_dataset is None
    with pytest.raises(UserError, match=r"(?s)read +5 events.*users with >= 9 events +0 events"):
        fingerprint(raw, tmp_path / "corpus", least=9)


def test_name_of_a_place_is_the_most_frequent_one(tmp_path):
    names = ["B", "C", "B", "C", "A", None]
    write_lines(
        tmp_path / "s.jsonl", [LINE | {"business_name": n, "time": i} for i, n in enumerate(names)]
    )
    assert google(tmp_path).read().items[TITLE].to_list() == ["B"]


def test_missing_metadata_is_named(tmp_path):
    write_google(tmp_path)
    (tmp_path / "meta-New_York.json.gz").unlink()
    message = complaint(tmp_path)
    assert "lacks meta-New_York.json.gz" in message
    assert "googlelocal/meta-New_York.json.gz" in message


def test_other_state_is_suggested(tmp_path):
    write_google(tmp_path)
    assert "did you mean 'New_York'?" in complaint(tmp_path, state="NewYork")
    with pytest.raises(UserError, match="did you mean 'New_Jersey'"):
        google(None, state="New_Jersy", cache=str(tmp_path)).read()


def test_core_must_be_there_when_it_is_asked_for(tmp_path):
    write_google(tmp_path)
    assert "data.core=true" in complaint(tmp_path, core=True)


def test_folder_without_reviews_says_what_was_expected_and_found(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    message = complaint(tmp_path)
    assert "review-New_York.json.gz" in message
    assert "found holiday.jpg" in message


def test_own_folder_goes_before_a_download(monkeypatch, tmp_path):
    monkeypatch.setenv("USERLLM_DATA", str(tmp_path))
    write_google(tmp_path / "google_local")
    assert google(None, cache=str(tmp_path)).read().events.height
    with pytest.raises(UserError, match=r"(?s)only of New_York.*review-Utah\.json\.gz.*no route"):
        google(None, state="Utah", cache=str(tmp_path)).read()


def test_download_takes_the_core_when_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"googlelocal/review-Utah_10\.json\.gz .*data\.dir="):
        google(None, state="Utah", core=True, cache=str(tmp_path)).read()


def test_texts_can_be_cut_or_left_out(tmp_path):
    write_google(tmp_path)
    assert set(google(tmp_path, text_chars=6).read().events[TEXT]) == {"A long"}
    assert TEXT not in google(tmp_path, text=None).read().events.columns
    with pytest.raises(UserError, match="text_chars=-1"):
        google(tmp_path, text_chars=-1)
