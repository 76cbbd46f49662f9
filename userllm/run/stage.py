"""Derive the config of an earlier stage from that of a later one.

A stage that is made on the way is exactly the run that its own command would make, so it is
found, shared and resumed like any other.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from userllm.check import find_problems
from userllm.config import Composer, Loaded, as_config, choices_of, refuse, resolve, without_hydra
from userllm.schema import EXTRA_KEYS

SHARED: dict[str, tuple[str, ...]] = {
    "prepare": ("data", "size", "paths"),
    "pretrain": (
        "data",
        "size",
        "paths",
        "encoder",
        "split",
        "history",
        "seed",
        "metric",
        "logger",
        "trainer",
        "threads",
    ),
}
"""Verb to the keys that it takes over from the stage that needs it."""


def derive(verb: str, config: DictConfig, choices: Mapping[str, str]) -> Loaded:
    """Return the config of ``verb`` that belongs to ``config`` of a later stage.

    Args:
        verb: ``prepare`` or ``pretrain``.
        config: The later stage's resolved config.
        choices: The later stage's group choices, which name the earlier run.
    """
    composer = Composer(verb)
    own = {group: option for group, option in choices.items() if _place(group) in SHARED[verb]}
    groups = [f"{group}={option}" for group, option in own.items()]
    composed = composer.compose(groups)
    before, _ = resolve(without_hydra(composed))
    with open_dict(composed):
        for key in SHARED[verb]:
            if key in config:
                composed[key] = _without_extra(key, config[key])
    after, problems = resolve(without_hydra(composed))
    refuse(verb, problems or find_problems(verb, after))
    changed = list(differences(before, after))
    return Loaded(verb, as_config(after), choices_of(composed.hydra), [*groups, *changed])


def _place(group: str) -> str:
    """Return the key that a choice fills: ``encoder`` for ``softmax@encoder.softmax``."""
    return group.rpartition("@")[2].partition(".")[0]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the overrides that turn one plain config into another."""
    yield from _differences("", before, after)


def _differences(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            yield from _differences(f"{path}{key}.", old, value)
        elif key not in before:
            yield f"+{path}{key}={_written(value)}"
        elif value != old:
            yield f"{path}{key}={_written(value)}"


def _written(value: Any) -> str:
    """Return a value in the grammar of Hydra's overrides."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    return "null" if value is None else str(value).lower()


def _without_extra(key: str, node: Any) -> Any:
    extra = EXTRA_KEYS.get(("contextualize", key), {})
    if not extra or not OmegaConf.is_dict(node):
        return node
    return OmegaConf.masked_copy(node, [name for name in node if name not in extra])
