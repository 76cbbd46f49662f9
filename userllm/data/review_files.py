"""Find the files of a review dataset in a folder, or fetch them from where they are published."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from userllm.check import suggest
from userllm.data.download import fetch_or_explain, one_process_in, sha256
from userllm.data.json_lines import ENDINGS
from userllm.data.own_files import data_folder
from userllm.errors import UserError

Found = TypeVar("Found")


@dataclass(frozen=True)
class Naming:
    """Names and addresses of the files of a release, ``{}`` being the category or the state.

    Attributes:
        complete: File with all reviews, without its ending.
        core: File with the reviews of frequent users and items only; None where there is none.
        metadata: File with the items.
        ending: Of the published files; copies may have any of ``ENDINGS``.
        sites: Folder of each of the three on the web.
    """

    complete: str
    core: str | None
    metadata: str
    ending: str
    sites: tuple[str, str, str]

    def urls(self, part: str, core: bool) -> list[str]:
        """Return the addresses of the reviews and of the metadata."""
        complete_at, core_at, metadata_at = self.sites
        reviews = (
            f"{core_at}{self.core.format(part)}"
            if core and self.core
            else f"{complete_at}{self.complete.format(part)}"
        )
        return [
            f"{reviews}{self.ending}",
            f"{metadata_at}{self.metadata.format(part)}{self.ending}",
        ]


@dataclass(frozen=True)
class Files:
    """What is to be read.

    Attributes:
        reviews: The reviews.
        metadata: The items; None where the reviews name them.
        origin: For the data card: where the files came from.
    """

    reviews: Path
    metadata: Path | None
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(path for path in (self.reviews, self.metadata) if path)

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of each file by name."""
        return {path.name: sha256(path) for path in self.paths}


def existing(folder: Path, stem: str) -> list[Path]:
    """Return the files with this name and any of the usual endings."""
    return [path for ending in ENDINGS if (path := folder / f"{stem}{ending}").is_file()]


def parts_in(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """Return the categories or states of which the folder has reviews.

    Args:
        folder: Where to look.
        pattern: Matches the name of a file with reviews; its group "part" is what is wanted.
    """
    names = (path.name for path in folder.iterdir() if path.name.endswith(ENDINGS))
    return sorted({match["part"] for name in names if (match := pattern.match(name))})


def own_folder(dir: str | None, option: str) -> Path | None:
    """Return the folder to look in: ``dir``, else ``$USERLLM_DATA/<option>`` if it is there.

    Raises:
        UserError: ``dir`` is not a folder.
    """
    if dir is None:
        return data_folder(option)
    folder = Path(dir).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.dir={dir} is not a folder; expected one with the files of {option}")
    return folder


def find(
    dir: str | None,
    option: str,
    *,
    local: Callable[[Path], Found | None],
    refuse: Callable[[Path], UserError],
    fetch: Callable[[], Found],
) -> Found:
    """Return what is in a person's own folder, else what is published.

    Args:
        dir: See :func:`own_folder`.
        option: See :func:`own_folder`.
        local: Looks into a folder; None when what is wanted is not there.
        refuse: Makes the error for a folder without it.
        fetch: Downloads it.

    Raises:
        UserError: ``dir`` has no such files, or they cannot be downloaded.
    """
    folder = own_folder(dir, option)
    found = None if folder is None else local(folder)
    if found is not None:
        return found
    if folder is not None and dir is not None:
        raise refuse(folder)
    try:
        return fetch()
    except UserError as error:
        if folder is None:
            raise
        raise UserError(f"{refuse(folder)}\nAnd {error}") from error


def nothing_found(folder: Path, key: str, part: str, here: list[str], expected: str) -> UserError:
    """Return the error for a folder that lacks the reviews that were asked for.

    Args:
        folder: Where they should be.
        key: The setting that names them.
        part: Its value.
        here: The values for which there are files.
        expected: Names of files that would do.
    """
    if here:
        return UserError(
            f"data.{key}={part}: {folder} has no reviews of it, only of {', '.join(here)}; "
            f"{suggest(part, here)}"
        )
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    return UserError(f"data.{key}={part}: {folder} should hold {expected}; found {found}")


def metadata_beside(reviews: Path, stem: str, url: str) -> Path:
    """Return the metadata file in the folder of the reviews, if need be with another ending.

    Raises:
        UserError: There is none.
    """
    found = existing(reviews.parent, stem)
    if not found:
        raise UserError(
            f"{reviews.parent} has {reviews.name} but lacks {stem}.json.gz (or "
            f"{', '.join(stem + ending for ending in ENDINGS[1:])}), which names the items; "
            f"it is published as {url}"
        )
    same_kind = [path for path in found if path.name.endswith(_ending(reviews))]
    return [*same_kind, *found][0]


def download(urls: Iterable[str], cache: Path, folder: Path, remedy: str) -> Files:
    """Fetch the reviews and the metadata into the cache, unless they are there.

    Args:
        urls: Their addresses.
        cache: Where everything is kept.
        folder: Where these files are kept, inside ``cache``.
        remedy: What to type when the site is out of reach.

    Raises:
        UserError: The site is out of reach.
    """
    with one_process_in(cache):
        reviews, metadata = [fetch_or_explain(url, folder, remedy) for url in urls]
    checksums = "the publisher gives none; the hashes below are of the files that came"
    return Files(reviews, metadata, {"url": ", ".join(urls), "checksums": checksums})


def check_known(key: str, part: str, known: Iterable[str], where: str) -> None:
    """Raise ``UserError`` with the nearest name when a category or state is not published."""
    names = set(known)
    if part not in names:
        raise UserError(f"data.{key}={part} is not {where}; {suggest(part, names)}")


def _ending(path: Path) -> str:
    return next((ending for ending in ENDINGS if path.name.endswith(ending)), "")
