"""The bench measures what is not finished, and never hides a missed bar or a busy machine."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "experiments" / "speed"
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import record
options = record.arguments("counts how often it runs")
Path("runs.txt").open("a").write("x")
record.write(options.out, "nothing", [
    record.row("good | fast", 2.0, "x", at_least=1.5, low=1.9, high=2.1, n=3),
    record.row("bad", 3.0, "s", at_most=1),
    record.row("plain", 1.0, "s", busy_share=0.5),
])
"""


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(HERE))
    module = importlib.import_module("bench")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT.format(here=str(HERE)), encoding="utf-8")
    yield module
    for name in ("bench", "record"):
        sys.modules.pop(name, None)


def times_run(folder):
    return len((folder / "runs.txt").read_text(encoding="utf-8"))


def test_finished_results_of_todays_code_are_not_measured_again(bench, tmp_path):
    jobs, results = [bench.Job("one", "script.py")], tmp_path / "results"
    assert bench.run(jobs, results, 1, again=False) == []
    bench.run(jobs, results, 1, again=False)
    assert times_run(tmp_path) == 1
    bench.run(jobs, results, 1, again=True)
    assert times_run(tmp_path) == 2
    bench.run(jobs, results, 2, again=False)
    assert times_run(tmp_path) == 3
    script = tmp_path / "script.py"
    script.write_text(script.read_text(encoding="utf-8") + "# other code\n", encoding="utf-8")
    bench.run(jobs, results, 2, again=False)
    assert times_run(tmp_path) == 4


def test_a_script_that_fails_does_not_stop_the_others(bench, tmp_path):
    (tmp_path / "broken.py").write_text("raise SystemExit(3)", encoding="utf-8")
    jobs = [bench.Job("broken", "broken.py"), bench.Job("one", "script.py")]
    assert bench.run(jobs, tmp_path / "results", 1, again=False) == ["broken"]
    assert (tmp_path / "results" / "one.json").is_file()


def test_table_names_missed_bars_and_busy_rows(bench, tmp_path):
    jobs = [bench.Job("one", "script.py")]
    bench.run(jobs, tmp_path / "results", 1, again=False)
    table = bench.table_of(bench.read(tmp_path / "results", jobs))
    rows = {line.split(" | ")[0].strip("| "): line for line in table.splitlines() if "| " in line}
    assert "1 of 2 bars are met" in table
    assert "≥ 1.5 | yes" in rows["good / fast"]
    assert "[1.9, 2.1]" in rows["good / fast"]
    assert "≤ 1 | **no**" in rows["bad"]
    assert "**busy: 50%**" in rows["plain"]
    result = json.loads((tmp_path / "results" / "one.json").read_text(encoding="utf-8"))
    assert result["machine"]["processor"] in table


def test_every_machine_keeps_its_own_table(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "JOBS", [bench.Job("one", "script.py")])
    monkeypatch.setattr(sys, "argv", ["bench.py", "--threads", "1"])
    other = {"processor": "Other (R) 9", "cores": 64, "memory_gib": 512}
    assert bench.main() == 0
    (mine,) = (tmp_path / "results").iterdir()
    assert mine.name == bench.folder_name(importlib.import_module("record").machine())
    result = json.loads((mine / "one.json").read_text(encoding="utf-8"))
    theirs = tmp_path / "results" / bench.folder_name(other)
    assert theirs.name == "other-r-9-64-cores-512-gib"
    theirs.mkdir()
    (theirs / "one.json").write_text(json.dumps({**result, "machine": other}), encoding="utf-8")
    assert bench.main() == 0
    assert times_run(tmp_path) == 1
    titles = (tmp_path / "table.md").read_text(encoding="utf-8").split("## ")[1:]
    assert sum(title.startswith("Other (R) 9, 64 cores, 512 GiB\n") for title in titles) == 1
    assert len(titles) == 2


def test_work_of_scripts_that_were_started_is_our_own(bench):
    record = importlib.import_module("record")
    before = record.cpu_times_of_all().own
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert record.cpu_times_of_all().own > before


def test_every_job_of_the_bench_has_a_line_in_the_readme(bench):
    text = (HERE / "README.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert {job.script for job in bench.JOBS} == {line.split("`")[1] for line in lines}


def test_the_plain_softmax_of_the_bench_learns_what_the_exact_one_does(monkeypatch):
    import torch

    from userllm.softmax.exact import ExactSoftmax
    from userllm.softmax.protocol import Shift

    monkeypatch.syspath_prepend(str(HERE))
    plain = importlib.import_module("catalogue").PlainSoftmax()
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in [(5, 4), (7, 4), (7,), ()]]
    target_R = torch.tensor([0, 6, 3, 3, 1])
    found = []
    for softmax in (plain, ExactSoftmax(memory_mib=1)):
        hidden_RF, table_VF, bias_V, value = leaves = [
            one.clone().requires_grad_() for one in given
        ]
        shift = Shift(torch.tensor([0, 1, 1, 4]), torch.tensor([0, 2, 6, 5]), value)
        loss = softmax.loss(hidden_RF, table_VF, bias_V, target_R, shift)
        loss.backward()
        found.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    torch.testing.assert_close(*found)
