"""Make values out of text that nobody has checked, without ever executing any of it."""

import ast
import json
import warnings
from collections.abc import Callable
from typing import Any

Decode = Callable[[str], Any]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"no JSON ({name} is not a value of JSON)")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def decode_json(text: str) -> Any:
    """Return what a line of strict JSON says; raise ``ValueError`` when it is none."""
    stripped = text.strip(" \t\r\n")
    try:
        value, end = _STRICT.raw_decode(stripped)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON ({error.msg} at character {error.pos + 1})") from error
    except RecursionError as error:
        raise ValueError("no JSON that can be read: too many brackets inside brackets") from error
    if end < len(stripped):
        raise ValueError(f"no JSON (more after the end of the value at character {end + 1})")
    return value


def decode_json_or_literal(text: str) -> Any:
    """Return what a line says that is JSON or, as in Amazon's metadata of 2014, a Python literal.

    Nothing is ever executed: names, calls and operators are refused.

    Raises:
        ValueError: It is neither.
    """
    try:
        return decode_json(text)
    except ValueError:
        pass
    try:
        with warnings.catch_warnings():  # about backslashes in the data
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except SyntaxError as error:
        raise ValueError(f"neither JSON nor a Python literal ({error.msg})") from error
    except (ValueError, TypeError) as error:
        raise ValueError(
            "Python code (a name, a call, ...) instead of plain values; it was not executed"
        ) from error
    except (RecursionError, MemoryError) as error:
        raise ValueError("nothing that can be read: too many brackets inside brackets") from error
