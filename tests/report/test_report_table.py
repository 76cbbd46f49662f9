import csv
import io
import re

from rich.console import Console

from userllm.report import table as render
from userllm.report.comparison import build_tables
from userllm.report.results import load


def printed(tables, width=140):
    console = Console(width=width, file=io.StringIO())
    console.print(render.terminal(tables))
    return console.file.getvalue()


def test_equal_results_give_equal_bytes(demo, demo_folders):
    again = build_tables([load(folder) for folder in demo_folders])
    assert render.markdown(again) == render.markdown(demo)
    assert render.csv(again) == render.csv(demo)


def test_csv_parses_back_to_the_unrounded_numbers(demo):
    rows = list(csv.DictReader(io.StringIO(render.csv(demo))))
    (table,) = demo
    assert len(rows) == len(table.rows) + len(table.missing)
    for row, line in zip(table.rows, rows, strict=False):
        assert float(line["accuracy"]) == row.score.mean
        assert float(line["accuracy_low"]) == row.score.low
        assert line["kind"] == row.kind
    assert rows[0]["latency_ms_p50"] == "420.0"
    assert rows[-1]["state"] == "running"
    assert rows[-1]["accuracy"] == ""


def test_markdown_has_as_many_cells_in_every_line_of_a_table(demo):
    lines = [line for line in render.markdown(demo).splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in lines[:12]}
    assert len(widths) == 1


def test_markdown_marks_best_close_floors_and_missing(demo):
    text = render.markdown(demo)
    assert "| hybrid | events=50 | **0.750 [" in text
    assert re.search(r"\] ≈ \| [^|]+ \| \+0\.250", text)
    assert "| *count_history* |" in text
    assert "| *soft_prompt* | seed=1: non-finite loss in step 31 | failed |" in text


def test_the_protocol_stands_under_every_table(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("none", protocol="global_time")
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    assert render.markdown(tables).count("- Protocol (test part, exhaustive scorer): ") == 2
    assert printed(tables).count("Protocol (test part, exhaustive scorer): ") == 2


def test_text_cannot_break_the_markdown_table(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("hybrid")
    fake_runs.stopped("hybrid", "failed", "a | b\n<script>")
    text = render.markdown(build_tables([load(folder) for folder in fake_runs.folders]))
    assert "a \\| b" in text
    assert "<script>" not in text


def test_error_text_is_not_read_as_terminal_markup(fake_runs):
    fake_runs.finished("none")
    fake_runs.stopped("hybrid", "failed", "shape [bold][/nothing] differs")
    assert "[bold][/nothing]" in printed(
        build_tables([load(folder) for folder in fake_runs.folders])
    )


def test_columns_in_which_nothing_stands_are_left_out(fake_runs):
    fake_runs.finished("hybrid")
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    heading = render.markdown(tables).splitlines()[2]
    assert "settings" not in heading
    assert "Δ" not in heading


def test_numbers_carry_units(demo):
    text = render.markdown(demo)
    for said in ("3.56 GFLOP", "1,487 ms", "812 MB", "1.80 M", "4.10 TFLOP", "2.13 min"):
        assert said in text


def test_latency_names_device_threads_and_load(demo):
    assert (
        "on cpu (Example CPU @ 2.40GHz), 2 threads, at least 20 repeats, machine load 0.3."
        in render.markdown(demo)
    )


def test_rows_measured_elsewhere_say_so(fake_runs):
    fake_runs.finished("none")
    latency = {"p50": 1.0, "p95": 2.0, "repeats": 20, "threads": 1, "device": "cuda", "load": None}
    fake_runs.finished("hybrid", cost={"latency_ms": latency | {"busy": True}})
    text = render.markdown(build_tables([load(folder) for folder in fake_runs.folders]))
    assert "| cuda, 1 thread, busy with others |" in text
    assert "| cpu (Example CPU @ 2.40GHz), 2 threads |" in text


def test_ratios_to_the_dearest_row_are_those_of_tokens_and_of_flops(fake_runs):
    fake_runs.finished("text_prompt", cost={"prompt_tokens": 700, "flops_per_user": 8e9})
    fake_runs.finished("cross_attention", cost={"prompt_tokens": 32, "flops_per_user": 1e9})
    (table,) = build_tables([load(folder) for folder in fake_runs.folders])
    text = render.markdown([table])
    # The paper's 21.9 is 700 / 32, whatever the encoder costs.
    assert "| 21.9× |" in text
    assert "| 8.00× |" in text


def test_a_single_other_metric_is_printed_in_the_terminal(fake_runs):
    for context in ("none", "cross_attention"):
        fake_runs.finished(context)
    text = printed(build_tables([load(folder) for folder in fake_runs.folders]))
    assert "settings" not in text
    assert "recall@5" in text
