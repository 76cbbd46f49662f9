"""Names lose what a web page left in them, and nothing else."""

import pytest

from userllm.data.item_lines import category_name, clean, flatten


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (" Maggiano&#39;s  Gift Card", "Maggiano's Gift Card"),
        ("AT&amp;amp;T", "AT&T"),
        ("R&B &copy for all", "R&B &copy for all"),
        ("<b>Alien</b><br/>(1979)", "Alien (1979)"),
        ("I <3 You", "I <3 You"),
        ("A < B > C", "A < B > C"),
        ("Love <heart> me", "Love <heart> me"),
        ('<span class="a-size-medium a-color', None),
        ("</span></span></span>", None),
        ("var aPageStart = (new Date()).getTime();", None),
        ("(function(f) {var _np=(window.P._namespace", None),
        ("", None),
        (None, None),
        (float("nan"), None),
        (["a"], None),
        ("half \ud83d", "half"),
        ("日本", "日本"),
    ],
)
def test_clean(found, expected):
    assert clean(found) == expected


@pytest.mark.parametrize(
    ("category", "root"),
    [
        ("Movies & TV", "Movies_and_TV"),
        ("Movies &amp; TV", "Movies_and_TV"),
        ("Clothing, Shoes & Jewelry", "Clothing_Shoes_and_Jewelry"),
        ("Patio, Lawn & Garden", "Patio_Lawn_and_Garden"),
        ("Books", "Books"),
    ],
)
def test_root_is_recognised_in_either_spelling(category, root):
    assert category_name(category, root) is None
    assert category_name(category, "Other") is not None


def test_flatten_yields_texts_only():
    assert list(flatten([["a"], ["b", ["c", 5, None]], "d"])) == ["a", "b", "c", "d"]
    assert list(flatten(None)) == []
