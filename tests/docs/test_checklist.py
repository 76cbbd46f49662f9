"""Every command of the checklist composes, and every test that it names is there."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from userllm.cli import as_overrides
from userllm.config import Composer
from userllm.run.sweep import cells_of, problems_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "checklist.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| what ")
]
COMMANDS = sorted({row[1].strip("`") for row in ROWS})
TESTS = sorted({row[2].strip("`") for row in ROWS})
LEAST_ROWS = 45
"""Lines of the list that the page answers."""


@cache
def composer(verb):
    return Composer(verb)


@cache
def functions(file):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_line_says_what_to_type_and_what_holds_it():
    assert len(ROWS) >= LEAST_ROWS
    for row in ROWS:
        assert len(row) == 3, row
        assert re.fullmatch(r"`[^`]+`", row[1]), row
        assert re.fullmatch(r"`tests/[^`]+::test_\w+`", row[2]), row


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_typed_composes(command):
    program, *words = shlex.split(command)
    if program == "python":
        assert (ROOT / words[0]).is_file()
        return
    assert program == "userllm"
    verb, *rest = (word for word in words if word != "-m")
    # The first cell stands for a sweep: tests/test_layout.py looks at all choices of a study.
    first = cells_of(composer(verb), as_overrides(verb, rest))[:1]
    assert not list(problems_of(composer(verb), first))


@pytest.mark.parametrize("name", TESTS)
def test_what_holds_it_is_there(name):
    file, function = name.split("::")
    assert function in functions(file)
