import errno
import json
import os
import signal
import sys
import time
import types

import pytest
from omegaconf import OmegaConf

from userllm.config import load
from userllm.errors import Helped, UserError
from userllm.run.failure import Terminated, diagnose, terminable
from userllm.run.folder import read_status
from userllm.run.launch import IN_PROGRESS, _announced, ensure, execute
from userllm.run.stage import derive


def calls(folder):
    return (folder / "calls.txt").read_text().count("called")


def test_a_run_leaves_everything_needed_to_repeat_and_judge_it(pretrain, only_run):
    assert pretrain("seed=3", "name=two words") == 0
    folder = only_run()
    assert (folder / "command.txt").read_text() == "userllm pretrain seed=3 'name=two words'\n"
    assert OmegaConf.load(folder / "config.yaml").seed == 3
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {"git", "versions", "platform", "cpu", "cores", "threads", "started"} <= set(manifest)
    result = json.loads((folder / "result.json").read_text())
    assert result["schema_version"] == 1
    assert result["run"]["choices"]["data"] == "synthetic"
    assert result["environment"]["ended"] >= result["environment"]["started"]
    assert read_status(folder)["state"] == "finished"
    assert folder.name.startswith("two-words-")


def test_a_finished_run_is_not_run_again(pretrain, only_run):
    pretrain()
    assert pretrain() == 0
    assert calls(only_run()) == 1


def test_a_failed_run_is_tried_again_in_the_same_folder(pretrain, only_run, capsys):
    assert pretrain("seed=13") == 1
    assert "RuntimeError: unlucky" in capsys.readouterr().err
    status = read_status(only_run())
    assert (status["state"], status["error"]) == ("failed", "RuntimeError: unlucky")
    assert "Traceback" in (only_run() / "log.txt").read_text()
    pretrain("seed=13")
    assert calls(only_run()) == 2


def test_bad_input_is_one_error_without_a_traceback(pretrain, tmp_path, capsys):
    assert pretrain("sead=1") == 2
    message = capsys.readouterr().err
    assert "did you mean 'seed'" in message
    assert "Traceback" not in message
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
def test_an_interrupted_run_says_so_and_continues(start, pretrain, only_run, number, code):
    process = start()
    os.kill(process.pid, number)
    process.join(timeout=30)
    assert process.exitcode == code
    assert read_status(only_run())["state"] == "interrupted"
    assert pretrain() == 0
    assert read_status(only_run())["state"] == "finished"


def test_a_job_that_is_told_to_end_while_python_cleans_up_ends_all_the_same():
    class Told:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def work():
        told = Told()
        del told
        time.sleep(5)

    with terminable(), pytest.raises(Terminated):
        work()


def test_a_killed_run_continues(start, pretrain, only_run):
    process = start()
    process.kill()
    process.join()
    assert read_status(only_run())["state"] == "running"
    assert pretrain() == 0
    assert read_status(only_run())["state"] == "finished"
    assert "continuing (running before)" in (only_run() / "log.txt").read_text()


def test_a_folder_in_use_is_left_alone(start, pretrain, only_run, capsys):
    process = start()
    assert pretrain() == 2
    assert f"in use by process {process.pid}" in capsys.readouterr().err
    assert read_status(only_run())["state"] == "running"


def test_an_earlier_stage_is_the_run_its_own_command_would_make(pretrain, tmp_path):
    pretrain("seed=5", "size.encoder_width=16")
    later = load("contextualize", ["seed=5", "size.encoder_width=16", "training.steps=3"])
    folder = ensure("pretrain", later.config, later.choices)
    assert calls(folder) == 1
    assert len(list((tmp_path / "runs" / "pretrain").iterdir())) == 1


@pytest.mark.parametrize(
    "asked",
    [
        ['data.name="it\'s mine"', "encoder.features=[item]", "seed=2"],
        ["softmax@encoder.softmax=sampled", "encoder.softmax.classes=64"],
        ["encoder=autoregressive_text", "sentence@encoder.sentence=hashed"],
        ["context=text_events", "sentence@context.sentence=hashed"],
    ],
)
def test_the_command_of_a_derived_stage_makes_the_same_run(asked):
    later = load("contextualize", asked)
    needed = derive("pretrain", later.config, later.choices)
    own = load("pretrain", needed.overrides)
    assert (own.config, own.choices) == (needed.config, needed.choices)


