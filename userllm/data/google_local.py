"""Google Local: reviews of the places of one state of the USA, up to September 2021.

Source: User-LLM section 5.1 (Google Local Review, New York; the text is the review).
"""

from typing import Literal

import polars as pl

from userllm.data.download import cache_dir
from userllm.data.google_local_files import (
    ITEMS,
    OPTION,
    PLACE_NAME,
    fetch_files,
    local_files,
    refuse,
)
from userllm.data.item_lines import add_missing, read_items, titles_only
from userllm.data.json_lines import BadLines, OnBadLine
from userllm.data.progress import stage
from userllm.data.protocol import RawData
from userllm.data.review_files import Files, find
from userllm.data.review_lines import ReviewFormat, read_reviews
from userllm.errors import UserError

LICENCE = "none is stated; research use, citation asked for; belongs to Google and the reviewers"
SOURCE = "Google Local data of 2021 (Li, Shang and McAuley, ACL 2022; Yan et al., SIGIR 2023)"
PAPERS_STATE = "New_York"


class GoogleLocal:
    """The reviews of the places of one state.

    Args:
        name: Names the dataset in cards and tables.
        dir: Folder with the files as they are published, packed or not; None looks below
            ``$USERLLM_DATA/google_local`` and, when they are not there, downloads them.
        state: As in the names of the files.
        core: Whether to read the 10-core; None reads it only where the complete file is missing.
        text: "body" keeps the reviews' words; None does not.
        text_chars: Longer texts are cut; None cuts none.
        on_bad_line: "fail" stops at a line that cannot be read, "skip" counts it.
        min_user_events: See ``Dataset``.
        min_item_events: See ``Dataset``.
        cache: Folder for downloads; None for the usual one.
    """

    def __init__(
        self,
        *,
        name: str,
        dir: str | None,
        state: str,
        core: bool | None,
        text: Literal["body"] | None,
        text_chars: int | None,
        on_bad_line: OnBadLine,
        min_user_events: int,
        min_item_events: int,
        cache: str | None,
    ) -> None:
        if text_chars is not None and text_chars < 1:
            raise UserError(f"data.text_chars={text_chars}: expected at least 1, or null")
        self.name = name
        self.dir = dir
        self.state = state
        self.core = core
        self.text = text
        self.text_chars = text_chars
        self.on_bad_line = on_bad_line
        self.min_user_events = min_user_events
        self.min_item_events = min_item_events
        self.cache = cache_dir(cache)

    def read(self) -> RawData:
        """Read the files, wherever they are; raise ``UserError`` for what cannot be read."""
        files, bad = self._find(), BadLines(self.on_bad_line)
        events, names, notes = read_reviews(files.reviews, self._format(files), bad)
        items, more = self._items(files, names, bad)
        notes |= more
        items, more = add_missing(items, events, "place")
        with stage("hashing the files"):
            hashes = files.hashes()
        provenance = {
            "source": SOURCE,
            "text": self.text or "none",
            **files.origin,
            "licence": LICENCE,
            "bad lines skipped in": dict.fromkeys(hashes, 0) | bad.skipped,
            "counted": notes | more,
            "files": hashes,
        }
        nouns = {"item": "place", "category": "category"}
        is_papers = files.origin.get("state", self.state) == PAPERS_STATE
        paper_dataset = "Google Review" if is_papers else None
        return RawData(events, items, provenance, nouns, paper_dataset, files.paths)

    def _format(self, files: Files) -> ReviewFormat:
        return ReviewFormat(
            user="user_id",
            item="gmap_id",
            rating="rating",
            time="time",
            ticks=1000,
            text=None if self.text is None else "text",
            text_chars=self.text_chars,
            item_title=None if files.metadata else PLACE_NAME,
            nameless=True,  # reviews that came from hotel portals
        )

    def _items(
        self, files: Files, names: pl.DataFrame | None, bad: BadLines
    ) -> tuple[pl.DataFrame, dict[str, int]]:
        if files.metadata is not None:
            return read_items(files.metadata, ITEMS, bad)
        assert names is not None
        return titles_only(names), {}

    def _find(self) -> Files:
        return find(
            self.dir,
            OPTION,
            local=lambda folder: local_files(folder, self.state, self.core),
            refuse=lambda folder: refuse(folder, self.state),
            fetch=lambda: fetch_files(self.state, bool(self.core), self.cache),
        )
