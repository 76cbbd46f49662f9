"""A search that nobody starts: how many trials it has, and how many of them are over."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from userllm.config import Composer
from userllm.errors import UserError
from userllm.run.search.memory import need_optuna, recorded
from userllm.run.search.settings import Settings, read_settings


@dataclass(frozen=True)
class Overview:
    """A search from outside.

    Attributes:
        settings: What was asked for; ``settings.trials`` in all.
        over: State to number of trials that its file remembers.
    """

    settings: Settings
    over: dict[str, int]

    @property
    def left(self) -> int:
        """How many trials the search's command would still run; failed ones it tries again."""
        return max(0, self.settings.trials - sum(self.over.values()) + self.over.get("failed", 0))

    @property
    def words(self) -> str:
        """How many trials are in which state."""
        told = ", ".join(f"{count} {state}" for state, count in sorted(self.over.items()))
        return f"{self.settings.trials} trials: {told or 'none over'}; {self.left} to do"


def overview(composer: Composer, overrides: Sequence[str]) -> Overview:
    """Return where a search stands; nothing is written.

    Args:
        composer: Of the verb.
        overrides: What would be typed to start it.

    Raises:
        UserError: The search has values of the wrong kind; optuna is missing and there are trials.
    """
    config = composer.look_at(*overrides)
    given: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    typed = [text for text in overrides if not text.lstrip("+~").startswith("hydra")]
    settings = read_settings(config, given, typed)
    return Overview(settings, _over(settings.path, settings.trials))


def _over(path: Path, trials: int) -> dict[str, int]:
    """Return how many of the first trials are over, by state."""
    if not path.is_file():
        return {}
    need_optuna()
    try:
        known = recorded(path)
    except Exception as error:  # a file that was cut short fails in many ways
        raise UserError(f"{path} cannot be read as a search's trials: {error}") from error
    return dict(Counter(str(one.state) for one in known.values() if one.number < trials))
