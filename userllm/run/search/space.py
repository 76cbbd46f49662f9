"""What a search may vary: Hydra's grammar of sweeps as optuna's distributions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from userllm.errors import UserError
from userllm.overrides import parse

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = str | int | float

GRAMMAR = "a,b,c  range(1,5)  interval(0,1)  tag(log,interval(1e-4,1e-2))  tag(int,interval(2,9))"
DIGITS = 4
"""Significant digits of a number that is tried: more would only be harder to read."""


def split(params: Mapping[str, str], typed: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return what varies, key to values, and the overrides that all trials share.

    Args:
        params: What the study varies.
        typed: What was typed; it replaces what the study says about the same key.
    """
    varied = {key: str(text) for key, text in params.items()}
    fixed: list[str] = []
    for text in typed:
        override = parse(text)
        if override is not None and override.is_sweep_override():
            varied[override.get_key_element()] = text.partition("=")[2]
        else:
            varied.pop(text.partition("=")[0], None)
            fixed.append(text)
    return varied, fixed


def distributions(varied: Mapping[str, str]) -> "dict[str, BaseDistribution]":
    """Return the distribution of every key.

    Raises:
        UserError: Values that are not several values in Hydra's grammar.
    """
    return {key: _distribution(key, text) for key, text in varied.items()}


def rounded(space: "Mapping[str, BaseDistribution]", params: Mapping[str, Any]) -> dict[str, Value]:
    """Return chosen values with few digits, inside their bounds."""
    return {
        key: _inside(space[key], float(f"{value:.{DIGITS}g}")) if type(value) is float else value
        for key, value in params.items()
    }


def _inside(bounds: Any, value: float) -> float:
    return float(min(max(value, bounds.low), bounds.high))


def _distribution(key: str, text: str) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution

    override = parse(f"{key}={text}")
    if override is None or not override.is_sweep_override():
        raise UserError(f"{key}: cannot be searched over {text!r}; type one of: {GRAMMAR}")
    try:
        if override.is_interval_sweep():
            return _interval(override)
        value = override.value()
        if isinstance(value, RangeSweep):
            return _range(value)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise UserError(f"{key}: cannot be searched over {text!r}: {error}") from error


def _interval(override: Override) -> "BaseDistribution":
    from optuna.distributions import FloatDistribution, IntDistribution

    value: Any = override.value()
    assert isinstance(value, IntervalSweep)
    log = "log" in value.tags
    if "int" in value.tags:
        return IntDistribution(int(value.start), int(value.end), log=log)  # type: ignore[arg-type]
    return FloatDistribution(float(value.start), float(value.end), log=log)  # type: ignore[arg-type]


def _range(value: RangeSweep) -> "BaseDistribution":
    """Return the numbers of ``range(start, stop, step)``, which leaves the stop out."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    numbers = list(value.range())
    if all(float(number).is_integer() for number in (*numbers, value.step)) and value.step > 0:
        return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(value.step))
    return CategoricalDistribution([str(number) for number in numbers])
