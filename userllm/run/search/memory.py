"""What a search remembers: its finished trials, in a file that any optuna tool reads.

A trial is written once, whole, when it is over. Trials under way need no memory: what a trial
tries follows from the seed, its number and the trials before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from userllm.errors import UserError
from userllm.run.search.space import Value, rounded

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

State = Literal["complete", "pruned", "failed"]
OPTUNA: dict[State, str] = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
"""State to optuna's name of it."""


@dataclass(frozen=True)
class Trial:
    """One trial that is over.

    Attributes:
        number: Its place in the search.
        params: What it tried.
        value: What it was worth; None where it failed.
        folder: Its run.
        curve: Step to value, where the verb validates.
    """

    number: int
    params: dict[str, Value]
    state: State
    value: float | None
    folder: str
    error: str
    overrides: list[str]
    curve: dict[int, float] = field(default_factory=dict)


class Memory:
    """The trials of one search.

    Args:
        path: An SQLite file, made where it is not there.
        space: What is varied.
        direction: Which values are better.

    Raises:
        UserError: optuna is not installed.
    """

    def __init__(
        self,
        path: Path,
        space: "Mapping[str, BaseDistribution]",
        direction: Literal["maximize", "minimize"],
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.space, self.direction = dict(space), direction
        self.study = optuna.create_study(
            study_name=path.stem,
            storage=f"sqlite:///{path}",
            direction=direction,
            load_if_exists=True,
        )

    def trials(self) -> dict[int, Trial]:
        """Return number to trial; of one that was tried again the last time counts."""
        return _by_number(self.study)

    def add(self, trial: Trial) -> None:
        """Remember a trial, whole or not at all."""
        self.study.add_trial(_written(trial, self.space))

    def propose(
        self, number: int, before: Sequence[Trial], *, seed: int, startup: int
    ) -> dict[str, Value]:
        """Return what a trial should try; the same for the same trials before it.

        Args:
            number: The trial.
            before: The trials to learn from.
            seed: Seed of the search.
            startup: Trials chosen at random.
        """
        import optuna

        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(seed=own_seed, n_startup_trials=startup)
        scratch = optuna.create_study(direction=self.direction, sampler=sampler)
        scratch.add_trials([_written(one, self.space) for one in before])
        return rounded(self.space, scratch.ask(self.space).params)


def recorded(path: Path) -> dict[int, Trial]:
    """Return number to trial of a search's file, which stays as it is."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _by_number(optuna.load_study(study_name=path.stem, storage=f"sqlite:///{path}"))


def need_optuna() -> None:
    """Raise ``UserError`` where optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("a search needs optuna; type pip install 'userllm[search]'") from None


def _by_number(study: "Study") -> dict[int, Trial]:
    return {one.number: one for one in map(_read, study.get_trials(deepcopy=False))}


def _written(trial: Trial, space: "Mapping[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    attributes: dict[str, Any] = {
        "number": trial.number,
        "folder": trial.folder,
        "error": trial.error,
        "overrides": trial.overrides,
    }
    return create_trial(
        state=TrialState[OPTUNA[trial.state]],
        value=trial.value,
        params=trial.params,
        distributions=dict(space),
        intermediate_values=trial.curve,
        user_attrs=attributes,
    )


def _read(frozen: "FrozenTrial") -> Trial:
    states = {theirs: ours for ours, theirs in OPTUNA.items()}
    return Trial(
        number=frozen.user_attrs["number"],
        params=dict(frozen.params),
        state=states[frozen.state.name],
        value=frozen.value,
        folder=frozen.user_attrs["folder"],
        error=frozen.user_attrs["error"],
        overrides=frozen.user_attrs["overrides"],
        curve=dict(frozen.intermediate_values),
    )
