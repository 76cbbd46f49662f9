import json
import logging
import multiprocessing
import os
import threading
import time

import pytest

from userllm.errors import UserError
from userllm.run.lock import OWNER, hold, is_held, owner_of, seconds_since

FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def keep(folder):
    with hold(folder, wait=False):
        (folder / "held").touch()
        time.sleep(60)


@pytest.fixture
def other(tmp_path):
    """A process that holds a folder."""
    if FORK is None:
        pytest.skip("needs fork")
    process = FORK.Process(target=keep, args=(tmp_path,))
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


def test_who_waits_is_told_for_whom_on_which_machine_and_since_when(other, tmp_path, caplog):
    owner = json.loads((tmp_path / OWNER).read_text())
    (tmp_path / OWNER).write_text(json.dumps({**owner, "since": "2020-01-01T00:00:00+00:00"}))
    with pytest.raises(UserError, match=rf"process {other.pid} on {owner['host']} \(for .* d\)"):
        hold(tmp_path, wait=False).__enter__()
    threading.Timer(0.5, other.kill).start()
    with caplog.at_level(logging.INFO), hold(tmp_path, wait=True):
        assert f"waiting for process {other.pid} on {owner['host']} (for" in caplog.text
        assert f"process {os.getpid()} " in owner_of(tmp_path)


def test_a_lock_is_held_as_long_as_its_owner_lives(other, tmp_path):
    assert is_held(tmp_path)
    other.kill()
    other.join()
    assert (tmp_path / OWNER).exists()
    assert not is_held(tmp_path)


def test_looking_leaves_nothing_behind(tmp_path):
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_owner_leaves_no_name_behind(tmp_path):
    with hold(tmp_path, wait=False):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    assert not (tmp_path / OWNER).exists()


@pytest.mark.parametrize("moment", ["2999-01-01T00:00:00+00:00", "yesterday", None])
def test_no_age_is_negative_where_clocks_disagree(moment):
    assert not seconds_since(moment)


def test_half_an_owner_is_nobody(tmp_path):
    (tmp_path / OWNER).write_text('{"pid": 1')
    assert owner_of(tmp_path) == "process ? on this machine"
