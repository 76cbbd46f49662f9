"""What is kept of a study decides its numbers and tells nothing about a machine or a person."""

import json
import re
import shutil

import polars as pl
import pytest

from experiments import tidy
from experiments.collect import collect
from tests.experiments.conftest import HOST, PERSON
from userllm.errors import UserError
from userllm.report.results import load
from userllm.run.reference import record_member, study_members


def test_nothing_of_a_machine_or_a_person_is_kept(study, made):
    files = [file for file in study.rglob("*") if file.is_file() and file.suffix != ".png"]
    assert len(files) >= 4 * 4
    for file in files:
        content = file.read_bytes()
        for secret in (HOST, PERSON, "4711", "A secret", "/srv", str(made)):
            assert secret.encode() not in content, f"{secret} in {file.name}"


def test_numbers_and_what_made_them_stay_as_they_were(study, runs):
    for copy in study_members(study / "results", "made_up"):
        was, now = load(runs / "contextualize" / copy.name), load(copy)
        assert now.outcomes == was.outcomes
        assert now.environment == was.environment
        assert now.per_user.drop("user").equals(was.per_user.drop("user"))
        assert now.examples == []
        assert now.run["config"]["context"] == was.run["config"]["context"]
        status = json.loads((copy / "status.json").read_text(encoding="utf-8"))
        assert status["seconds"] == 12.5
        assert (copy / "metrics.csv").is_file()


def test_a_kept_command_has_no_place_in_it(study):
    copy = study_members(study / "results", "made_up")[0]
    run = load(copy).run
    kept = ["context=cross_attention", "seed=0", "data.path='elsewhere/mine.csv'"]
    assert run["overrides"] == kept
    assert run["command"].split()[:3] == ["userllm", "contextualize", kept[0]]
    assert run["config"]["paths"] == tidy.PATHS


def test_an_unfinished_run_is_refused_unless_it_may_be_left_out(study, runs, tmp_path):
    stopped = runs / "contextualize" / "tp-s0-ffffffff"
    stopped.mkdir()
    (stopped / "status.json").write_text('{"state": "failed"}', encoding="utf-8")
    record_member(runs, "made_up", stopped)
    with pytest.raises(UserError, match=r"1 of 5 runs.*\n  tp-s0-ffffffff: failed"):
        collect("made_up", runs, study)
    collect("made_up", runs, study, partial=True)
    assert len(study_members(study / "results", "made_up")) == 4


def test_a_run_whose_encoder_was_made_again_and_differs_is_not_kept(study, runs):
    (run, *_) = (runs / "contextualize").iterdir()
    encoder = runs / "pretrain" / "mine-s0-0123abcd"
    encoder.mkdir(parents=True)
    (run / "made_from.json").write_text(json.dumps({f"../../pretrain/{encoder.name}": "a" * 64}))
    for weights in ("a" * 64, "b" * 64):
        result = {"environment": {"encoder_weights": weights}}
        (encoder / "result.json").write_text(json.dumps(result))
        if weights[0] == "a":
            collect("made_up", runs, study)
    before = sorted(study.rglob("*"))
    with pytest.raises(UserError, match=f"{run.name} was made from pretrain/{encoder.name}"):
        collect("made_up", runs, study)
    assert sorted(study.rglob("*")) == before


def test_what_another_machine_ran_is_added(study, runs, tmp_path):
    earlier = [folder.name for folder in study_members(study / "results", "made_up")]
    before = (study / "table.md").read_bytes()
    other = tmp_path / "other"
    for name in earlier[:1]:
        shutil.copytree(runs / "contextualize" / name, other / "contextualize" / name)
        record_member(other, "made_up", other / "contextualize" / name)
    collect("made_up", other, study, add=True)
    assert sorted(f.name for f in study_members(study / "results", "made_up")) == sorted(earlier)
    assert (study / "table.md").read_bytes() == before
    collect("made_up", other, study)
    assert [f.name for f in study_members(study / "results", "made_up")] == earlier[:1]


