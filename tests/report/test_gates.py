import json

import pytest

from userllm.report import figure, gates, series
from userllm.report.comparison import build_tables
from userllm.report.extras import extra
from userllm.report.results import load
from userllm.report.table import csv, markdown

RETENTION = {
    "perplexity": {
        "before": {"mean": 20.0, "low": 18.0, "high": 22.0, "n": 12, "interval": "bootstrap"},
        "after": {"mean": 30.0, "low": 28.0, "high": 32.0, "n": 12, "interval": "bootstrap"},
        "change": {"mean": 1.5, "low": 1.4, "high": 1.6, "n": 12, "interval": "bootstrap"},
    },
    "accuracy": {
        "before": {"mean": 0.6, "low": 0.5, "high": 0.7, "n": 60, "interval": "wilson"},
        "after": {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 60, "interval": "wilson"},
        "change": {"mean": -0.1, "low": -0.2, "high": 0.0, "n": 60, "interval": "bootstrap"},
    },
}


def add(folder, **extras):
    file = folder / "result.json"
    result = json.loads(file.read_text())
    result["outcomes"][0] |= extras
    file.write_text(json.dumps(result))


def tables(fake_runs):
    return build_tables([load(folder) for folder in fake_runs.folders])


@pytest.fixture
def gated(fake_runs):
    for seed, value in ((0, 0.1), (1, 0.3)):
        folder = fake_runs.finished("cross_attention", seed=seed)
        sign = -1 if seed else 1
        add(folder, per_block={"gate": {"3": value, "7": sign * value}}, retention=RETENTION)
    add(fake_runs.finished("none"), per_block={})
    return tables(fake_runs)[0]


def test_sizes_are_averaged_over_seeds_whatever_their_signs_and_rows_without_left_out(gated):
    size = pytest.approx(0.2)
    assert gates.gates_of(gated) == {"cross_attention": {3: size, 7: size}}


def test_the_size_of_a_gate_is_drawn_whatever_its_sign(gated):
    drawn = json.dumps(gates.chart(gated).datasets)
    assert drawn.count('"gate": 0.2') == 2
    assert '"gate": -' not in drawn


def test_the_best_rows_with_gates_are_drawn_in_colours_of_their_own(fake_runs):
    for events in range(9):
        name = f"context.events={events}"
        config = {"context": {"_target_": "userllm.context.hybrid.Hybrid", "events": events}}
        fake_runs.finished("hybrid", overrides=(name,), config=config, right=0.8)
    add(fake_runs.finished("cross_attention"), per_block={"gate": {"3": 0.2}})
    add(fake_runs.finished("soft_prompt"), per_block={"gate": {"3": 0.1}})
    table = tables(fake_runs)[0]
    labels = [
        row.label for row in series.drawn_rows(table, lambda r: r.label in gates.gates_of(table))
    ]
    assert labels == ["cross_attention", "soft_prompt"]
    scale = gates.chart(table).body["layer"][0]["encoding"]["color"]["scale"]
    assert scale["domain"] == labels
    assert len(set(scale["range"])) == 2


def test_a_table_without_gates_has_no_such_figure(fake_runs):
    fake_runs.finished("none")
    assert gates.chart(tables(fake_runs)[0]) is None


def test_the_figure_can_be_printed_and_put_into_a_page(gated):
    assert figure.png([gates.chart(gated)]).startswith(b"\x89PNG")
    assert "http" not in figure.svg(gates.chart(gated))


def test_what_is_left_of_the_language_model_stands_in_tables(gated):
    text = markdown([gated])
    assert "perplexity ×" in text
    assert "−0.100 [−0.200, +0.000]" in text
    assert "retention_accuracy_change_mean" in csv([gated])


def test_seeds_that_left_more_or_less_of_it_are_not_hidden_by_their_mean(fake_runs):
    for seed, times in ((0, 2.0), (1, 12.0)):
        change = RETENTION["perplexity"]["change"] | {"mean": times}
        kept = RETENTION | {"perplexity": RETENTION["perplexity"] | {"change": change}}
        add(fake_runs.finished("cross_attention", seed=seed), retention=kept)
    assert "7.00 [1.40, 1.60], seeds 2.00 to 12.0" in markdown(tables(fake_runs))


def test_without_a_check_of_the_language_model_there_is_no_column(fake_runs):
    fake_runs.finished("none")
    assert "perplexity" not in markdown(tables(fake_runs))


def test_only_models_report_more_than_metrics_and_cost(gated):
    row = next(row for row in gated.models if row.method == "cross_attention")
    assert extra(row, "retention")["perplexity"]["after"]["mean"] == 30.0
    assert extra(gated.references[0], "retention") is None
