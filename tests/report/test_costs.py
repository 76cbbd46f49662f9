"""Tables of costs: ratios are quotients, and a busy machine cannot be overlooked."""

import io
from itertools import product

import pytest
from rich.console import Console

from userllm.report.costs import compared, sliding_table, time_table, work_table
from userllm.report.costs_meta import crossover_table, figure_3_table, meta_tables, method_table


def times(p50, *, busy=False):
    machine = {"threads": 1, "device": "cpu", "load": 0.5, "load_after": 0.7}
    counts = {"p50": p50, "p95": 2 * p50, "repeats": 3, "warmup": 1}
    return {**counts, **machine, "other_cpu": 0.4 * busy, "busy": busy}


def row(method, kept, flops, milliseconds, *, busy=False):
    return {
        "method": method,
        "kept": kept,
        "lm": "some",
        "data": "these",
        "history": 50,
        "blocks": 3,
        "prompt_tokens": 700.0 if method == "text" else 32.0,
        "user_vectors": 0.0,
        "answer_tokens": 6,
        "flops": {"blocks": 0.9 * flops, "head": 0.1 * flops},
        "flops_prefill": flops,
        "flops_answer": 1.1 * flops,
        "stored_bytes": 0.0 if kept == "nothing" else 26e3,
        "append_flops": None if kept == "nothing" else 1e6,
        "latency_ms": {
            kind: times(milliseconds, busy=busy) for kind in ("prefill", "first_token", "answer")
        },
        "batch": 16,
        "batch_ms": {kind: times(4 * milliseconds) for kind in ("prefill", "answer")},
        "users_per_second": dict.fromkeys(("prefill", "answer"), 16000 / (4 * milliseconds)),
        "memory_bytes": {"1": 5e6, "16": 5e7},
    }


ROWS = [
    row("text", "nothing", 9e10, 900.0),
    row("text", "prompt", 4e9, 50.0),
    row("memory", "nothing", 3e9, 30.0),
]


def printed(*tables):
    console = Console(file=io.StringIO(), width=240)
    for table in tables:
        console.print(table)
    return " ".join(console.file.getvalue().split())


def test_ratios_are_the_quotients_of_their_columns():
    dearest, *others = compared(ROWS)
    assert set(dearest["ratios"].values()) == {1.0}
    for one in others:
        for key in ("flops_prefill", "flops_answer"):
            assert one["ratios"][key] == dearest[key] / one[key]
        for kind, taken in one["latency_ms"].items():
            assert one["ratios"][kind] == dearest["latency_ms"][kind]["p50"] / taken["p50"]
        for kind, rate in one["users_per_second"].items():
            quotient = rate / dearest["users_per_second"][kind]
            assert one["ratios"][f"users_per_second_{kind}"] == quotient
    assert others[1]["ratios"]["tokens"] == 700 / 32


def test_ratios_are_to_rows_of_the_same_length():
    longer = [{**one, "history": 100, "flops_prefill": 2 * one["flops_prefill"]} for one in ROWS]
    both = compared([*ROWS, *longer])
    for short, long in zip(both[: len(ROWS)], both[len(ROWS) :], strict=True):
        assert short["ratios"]["flops_prefill"] == long["ratios"]["flops_prefill"]


def test_the_paper_s_ratio_of_tokens_stands_beside_the_own_one():
    text = printed(work_table(compared(ROWS)))
    assert "The paper's ratio of tokens: 21.9×" in text
    assert "22×" in text  # 700 tokens to 32
    assert "30×" in text  # 90 GFLOP to 3


def test_times_of_a_quiet_machine_are_not_marked():
    text = printed(time_table(compared(ROWS)))
    assert "BUSY" not in text
    assert "load 0.5 to 0.7" in text
    assert "3 to 3 repeats" in text


def test_times_of_a_busy_machine_are_marked_and_said_so():
    busy = row("memory", "memory", 3e9, 30.0, busy=True)
    text = printed(time_table(compared([*ROWS, busy])))
    assert "BUSY MACHINE: other processes took up to 40% of it" in text
    assert "30.0 / 60.0*" in text
    assert "900 / 1,800 " in text


def test_what_sliding_costs_is_told_with_its_interval():
    metric = {
        "fresh": {"mean": 0.2},
        "stored": {"mean": 0.15},
        "change": {"mean": -0.05, "low": -0.08, "high": -0.02},
    }
    found = {"window_events": 50, "dropped_events": 20, "n": 100, "metrics": {"mrr": metric}}
    text = printed(sliding_table("text", found))
    assert "−0.050 [−0.080, −0.020]" in text
    assert "slid by 20" in text


def shape(lm, method, length, kept, flops):
    return {
        **{"lm": lm, "method": method, "history": length, "kept": kept, "flops_prefill": flops},
        **{"parameters": 1e8, "weights_bytes": 4e8, "longest_prompt": 1000, "words": "words"},
        **{"prompt_tokens": 14.0 * length, "stored_bytes": 1e5, "append_flops": 2e6},
    }


KINDS = (
    ("text prompt", "nothing", 8e11),
    ("text prompt", "prompt", 4e9),
    ("cross-attention", "nothing", 1e10),
    ("cross-attention", "memory", 1e10),
    ("cross-attention", "keys and values", 8e9),
    ("top 5 blocks, text read once", "keys and values", 1e9),
)
CROSSOVERS = [
    {
        **{"lm": "a", "parameters": 1e8, "events": 50, "event_tokens": 13.4},
        **{"read_events": 0.02, "read_event_tokens": 0.0},
        **{"stored_events": 19.6, "stored_event_tokens": None},
    }
]
FIGURE = [
    {
        **{"lm": "a", "parameters": 1e8},
        "tokens": {"User-LLM": 32, "TP": 512, "TS": 256},
        "flops": {"User-LLM": 1e10, "TP": 1.7e11, "TS": 8e10},
    }
]


def test_the_paper_s_table_4_is_printed_for_every_language_model():
    costs = [
        shape(lm, *kind[:1], length, *kind[1:])
        for lm, length, kind in product("ab", (50, 200), KINDS)
    ]
    found = {"costs": costs, "crossovers": CROSSOVERS, "figure_3": FIGURE}
    text = printed(*meta_tables(found))
    for expected in ("21.9×", "78.1×", "80.0×", "100×", "800×", "16.0×", "17.0×", "a *"):
        assert expected in text, expected


def test_crossovers_are_numbers_or_words():
    text = printed(crossover_table(CROSSOVERS))
    for expected in ("< 0.1", "never", "20", "always"):
        assert expected in text


def test_methods_that_were_asked_for_have_a_column_each():
    costs = [shape("a", "context=none", 50, "nothing", 3e9)]
    assert "context=none" in printed(method_table(costs))


@pytest.mark.parametrize("name", ["TP", "TS"])
def test_figure_3_has_a_ratio_for_each_rival(name):
    assert f"{name} / User-LLM" in printed(figure_3_table(FIGURE))