def test_what_somebody_deleted_is_not_kept(study, runs, tmp_path):
    gone, kept = study_members(study / "results", "made_up")[:2]
    shutil.rmtree(gone)
    shutil.copytree(
        runs / "contextualize" / kept.name, tmp_path / "other/contextualize" / kept.name
    )
    record_member(tmp_path / "other", "made_up", tmp_path / "other/contextualize" / kept.name)
    collect("made_up", tmp_path / "other", study, add=True)
    assert gone.name not in [folder.name for folder in study_members(study / "results", "made_up")]


def test_a_study_that_is_too_large_leaves_the_old_results(study, runs):
    before = sorted(study.rglob("*"))
    with pytest.raises(UserError, match=r"expected 0\.001 at most"):
        collect("made_up", runs, study, limit_mib=0.001)
    assert sorted(study.rglob("*")) == before


def test_an_unknown_study_is_refused_with_those_there_are(runs, tmp_path):
    with pytest.raises(UserError, match=r"'t99'.*made_up"):
        collect("t99", runs, tmp_path / "t99")


def test_a_readme_is_written_once(study, runs):
    readme = study / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert "A CPU, 2 threads" in text
    assert re.search(r"50(\.0)? s in 4 runs", text)
    readme.write_text("An answer.", encoding="utf-8")
    collect("made_up", runs, study)
    assert readme.read_text(encoding="utf-8") == "An answer."


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("data.dir=/data/ml-1m", "data.dir=elsewhere/ml-1m"),
        ("+data.dir='/data dir/ml-1m'", "+data.dir='elsewhere/ml-1m'"),
        (r"D:\data\jo\ml-1m", "elsewhere/ml-1m"),
        ("file:///data/jo/model", "elsewhere/model"),
        ("~/model", "elsewhere/model"),
        ("weights of /data/jo/model, frozen", "weights of elsewhere/model, frozen"),
        ("lm.model=org/name", "lm.model=org/name"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("and/or, 3 tokens/s, k = 1", "and/or, 3 tokens/s, k = 1"),
        ("run:pretrain/a-b", "run:pretrain/a-b"),
    ],
)
def test_paths_become_relative_and_nothing_else_does(text, kept):
    assert tidy.without_places({"a": [text]}) == {"a": [kept]}


def test_paths_below_known_folders_keep_their_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USERLLM_DATA", str(tmp_path / "data"))
    assert tidy.without_places(f"a={tmp_path}/data/ml") == "a=${oc.env:USERLLM_DATA}/ml"
    assert tidy.without_places(f"{tmp_path}/mine/x.csv") == "mine/x.csv"


def test_per_user_values_are_kept_exactly(study, runs):
    for copy in study_members(study / "results", "made_up"):
        was = pl.read_parquet(runs / "contextualize" / copy.name / "per_user.parquet")
        now = pl.read_parquet(copy / "per_user.parquet")
        assert now.drop("user").equals(was.drop("user"))
        assert now["user"].n_unique() == was["user"].n_unique()


def test_names_of_users_are_not_kept_and_pairs_are():
    names = ["A9X", "A10Q", "2B"]
    asked = [("review", name) for name in names] + [("next_item", name) for name in names[:2]]
    whole = pl.DataFrame(asked, schema=["task", "user"], orient="row")
    alone = whole.filter(pl.col("task") == "next_item")
    public, own = ({"data": {"_target_": name}} for name in (tidy.PUBLIC + "x.X", tidy.OWN))
    kept = tidy.numbered(whole, public)
    assert not set(kept["user"]) & set(names)
    # In the order of their names, which decides how users are drawn for intervals.
    assert kept.sort("task", "user")["user"].to_list() == ["000000001", "000000002"] + [
        f"00000000{place}" for place in (1, 2, 3)
    ]
    assert tidy.numbered(alone, public)["user"].to_list() == kept["user"].to_list()[3:]
    numbers = whole.with_columns(user=pl.Series(["7", "12", "3", "7", "12"]))
    assert tidy.numbered(numbers, public).equals(numbers)
    # Numbers of customers are names.
    for private in (own, {"data": {"_target_": "mine.Reader"}}):
        assert not set(tidy.numbered(numbers, private)["user"]) & set(numbers["user"])
