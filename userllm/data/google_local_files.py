"""The files of Google Local 2021, one pair per state: names, addresses and keys of lines."""

import re
from pathlib import Path

from userllm.data.decoding import decode_json
from userllm.data.item_lines import ItemFormat, flatten
from userllm.data.json_lines import ENDINGS, first_object
from userllm.data.review_files import (
    Files,
    Naming,
    check_known,
    download,
    existing,
    metadata_beside,
    nothing_found,
    parts_in,
)
from userllm.errors import UserError

OPTION = "google_local"
SITE = "https://mcauleylab.ucsd.edu/public_datasets/gdrive/googlelocal/"
NAMING = Naming("review-{}", "review-{}_10", "meta-{}", ".json.gz", (SITE, SITE, SITE))
REVIEWS = re.compile(r"review-(?P<part>.+?)(?:_10)?\.jsonl?(?:\.gz)?$")
# Upstream's lines have no name of the place; samples that people pass on often do.
PLACE_NAME = "business_name"
STATES = """
Alabama Alaska Arizona Arkansas California Colorado Connecticut Delaware District_of_Columbia
Florida Georgia Hawaii Idaho Illinois Indiana Iowa Kansas Kentucky Louisiana Maine Maryland
Massachusetts Michigan Minnesota Mississippi Missouri Montana Nebraska Nevada New_Hampshire
New_Jersey New_Mexico New_York North_Carolina North_Dakota Ohio Oklahoma Oregon Other Pennsylvania
Rhode_Island South_Carolina South_Dakota Tennessee Texas Utah Vermont Virginia Washington
West_Virginia Wisconsin Wyoming
"""
ITEMS = ItemFormat(
    "gmap_id", "name", lambda row: flatten(row.get("category")), decode_json, root=""
)


def local_files(folder: Path, state: str, core: bool | None) -> Files | None:
    """Return the files of a state in a folder, or None if it has none.

    A single file of reviews with another name is taken for what was meant where no file is named
    after a state.

    Args:
        folder: Where to look.
        state: As in the names of the files.
        core: Whether to take the 10-core; None takes the complete file where there are both.

    Raises:
        UserError: Only the other file of the two is there, or the metadata are missing.
    """
    complete, small = (existing(folder, f"review-{state}{end}") for end in ("", "_10"))
    wanted = {None: [*complete, *small], False: complete, True: small}[core]
    if wanted:
        return _with_metadata(wanted[0], NAMING.metadata.format(state), state)
    if complete or small:
        raise UserError(
            f"data.core={str(core).lower()}: {folder} has no such file of {state}, only "
            f"{', '.join(path.name for path in [*complete, *small])}; drop data.core"
        )
    if parts_in(folder, REVIEWS):
        return None
    others = [path for path in sorted(folder.iterdir()) if _has_reviews(path)]
    if len(others) != 1:
        return None
    origin = {"state": f"not checked: {others[0].name} is not named after one"}
    return _with_metadata(others[0], NAMING.metadata.format(state), state, origin)


def refuse(folder: Path, state: str) -> UserError:
    """Return the error for a folder without a state."""
    expected = f"review-{state}.json.gz or review-{state}_10.json.gz, and meta-{state}.json.gz"
    return nothing_found(folder, "state", state, parts_in(folder, REVIEWS), expected)


def fetch_files(state: str, core: bool, cache: Path) -> Files:
    """Return the files of a state in the cache, downloaded if need be.

    Raises:
        UserError: There is no such state, or the site is out of reach.
    """
    check_known("state", state, STATES.split(), "one of the published states")
    remedy = (
        f"Get the files in some other way and type data.dir=<folder with them>, or put them into "
        f"$USERLLM_DATA/{OPTION}."
    )
    return download(NAMING.urls(state, core), cache, cache / OPTION, remedy)


def _with_metadata(
    reviews: Path, stem: str, state: str, origin: dict[str, str] | None = None
) -> Files:
    """Return the reviews with their metadata, which may be missing where reviews name places."""
    origin = {"state": state} if origin is None else origin
    if not existing(reviews.parent, stem) and PLACE_NAME in first_object(reviews):
        return Files(reviews, None, origin | {"metadata": "none; the reviews name the places"})
    return Files(reviews, metadata_beside(reviews, stem, NAMING.urls(state, False)[1]), origin)


def _has_reviews(path: Path) -> bool:
    return path.name.endswith(ENDINGS) and {"user_id", "gmap_id"} <= first_object(path).keys()
