import csv
import json
import math
from dataclasses import replace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from userllm.cli import main
from userllm.config import Composer
from userllm.errors import UserError
from userllm.run.launch import Outcome
from userllm.run.search.ending import best_of, short_names
from userllm.run.search.loop import search
from userllm.run.search.memory import Memory
from userllm.run.search.objective import curve, value_of
from userllm.run.search.overview import overview
from userllm.run.search.pruning import Watch, watched
from userllm.run.search.settings import Settings, remembered
from userllm.run.search.space import distributions, rounded, split

pytestmark = pytest.mark.whole

optuna = pytest.importorskip("optuna")

SPACE = {"training.learning_rate": "tag(log,interval(1e-4,1e-2))", "encoder.layers": "range(1,5)"}


class Killed(BaseException):
    """The process is gone."""


def settings_of(tmp_path, **changed):
    told = {
        "verb": "pretrain",
        "study": "mine",
        "varied": SPACE,
        "fixed": ["seed=1"],
        "settled": "0" * 8,
        "runs": tmp_path / "runs",
        "metric": "ndcg@10",
        "direction": "maximize",
        "trials": 9,
        "parallel": 2,
        "seed": 3,
        "startup": 3,
        "prune": True,
    }
    return Settings(**{**told, **changed})


class Machine:
    """Launches trials as a launcher does, without training; counts who was trained."""

    def __init__(self, runs, *, dies_after=math.inf, fails=lambda words: False):
        self.runs, self.dies_after, self.fails, self.trained = runs, dies_after, fails, []

    def __call__(self, wrap, batch, first):
        return [self.job(words) for words in batch]

    def job(self, words):
        folder = self.runs / "-".join(words).replace("/", "_")
        state = "skipped"
        if self.fails(words):
            outcome = Outcome("pretrain", str(folder), "failed", 0.0, "unlucky", 1, list(words))
            return JobReturn(status=JobStatus.COMPLETED, _return_value=outcome)
        if not (folder / "result.json").exists():
            if len(self.trained) >= self.dies_after:
                raise Killed
            state = "finished"
            self.trained.append(words)
            write_run(folder, [worth(words)])
        outcome = Outcome("pretrain", str(folder), state, overrides=list(words))
        return JobReturn(status=JobStatus.COMPLETED, _return_value=outcome)


def worth(words):
    """Be best at a rate of 0.001 and four layers."""
    told = dict(word.split("=") for word in words)
    rate, layers = float(told["training.learning_rate"]), int(told["encoder.layers"])
    return layers / 4 - abs(math.log10(rate) + 3)


