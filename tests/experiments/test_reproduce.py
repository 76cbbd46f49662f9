"""A number that does not come out again is a miss, and a miss is the exit code."""

from copy import deepcopy
from dataclasses import replace

import polars as pl
import pytest
from omegaconf import OmegaConf

from experiments import reproduce, rerun
from experiments.collect import machine
from experiments.reproduce import choose, compare, labels_of, main
from experiments.rerun import again, former, run_again
from experiments.tables import all_committed, read
from userllm.config import load
from userllm.errors import UserError
from userllm.report.settings import identity
from userllm.run.launch import Outcome


@pytest.fixture
def study(made):
    """The collected study itself: nothing here writes into it."""
    return made / "experiments" / "made_up"


@pytest.fixture
def one(study):
    return read(study)[0]


def test_older_results_are_run_as_they_were():
    now = load("contextualize", ["data=synthetic"]).config
    older = OmegaConf.to_container(now)
    del older["pack_weights"]
    assert former(older, now) == ["pack_weights=false"]
    assert former(OmegaConf.to_container(now), now) == []


@pytest.mark.whole
@pytest.mark.parametrize("folder", all_committed(), ids=lambda folder: folder.name)
def test_what_was_typed_for_a_committed_run_still_asks_for_the_same(folder):
    cells = {identity(asked_for(result.run["config"], result)): result for result in read(folder)}
    for cell, old in cells.items():
        typed = again(old, ["data.dir=/elsewhere"] * ("dir" in old.run["config"]["data"]))
        now = OmegaConf.to_container(load(old.run["verb"], typed).config, resolve=True)
        assert identity(asked_for(now, old)) == cell, typed


def asked_for(config, result):
    """Leave out what other keys copy (size)."""
    values = {key: value for key, value in config.items() if key != "size"}
    return {"verb": result.run["verb"], "config": values}


def verdicts(old, new):
    return {line.what: line.verdict for line in compare(old, new, "label")}


def with_mean(result, mean, metric="recall@10"):
    outcomes = deepcopy(result.outcomes)
    outcomes[0]["metrics"][metric]["mean"] = mean
    return replace(result, outcomes=outcomes)


def test_the_same_result_is_equal_in_every_number(one):
    found = verdicts(one, one)
    assert set(found.values()) == {"equal"}
    assert {"cross_attention recall@10", "popularity recall@10"} <= found.keys()
    assert "cross_attention training_flops" in found


def test_inside_the_interval_is_within_and_outside_is_missed(one):
    mean = one.outcomes[0]["metrics"]["recall@10"]["mean"]
    name = "cross_attention recall@10"
    assert verdicts(one, with_mean(one, mean + 0.09))[name] == "within"
    assert verdicts(one, with_mean(one, mean - 0.11))[name] == "missed"


def test_equal_means_of_other_users_are_not_equal(one):
    hits = one.per_user.with_columns(
        pl.when(pl.col("method") == "cross_attention")
        .then(pl.col("recall@10").reverse().over("method"))
        .otherwise("recall@10")
        .alias("recall@10")
    )
    found = verdicts(one, replace(one, per_user=hits))
    assert found["cross_attention recall@10"] == "within"
    assert found["popularity recall@10"] == "equal"


@pytest.mark.parametrize("share", [1.0005, 1.002])
@pytest.mark.parametrize("cost", ["training_flops", "flops_per_user"])
def test_closed_form_costs_must_agree(one, cost, share):
    outcomes = deepcopy(one.outcomes)
    outcomes[0]["cost"][cost] *= share
    found = verdicts(one, replace(one, outcomes=outcomes))
    assert found[f"cross_attention {cost}"] == ("within" if share < 1.001 else "missed")


@pytest.mark.parametrize(("tokens", "verdict"), [(3.5, "equal"), (0.0, "missed")])
def test_how_much_is_written_is_no_closed_form(one, tokens, verdict):
    outcomes = deepcopy(one.outcomes)
    for times in (1.0, 1.5):
        cost = outcomes[0]["cost"]
        written = times * 1e9 - cost["flops_parts"].get("answers", 0.0)
        cost["flops_per_user"] += written
        cost["flops_parts"]["answers"] = times * 1e9
        cost["answer_tokens"] = tokens and tokens * times
        if times == 1.0:
            before = replace(one, outcomes=deepcopy(outcomes))
    found = verdicts(before, replace(one, outcomes=outcomes))
    assert found["cross_attention flops_per_user"] == verdict


