import json

import numpy as np
import polars as pl
import pytest

from userllm.errors import UserError
from userllm.metric.interval import interval
from userllm.report.columns import grid
from userllm.report.comparison import build_tables
from userllm.report.notes import notes
from userllm.report.results import load


def hybrids(fake_runs):
    """Finish two rows of one method."""
    for events in (10, 50):
        config = {"context": {"_target_": "userllm.context.hybrid.Hybrid", "events": events}}
        fake_runs.finished("hybrid", overrides=(f"context.events={events}",), config=config)


def table_of(fake_runs, baseline=None):
    (table,) = build_tables([load(folder) for folder in fake_runs.folders], baseline)
    return table


def row_of(table, label):
    return next(row for row in table.rows if row.label == label)


def test_seeds_are_averaged_user_by_user_before_the_interval(fake_runs):
    folders = [fake_runs.finished("cross_attention", seed=seed) for seed in (0, 1, 2)]
    (row,) = table_of(fake_runs).models
    per_seed = [
        pl.read_parquet(folder / "per_user.parquet")
        .filter(pl.col("method") == "cross_attention")
        .sort("user")["accuracy"]
        .to_numpy()
        for folder in folders
    ]
    assert row.seeds == [0, 1, 2]
    assert row.score == interval(np.mean(per_seed, axis=0))


def test_costs_are_averaged_over_seeds(fake_runs):
    for seed, seconds in enumerate((10, 20, 60)):
        fake_runs.finished("none", seed=seed, cost={"training_seconds": seconds})
    (row,) = table_of(fake_runs).models
    assert row.cost_of("training_seconds") == 30
    assert row.cost_of("latency_ms", "threads") == 2


def test_runs_with_other_settings_are_rows_of_their_own(demo):
    labels = [row.label for row in demo[0].models]
    assert labels == [
        "hybrid (events=50)",
        "hybrid (events=10)",
        "cross_attention",
        "soft_prompt",
        "text_prompt",
        "none",
    ]


def test_references_are_shown_once(demo):
    references = [row.label for row in demo[0].references]
    assert references == ["count_history", "majority"]


def test_a_reference_that_depends_on_a_setting_stays(fake_runs):
    fake_runs.finished("none")
    folder = fake_runs.finished("hybrid")
    frame = pl.read_parquet(folder / "per_user.parquet")
    is_floor = pl.col("method") == "count_history"
    frame.with_columns(accuracy=pl.when(is_floor).then(0.0).otherwise("accuracy")).write_parquet(
        folder / "per_user.parquet"
    )
    floors = [row for row in table_of(fake_runs).references if row.method == "count_history"]
    assert sorted(row.score.mean for row in floors) == [0.0, pytest.approx(0.79, abs=0.01)]


def test_the_order_of_the_runs_does_not_matter(fake_runs):
    loaded = [load(folder) for folder in fake_runs.demo()]
    (one,), (other,) = build_tables(loaded), build_tables(loaded[::-1])
    assert [(r.label, r.score, r.delta) for r in one.rows] == [
        (r.label, r.score, r.delta) for r in other.rows
    ]


@pytest.mark.parametrize(
    ("key", "name"),
    [("fingerprint", "data 'movielens_100k'"), ("origin", "language models 'tiny'")],
)
def test_one_name_for_two_things_is_refused_with_both(fake_runs, key, name):
    for context, mark in (("none", "aaaa"), ("hybrid", "bbbb")):
        fake_runs.finished(context, **{key: mark})
    with pytest.raises(UserError, match=rf"(?s)call different .*{name}.*aaaa.*bbbb"):
        table_of(fake_runs)


