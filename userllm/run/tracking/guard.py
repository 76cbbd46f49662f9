"""What a tracker raises becomes a warning, so that no run depends on it."""

import logging
from collections.abc import Callable
from typing import Any

from userllm.run.failure import one_line

log = logging.getLogger(__name__)


def attempt(what: str, call: Callable[..., Any], *given: Any) -> bool:
    """Call a tracker; on an error warn what it did not take and return False."""
    try:
        call(*given)
    except Exception as error:
        log.warning("the logger did not take %s, the run goes on: %s", what, one_line(error))
        return False
    return True
