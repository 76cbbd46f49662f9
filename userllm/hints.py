"""Does a plain value from YAML fit a type hint, and how is that hint called in an error?"""

import collections.abc
import enum
import os
import types
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

_LISTS = (list, tuple, set, frozenset, collections.abc.Collection)
_SCALARS: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str,),
    type(None): (type(None),),
}
_NAMES: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true/false"}


def fits(value: Any, hint: Any) -> bool:
    """Return whether ``value`` may be passed where ``hint`` is declared.

    An int fits a float, a string fits a path and the name of an enum's member, a list fits any
    collection, and a node with a ``_target_`` fits a class (its own constructor is checked).
    """
    hint = _unwrap(hint)
    arguments, origin = get_args(hint), get_origin(hint) or hint
    if hint is Any or hint is object or isinstance(hint, TypeVar | str):
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in arguments)
    if origin in _SCALARS:
        is_bool = isinstance(value, bool)  # Python counts true as the whole number 1.
        return isinstance(value, _SCALARS[origin]) and is_bool == (origin is bool)
    return _fits_class(value, origin, arguments) if isinstance(origin, type) else True


def _fits_class(value: Any, origin: type, arguments: tuple[Any, ...]) -> bool:
    if isinstance(value, dict) and "_target_" in value:
        return True
    if issubclass(origin, collections.abc.Mapping):
        key, item = arguments or (Any, Any)
        return isinstance(value, dict) and all(
            fits(name, key) and fits(child, item) for name, child in value.items()
        )
    if issubclass(origin, PurePath | os.PathLike):
        return isinstance(value, str)
    if issubclass(origin, enum.Enum):
        return isinstance(value, str) and value in origin.__members__
    if issubclass(origin, _LISTS) or origin is collections.abc.Iterable:
        return isinstance(value, list) and _fits_items(value, arguments)
    return isinstance(value, origin)


def _fits_items(values: list[Any], arguments: tuple[Any, ...]) -> bool:
    if len(arguments) < 2 or arguments[1] is Ellipsis:
        return all(fits(value, (*arguments, Any)[0]) for value in values)
    return len(values) == len(arguments) and all(map(fits, values, arguments))


def describe(hint: Any) -> str:
    """Return a hint in the words of an error message, such as "a whole number or null"."""
    hint = _unwrap(hint)
    arguments, origin = get_args(hint), get_origin(hint)
    if hint is type(None):
        return "null"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in arguments)
    if origin is Literal:
        return " or ".join(repr(option) for option in arguments)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        return f"a map of {describe(arguments[-1])}"
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        return f"a list of {describe(arguments[0])}"
    if hint is Any:
        return "a value"
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _unwrap(hint: Any) -> Any:
    """Drop what says nothing about the value: ``Annotated``, and a ``NewType``'s new name."""
    if get_origin(hint) is Annotated:
        return _unwrap(get_args(hint)[0])
    return _unwrap(hint.__supertype__) if hasattr(hint, "__supertype__") else hint