def test_failed_runs_other_data_and_fewer_users_are_misses(one):
    other = replace(one, environment={**one.environment, "data_fingerprint": "0" * 64})
    outcomes = deepcopy(one.outcomes)
    outcomes[0]["metrics"]["recall@10"]["n"] -= 1
    assert set(verdicts(one, None).values()) == {"missed"}
    assert set(verdicts(one, other).values()) == {"missed"}
    fewer = verdicts(one, replace(one, outcomes=outcomes))
    assert fewer["cross_attention recall@10"] == "missed"


def test_words_choose_runs_and_a_wrong_one_says_what_there_is(study):
    loaded = read(study)
    assert len(choose(loaded, [])) == 4
    assert [one.run["seed"] for one in choose(loaded, ["seed=1"])] == [1, 1]
    assert choose(loaded, ["seed=1e0"]) == choose(loaded, ["seed=1"])
    (chosen,) = choose(loaded, ["seed=0", "context=none"])
    assert chosen.run["folder"].startswith("none-s0")
    with pytest.raises(UserError, match="seed: 0, 1"):
        choose(loaded, ["seed=7"])


def test_labels_tell_runs_apart(study):
    labels = labels_of(read(study))
    assert labels[0] == "contextualize context=cross_attention seed=0"
    assert len(set(labels)) == 4


def test_a_place_that_was_not_published_has_to_be_given(one, tmp_path):
    with pytest.raises(UserError, match=r"--set data\.path=<path>"):
        run_again(one, [], tmp_path)


@pytest.mark.parametrize(
    ("origin", "pinned"), [("package x, 4-bit", True), ("hub", False), (None, False)]
)
def test_a_run_is_run_again_on_the_weights_that_it_had(one, origin, pinned, tmp_path, monkeypatch):
    def typed(verb, words):
        raise InterruptedError(words)

    source = origin and {"origin": origin, "revision": "1"}
    old = replace(one, environment={**one.environment, "lm_source": source})
    monkeypatch.setattr(rerun, "again", lambda *_: [])
    monkeypatch.setattr(rerun, "load", typed)
    with pytest.raises(InterruptedError) as error:
        run_again(old, [], tmp_path)
    assert ("lm.source=package" in error.value.args[0]) == pinned


@pytest.mark.parametrize(
    ("was", "now", "taken"),
    [
        ({"commit": "a" * 40, "dirty": False}, {"commit": "a" * 40, "dirty": False}, True),
        ({"commit": "a" * 40, "dirty": False}, {"commit": "b" * 40, "dirty": False}, False),
        ({"commit": "a" * 40, "dirty": True}, {"commit": "a" * 40, "dirty": True}, False),
        (None, {"commit": "a" * 40, "dirty": False}, False),
        (None, None, True),
    ],
)
def test_a_run_that_other_code_finished_does_not_speak_for_this(
    one, was, now, taken, tmp_path, monkeypatch
):
    found = replace(one, environment={**one.environment, "git": was})
    monkeypatch.setattr(rerun, "again", lambda *_: [])
    monkeypatch.setattr(
        rerun, "execute", lambda *_, **__: Outcome("contextualize", str(tmp_path), "skipped")
    )
    monkeypatch.setattr(rerun, "load_result", lambda _: found)
    monkeypatch.setattr(rerun, "git_state", lambda: now)
    if taken:
        assert run_again(one, [], tmp_path).outcomes == one.outcomes
    else:
        with pytest.raises(UserError, match=r"was finished before, by .*--fresh"):
            run_again(one, [], tmp_path)


def test_a_failed_run_without_numbers_is_a_miss(one):
    assert set(verdicts(replace(one, outcomes=[]), None).values()) == {"missed"}


@pytest.mark.parametrize(("shift", "code"), [(0.0, 0), (0.05, 0), (0.5, 1)])
def test_a_miss_is_the_exit_code(study, monkeypatch, capsys, tmp_path, shift, code):
    def shifted(old, changes, runs):
        return with_mean(old, old.outcomes[0]["metrics"]["recall@10"]["mean"] + shift)

    monkeypatch.setattr(reproduce, "committed", lambda name: study)
    monkeypatch.setattr(reproduce, "run_again", shifted)
    assert main(["made_up", "seed=0", "--runs", str(tmp_path)]) == code
    printed = capsys.readouterr().out
    places = dict(line.split(" on: ") for line in printed.splitlines() if " on: " in line)
    assert places["Now"] == places["Committed"]
    assert machine(read(study)[0].environment) in places["Now"]
    assert ("2 missed" in printed) == bool(code)


def test_an_unknown_study_is_bad_input(capsys):
    assert main(["t99"]) == 2
    assert "t99" in capsys.readouterr().err


@pytest.mark.slow
def test_the_smallest_committed_run_still_comes_out(tmp_path, capsys):
    words = ["smoke", "seed=0", "context=none", "--runs", str(tmp_path)]
    assert main(words) == 0
    assert " 0 missed" in capsys.readouterr().out
