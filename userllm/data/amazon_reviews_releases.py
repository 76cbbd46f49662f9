"""The releases of the Amazon review data: names and addresses of files, keys of lines."""

from dataclasses import dataclass
from itertools import chain
from typing import Literal

from userllm.data.decoding import decode_json, decode_json_or_literal
from userllm.data.item_lines import ItemFormat, flatten
from userllm.data.json_lines import Row
from userllm.data.review_files import Naming
from userllm.data.review_lines import ReviewFormat

Year = Literal[2014, 2018, 2023]
Text = Literal["summary", "body"]

SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data/"
UCSD_2018, UCSD_2023 = f"{UCSD}amazon_v2/", f"{UCSD}amazon_2023/raw/"

CATEGORIES_2014 = """
Amazon_Instant_Video Apps_for_Android Automotive Baby Beauty Books CDs_and_Vinyl
Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics
Grocery_and_Gourmet_Food Health_and_Personal_Care Home_and_Kitchen Kindle_Store Movies_and_TV
Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Sports_and_Outdoors
Tools_and_Home_Improvement Toys_and_Games Video_Games
"""
CATEGORIES_2018 = """
AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl
Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards
Grocery_and_Gourmet_Food Home_and_Kitchen Industrial_and_Scientific Kindle_Store Luxury_Beauty
Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden
Pet_Supplies Prime_Pantry Software Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games
Video_Games
"""
CATEGORIES_2023 = """
All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products
Beauty_and_Personal_Care Books CDs_and_Vinyl Cell_Phones_and_Accessories
Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food
Handmade_Products Health_and_Household Health_and_Personal_Care Home_and_Kitchen
Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments
Office_Products Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors
Subscription_Boxes Tools_and_Home_Improvement Toys_and_Games Unknown Video_Games
"""


@dataclass(frozen=True)
class Release:
    """One release.

    Attributes:
        naming: Names and addresses of its files.
        categories: What can be downloaded, separated by blanks.
        keys: Keys of user, item, rating, time, short text and long text in a review.
        ticks: Units of its times in a second.
        item: Key of the item in a metadata line.
        source: Whose it is.
    """

    naming: Naming
    categories: str
    keys: tuple[str, str, str, str, str, str]
    ticks: int
    item: str
    source: str

    def review_format(self, text: Text | None, text_chars: int | None) -> ReviewFormat:
        """Return how to read its reviews."""
        user, item, rating, time, summary, body = self.keys
        chosen = None if text is None else {"summary": summary, "body": body}[text]
        return ReviewFormat(user, item, rating, time, self.ticks, chosen, text_chars)

    def item_format(self, category: str) -> ItemFormat:
        """Return how to read its metadata."""
        decode = decode_json if self is RELEASES[2023] else decode_json_or_literal
        return ItemFormat(self.item, "title", _category_names, decode, root=category)


OLD_KEYS = ("reviewerID", "asin", "overall", "unixReviewTime", "summary", "reviewText")
NEW_KEYS = ("user_id", "parent_asin", "rating", "timestamp", "title", "text")
RELEASES: dict[Year, Release] = {
    2014: Release(
        Naming("reviews_{}", "reviews_{}_5", "meta_{}", ".json.gz", (SNAP, SNAP, SNAP)),
        CATEGORIES_2014,
        OLD_KEYS,
        1,
        "asin",
        "Amazon review data of 2014 (He and McAuley, WWW 2016)",
    ),
    2018: Release(
        Naming(
            "{}",
            "{}_5",
            "meta_{}",
            ".json.gz",
            (
                f"{UCSD_2018}categoryFiles/",
                f"{UCSD_2018}categoryFilesSmall/",
                f"{UCSD_2018}metaFiles2/",
            ),
        ),
        CATEGORIES_2018,
        OLD_KEYS,
        1,
        "asin",
        "Amazon review data of 2018 (Ni, Li and McAuley, EMNLP 2019)",
    ),
    2023: Release(
        Naming(
            "{}",
            None,
            "meta_{}",
            ".jsonl.gz",
            (f"{UCSD_2023}review_categories/", "", f"{UCSD_2023}meta_categories/"),
        ),
        CATEGORIES_2023,
        NEW_KEYS,
        1000,
        "parent_asin",
        "Amazon Reviews'23 (Hou et al., 2024)",
    ),
}


def _category_names(row: Row) -> list[str]:
    """Return the categories of a product.

    In 2018 its bullet points were appended, sometimes after what was left of a page's markup.
    """
    bullets = set(flatten(row.get("feature")))
    names = []
    for name in chain(flatten(row.get("categories")), flatten(row.get("category"))):
        if name.startswith("</"):
            break
        if name not in bullets:
            names.append(name)
    return names
