"""A prepared corpus is not taken for that of other files."""

import os

import pytest

from userllm.config import load
from userllm.run.launch import execute

ROWS = [f"u{user},i{item},{user + item}" for user in range(6) for item in range(8)]
RATINGS = [f"{user}::{item}::3::{user + item}" for user in range(1, 6) for item in range(1, 9)]


def prepare(runs, *words):
    words = [*words, f"paths.runs={runs}"]
    loaded = load("prepare", words)
    return execute("prepare", loaded.config, loaded.choices, words)


def release(folder, users):
    folder.mkdir(parents=True)
    rows = [row for row in RATINGS if int(row[0]) <= users]
    (folder / "ratings.dat").write_text("\n".join(rows) + "\n")
    items = [f"{item}::Film {item} (1999)::Drama" for item in range(1, 9)]
    (folder / "movies.dat").write_text("\n".join(items) + "\n")


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("user,item,timestamp\n" + "\n".join(ROWS) + "\n")
    return file


def test_a_changed_file_is_noticed_and_a_touched_one_is_the_same(table, tmp_path):
    words = ["data=table", f"data.path={table}", "data.min_user_events=3"]
    assert prepare(tmp_path / "runs", *words).state == "finished"
    os.utime(table, ns=(1, 1))
    assert prepare(tmp_path / "runs", *words).state == "skipped"
    table.write_text(table.read_text().replace("u5,i7,12", "u5,i6,12"))
    refused = prepare(tmp_path / "runs", *words)
    assert (refused.state, refused.exit_code) == ("failed", 2)
    assert "mine.csv, which has changed since" in refused.error
    assert prepare(tmp_path / "others", *words).state == "finished"
    table.unlink()
    assert prepare(tmp_path / "runs", *words).state == "skipped"


def test_another_data_folder_is_noticed(tmp_path, monkeypatch):
    words = ["data=movielens", "data.release=1m", "data.min_user_events=3"]
    for name, users in (("tiny", 4), ("real", 5)):
        release(tmp_path / name / "movielens", users)
    monkeypatch.setenv("USERLLM_DATA", str(tmp_path / "tiny"))
    first = prepare(tmp_path / "runs", *words)
    assert first.state == "finished", first.error
    assert prepare(tmp_path / "runs", *words).state == "skipped"
    monkeypatch.setenv("USERLLM_DATA", str(tmp_path / "real"))
    assert f"USERLLM_DATA is {tmp_path / 'real'} now" in prepare(tmp_path / "runs", *words).error
