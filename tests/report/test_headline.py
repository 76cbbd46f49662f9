import json

import polars as pl
import pytest

from userllm.report.comparison import build_tables
from userllm.report.headline import headline
from userllm.report.results import load


def said(fake_runs):
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    return headline(table)


def test_who_beats_the_baseline_who_leads_what_it_costs_and_the_floor(demo):
    against, cost, floor = headline(demo[0])
    assert against.startswith("Better than none beyond chance: hybrid (events=50), ")
    assert against.endswith("not distinguishable from hybrid (events=10) and cross_attention.")
    assert cost == (
        "Among the best, cross_attention is the cheapest with 3.56 GFLOP per user, "
        "44× less than text_prompt (9.8× in measured latency)."
    )
    assert floor.startswith("Against the reference count_history (0.792 [")
    assert "is not distinguishable: −0.042 [" in floor


def test_latencies_of_two_machines_are_no_ratio(fake_runs):
    fake_runs.finished("none", right=0.50)
    fake_runs.finished("text_prompt", right=0.79)
    fake_runs.finished("cross_attention", right=0.8)
    assert "in measured latency" in said(fake_runs)[1]
    file = fake_runs.folders[-1] / "result.json"
    result = json.loads(file.read_text(encoding="utf-8"))
    result["environment"]["cpu_kind"] = "family 25, model 1, stepping 1"
    file.write_text(json.dumps(result), encoding="utf-8")
    assert "less than text_prompt." in said(fake_runs)[1]


def test_a_difference_within_the_interval_is_no_win(fake_runs):
    fake_runs.finished("none", right=0.50)
    fake_runs.finished("hybrid", right=0.52)
    assert said(fake_runs)[0].startswith("Not distinguishable from none: hybrid.")


@pytest.mark.parametrize(("metric", "verdict"), [("accuracy", "Worse"), ("loss", "Better")])
def test_the_direction_of_the_metric_decides(fake_runs, metric, verdict):
    fake_runs.finished("none", right=0.8, metric=metric)
    fake_runs.finished("hybrid", right=0.2, metric=metric)
    assert said(fake_runs)[0].startswith(f"{verdict} than none beyond chance: hybrid.")


def test_a_model_alone_claims_nothing(fake_runs):
    fake_runs.finished("hybrid")
    assert "is the only model here" in said(fake_runs)[0]


def test_a_model_below_the_floor_is_called_worse(fake_runs):
    fake_runs.finished("none")
    assert "none is worse: −0.3" in said(fake_runs)[-1]


def test_four_users_more_than_the_floor_are_no_win(fake_runs):
    file = fake_runs.finished("hybrid") / "per_user.parquet"
    users = pl.read_parquet(file)
    floor = users.filter(pl.col("method") == "count_history").sort("user")
    missed = floor.filter(pl.col("accuracy") == 0)["user"][:4]
    better = pl.when(pl.col("user").is_in(missed.to_list())).then(1.0).otherwise("accuracy")
    model = floor.with_columns(accuracy=better, method=pl.lit("hybrid"))
    rest = users.filter(pl.col("method") != "hybrid")
    pl.concat([model.select(rest.columns), rest]).write_parquet(file)
    last = said(fake_runs)[-1]
    assert "hybrid is not distinguishable: +0.0" in last
    # The bootstrap of the difference alone would have called it one.
    low = last.rpartition("[")[2].partition(",")[0]
    assert float(low) > 0


def test_the_best_of_many_is_held_against_the_floor_with_a_correction_for_them(fake_runs):
    fake_runs.finished("hybrid", right=0.88)
    assert "hybrid is better: +0.0" in said(fake_runs)[-1]
    for context in ("none", "soft_prompt", "text_prompt", "cross_attention"):
        for events in (10, 50):
            config = {"context": {"_target_": f"userllm.context.{context}.It", "events": events}}
            fake_runs.finished(
                context, right=0.79, config=config, overrides=(f"context.events={events}",)
            )
    assert "hybrid is not distinguishable: +0.0" in said(fake_runs)[-1]
