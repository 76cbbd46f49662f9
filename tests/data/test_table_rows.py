"""Columns whose values cannot be events' are named before anything is made of them."""

import polars as pl
import pytest

from userllm.data.table_rows import as_events
from userllm.errors import UserError

EVENT = {"user": ["u"], "item": [7], "timestamp": [1_700_000_000]}


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("title", ["a", "b"], "one value a row"),
        ("rating", [4.0], "one value a row"),
        ("user", ["u"], "one value a row"),
        ("timestamp", {"at": 1}, "one value a row"),
        ("categories", [{"name": "Jazz"}], "text or lists of text"),
        ("categories", {"name": "Jazz"}, "text or lists of text"),
    ],
)
def test_values_that_hold_others_are_refused_by_the_name_of_their_column(column, value, expected):
    values = pl.DataFrame(EVENT | {column: [value]})
    with pytest.raises(UserError, match=f"column '{column}': expected {expected}, found "):
        as_events(values, "auto")


def test_lists_of_categories_are_kept():
    values = pl.DataFrame(EVENT | {"categories": [["Jazz", "Blues"]]})
    assert as_events(values, "auto").rows["categories"].to_list() == [["Jazz", "Blues"]]
