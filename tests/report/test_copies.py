"""One run that is there more than once, and seeds that ran in different places."""

import json

from userllm.report.comparison import build_tables
from userllm.report.notes import notes
from userllm.report.results import load


def table_of(fake_runs):
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    return table


def test_a_copy_that_took_other_time_is_said_to(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("none", copy="again", cost={"training_seconds": 99.0})
    table = table_of(fake_runs)
    assert table.models[0].cost["training_seconds"] == 40.5
    assert any("(training_seconds 40.5 and 99.0)" in note for note in notes(table))


def test_a_copy_from_a_machine_with_other_places_counts_once(fake_runs):
    fake_runs.finished("none")
    places = {"data": {"name": "movielens_100k", "dir": "there"}, "lm": {"cache": "here"}}
    places["lm"] |= {"_target_": "userllm.lm.tiny.TinyLM", "width": 256}
    fake_runs.finished("none", copy="again", config=places)
    (row,) = table_of(fake_runs).models
    assert len(row.runs) == 1


def test_a_run_that_was_measured_again_is_one_row_with_its_own_costs(fake_runs):
    fake_runs.finished("none")
    folder = fake_runs.finished(
        "none", copy="again", config={"cost": {"repeats": 99}}, cost={"training_seconds": 99.0}
    )
    file = folder / "result.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    result["run"]["verb"] = "benchmark"
    file.write_text(json.dumps(result), encoding="utf-8")
    for folders in (fake_runs.folders, fake_runs.folders[::-1]):
        (table,) = build_tables([load(folder) for folder in folders])
        (row,) = table.models
        assert row.cost["training_seconds"] == 40.5


def test_seeds_that_were_timed_elsewhere_are_not_in_the_latency(fake_runs):
    fake_runs.finished("none", seed=0)
    own = table_of(fake_runs).models[0].cost
    elsewhere = {**own["latency_ms"], "p50": 1.0, "device": "cuda:0"}
    there = {"latency_ms": elsewhere, "peak_memory_bytes": 1, "training_seconds": 100.5}
    fake_runs.finished("none", seed=1, cost=there)
    table = table_of(fake_runs)
    (row,) = table.models
    assert row.cost["latency_ms"] == own["latency_ms"]
    assert row.cost["peak_memory_bytes"] == own["peak_memory_bytes"]
    assert row.cost["training_seconds"] == own["training_seconds"]
    assert any("1 of 2 seeds, those on cpu with 2 threads" in note for note in notes(table))
