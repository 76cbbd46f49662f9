"""Compose a verb's config from conf/ and the command line, and refuse it when anything is wrong.

Hydra composes; what it would accept in silence or report one at a time is checked here, all at
once and before any work starts.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from userllm.check import MISSING, UNRESOLVED, find_problems, suggest
from userllm.errors import UserError
from userllm.overrides import is_sweep, parse, several_values, unreadable
from userllm.schema import VERBS

EXTRA_FOLDERS = "USERLLM_CONFIG_DIR"
"""Environment variable with a user's own config folders, so that every worker process has them."""


@dataclass(frozen=True)
class Loaded:
    """A checked config: every value resolved, Hydra's own settings taken out."""

    verb: str
    config: DictConfig
    choices: dict[str, str]
    overrides: list[str]


def conf_dir() -> Path:
    """Return the checkout's conf/ when the package is in one, else the copy inside the wheel."""
    package = Path(__file__).parent
    checkout = package.parent / "conf"
    return checkout if (checkout / "pretrain.yaml").is_file() else package / "conf"


def config_folders() -> list[Path]:
    """Return the folders that options come from; the first that has one wins."""
    extra = [Path(name) for name in os.environ.get(EXTRA_FOLDERS, "").split(os.pathsep) if name]
    for folder in extra:
        if not folder.is_dir():
            raise UserError(f"the config folder {folder} does not exist (from --config-dir)")
    return [folder.absolute() for folder in (*extra, conf_dir())]


def load(verb: str, overrides: Sequence[str] = ()) -> Loaded:
    """Compose and check the config of one run.

    Raises:
        UserError: With one line for every unknown name, wrong type or missing value.
    """
    composer = Composer(verb)
    problems, usable = composer.sort_out(overrides)
    tree, choices, found = composer.resolved(usable)
    refuse(verb, [*problems, *found])
    return Loaded(verb, as_config(tree), choices, list(overrides))


def check_resolved(verb: str, config: DictConfig) -> DictConfig:
    """Resolve and check a config that was composed elsewhere.

    Raises:
        UserError: With one line per problem.
    """
    tree, problems = resolve(config)
    refuse(verb, problems or find_problems(verb, tree))
    return as_config(tree)


def refuse(verb: str, problems: Sequence[str]) -> None:
    """Raise a ``UserError`` that lists the problems, when there are any."""
    if problems:
        lines = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise UserError(f"the config of {verb} cannot run:\n{lines}")


def make_hydra() -> Hydra:
    """Return a Hydra that reads our folders and leaves its global state alone."""
    version.setbase("1.3")
    *extra, main = config_folders()
    search_path = create_config_search_path(str(main))
    for folder in reversed(extra):
        search_path.prepend(provider="user", path=f"file://{folder}")
    return Hydra("userllm", ConfigLoaderImpl(search_path))


