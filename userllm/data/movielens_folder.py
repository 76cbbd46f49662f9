"""Recognise the layout of a folder with a MovieLens release, and read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from userllm.data.download import sha256
from userllm.data.movielens_items import (
    Row,
    bar_rows,
    csv_rows,
    dat_rows,
    read_items,
    recbole_rows,
)
from userllm.data.movielens_ratings import RatingsFormat, read_ratings
from userllm.data.progress import stage
from userllm.data.protocol import RawData
from userllm.errors import UserError

LICENCE = (
    "GroupLens terms of use: research; no redistribution and no commercial use without permission "
    "(ml-latest-small may be redistributed under the same terms)"
)


@dataclass(frozen=True)
class Layout:
    """The files of one kind of release.

    Attributes:
        ratings: Name and format of the ratings file.
        items: Name of the film file.
        rows: Reads the film file.
        extra: Other files that are needed.
    """

    ratings: RatingsFormat
    items: str
    rows: Callable[[Path], Iterator[tuple[int, Row]]]
    extra: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """Names of all files that are needed."""
        return [self.ratings.name, self.items, *self.extra]


RECBOLE_HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
LAYOUTS = {
    "csv": Layout(
        RatingsFormat("ratings.csv", ",", "userId,movieId,rating,timestamp"), "movies.csv", csv_rows
    ),
    "dat": Layout(RatingsFormat("ratings.dat", "::", None), "movies.dat", dat_rows),
    "100k": Layout(RatingsFormat("u.data", "\t", None), "u.item", bar_rows, ("u.genre",)),
    "recbole": Layout(
        RatingsFormat("ml-100k.inter", "\t", RECBOLE_HEADER), "ml-100k.item", recbole_rows
    ),
}


def find_layout(folder: Path) -> Layout:
    """Return the layout whose ratings file is in the folder.

    Raises:
        UserError: There is no such folder, or none or some of the files are in it.
    """
    if not folder.is_dir():
        raise UserError(f"data.dir={folder} is not a folder; expected one with a MovieLens release")
    for layout in LAYOUTS.values():
        missing = [name for name in layout.files if not (folder / name).is_file()]
        if len(missing) == len(layout.files):
            continue
        if missing:
            raise UserError(
                f"data.dir={folder} lacks {', '.join(missing)}; "
                f"a release of this kind has {', '.join(layout.files)}"
            )
        return layout
    kinds = "; or ".join(", ".join(layout.files) for layout in LAYOUTS.values())
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise UserError(
        f"data.dir={folder} holds no MovieLens release: expected {kinds}; found {found}"
    )


def read_folder(folder: Path, layout: Layout, origin: dict[str, str]) -> RawData:
    """Read a release.

    Args:
        folder: Where the files are.
        layout: Their layout.
        origin: Goes into the provenance: where the files came from.
    """
    ratings = folder / layout.ratings.name
    with stage(f"reading {ratings.name}"):
        items = read_items(folder / layout.items, layout.rows)
        events = read_ratings(ratings, layout.ratings)
        hashes = {name: sha256(folder / name) for name in layout.files}
    provenance = {**origin, "licence": LICENCE, "files": hashes}
    nouns = {"item": "movie", "category": "genre"}
    files = tuple(folder / name for name in layout.files)
    return RawData(events, items, provenance, nouns, files=files)
