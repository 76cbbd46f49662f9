"""Find the files of a category of the Amazon review data, or download them."""

import re
from pathlib import Path

from userllm.data.amazon_reviews_releases import RELEASES, Year
from userllm.data.json_lines import first_object
from userllm.data.review_files import (
    Files,
    check_known,
    download,
    existing,
    metadata_beside,
    nothing_found,
    parts_in,
)
from userllm.errors import UserError

OPTION = "amazon_reviews"
# What the metadata of 2018 and 2023 are called would match the names of their reviews.
REVIEWS = re.compile(r"(?!meta_)(?:reviews_)?(?P<part>.+?)(?:_5)?\.jsonl?(?:\.gz)?$")


def local_files(
    folder: Path, category: str, year: Year | None, core: bool | None
) -> tuple[Year, Files] | None:
    """Return the release and the files of a category in a folder, or None if it has none.

    Args:
        folder: Where to look.
        category: As in the names of the files.
        year: The release; None for the one that is there.
        core: Whether to take the 5-core; None takes the complete file where there are both.

    Raises:
        UserError: Several releases are there, the 5-core is not, or the metadata are missing.
    """
    complete, small = (
        [
            (_year(path), path)
            for stem in (f"reviews_{category}{end}", f"{category}{end}")
            for path in existing(folder, stem)
        ]
        for end in ("", "_5")
    )
    wanted = {None: [*complete, *small], False: complete, True: small}[core]
    found = [(of, path) for of, path in wanted if year in (None, of)]
    if not found:
        _explain(folder, category, year, core, [*complete, *small])
        return None
    if len(years := sorted({of for of, _ in found})) > 1:
        raise UserError(
            f"{folder} has {category} of several releases: "
            f"{', '.join(path.name for _, path in found)}; "
            f"type data.release=<one of: {', '.join(map(str, years))}>"
        )
    of, reviews = found[0]
    naming = RELEASES[of].naming
    _, metadata_url = naming.urls(category, False)
    metadata = metadata_beside(reviews, naming.metadata.format(category), metadata_url)
    return of, Files(reviews, metadata)


def refuse(folder: Path, category: str) -> UserError:
    """Return the error for a folder without a category."""
    expected = (
        f"reviews_{category}.json.gz (2014), {category}.json.gz (2018) or "
        f"{category}.jsonl.gz (2023), or a 5-core such as reviews_{category}_5.json.gz, and "
        f"meta_{category} with the same ending"
    )
    return nothing_found(folder, "category", category, parts_in(folder, REVIEWS), expected)


def fetch_files(category: str, year: Year, core: bool, cache: Path) -> Files:
    """Return the files of a category in the cache, downloaded if need be.

    Raises:
        UserError: The release has no such category or no 5-core, or the site is out of reach.
    """
    release = RELEASES[year]
    check_known("category", category, release.categories.split(), f"a category of {year}")
    if core and release.naming.core is None:
        raise UserError(f"data.core=true: the release of {year} has no 5-core; drop data.core")
    remedy = (
        f"Get the files in some other way and type data.dir=<folder with them>, or put them into "
        f"$USERLLM_DATA/{OPTION}."
    )
    urls = release.naming.urls(category, core)
    return download(urls, cache, cache / OPTION / str(year), remedy)


def _explain(
    folder: Path, category: str, year: Year | None, core: bool | None, have: list[tuple[Year, Path]]
) -> None:
    """Raise ``UserError`` when only the release or the core that was asked for is missing."""
    if have:
        asked = [f"data.release={year}"] if year else []
        asked += [f"data.core={str(core).lower()}"] if core is not None else []
        files = ", ".join(f"{path.name} ({of})" for of, path in have)
        raise UserError(
            f"{' '.join(asked)}: {folder} has no such file of {category}, only {files}; "
            f"drop {' and '.join(setting.partition('=')[0] for setting in asked)}"
        )


def _year(reviews: Path) -> Year:
    """Tell the release of a file with reviews: by its name, else by the keys of its first line."""
    if reviews.name.startswith("reviews_"):
        return 2014
    keys = first_object(reviews).keys()
    if not keys:
        return 2023 if ".jsonl" in reviews.name else 2018
    return 2023 if "parent_asin" in keys or "user_id" in keys else 2018