class Composer:
    """Composes the configs of one verb, and says what is wrong with their overrides."""

    def __init__(self, verb: str) -> None:
        if verb not in VERBS:
            raise UserError(f"there is no verb {verb!r}; {suggest(verb, VERBS)}")
        self.verb = verb
        self.hydra = make_hydra()
        self.look_at = cache(lambda *given: self.compose(given))  # Cells share most; read only.

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the unresolved config, with Hydra's own settings under ``hydra``."""
        try:
            return self.hydra.compose_config(
                self.verb, list(overrides), RunMode.MULTIRUN, with_log_configuration=False
            )
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"the config of {self.verb} cannot run:\n  {_plain(error)}") from error

    def options(self, group: str) -> list[str]:
        """Return the option names of a group over all config folders."""
        return self.hydra.config_loader.get_group_options(group)

    def sort_out(self, overrides: Sequence[str]) -> tuple[list[str], list[str]]:
        """Split overrides into problems, one line each, and those that Hydra can apply."""
        return ([], list(overrides)) if self._takes(overrides) else self._one_by_one(overrides)

    def _takes(self, overrides: Sequence[str]) -> bool:
        """Return whether Hydra applies all of them as they stand, which knows every wrong name."""
        if any(parse(text) is None or is_sweep(text) for text in overrides):
            return False
        try:
            self.look_at(*overrides)
        except UserError:
            return False
        return True

    def _one_by_one(self, overrides: Sequence[str]) -> tuple[list[str], list[str]]:
        problems: list[str] = []
        usable: list[str] = []
        values: list[tuple[str, Override]] = []
        placed: list[tuple[str, Override]] = []
        for text in overrides:
            override = parse(text)
            if override is None:
                problems.append(unreadable(text))
            elif override.is_sweep_override():
                problems.append(several_values(text))
            elif "@" in text.partition("=")[0]:
                placed.append((text, override))
            elif not self.options(override.key_or_group):
                values.append((text, override))
            elif problem := self._group_problem(override):
                problems.append(problem)
            else:
                usable.append(text)
        # Outer options first: a choice inside an option is there once that option is chosen.
        for text, override in sorted(placed, key=lambda one: (one[1].package or "").count(".")):
            found = self._placed_problem(self.look_at(*usable), override)
            problems += found
            usable += [] if found else [text]
        composed = self.look_at(*usable)
        for text, override in values:
            if problem := self._key_problem(composed, override):
                problems.append(problem)
            else:
                usable.append(text)
        return problems, usable

    def resolved(
        self, overrides: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, str], list[str]]:
        """Return the plain config, the chosen options, and what is wrong with the config."""
        composed = self.look_at(*overrides)
        choices = choices_of(composed.hydra)
        tree, problems = resolve(without_hydra(composed))
        # Hydra reads a preset's header on the first line only, and says nothing elsewhere.
        for group in {"experiment", "method", "study", "debug"} & tree.keys():
            del tree[group]
            header = "must open with '# @package _global_'"
            problems.append(f"{group}={choices.get(group)}: the first line of its file {header}")
        return tree, choices, [*problems, *find_problems(self.verb, tree)]

    def _group_problem(self, override: Override) -> str:
        group = override.key_or_group
        known = [name for name in self.look_at().hydra.runtime.choices if "@" not in name]
        if group not in known and not override.is_add():
            return f"{group}: {self.verb} has no such choice, {suggest(group, _visible(known))}"
        return self._option_problem(group, override)

    def _placed_problem(self, composed: DictConfig, override: Override) -> list[str]:
        """Say what is wrong with a choice inside an option: ``group@place=option``."""
        place = f"{override.key_or_group}@{override.package}"
        known = [name for name in composed.hydra.runtime.choices if "@" in name]
        if place not in known and not override.is_add():
            return [f"{place}: {self.verb} has no such choice here, {suggest(place, known)}"]
        problem = self._option_problem(override.key_or_group, override)
        return [problem] if problem else []

    def _option_problem(self, group: str, override: Override) -> str:
        option, names = override.value(), [*self.options(group), None]
        wrong = [
            one for one in (option if isinstance(option, list) else [option]) if one not in names
        ]
        if override.is_delete() or not wrong:
            return ""
        return f"{group}={wrong[0]}: no such option, {suggest(str(wrong[0]), self.options(group))}"

    def _key_problem(self, composed: DictConfig, override: Override) -> str:
        if override.is_add() or override.is_force_add():
            return ""
        node: Any = composed
        parts = re.split(r"\.|\[|\]\.?", override.key_or_group)
        for depth, part in enumerate(part for part in parts if part):
            known = _keys(node)
            if part not in known:
                path = ".".join(parts[: depth + 1])
                choices = composed.hydra.runtime.choices if depth == 0 else ()
                return f"{path}: unknown, {suggest(part, _visible([*known, *choices]))}"
            node = node._get_node(int(part) if isinstance(node, ListConfig) else part)
            node = node._maybe_dereference_node() or node
        return ""


def choices_of(settings: DictConfig) -> dict[str, str]:
    """Return group to option from Hydra's settings, its own groups and empty ones left out."""
    choices = settings.runtime.choices
    return {
        group: option
        for group, option in choices.items()
        if option is not None and not group.startswith("hydra/")
    }


def without_hydra(composed: DictConfig) -> DictConfig:
    """Return a copy of a composed config that holds the run's own keys only."""
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


def resolve(config: DictConfig) -> tuple[dict[str, Any], list[str]]:
    """Return the config as plain values, and one line per interpolation that leads nowhere.

    Values still to be given stay ``???``.
    """
    problems: list[str] = []

    def plain(node: Any, path: str) -> Any:
        if isinstance(node, DictConfig):
            return {str(key): child(node, key, f"{path}.{key!s}") for key in node}
        if isinstance(node, ListConfig):
            return [child(node, index, f"{path}[{index}]") for index in range(len(node))]
        return node

    def child(node: Any, key: Any, path: str) -> Any:
        if OmegaConf.is_missing(node, key):
            return MISSING
        try:
            return plain(node[key], path)
        except InterpolationToMissingValueError:
            return UNRESOLVED
        except OmegaConfBaseException as error:
            problems.append(f"{path.lstrip('.')}: {_plain(error)}")
            return UNRESOLVED

    tree = plain(config, "")
    return tree, problems


def as_config(tree: dict[str, Any]) -> DictConfig:
    """Return plain values as a config that refuses a misspelt key when it is read."""
    config = OmegaConf.create(tree)
    OmegaConf.set_struct(config, True)
    return config


def _keys(node: Any) -> list[str]:
    if isinstance(node, DictConfig):
        return [str(key) for key in node]
    return [str(index) for index in range(len(node))] if isinstance(node, ListConfig) else []


def _visible(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith(("hydra", "_")))


def _plain(error: Exception) -> str:
    """Return Hydra's message without search paths and object dumps."""
    root: BaseException = error
    while root.__cause__ is not None:
        root = root.__cause__
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    return lines[0] if lines else type(root).__name__
