"""MovieLens in every release format: films rated by people, with genres.

Source: User-LLM section 5.1 (MovieLens-20M).
"""

from dataclasses import dataclass, replace
from pathlib import Path

from userllm.data.download import cache_dir, connection_problem, extract, fetch, one_process_in
from userllm.data.movielens_folder import LAYOUTS, find_layout, read_folder
from userllm.data.own_files import VARIABLE, data_folder
from userllm.data.protocol import RawData
from userllm.errors import UserError

SITE = "https://files.grouplens.org/datasets/movielens"
SECONDS_TO_ANSWER = 5.0
# The release of the paper, known by its size when nobody names it.
PAPER_RELEASE, PAPER_RATINGS = "20m", 20_000_263


@dataclass(frozen=True)
class Release:
    """A release that can be downloaded.

    Attributes:
        archive: Name of the zip file on the site.
        layout: Which layout its files have.
        md5: As published beside the archive; None for the release that GroupLens keeps changing.
    """

    archive: str
    layout: str
    md5: str | None

    @property
    def url(self) -> str:
        """Where the archive is."""
        return f"{SITE}/{self.archive}"


RELEASES = {
    "100k": Release("ml-100k.zip", "100k", "0e33842e24a9c977be4e0107933c0723"),
    "1m": Release("ml-1m.zip", "dat", "c4d9eecfca2ab87c1945afe126590906"),
    "latest-small": Release("ml-latest-small.zip", "csv", None),
    "20m": Release("ml-20m.zip", "csv", "cd245b17a1ae2cc31bb14903e1204af3"),
    "25m": Release("ml-25m.zip", "csv", "6b51fb2759a8657d3bfcbfc42b592ada"),
    "32m": Release("ml-32m.zip", "csv", "d472be332d4daa821edc399621853b57"),
}


class MovieLens:
    """A MovieLens release, from a folder or from GroupLens' site.

    Args:
        name: Names the dataset in cards and tables.
        dir: Folder with the unpacked files of a release; None looks into
            ``$USERLLM_DATA/movielens``, and downloads ``release`` when there is no such folder.
        release: One of ``RELEASES``; None takes whatever release ``dir`` holds.
        min_user_events: See ``Dataset``.
        min_item_events: See ``Dataset``.
        cache: Folder for downloads; None for the usual one.
    """

    def __init__(
        self,
        *,
        name: str,
        dir: str | None,
        release: str | None,
        min_user_events: int,
        min_item_events: int,
        cache: str | None,
    ) -> None:
        if release is not None and release not in RELEASES:
            known = ", ".join(RELEASES)
            raise UserError(f"data.release={release} is not known, expected one of: {known}")
        folder = data_folder("movielens") if dir is None else Path(dir).expanduser()
        if folder is None and release is None:
            known = ", ".join(RELEASES)
            raise UserError(
                "data=movielens needs data.dir=<folder with a release>, the same folder as "
                f"${VARIABLE}/movielens, or data.release=<one of: {known}>; data=movielens_100k "
                "needs none of them"
            )
        self.name = name
        self.dir = folder
        self.release = None if release is None else RELEASES[release]
        self.min_user_events = min_user_events
        self.min_item_events = min_item_events
        self.cache = cache_dir(cache)

    def read(self) -> RawData:
        """Read the folder, or download the release first; raise ``UserError`` if neither works."""
        raw = self._read()
        is_papers = self.release is RELEASES[PAPER_RELEASE] or raw.events.height == PAPER_RATINGS
        return replace(raw, paper_dataset="MovieLens-20M" if is_papers else None)

    def _read(self) -> RawData:
        if self.dir is None:
            assert self.release is not None
            return read_release(self.release, self.cache)
        layout = find_layout(self.dir)
        if self.release is not None and layout is not LAYOUTS[self.release.layout]:
            expected = ", ".join(LAYOUTS[self.release.layout].files)
            raise UserError(
                f"data.dir={self.dir} holds {', '.join(layout.files)}, but a release "
                f"{self.release.archive.removesuffix('.zip')} has {expected}; drop data.release"
            )
        return read_folder(self.dir, layout, {"source": f"folder {self.dir}"})


def read_release(release: Release, cache: Path) -> RawData:
    """Download and unpack a release unless that was done before, and read it.

    Raises:
        UserError: The site does not answer, or what it sent is not the release.
    """
    layout = LAYOUTS[release.layout]
    folder = unpacked(release, cache)
    with one_process_in(cache):
        if not folder.is_dir():
            extract(_download(release, cache / "archives"), layout.files, folder)
    return read_folder(folder, layout, {"source": "GroupLens", "url": release.url})


def _download(release: Release, archives: Path) -> Path:
    problem = connection_problem(release.url, SECONDS_TO_ANSWER)
    if problem is None:
        try:
            return fetch(release.url, release.md5, archives)
        except OSError as error:
            problem = str(error)
    raise UserError(
        f"{release.url} cannot be downloaded ({problem}). Type data.dir=<folder with the unpacked "
        f"release> or put it into ${VARIABLE}/movielens; or take data=movielens_100k, which needs "
        "only the package index."
    )


def unpacked(release: Release, cache: Path) -> Path:
    """Return the folder in the cache where the files of a release are, once they were fetched."""
    return cache / release.archive.removesuffix(".zip")
