import multiprocessing
import os
import sys
import time

import pytest
import stand_in

from userllm.cli import main


@pytest.fixture
def pretrain(tmp_path, monkeypatch):
    """Run `userllm pretrain …` in this process and an empty folder; return the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "userllm.run.pretrain", stand_in.module())
    monkeypatch.setattr("userllm.run.journal.log_to_screen", lambda: None)
    return lambda *overrides: main(["pretrain", *overrides])


@pytest.fixture
def start(pretrain, tmp_path):
    """Start a pretrain in a process of its own and return it while its run is under way."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork and POSIX signals")
    # Imported here, so that no child has to.
    import pytorch_lightning  # noqa: F401

    started = []

    def work(words):
        os.environ["STAND_IN_WAITS"] = "1"
        sys.exit(pretrain(*words))

    def start(*words):
        process = multiprocessing.get_context("fork").Process(target=work, args=(words,))
        process.start()
        started.append(process)
        while not list(tmp_path.glob("runs/*/*/waiting")):
            assert process.is_alive()
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.fixture
def only_run(tmp_path):
    """Return the folder of the one pretrain run there is."""

    def find():
        (folder,) = (tmp_path / "runs" / "pretrain").iterdir()
        return folder

    return find
