"""The three sentences of the README and the size limits of CONTRIBUTING, held by machine."""

import ast
import importlib
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from userllm.config import Composer
from userllm.run.sweep import cells_of, problems_of

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
GROUPS = (
    "data",
    "encoder",
    "memory",
    "context",
    "summarizer",
    "lm",
    "tuning",
    "task",
    "metric",
    "cost",
    "sentence",
    "softmax",
    "transitions",
)

CODE = ("userllm", "tests", "experiments")
PYTHON = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
YAML = sorted(CONF.rglob("*.yaml"))
VERBS = [path for path in YAML if path.parent == CONF]
OPTIONS = [path for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
PRESETS = [
    path
    for group in ("experiment", "method", "study")
    for path in sorted((CONF / group).rglob("*.yaml"))
]

ABSOLUTE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:home|Users|root|work|opt|mnt|tmp)/\w|[A-Z]:\\Users")


def relative(path):
    return path.relative_to(ROOT).as_posix()


def option_name(path):
    """Return what is typed to choose a file: ``study=demo`` for conf/study/demo.yaml."""
    group, _, option = path.relative_to(CONF).with_suffix("").as_posix().partition("/")
    return f"{group}={option}"


@pytest.mark.parametrize("option", OPTIONS, ids=option_name)
def test_every_option_builds_a_class_of_the_module_with_its_name(option):
    group, module = option.parent.name, f"userllm.{option.parent.name}.{option.stem}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+{group}={option.stem}"])
    target = config[group]["_target_"]
    owner, _, name = target.rpartition(".")
    assert owner == module
    assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize("verb", VERBS, ids=lambda path: path.stem)
def test_every_verb_is_a_module_with_a_run_function(verb):
    assert callable(importlib.import_module(f"userllm.run.{verb.stem}").run)


@pytest.mark.whole
@pytest.mark.parametrize("preset", PRESETS, ids=option_name)
def test_every_preset_opens_with_its_command_and_passes_the_check(preset):
    header = preset.read_text(encoding="utf-8").removeprefix("# @package _global_\n")
    command = re.match(r"# userllm (\w+) ([^&\n]+)", header)
    assert command, f"open with: # userllm <verb> {option_name(preset)}"
    verb, overrides = command.group(1), command.group(2).split()
    assert option_name(preset) in overrides
    composer = Composer(verb)
    cells = each_choice_once(cells_of(composer, overrides))
    assert cells
    assert not list(problems_of(composer, cells))


def each_choice_once(cells):
    """Leave out cells of which every choice was in an earlier one; no seed has files of its own."""
    seen = {f"seed={seed}" for seed in range(10)}
    return [cell for cell in cells if not seen.issuperset(cell) and not seen.update(cell)]


@pytest.mark.parametrize("path", YAML, ids=relative)
def test_yaml_is_short_and_says_what_each_key_means(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith("#")
    uncommented = [
        line
        for before, line in pairwise(lines)
        # A key that only holds others is explained by them.
        if re.match(r"\s*[\w@/.]+:\s*[^\s#]", line)
        and not line.lstrip().startswith("_target_:")
        and not before.lstrip().startswith("#")
    ]
    assert not uncommented, f"no comment above: {uncommented}"


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_files_and_functions_are_short(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, functions) and node.end_lineno - node.lineno >= 60
    ]
    assert not long, f"longer than 60 lines: {long}"


def test_every_module_can_be_imported():
    for path in sorted((ROOT / "userllm").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))


def test_every_group_and_preset_was_found():
    assert {path.parent.name for path in OPTIONS} == set(GROUPS)
    assert PRESETS


def test_no_file_names_a_place_on_somebodys_machine():
    suffixes = {".py", ".yaml", ".yml", ".md", ".toml", ".txt", ".cff", ".json"}
    skip = {".git", ".venv", "runs", "reports", "site"}
    found = [
        f"{relative(path)}: {line.strip()}"
        for path in ROOT.rglob("*")
        if path.suffix in suffixes and not skip & set(path.relative_to(ROOT).parts)
        for line in path.read_text(encoding="utf-8").splitlines()
        if ABSOLUTE_PATH.search(line)
    ]
    assert not found
