"""What a study lacks, told from the runs that are there."""

import json
import shutil
from dataclasses import replace
from itertools import product

import pytest
import yaml

from userllm.report.comparison import build_tables
from userllm.report.results import load

CELLS = list(product(("none", "text_prompt", "hybrid"), (0, 1, 2)))


def lost(folders):
    tables = build_tables([load(folder) for folder in folders])
    return [(run.method, run.seed, run.state) for table in tables for run in table.missing]


@pytest.fixture
def grid(fake_runs):
    for context, seed in CELLS:
        fake_runs.finished(context, seed=seed)
    return fake_runs


def test_a_whole_grid_lacks_nothing(grid):
    assert lost(grid.folders) == []


@pytest.mark.parametrize("gone", range(len(CELLS)))
def test_a_cell_that_is_not_there_is_shown_as_missing(grid, gone):
    folders = [folder for number, folder in enumerate(grid.folders) if number != gone]
    assert lost(folders) == [(*CELLS[gone], "not run")]


@pytest.mark.parametrize("done", range(2, len(CELLS)))
def test_a_sweep_that_was_stopped_lacks_the_rest_of_what_it_touched(grid, done):
    touched = list(dict.fromkeys(context for context, _ in CELLS[:done]))
    seeds = sorted({seed for _, seed in CELLS[:done]})
    expected = {cell for cell in product(touched, seeds) if cell not in CELLS[:done]}
    assert {cell[:2] for cell in lost(grid.folders[:done])} == expected


def test_a_failed_cell_is_shown_once(grid):
    shutil.rmtree(grid.folders.pop())
    grid.stopped("hybrid", "failed", "non-finite loss", seed=2)
    assert lost(grid.folders) == [("hybrid", 2, "failed")]


def test_a_failed_cell_stands_in_the_table_of_its_own_questions(fake_runs):
    for window in (10, 50):
        asked = {"task": {"_target_": "userllm.task.favorite_category.It", "window": window}}
        fake_runs.finished("none", config=asked, protocol=f"last {window} events")
    folder = fake_runs.stopped("hybrid", "failed")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    (folder / "config.yaml").write_text(yaml.safe_dump(config | asked), encoding="utf-8")
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    found = {table.setting.protocol: [run.method for run in table.missing] for table in tables}
    assert found == {"last 10 events": [], "last 50 events": ["hybrid"]}


def test_a_cell_that_another_study_did_in_other_words_is_not_missing(grid):
    grid.folders.pop()
    config = {"group": "another", "context": {"_target_": "userllm.context.hybrid.Context"}}
    folder = grid.finished("hybrid", seed=2, config=config, copy="again")
    result = json.loads((folder / "result.json").read_text())
    result["run"] |= {"group": "another", "overrides": ["experiment=hybrid", "seed=2"]}
    (folder / "result.json").write_text(json.dumps(result))
    assert lost(grid.folders) == []


def test_only_the_grids_of_the_named_studies_can_lack_cells(grid):
    loaded = [load(folder) for folder in grid.folders[:-1]]
    assert [len(table.missing) for table in build_tables(loaded, studies=["demo"])] == [1]
    other = [replace(one, run={**one.run, "group": "another"}) for one in loaded[:1]]
    (table,) = build_tables([*other, *loaded[1:]], studies=["another"])
    assert table.missing == []


def test_single_choices_are_no_grid(fake_runs):
    fake_runs.finished("none", seed=0)
    fake_runs.finished("text_prompt", seed=1)
    fake_runs.finished("hybrid", seed=2)
    assert lost(fake_runs.folders) == []


def test_other_settings_of_a_missing_cell_are_said(fake_runs):
    for seed, events in product((0, 1), (10, 50)):
        typed = (f"context.events={events}",)
        config = {"context": {"_target_": "userllm.context.hybrid.Hybrid", "events": events}}
        fake_runs.finished("hybrid", seed=seed, overrides=typed, config=config)
    tables = build_tables([load(folder) for folder in fake_runs.folders[:-1]])
    (run,) = tables[0].missing
    assert (run.method, run.seed, run.settings) == ("hybrid", 1, "context.events=50")


def test_a_rate_that_each_method_has_its_own_of_is_no_axis(fake_runs):
    rates = {"none": "8e-3", "hybrid": "1e-4"}
    for (context, rate), seed in product(rates.items(), (0, 1)):
        typed = (f"training.learning_rates.head={rate}",)
        fake_runs.finished(context, seed=seed, overrides=typed)
    assert lost(fake_runs.folders) == []
    assert lost(fake_runs.folders[:-1]) == [("hybrid", 1, "not run")]
