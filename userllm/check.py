"""Compare a whole config with schemas and constructor signatures, and report everything wrong.

Types are written once, in the signature or the dataclass; YAML holds the values.
"""

import difflib
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass
from math import inf
from typing import Any, get_args, get_type_hints

from userllm.build import locate
from userllm.errors import UserError
from userllm.hints import describe, fits
from userllm.schema import BOUNDS, BOUNDS_OF, EXTRA_KEYS, VERBS

MISSING = "???"
"""OmegaConf's mark for a value that the user has to give."""

UNRESOLVED = object()
"""Stands where an interpolation failed, which was reported already."""

HYDRA_KEYS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}


def find_problems(verb: str, config: dict[str, Any]) -> list[str]:
    """Return one readable line per mistake in a resolved config; empty when it can run."""
    checked = _Checker(verb).fields("", config, VERBS[verb], complete=True)
    return [*checked, *_out_of_bounds(verb, config)]


def _out_of_bounds(verb: str, config: dict[str, Any]) -> Iterator[str]:
    """Yield the numbers that are too small or too large."""
    for key, (least, most) in {**BOUNDS, **BOUNDS_OF.get(verb, {})}.items():
        value: Any = config
        for word in key.split("."):
            value = value.get(word) if isinstance(value, dict) else None
        if isinstance(value, int | float) and not least <= value <= most:
            expected = f"at least {least}" if most == inf else f"{least} to {most}"
            yield f"{key}: expected {expected}, got {value!r}"


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the nearest valid name, or all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"expected one of: {', '.join(names)}" if names else "nothing is expected here"


class _Checker:
    """Walks a config tree beside the types that it must have."""

    def __init__(self, verb: str) -> None:
        self.verb = verb

    def value(self, path: str, value: Any, hint: Any) -> Iterator[str]:
        """Yield what is wrong with one value and everything inside it."""
        if value is UNRESOLVED:
            return
        if value == MISSING:
            yield f"{path}: missing, give {path}=<{describe(hint)}>"
        elif isinstance(value, dict) and "_target_" in value:
            yield from self.target(path, value)
        elif isinstance(value, dict) and (schema := _dataclass_in(hint)):
            yield from self.fields(path, value, schema, complete=True)
        elif isinstance(value, dict) and path == "trainer":
            yield from self.fields(path, value, locate("pytorch_lightning.Trainer"))
        elif not fits(value, hint):
            yield f"{path}: expected {describe(hint)}, got {value!r}"
        else:
            for key, child in _children(value):
                yield from self.value(f"{path}.{key}", child, Any)

    def target(self, path: str, node: dict[str, Any]) -> Iterator[str]:
        """Yield what the constructor named by ``_target_`` would not accept."""
        try:
            constructor = locate(node["_target_"])
        except UserError as error:
            yield f"{path}._target_: {error}"
            return
        values = {key: value for key, value in node.items() if key not in HYDRA_KEYS}
        yield from self.fields(path, values, constructor)

    def fields(
        self, path: str, values: dict[str, Any], owner: type, *, complete: bool = False
    ) -> Iterator[str]:
        """Yield unknown names, wrong types and, where all must be given, absent names."""
        accepted, open_ended = _parameters(owner)
        accepted |= EXTRA_KEYS.get((self.verb, path), {})
        prefix = f"{path}." if path else ""
        for key, value in values.items():
            if key in accepted or open_ended:
                yield from self.value(f"{prefix}{key}", value, accepted.get(key, Any))
            else:
                yield f"{prefix}{key}: unknown, {suggest(key, accepted)}"
        if complete:
            for key in accepted.keys() - values.keys():
                yield f"{prefix}{key}: absent, expected {describe(accepted[key])}"


def _parameters(owner: type) -> tuple[dict[str, Any], bool]:
    """Return name to type of a constructor's parameters, and whether it takes any name."""
    try:
        hints = get_type_hints(owner.__init__)  # type: ignore[misc]
    except NameError:
        # A third-party class that imports its types for type checkers only.
        hints = {}
    parameters = inspect.signature(owner).parameters.values()
    named = {
        parameter.name: hints.get(parameter.name, Any)
        for parameter in parameters
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    return named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _dataclass_in(hint: Any) -> type | None:
    options = (hint, *get_args(hint))
    return next((one for one in options if isinstance(one, type) and is_dataclass(one)), None)


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()
