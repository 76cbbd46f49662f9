"""Amazon product reviews of one category, in the formats of 2014, 2018 and 2023.

Source: User-LLM section 5.1 (Amazon Review, "Movies and TV"; the text is the review's summary).
"""

from userllm.data.amazon_reviews_files import OPTION, fetch_files, local_files, refuse
from userllm.data.amazon_reviews_releases import RELEASES, Text, Year
from userllm.data.download import cache_dir
from userllm.data.item_lines import add_missing, read_items, without_common
from userllm.data.json_lines import BadLines, OnBadLine
from userllm.data.progress import stage
from userllm.data.protocol import RawData
from userllm.data.review_files import Files, find
from userllm.data.review_lines import read_reviews
from userllm.errors import UserError

LICENCE = "none is stated; research use, citation asked for; belongs to Amazon and the reviewers"
PAPERS_CATEGORY = "Movies_and_TV"
# The release that the paper cites; it links to that of 2018.
PAPERS_RELEASE: Year = 2014


class AmazonReviews:
    """The reviews of one product category.

    Args:
        name: Names the dataset in cards and tables.
        dir: Folder with the files as they are published, packed or not; None looks below
            ``$USERLLM_DATA/amazon_reviews`` and, when they are not there, downloads them.
        release: Year of the release; None takes the one that the files have, to download 2014.
        category: As in the names of the files.
        core: Whether to read the 5-core; None reads it only where the complete file is missing.
        text: Which words are kept: "summary" (its title in 2023) or "body"; None keeps none.
        text_chars: Longer texts are cut; None cuts none.
        max_category_share: Categories of more than this share of the reviewed items are left out,
            such as the root of the tree, which tells no items apart; None keeps all.
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
        release: Year | None,
        category: str,
        core: bool | None,
        text: Text | None,
        text_chars: int | None,
        max_category_share: float | None,
        on_bad_line: OnBadLine,
        min_user_events: int,
        min_item_events: int,
        cache: str | None,
    ) -> None:
        if text_chars is not None and text_chars < 1:
            raise UserError(f"data.text_chars={text_chars}: expected at least 1, or null")
        if max_category_share is not None and not 0 < max_category_share <= 1:
            raise UserError(
                f"data.max_category_share={max_category_share}: expected a share above 0 and up to "
                "1, or null. Type data.max_category_share=0.5"
            )
        self.name = name
        self.dir = dir
        self.release = release
        self.category = category
        self.core = core
        self.text = text
        self.text_chars = text_chars
        self.max_category_share = max_category_share
        self.on_bad_line = on_bad_line
        self.min_user_events = min_user_events
        self.min_item_events = min_item_events
        self.cache = cache_dir(cache)

    def read(self) -> RawData:
        """Read the files, wherever they are; raise ``UserError`` for what cannot be read."""
        year, files = self._find()
        release, bad = RELEASES[year], BadLines(self.on_bad_line)
        form = release.review_format(self.text, self.text_chars)
        events, _, notes = read_reviews(files.reviews, form, bad)
        assert files.metadata is not None
        items, more = read_items(files.metadata, release.item_format(self.category), bad)
        notes |= more
        items, more = add_missing(items, events, "item")
        common: list[str] = []
        if self.max_category_share is not None:
            items, common = without_common(items, events, self.max_category_share)
        with stage("hashing the files"):
            hashes = files.hashes()
        provenance = {
            "source": release.source,
            "category": self.category,
            "text": self.text or "none",
            "categories left out as too common": ", ".join(common) or "none",
            **files.origin,
            "licence": LICENCE,
            "bad lines skipped in": dict.fromkeys(hashes, 0) | bad.skipped,
            "counted": notes | more,
            "files": hashes,
        }
        return RawData(
            events,
            items,
            provenance,
            nouns={"item": "product", "category": "category"},
            paper_dataset="Amazon Review" if self.category == PAPERS_CATEGORY else None,
            files=files.paths,
        )

    def _find(self) -> tuple[Year, Files]:
        year = self.release or PAPERS_RELEASE
        return find(
            self.dir,
            OPTION,
            local=lambda folder: local_files(folder, self.category, self.release, self.core),
            refuse=lambda folder: refuse(folder, self.category),
            fetch=lambda: (year, fetch_files(self.category, year, bool(self.core), self.cache)),
        )
