import json

import polars as pl
import pytest

from userllm.errors import UserError
from userllm.report.results import Result, Unfinished, load, parts


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_finished_run_is_read_with_its_per_user_values(fake_runs):
    result = load(fake_runs.finished("none"))
    assert isinstance(result, Result)
    assert result.users_of(result.outcomes[0])["accuracy"].mean() == pytest.approx(0.49, abs=0.01)


def test_another_schema_version_is_refused_with_both_versions(fake_runs):
    folder = fake_runs.finished()
    edit(folder / "result.json", lambda result: result.update(schema_version=2))
    with pytest.raises(UserError, match=r"result\.json has schema_version 2, expected 1"):
        load(folder)


def test_truncated_json_names_the_file(fake_runs):
    file = fake_runs.finished() / "result.json"
    file.write_text(file.read_text()[:300])
    with pytest.raises(UserError, match=r"result\.json is not whole JSON"):
        load(file.parent)


def test_json_that_is_no_object_names_the_file(fake_runs):
    file = fake_runs.finished() / "result.json"
    file.write_text("[]")
    with pytest.raises(UserError, match=r"result\.json holds a list"):
        load(file.parent)


@pytest.mark.parametrize("section", ["run", "outcomes", "examples", "environment"])
def test_a_missing_section_is_named(fake_runs, section):
    folder = fake_runs.finished()
    edit(folder / "result.json", lambda result: result.pop(section))
    with pytest.raises(UserError, match=f"'{section}' is missing"):
        load(folder)


def test_a_missing_key_of_an_outcome_is_named(fake_runs):
    folder = fake_runs.finished()
    edit(folder / "result.json", lambda result: result["outcomes"][1].pop("protocol"))
    with pytest.raises(UserError, match=r"outcomes\[1\] lacks 'protocol'"):
        load(folder)


def test_missing_per_user_values_name_the_file(fake_runs):
    folder = fake_runs.finished()
    (folder / "per_user.parquet").unlink()
    with pytest.raises(UserError, match=r"per_user\.parquet is missing"):
        load(folder)


def test_cut_per_user_values_name_the_file(fake_runs):
    file = fake_runs.finished() / "per_user.parquet"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"per_user\.parquet is not a whole Parquet file"):
        load(file.parent)


def test_per_user_values_of_another_method_are_refused(fake_runs):
    folder = fake_runs.finished("none")
    frame = pl.read_parquet(folder / "per_user.parquet").filter(pl.col("method") != "none")
    frame.write_parquet(folder / "per_user.parquet")
    result = load(folder)
    with pytest.raises(UserError, match="no accuracy per user of none"):
        result.users_of(result.outcomes[0])


def test_a_finished_run_without_a_result_is_broken(fake_runs):
    folder = fake_runs.finished()
    (folder / "result.json").unlink()
    with pytest.raises(UserError, match=r"result\.json is missing"):
        load(folder)


@pytest.mark.parametrize("state", ["running", "failed", "interrupted"])
def test_an_unfinished_run_tells_its_state_and_method(fake_runs, state):
    run = load(fake_runs.stopped("hybrid", state, "out of memory", seed=3))
    assert isinstance(run, Unfinished)
    assert (run.state, run.error, run.method, run.seed) == (state, "out of memory", "hybrid", 3)


def test_a_folder_that_is_gone_is_not_there(tmp_path):
    run = load(tmp_path / "contextualize" / "gone-12345678")
    assert (run.state, run.method) == ("not there", "gone-12345678")


def test_parts_are_read_off_the_classes_of_a_config():
    config = {
        "task": {"_target_": "userllm.task.next_item.NextItem"},
        "trainer": {"_target_": "pytorch_lightning.Trainer"},
        "seed": 0,
    }
    assert parts(config) == {"task": "next_item"}
