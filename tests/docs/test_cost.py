"""The figures of docs/cost.md are what the closed forms say today; its commands compose."""

import re
import shlex
from pathlib import Path

import pytest

from userllm.cli import as_overrides
from userllm.config import load
from userllm.report.costs_meta import MEMORY, TEXT, TOP
from userllm.run.contestants import entries
from userllm.run.meta import meta_rows

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "cost.md").read_text(encoding="utf-8")
ROWS = {
    "SmolLM2-135M, FLOPs": ("smollm2-135m", MEMORY, "nothing"),
    "Llama-3.1-8B": ("llama-3.1-8b", MEMORY, "nothing"),
    "Llama-3.1-70B": ("llama-3.1-70b", MEMORY, "nothing"),
    "SmolLM2-135M, top 5 blocks, question read once, K/V stored": (
        "smollm2-135m",
        TOP,
        "keys and values",
    ),
}


@pytest.fixture(scope="module")
def found():
    lms = sorted({lm for lm, *_ in ROWS.values()})
    return meta_rows(load("benchmark", ["meta=true", f"lms=[{','.join(lms)}]"]).config)


@pytest.mark.parametrize("name", ROWS)
def test_ratios_are_those_of_the_closed_forms(found, name):
    lm, method, kept = ROWS[name]
    cells = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE, re.MULTILINE).group(1)
    flops = {
        (row["method"], row["history"], row["kept"]): row["flops_prefill"]
        for row in found["costs"]
        if row["lm"] == lm
    }
    for length, cell in zip((50, 100, 200), cells.split(" | "), strict=True):
        ratio = flops[TEXT, length, "nothing"] / flops[method, length, kept]
        assert float(cell.removesuffix("×")) == pytest.approx(ratio, rel=0.005)


def test_crossovers_are_where_the_page_says(found):
    for row in found["crossovers"]:
        assert row["read_events"] <= 0.2
        assert 10 <= row["stored_events"] <= 22


def test_commands_compose():
    commands = re.findall(r"^userllm (benchmark .*?[^\\])$", PAGE, re.MULTILINE | re.DOTALL)
    composed = 0
    for command in commands:
        words = shlex.split(command.replace("\\\n", " "))[1:]
        if "<" in command:
            continue
        cfg = load("benchmark", as_overrides("benchmark", words)).config
        composed += len(entries(cfg))
    assert composed == 4 * 3
