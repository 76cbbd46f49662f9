"""MovieLens-100K with nothing but the package index at hand.

GroupLens' own archive is taken when it can be reached. Otherwise the same files come out of the
recbole package, which carries them as its example, in its own layout. The package is never
imported, and its dependencies are not needed.
"""

from pathlib import Path

from userllm.data.download import cache_dir, check_sha256, connection_problem
from userllm.data.movielens import RELEASES, read_release, unpacked
from userllm.data.movielens_folder import LAYOUTS, read_folder
from userllm.data.package import Package
from userllm.data.protocol import RawData
from userllm.errors import UserError

SECONDS_TO_ANSWER = 3.0
PACKAGE = Package(
    name="recbole",
    version="1.2.1",
    wheel_sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    inside="recbole/dataset_example/ml-100k",
)
FILES = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}


class MovieLens100K:
    """943 people's 100,000 ratings of 1,682 films.

    Args:
        name: Names the dataset in cards and tables.
        min_user_events: See ``Dataset``.
        min_item_events: See ``Dataset``.
        cache: Folder for downloads; None for the usual one.
    """

    def __init__(
        self, *, name: str, min_user_events: int, min_item_events: int, cache: str | None
    ) -> None:
        self.name = name
        self.min_user_events = min_user_events
        self.min_item_events = min_item_events
        self.cache = cache_dir(cache)

    def read(self) -> RawData:
        """Read the files from where they are nearest; raise ``UserError`` if they are nowhere."""
        release = RELEASES["100k"]
        have = unpacked(release, self.cache).is_dir()
        if have or connection_problem(release.url, SECONDS_TO_ANSWER) is None:
            return read_release(release, self.cache)
        folder = package_folder(self.cache)
        for name, expected in FILES.items():
            remedy = f"remove {folder} or install {PACKAGE.requirement} again"
            check_sha256(folder / name, expected, remedy)
        origin = {
            "source": "MovieLens-100K by GroupLens, as carried by a Python package",
            "package": PACKAGE.requirement,
        }
        return read_folder(folder, LAYOUTS["recbole"], origin)


def package_folder(cache: Path) -> Path:
    """Return a folder with the package's copy: installed, or downloaded into the cache."""
    try:
        return PACKAGE.installed() or PACKAGE.unpacked(list(FILES), cache)
    except UserError as error:
        raise UserError(
            f"MovieLens-100K: {RELEASES['100k'].url} does not answer, and {error} Or type "
            "data=movielens data.dir=<folder with a release>."
        ) from error
