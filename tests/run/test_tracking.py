import json
import logging
import math
import time
from types import SimpleNamespace

import pytest
from pytorch_lightning.loggers.logger import Logger

from userllm.config import load
from userllm.errors import UserError
from userllm.run import tracking
from userllm.run.folder import RunFolder
from userllm.run.tracking import login
from userllm.run.tracking.describe import numbers, run_id, settings, study_of, tags
from userllm.run.tracking.guarded import GuardedLogger


def hang(*_arguments, **_options):
    """Look a name up without a network."""
    time.sleep(5)
    raise OSError


def folder_of(tmp_path, *words, verb="pretrain"):
    loaded = load(verb, [*words, f"paths.runs={tmp_path / 'runs'}"])
    folder = RunFolder(
        verb=verb, config=loaded.config, choices=loaded.choices, overrides=loaded.overrides
    )
    folder.path.mkdir(parents=True)
    return folder


class Picky(Logger):
    """Refuses a whole dictionary for one name with an at sign or one value that is no number."""

    name, version = "picky", 0

    def __init__(self):
        super().__init__()
        self.taken = []

    def log_metrics(self, metrics, step=None):
        if any("@" in key or math.isnan(value) for key, value in metrics.items()):
            raise ValueError("what a name")
        self.taken.append((step, metrics))

    def log_hyperparams(self, params, *args, **kwargs):
        raise ValueError("no settings")


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """Nobody is logged in to W&B."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def test_without_a_login_the_run_is_offline(nobody):
    assert login.wandb_mode("auto") == "offline"


def test_with_a_login_and_no_network_the_run_is_offline_within_seconds(nobody):
    nobody.setenv("WANDB_API_KEY", "0" * 40)
    nobody.setattr(login.socket, "create_connection", hang)
    began = time.monotonic()
    assert login.wandb_mode("auto") == "offline"
    assert time.monotonic() - began < 4


def test_with_a_login_and_a_server_the_run_is_online(nobody, tmp_path):
    nobody.setattr(login, "is_reachable", lambda url: True)
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    assert login.wandb_mode("auto") == "online"


def test_the_environment_decides_over_the_config(nobody):
    nobody.setenv("WANDB_MODE", "disabled")
    assert login.wandb_mode("online") == "disabled"


def test_only_the_refused_values_are_lost_and_each_is_warned_of_once(caplog):
    picky = Picky()
    guarded = GuardedLogger(picky)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2):
            guarded.log_metrics({"a": 1.0, "b@10": 2.0, "c": math.nan, "d": 3.0}, step)
        guarded.log_hyperparams({"x": 1})
        guarded.finalize("success")
    assert picky.taken == [(s, {n: v}) for s in (1, 2) for n, v in (("a", 1.0), ("d", 3.0))]
    assert len([r for r in caplog.records if "b@10" in r.message]) == 1
    assert len([r for r in caplog.records if "c=nan" in r.message]) == 1
    assert any("the settings" in r.message for r in caplog.records)


def test_a_tracker_that_breaks_at_any_point_does_not_end_the_run(tmp_path, caplog, monkeypatch):
    def explode(*_given, **_named):
        raise RuntimeError("the server is on fire")

    folder = folder_of(tmp_path)
    (folder.path / "result.json").write_text('{"outcomes": []}')
    monkeypatch.setattr(tracking, "build", explode)
    tracking.start(folder)
    assert tracking.loggers(folder) == []
    tracking.finish(folder, 0)
    broken = SimpleNamespace(log_result=explode, log_report=explode, finish=explode)
    monkeypatch.setattr(tracking, "build", lambda *given, **named: broken)
    tracking.start(folder)
    tracking.log_summary(folder)
    tracking.log_report(folder, table=tmp_path / "table.csv", figures=[])
    tracking.finish(folder, 0)
    assert len([r for r in caplog.records if "on fire" in r.message]) == 4
    assert not tracking._open
    assert not tracking._running


@pytest.mark.parametrize(
    ("logger", "package", "extra"),
    [("wandb", "wandb", "wandb"), ("mlflow", "mlflow", "mlflow")],
)
def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, logger, package, extra):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    folder = folder_of(tmp_path, f"logger={logger}")
    with pytest.raises(UserError, match=rf"pip install 'userllm\[{extra}\]'"):
        tracking.start(folder)
    tracking.finish(folder, 2)


def test_where_metrics_go_is_no_part_of_what_a_run_is(tmp_path):
    plain = folder_of(tmp_path)
    for logger in ("wandb", "mlflow", "tensorboard"):
        loaded = load("pretrain", [f"logger={logger}", f"paths.runs={tmp_path / 'runs'}"])
        same = RunFolder(verb="pretrain", config=loaded.config, choices={}, overrides=[])
        assert same.name.rpartition("-")[2] == plain.name.rpartition("-")[2]


def test_a_run_is_told_by_study_method_tags_and_an_id_of_its_own(tmp_path):
    folder = folder_of(tmp_path, "group=mine", "context=one_token", verb="contextualize")
    told = settings(folder)
    assert (told["study"], told["method"], told["verb"]) == ("mine", "one_token", "contextualize")
    assert told["seed"] == 0
    assert "task=favorite_category" in tags(folder.choices)
    other = folder_of(tmp_path, "group=mine", "context=none", verb="contextualize")
    assert run_id(folder) != run_id(other)
    comparison = folder_of(tmp_path, "runs=[mine]", verb="compare")
    assert study_of(comparison) == "mine"


def test_numbers_have_one_name_for_all_methods_and_the_first_protocol_counts():
    def outcome(method, kind, mean, cost=None):
        metrics = {"mrr": {"mean": mean}, "broken": {"mean": math.nan}}
        told = {"task": "next_item", "scorer": "head", "metrics": metrics, "cost": cost}
        return {"method": method, "kind": kind, **told}

    cost = {"flops_per_user": 7, "latency_ms": {"median": 2.0}, "trained": True, "none": None}
    result = {
        "outcomes": [
            outcome("xattn", "model", 0.5, cost),
            outcome("popularity", "reference", 0.25),
            outcome("xattn", "model", 0.125),
        ]
    }
    assert numbers(json.loads(json.dumps(result))) == {
        "next_item/mrr": 0.5,
        "next_item/cost/flops_per_user": 7.0,
        "next_item/cost/latency_ms/median": 2.0,
        "next_item/mrr/popularity": 0.25,
    }


def test_sources_are_what_the_run_in_progress_was_made_from(tmp_path, monkeypatch):
    taken = {}
    monkeypatch.setattr(tracking, "build", lambda node, folder: Sources(taken, folder))
    outer = folder_of(tmp_path, verb="contextualize")
    inner = folder_of(tmp_path)
    for folder in (outer, inner):
        (folder.path / "result.json").write_text('{"outcomes": []}')
    data = outer.runs / "prepare" / "x"
    tracking.start(outer)
    tracking.used(data)
    tracking.start(inner)
    tracking.used(data)
    tracking.log_summary(inner)
    tracking.finish(inner, 0)
    tracking.used(inner.path)
    tracking.log_summary(outer)
    tracking.finish(outer, 0)
    assert taken == {inner.path: [data], outer.path: [data, inner.path]}


class Sources:
    """Notes the sources that it is told."""

    def __init__(self, taken, folder):
        self.taken, self.folder = taken, folder

    def log_result(self, result, sources):
        self.taken[self.folder.path] = sources

    def finish(self, exit_code):
        pass
