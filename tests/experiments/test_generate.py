"""Generated files of every format are read by the dataset's reader as what was simulated."""

import json

import numpy as np
import polars as pl
import pytest

from experiments.paper.generate import RELEASES, generate
from userllm.build import build
from userllm.config import load
from userllm.data.columns import CATEGORIES, ITEM, RATING, TEXT, TIMESTAMP, TITLE, USER

SIZE = {"users": 30, "items": 120, "events": 40, "seed": 0}


@pytest.fixture(scope="module", params=RELEASES)
def release(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    plain = request.param == 2018
    generate(folder, **SIZE, release=request.param, plain=plain)
    return folder


def read(folder, monkeypatch, *settings):
    """Read as from the command line, with nothing but the variable set."""
    monkeypatch.setenv("USERLLM_DATA", str(folder))
    return build(load("prepare", settings).config.data).read()


def test_movielens_is_found_and_read(release, monkeypatch):
    raw = read(release, monkeypatch, "data=movielens")
    assert raw.events[USER].n_unique() == 30
    assert raw.items.height == 120
    assert raw.items[TITLE].str.starts_with("The ").all()
    assert raw.items[CATEGORIES].list.len().min() == 0


def test_amazon_is_found_and_read(release, monkeypatch):
    raw = read(release, monkeypatch, "data=amazon_reviews", "data.category=Movies_and_TV")
    films = read(release, monkeypatch, "data=movielens")
    distinct = raw.events.unique([USER, ITEM, TIMESTAMP, RATING])
    assert distinct.height == films.events.height
    assert raw.events.height > distinct.height
    assert raw.events[USER].n_unique() == 30
    assert raw.events[ITEM].str.starts_with("000").any()
    assert raw.events[TEXT].str.len_bytes().replace(0, None).null_count() > 0
    assert raw.items[TITLE].str.contains("director's cut").sum() > 100
    assert not raw.items[TITLE].str.contains("<|&amp;").any()
    assert (raw.events[TIMESTAMP] // 86_400).n_unique() < raw.events.height / 2
    assert 8 <= raw.items[CATEGORIES].explode().n_unique() <= 11


def test_google_is_found_and_read(release, monkeypatch):
    raw = read(release, monkeypatch, "data=google_local")
    assert set(raw.events[USER].cast(pl.String).str.len_chars()) == {21}
    assert raw.events[USER].n_unique() == 30
    assert raw.events[TEXT].null_count() > 0
    assert raw.items[CATEGORIES].list.len().min() == 0
    assert "Museum" in raw.items[CATEGORIES].explode().to_list()


@pytest.mark.parametrize(
    ("option", "least"), [("amazon_reviews", 5), ("google_local", 10)], ids=["amazon", "google"]
)
def test_core_has_frequent_users_only(option, least, release, monkeypatch):
    if option == "amazon_reviews" and list((release / option).glob("*.jsonl.gz")):
        pytest.skip("the release of 2023 has no core")
    events = read(release, monkeypatch, f"data={option}", "data.core=true").events
    assert events.group_by(USER).len()["len"].min() >= least
    assert events[USER].n_unique() < 30


def test_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        generate(tmp_path / name, **SIZE, release=2014, plain=False)
    files = [path for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()]
    assert len(files) == 8
    for path in files:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_metadata_of_2014_are_no_json(tmp_path):
    generate(tmp_path, **SIZE, release=2014, plain=True)
    line = (tmp_path / "amazon_reviews" / "meta_Movies_and_TV.json").read_text().splitlines()[0]
    with pytest.raises(json.JSONDecodeError):
        json.loads(line)


def test_there_is_something_to_learn(tmp_path, monkeypatch):
    generate(tmp_path, **SIZE, release=2014, plain=False)
    raw = read(tmp_path, monkeypatch, "data=google_local")
    first = raw.items.select(ITEM, pl.col(CATEGORIES).list.first())
    counts = (
        raw.events.join(first, on=ITEM)
        .group_by(USER, CATEGORIES)
        .len()
        .pivot(CATEGORIES, index=USER, values="len")
        .fill_null(0)
        .drop(USER)
        .to_numpy()
    )
    shares = counts / counts.sum(axis=1, keepdims=True)
    # Users differ by more than chance lets them: a favourite has far more than its mean share.
    assert np.mean(shares.max(axis=1)) > 2 * shares.mean()
