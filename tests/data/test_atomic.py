"""A folder is whole or not there, and an old one is never lost."""

import os
import socket
from pathlib import Path

import pytest

from userllm.data.atomic import whole_folder


def fill(folder: Path, text: str) -> None:
    with whole_folder(folder) as unfinished:
        (unfinished / "file").write_text(text)


def stop_at(monkeypatch, number):
    """Have one of the renames from now on fail."""
    rename, left = Path.rename, [number]

    def failing(self, target):
        left[0] -= 1
        if left[0] == 0:
            raise OSError("stopped")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path):
    for text in ("first", "second"):
        fill(tmp_path / "folder", text)
    assert (tmp_path / "folder" / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_failure_while_it_takes_the_place_leaves_the_old_one(tmp_path, monkeypatch, number):
    fill(tmp_path / "folder", "first")
    stop_at(monkeypatch, number)
    with pytest.raises(OSError, match="stopped"):
        fill(tmp_path / "folder", "second")
    assert (tmp_path / "folder" / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_old_one_is_back_after_a_kill_between_the_renames(tmp_path):
    fill(tmp_path / "folder", "first")
    aside = f".folder.unfinished-{socket.gethostname()}-{os.getpid()}.old"
    (tmp_path / "folder").rename(tmp_path / aside)
    with pytest.raises(ValueError, match="bad input"), whole_folder(tmp_path / "folder"):
        raise ValueError("bad input")
    assert (tmp_path / "folder" / "file").read_text() == "first"
