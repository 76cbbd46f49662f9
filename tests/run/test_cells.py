"""Cells put together from single choices are those that Hydra composes."""

import random

import pytest

from userllm.config import Composer, conf_dir
from userllm.run.cells import CellConfigs
from userllm.run.studies import verb_of
from userllm.run.sweep import cells_of

pytestmark = pytest.mark.whole

FILES = sorted((conf_dir() / "study").glob("*.yaml"))
KINDS = {"encoder", "smoke", "t1", "t4_t12", "t11"}
"""Of each way of writing a study one, for the fast tests."""
SAMPLE = 2


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=[] if file.stem in KINDS else pytest.mark.slow)
        for file in FILES
    ],
)
def test_a_cell_equals_its_composition(file):
    composer = Composer(verb_of(file))
    cells = cells_of(composer, [f"study={file.stem}"])
    config_of = CellConfigs(composer, cells[0])
    picked = random.Random(0).sample(cells, min(SAMPLE, len(cells)))
    for cell in (*picked, cells[-1]):
        assert config_of(cell) == composer.resolved(cell)[0]


def test_a_cell_of_another_size_equals_its_composition():
    composer = Composer("contextualize")
    cells = cells_of(composer, ["study=t2"])
    config_of = CellConfigs(composer, cells[0])
    for cell in (cells[1], cells[-1]):
        assert config_of(cell, size="paper") == composer.resolved([*cell, "size=paper"])[0]


def test_keys_that_nobody_looks_at_can_be_left_out():
    composer = Composer("contextualize")
    cell = ["context=none", "tuning=lora"]
    whole, part = (CellConfigs(composer, cell, without=w)(cell) for w in ((), ("trainer",)))
    assert part == {key: value for key, value in whole.items() if key != "trainer"}
