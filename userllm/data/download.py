"""Fetch files once, check them, and keep them where they can be found again."""

import hashlib
import os
import shutil
import urllib.request
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from threading import Thread
from urllib.parse import urlsplit

import platformdirs
import pooch
from filelock import FileLock

from userllm.data.atomic import whole_folder
from userllm.data.progress import new_progress
from userllm.data.resume import ResumingDownloader
from userllm.errors import UserError

SECONDS_TO_ANSWER = 10.0
MODEL_FILES = (
    *("config.json", "*.safetensors", "*.bin"),
    *("tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens*", "chat_template*"),
)
"""What decides the outputs of a Hugging Face model in a folder."""


def cache_dir(cache: str | None) -> Path:
    """Return the folder for downloads: ``cache``, else $USERLLM_CACHE, else the user's cache."""
    chosen = cache or os.environ.get("USERLLM_CACHE") or platformdirs.user_cache_dir("userllm")
    return Path(chosen).expanduser()


@contextmanager
def one_process_in(cache: Path) -> Iterator[None]:
    """Let one process at a time fetch, so that a sweep downloads everything once."""
    cache.mkdir(parents=True, exist_ok=True)
    # Nobody fetches into a shared cache that is read only; what it has is whole.
    lock = FileLock(cache / ".lock") if os.access(cache, os.W_OK) else nullcontext()
    with lock:
        yield


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_digest(folder: Path) -> str:
    """Return one sha256 of a Hugging Face model's weights, configuration and tokenizer."""
    found = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)})
    hashes = "".join(f"{path.name} {sha256(path)}\n" for path in found)
    return hashlib.sha256(hashes.encode()).hexdigest()


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """Raise ``UserError`` when a file is not the one that was pinned."""
    found = sha256(path)
    if found != expected:
        raise UserError(
            f"{path} is not the expected file: sha256 {found} found, {expected} expected; {remedy}"
        )


def connection_problem(url: str, seconds: float) -> str | None:
    """Return why a page does not answer within some seconds, or None when it does."""
    problems: list[str] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds):
                pass
        except Exception as error:  # whatever the reason, the page is out of reach
            problems.append(str(error))

    # Looking a host name up ignores time limits, so the question is asked in a thread.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return f"no answer from {urlsplit(url).hostname} within {seconds:g} s"
    return problems[0] if problems else None


def fetch(url: str, md5: str | None, folder: Path) -> Path:
    """Download one file into ``folder`` (or find it there) and check it.

    Raises:
        OSError: The download failed; what came is kept, and the next call goes on from there.
        UserError: What came is not what was pinned.
    """
    name = url.rpartition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    with new_progress() as progress:
        task = progress.add_task(f"downloading {name}", total=None)

        def show(size: int, total: int | None) -> None:
            progress.update(task, completed=size, total=total)

        try:
            path = pooch.retrieve(
                url,
                known_hash=f"md5:{md5}" if md5 else None,
                fname=name,
                path=folder,
                downloader=ResumingDownloader(folder / f".{name}.part", show),
            )
        except ValueError as error:
            raise UserError(f"{url} is not the expected file: {error}") from error
    return Path(path)


def fetch_or_explain(url: str, folder: Path, remedy: str) -> Path:
    """Download one file for which no checksum is published, unless it is in ``folder`` already.

    Args:
        url: Where it is.
        folder: Where it goes.
        remedy: What to type when it cannot be had.

    Raises:
        UserError: The site does not answer, or not with the file.
    """
    kept = folder / url.rpartition("/")[2]
    if kept.is_file():
        return kept
    problem = connection_problem(url, SECONDS_TO_ANSWER)
    if problem is None:
        try:
            return fetch(url, None, folder)
        except OSError as error:
            problem = f"{error}; the same command goes on from there"
    raise UserError(f"{url} cannot be downloaded ({problem}). {remedy}")


def extract(archive: Path, wanted: Collection[str], folder: Path) -> None:
    """Unpack the wanted files (by their last name) flat into a new ``folder``.

    Raises:
        UserError: The archive is damaged, lacks a wanted file, or holds a file that would land
            outside of the folder it is unpacked in.
    """
    try:
        with zipfile.ZipFile(archive) as pack, whole_folder(folder) as unfinished:
            members = {PurePosixPath(_inside(archive, name)).name: name for name in pack.namelist()}
            if missing := sorted(set(wanted) - set(members)):
                raise UserError(f"{archive} has no {', '.join(missing)}; expected {sorted(wanted)}")
            for name in wanted:
                with pack.open(members[name]) as source, (unfinished / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(
            f"{archive} is not a whole zip file ({error}): delete it, try again"
        ) from error


def _inside(archive: Path, member: str) -> str:
    """Return the member's name, or refuse the archive when it points out of its folder."""
    parts = PurePosixPath(member.replace("\\", "/")).parts
    if member.startswith(("/", "\\")) or ".." in parts or ":" in member:
        raise UserError(
            f"{archive} is not safe to unpack: it holds {member!r}; nothing was written"
        )
    return member
