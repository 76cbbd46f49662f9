"""What a tracker raises becomes a warning, so that no run depends on it."""

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


def attempt(what: str, call: Callable[..., Any], *given: Any) -> bool:
    """Call a tracker; on an error warn what it did not take and return False."""
    try:
        call(*given)
    except Exception as error:
        log.warning("the logger did not take %s, the run goes on: %s", what, one_line(error))
        return False
    return True


def one_line(error: Exception) -> str:
    """Return an exception in one line."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0].strip()}"