def write_run(folder, values, *, part="test", mean=0.0):
    """Write what a run leaves that a search reads."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        rows = [(10 * at, "valid/ndcg@10", value) for at, value in enumerate(values, 1)]
        csv.writer(file).writerows([("step", "metric", "value"), *rows])
    metrics = {"ndcg@10": {"mean": mean}}
    outcome = {"kind": "model", "part": part, "metrics": metrics}
    (folder / "result.json").write_text(json.dumps({"outcomes": [outcome]}))


def trials_of(settings):
    memory = Memory(settings.path, distributions(settings.varied), settings.direction)
    return memory.trials()


def tried(settings):
    return [trial.params for _, trial in sorted(trials_of(settings).items())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", optuna.distributions.CategoricalDistribution(["a", "b"])),
        ("range(1,5)", optuna.distributions.IntDistribution(1, 4)),
        ("range(0,10,4)", optuna.distributions.IntDistribution(0, 8, step=4)),
        ("interval(0,0.5)", optuna.distributions.FloatDistribution(0.0, 0.5)),
        ("tag(log,interval(1e-3,1))", optuna.distributions.FloatDistribution(1e-3, 1, log=True)),
        ("tag(int,log,interval(1,64))", optuna.distributions.IntDistribution(1, 64, log=True)),
    ],
)
def test_values_are_written_as_for_any_sweep(text, expected):
    assert distributions({"x": text}) == {"x": expected}


@pytest.mark.parametrize("text", ["1", "tag(log,interval(0,1))", "interval(2,1)", "((("])
def test_what_cannot_be_searched_is_refused_by_name(text):
    with pytest.raises(UserError, match=r"training\.x: cannot be searched"):
        distributions({"training.x": text})


def test_what_is_typed_replaces_what_the_study_varies():
    varied, fixed = split(SPACE, ["encoder.layers=2", "training.learning_rate=0.1,0.2", "seed=1"])
    assert varied == {"training.learning_rate": "0.1,0.2"}
    assert fixed == ["encoder.layers=2", "seed=1"]


def test_rounding_never_leaves_the_bounds():
    space = distributions({"x": "interval(0.123456,0.987654)"})
    for edge in (0.123456, 0.987654):
        assert space["x"]._contains(rounded(space, {"x": edge})["x"])


def test_no_trial_is_worth_what_the_test_users_say(tmp_path):
    write_run(tmp_path, [0.1, 0.4, 0.2], part="test", mean=0.9)
    assert value_of(tmp_path, "ndcg@10", max) == 0.4
    write_run(tmp_path, [0.1], part="valid", mean=0.9)
    assert value_of(tmp_path, "ndcg@10", max) == 0.9
    write_run(tmp_path, [], part="test", mean=0.9)
    with pytest.raises(UserError, match="not measured on validation users"):
        value_of(tmp_path, "ndcg@10", max)


def test_a_value_that_is_no_number_is_no_point_of_a_curve(tmp_path):
    write_run(tmp_path, [0.1, math.nan, 0.3])
    assert curve(tmp_path, "ndcg@10") == {10: 0.1, 30: 0.3}


@pytest.mark.parametrize("dies_after", [0, 1, 4])
def test_a_search_that_was_killed_tries_the_same_and_trains_nothing_twice(tmp_path, dies_after):
    whole = settings_of(tmp_path / "whole")
    search(whole, Machine(tmp_path / "whole"))
    settings = settings_of(tmp_path / "cut")
    dying = Machine(tmp_path / "cut", dies_after=dies_after)
    with pytest.raises(Killed):
        search(settings, dying)
    rest = Machine(tmp_path / "cut")
    search(settings, rest)
    assert tried(settings) == tried(whole)
    assert [t.value for t in trials_of(settings).values()] == [
        t.value for t in trials_of(whole).values()
    ]
    trained = [tuple(words) for words in (*dying.trained, *rest.trained)]
    assert len(trained) == len(set(trained))
    again = Machine(tmp_path / "cut")
    jobs = search(settings, again)
    assert not again.trained
    assert [job.return_value.state for job in jobs] == ["skipped"] * 9


def test_more_trials_continue_a_search_and_learn_from_it(tmp_path):
    few, many = (settings_of(tmp_path, trials=n, parallel=1) for n in (4, 16))
    search(few, Machine(tmp_path))
    first = tried(few)
    assert few.path == many.path
    search(many, Machine(tmp_path))
    assert tried(many)[:4] == first
    values = [trial.value for _, trial in sorted(trials_of(many).items())]
    assert sum(values[8:]) / 8 > sum(values[:4]) / 4


def test_another_seed_space_or_fixed_override_is_another_search_but_a_label_is_not(tmp_path):
    plain = settings_of(tmp_path)
    others = {"varied": {"seed": "1,2"}}, {"fixed": ["seed=2"]}, {"settled": "1" * 8}
    for changed in ({"seed": 4}, *others):
        assert settings_of(tmp_path, **changed).path != plain.path
    labelled = settings_of(tmp_path, fixed=["seed=1", "logger=wandb", "paths.reports=x"])
    assert labelled.path == plain.path


def test_the_files_of_one_name_are_found_and_none_of_a_longer_name(tmp_path):
    searches = [
        settings_of(tmp_path, study=name, seed=seed)
        for name, seed in (("my study", 0), ("my study", 1), ("my study-more", 0))
    ]
    for one in searches:
        one.path.parent.mkdir(parents=True, exist_ok=True)
        one.path.touch()
    assert remembered("my study", tmp_path / "runs") == sorted(one.path for one in searches[:2])


def test_a_failed_trial_is_tried_again_with_the_same_values(tmp_path):
    settings = settings_of(tmp_path, parallel=1)
    unlucky = Machine(tmp_path, fails=lambda words: "encoder.layers=1" in words)
    search(settings, unlucky)
    failed = {n: t for n, t in trials_of(settings).items() if t.state == "failed"}
    assert failed
    assert all(trial.error == "unlucky" for trial in failed.values())
    lucky = Machine(tmp_path)
    search(settings, lucky)
    after = trials_of(settings)
    assert all(trial.state == "complete" for trial in after.values())
    assert all(after[number].params == trial.params for number, trial in failed.items())


def test_a_dry_run_counts_the_trials_that_are_over_and_writes_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["study=search_pretrain", "size=tiny", "hydra.sweeper.trials=9"]
    before = overview(Composer("pretrain"), words)
    assert (before.over, before.left) == ({}, 9)
    assert not list(tmp_path.iterdir())
    search(replace(before.settings, trials=4), Machine(tmp_path))
    assert main(["sweep", *words, "--dry-run"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "9 trials: 4 complete; 5 to do" in printed
    assert "what is left, none stopped early: " in printed


def test_two_processes_never_choose_the_next_trial(tmp_path):
    settings = settings_of(tmp_path)

    def intruder(wrap, batch, first):
        with pytest.raises(UserError, match="another process"):
            search(settings, Machine(tmp_path))
        raise Killed

    with pytest.raises(Killed):
        search(settings, intruder)


def test_a_trial_is_pruned_when_its_best_is_below_the_median_of_the_others():
    curves = [{10: 0.1, 20: 0.2}, {10: 0.3, 20: 0.4}, {10: 0.5, 20: 0.6}]
    watch = Watch("pretrain", "ndcg@10", "maximize", 3, curves)
    assert watch.falls_behind({10: 0.2})
    assert not watch.falls_behind({10: 0.3})
    assert not watch.falls_behind({10: 0.45, 20: 0.39})
    assert not Watch("pretrain", "x", "maximize", 4, curves).falls_behind({10: 0.0})
    losing = Watch("pretrain", "x", "minimize", 3, curves)
    assert losing.falls_behind({10: 0.4})
    assert not losing.falls_behind({10: 0.2})


def test_the_best_is_trained_to_its_end_and_the_earliest_of_equals(tmp_path):
    search(settings_of(tmp_path), Machine(tmp_path))
    trials = list(trials_of(settings_of(tmp_path)).values())
    best = best_of(trials, "maximize")
    assert best.value == max(trial.value for trial in trials)
    assert best_of(trials, "minimize").value == min(trial.value for trial in trials)
    assert best_of([], "maximize") is None


def test_columns_are_short_and_different():
    keys = ["training.learning_rates.gates", "training.learning_rates.lm", "a.rate", "b.rate"]
    assert short_names(keys) == ["gates", "lm", "a.rate", "b.rate"]


def test_ctrl_c_is_not_taken_for_an_earlier_trials_pruning(tmp_path):
    watch = Watch("pretrain", "ndcg@10", "maximize", 3, [])
    watch.stopped.append((tmp_path / "an_earlier_trial", 10))
    with pytest.raises(KeyboardInterrupt):
        watched(interrupted, watch, OmegaConf.create())


def interrupted(config):
    raise KeyboardInterrupt