def test_other_data_and_other_protocols_get_tables_of_their_own(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("none", protocol="global_time")
    fake_runs.finished("none", data="synthetic", fingerprint="s" * 64)
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    assert [(t.setting.data, t.setting.protocol.split(",")[0]) for t in tables] == [
        ("movielens_100k", "global_time"),
        ("movielens_100k", "leave_last_out"),
        ("synthetic", "leave_last_out"),
    ]


def test_tables_kept_apart_say_what_differs(fake_runs):
    fake_runs.finished("none", protocol="leave_last_out, seen items not ranked, k = 10")
    fake_runs.finished("none", protocol="leave_last_out, seen items ranked, k = 10")
    one, other = build_tables([load(folder) for folder in fake_runs.folders])
    assert one.apart == ("here seen items not ranked; there seen items ranked",)
    assert other.apart == ("here seen items ranked; there seen items not ranked",)


def test_tables_on_other_questions_need_not_say_so(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("none", data="synthetic", fingerprint="s" * 64)
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    assert [table.apart for table in tables] == [(), ()]


def test_a_copy_of_a_run_counts_once(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("none", copy="again")
    (row,) = table_of(fake_runs).models
    assert row.seeds == [0]


def test_two_results_of_one_cell_that_disagree_are_refused(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("none", copy="again", right=0.9)
    with pytest.raises(
        UserError, match=r"none on favorite_category, seed 0: accuracy 0\.49\d+ and 0\.9;"
    ):
        table_of(fake_runs)


def test_all_that_disagrees_is_named_at_once_with_its_folders(fake_runs):
    for context in ("none", "hybrid"):
        fake_runs.finished(context)
        fake_runs.finished(context, copy="again", right=0.9)
    with pytest.raises(UserError) as refused:
        table_of(fake_runs)
    assert all(str(folder) in str(refused.value) for folder in fake_runs.folders)


def test_equal_means_of_other_users_disagree(fake_runs):
    fake_runs.finished("none")
    file = fake_runs.finished("none", copy="again") / "per_user.parquet"
    frame = pl.read_parquet(file)
    own = pl.col("method") == "none"
    flipped = pl.when(own).then(pl.col("accuracy").reverse().over("method"))
    frame.with_columns(flipped.otherwise("accuracy").alias("accuracy")).write_parquet(file)
    with pytest.raises(UserError, match=r"seed 0: other values of \d+ of 120 users"):
        table_of(fake_runs)


def test_the_difference_to_the_baseline_is_paired(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("cross_attention")
    table = table_of(fake_runs)
    row, baseline = row_of(table, "cross_attention"), row_of(table, "none")
    assert row.baseline == "none"
    assert row.delta.mean == pytest.approx(row.score.mean - baseline.score.mean)
    unpaired = (row.score.high - row.score.low) + (baseline.score.high - baseline.score.low)
    assert row.delta.high - row.delta.low < unpaired / 2
    assert row.ratio.mean == pytest.approx(row.score.mean / baseline.score.mean)
    assert row.ratio.low < row.ratio.mean < row.ratio.high
    assert baseline.delta is None
    assert baseline.ratio is None


def test_the_baseline_is_the_method_without_a_user_whatever_it_is_called(fake_runs):
    folder = fake_runs.finished("none")
    fake_runs.finished("hybrid")
    content = json.loads((folder / "result.json").read_text())
    content["outcomes"][0]["method"] = content["run"]["choices"]["method"] = "none_lora"
    (folder / "result.json").write_text(json.dumps(content))
    users = pl.read_parquet(folder / "per_user.parquet")
    users = users.with_columns(pl.col("method").replace("none", "none_lora"))
    users.write_parquet(folder / "per_user.parquet")
    [table] = build_tables([load(folder) for folder in fake_runs.folders])
    baselines = {row.method: row.baseline for row in table.models}
    assert baselines == {"hybrid": "none_lora", "none_lora": None}


def test_another_baseline_can_be_named(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("text_prompt")
    assert row_of(table_of(fake_runs, "text_prompt"), "none").delta.mean < 0


def test_a_floor_can_be_the_baseline(fake_runs):
    fake_runs.finished("none")
    assert row_of(table_of(fake_runs, "majority"), "none").baseline == "majority"


def test_one_row_of_several_of_a_method_can_be_the_baseline(fake_runs):
    hybrids(fake_runs)
    by_method, by_row = (table_of(fake_runs, name) for name in ("hybrid", "hybrid (events=10)"))
    assert {row.baseline for row in by_method.models} == {None}
    baselines = {row.label: row.baseline for row in by_row.models}
    assert baselines == {"hybrid (events=10)": None, "hybrid (events=50)": "hybrid (events=10)"}
    assert row_of(by_row, "hybrid (events=50)").test is not None
    assert "Δ baseline" in [column.title for column in grid(by_row).columns]
    assert any("with hybrid (events=10) (Holm)" in note for note in notes(by_row))


def test_an_unknown_baseline_lists_methods_and_rows(fake_runs):
    fake_runs.finished("none")
    with pytest.raises(UserError, match=r"baseline=nobody: .*'majority', 'none'\]\.$"):
        table_of(fake_runs, "nobody")
    hybrids(fake_runs)
    with pytest.raises(UserError, match=r"""'baseline="hybrid \(events=10\)"'$"""):
        table_of(fake_runs, "nobody")


def test_without_a_baseline_there_are_no_differences(fake_runs):
    fake_runs.finished("hybrid")
    assert row_of(table_of(fake_runs), "hybrid").delta is None


def test_the_best_and_those_not_distinguishable_from_it_are_marked(demo):
    marks = {row.label: row.marks.get("accuracy") for row in demo[0].models}
    assert marks == {
        "hybrid (events=50)": "best",
        "hybrid (events=10)": "close",
        "cross_attention": "close",
        "soft_prompt": None,
        "text_prompt": None,
        "none": None,
    }


def test_a_loss_is_best_when_low(fake_runs):
    fake_runs.finished("none", metric="loss", right=0.2)
    fake_runs.finished("hybrid", metric="loss", right=0.9)
    table = table_of(fake_runs)
    assert [row.label for row in table.models] == ["none", "hybrid"]
    assert row_of(table, "none").marks["loss"] == "best"
    assert row_of(table, "hybrid").marks.get("loss") is None


def test_equal_models_are_not_marked(fake_runs):
    fake_runs.finished("none", right=0.0)
    fake_runs.finished("hybrid", right=0.0)
    assert [row.marks.get("accuracy") for row in table_of(fake_runs).models] == [None, None]


def test_unfinished_runs_stand_in_the_table_they_belong_to(demo):
    missing = [(run.method, run.seed, run.state) for run in demo[0].missing]
    assert missing == [("soft_prompt", 1, "failed"), ("soft_prompt", 2, "running")]


def test_unfinished_runs_of_nothing_finished_get_a_table(fake_runs, tmp_path):
    fake_runs.finished("none")
    loaded = [load(fake_runs.folders[0]), load(tmp_path / "contextualize" / "gone")]
    _, waiting = build_tables(loaded)
    assert (waiting.rows, waiting.missing[0].state) == ([], "not there")


def test_runs_that_were_never_scored_are_no_comparison(fake_runs):
    fake_runs.finished("none")
    path = fake_runs.folders[0] / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "outcomes": []}))
    with pytest.raises(UserError, match="None of the 1 runs was scored"):
        build_tables([load(fake_runs.folders[0])])


def test_nothing_finished_is_an_error_that_lists_the_states(fake_runs):
    fake_runs.stopped("none", "failed", "disk full")
    with pytest.raises(
        UserError, match=r"None of the 1 runs has a result yet:\n.*failed disk full"
    ):
        table_of(fake_runs)


def test_cutoffs_are_one_word_of_a_protocol(fake_runs):
    for cutoffs in ("k = 1, 5, 10", "k = 1, 10, 20"):
        fake_runs.finished("none", protocol=f"full catalogue, {cutoffs}, ties count against")
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    assert {table.own for table in tables} == {("k = 1, 5, 10",), ("k = 1, 10, 20",)}