def test_a_stage_that_fails_fails_what_needs_it(pretrain):
    later = load("contextualize", ["seed=13"])
    with pytest.raises(UserError, match="needs pretrain, which failed: RuntimeError: unlucky"):
        ensure("pretrain", later.config, later.choices)


def test_secrets_reach_no_file(pretrain, only_run, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "env-secret-0123456789")
    wanted = load("pretrain", ["data.name=sk-ABCDEFGHIJKLMNOP"])
    config = OmegaConf.merge(
        OmegaConf.create(OmegaConf.to_container(wanted.config)),
        {"trainer": {"api_key": "typed-secret-0123456789", "note": "env-secret-0123456789"}},
    )

    def leak(cfg, folder):
        import logging

        logging.getLogger("userllm").info("token %s", cfg.trainer.api_key)
        raise RuntimeError(os.environ["SERVICE_TOKEN"])

    monkeypatch.setitem(sys.modules, "userllm.run.pretrain", types.SimpleNamespace(run=leak))
    execute("pretrain", config, wanted.choices, ["trainer.api_key=typed-secret-0123456789"])
    written = "".join(path.read_text() for path in only_run().iterdir() if path.is_file())
    assert "secret-0123456789" not in written
    assert "***" in written


def full_disk():
    try:
        raise OSError(28, "No space left on device")
    except OSError as full:
        raise RuntimeError("could not save") from full


def lightning_after_ctrl_c():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def test_a_full_disk_is_a_readable_error_wherever_it_shows(tmp_path):
    with pytest.raises(RuntimeError) as caught:
        full_disk()
    state, message, code = diagnose(caught.value, tmp_path / "runs" / "a")
    assert (state, code) == ("failed", 2)
    assert str(tmp_path / "runs" / "a") in message


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_place_that_may_not_be_written_is_named_with_what_to_type(number, tmp_path):
    failure = OSError(number, os.strerror(number), tmp_path / "runs")
    state, message, code = diagnose(failure, tmp_path)
    assert (state, code) == ("failed", 2)
    assert message.startswith(f"{tmp_path / 'runs'}: {os.strerror(number)}")
    assert "paths.runs" in message


def test_lightnings_way_of_passing_ctrl_c_on_is_an_interruption(tmp_path):
    with pytest.raises(SystemExit) as caught:
        lightning_after_ctrl_c()
    assert diagnose(caught.value, tmp_path)[0] == "interrupted"


def test_threads_are_set_and_are_no_part_of_the_identity(pretrain, only_run):
    import torch

    before = torch.get_num_threads()
    try:
        pretrain("threads=1")
        assert json.loads((only_run() / "manifest.json").read_text())["threads"] == 1
        pretrain("threads=2")
        assert calls(only_run()) == 1
    finally:
        torch.set_num_threads(before)


def test_a_process_helps_only_with_the_training_it_was_started_for(pretrain, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(IN_PROGRESS, str(tmp_path / "runs" / "pretrain" / "another"))
    assert pretrain() == 0
    assert not list(tmp_path.glob("runs/pretrain/*"))


def test_what_is_trained_is_announced_with_the_run_that_needs_it(tmp_path, monkeypatch):
    monkeypatch.delenv(IN_PROGRESS, raising=False)
    with _announced(tmp_path / "outer"), _announced(tmp_path / "inner"):
        told = os.environ[IN_PROGRESS].split(os.pathsep)
    assert told == [str(tmp_path / "outer"), str(tmp_path / "inner")]
    assert IN_PROGRESS not in os.environ


@pytest.mark.parametrize("made", [True, False])
def test_a_schedulers_process_goes_on_when_the_first_has_finished(
    made, pretrain, only_run, monkeypatch, capsys
):
    # What the first process has made of the training by the time that its part of it is over.
    assert pretrain("seed=3", "name=a") == 0
    status = only_run() / "status.json"
    finished = status.read_text()
    status.write_text('{"state": "running"}')

    def helped(config, folder):
        status.write_text(finished if made else '{"state": "failed", "error": "unlucky"}')
        raise Helped(0)

    monkeypatch.setattr(sys.modules["userllm.run.pretrain"], "run", helped)
    monkeypatch.setenv("RANK", "1")
    assert pretrain("seed=3", "name=a") == (0 if made else 1)
    assert made or "unlucky" in capsys.readouterr().err
