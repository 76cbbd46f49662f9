"""The tables of docs/scaling.md are what the closed forms say today; its commands compose."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from experiments.scaling import plan
from userllm.config import Composer
from userllm.run.assumptions import DATA
from userllm.run.sweep import cells_of, problems_of

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
TABLES = dict(re.findall(r"<!-- table: (\w+) -->\n((?:\|.*\n)+)", PAGE))
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("userllm ")
]


@cache
def composer(verb):
    return Composer(verb)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", list(plan.TABLES))
def test_tables_are_those_of_the_closed_forms(name):
    assert TABLES[name].strip() == plan.table(name)


def test_every_table_is_on_the_page():
    assert TABLES.keys() == plan.TABLES.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_compose(command):
    _, verb, *words = shlex.split(command)
    # Hydra knows a launcher once its package is there.
    words = [w for w in words if w != "-m" and not w.startswith("hydra/launcher=")]
    cells = cells_of(composer(verb), words)[:1]
    assert not list(problems_of(composer(verb), cells))


@pytest.mark.parametrize("tuning", plan.TUNINGS)
def test_splitting_divides_the_blocks_only(tuning):
    weights = plan.weights_of("smollm2-135m", tuning)
    everywhere = plan.bytes_of(weights.rest, weights.rest_learn)
    one, many = weights.bytes(1), weights.bytes(10**9)
    assert one - everywhere == plan.bytes_of(weights.blocks, weights.blocks_learn)
    assert many - everywhere == pytest.approx(2 * weights.gathered / weights.count, rel=1e-3)


def test_weights_are_all_of_the_model():
    weights = plan.weights_of("smollm2-135m", "full")
    assert weights.learn == weights.blocks + weights.rest
    # The language model's 134.5 million, the item table, and the rest of encoder and context.
    added = weights.learn - 134_515_008
    assert 128 * DATA["movielens"].items < added < 20e6


@pytest.mark.parametrize(
    ("dataset", "text"), [("movielens", "55.9 MB"), ("amazon_reviews", "364 MB")]
)
def test_item_tables_are_as_large_as_the_page_says(dataset, text):
    assert plan.units.memory(plan.LEARNING * 128 * DATA[dataset].items) == text
    assert text in PAGE


@pytest.mark.slow
def test_a_step_on_64_gpus_takes_what_the_page_says():
    config = plan.config_of("paper_movielens_next_item", "gemma-3-1b")
    step = plan.estimate(config).training / config["training"]["steps"]
    computing = step / (64 * plan.H100 * plan.H100_SHARE)
    sending = 2 * 4.0 * plan.weights_of("gemma-3-1b", "full").learn / 50e9
    said = f"take {sending:.2f} s of a step that computes for {computing:.2f} s"
    assert said in " ".join(PAGE.split())
