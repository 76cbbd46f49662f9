"""The counts of the paper's Table 1 are found again by the rule that made them."""

import numpy as np
import pytest

from userllm.data import paper_counts as counting
from userllm.data.paper_counts import (
    MINIMUMS,
    SUBTRACTED,
    PaperRow,
    paper_counts,
    rule_in_words,
    table_1_rows,
    window_rows,
)

LENGTHS = [3, 49, 50, 51, 51, 52, 53, 53, 60, 200]


def count(lengths, dataset=None):
    users = np.repeat(np.arange(len(lengths)), lengths)
    items = np.concatenate([np.arange(length) for length in lengths])
    return paper_counts(users, items, catalogue=500, dataset=dataset)


@pytest.mark.parametrize("least", MINIMUMS)
@pytest.mark.parametrize("less", SUBTRACTED)
def test_counts_are_those_of_windows_that_are_really_cut(least, less):
    kept = [length for length in LENGTHS if length >= least]
    counts = count(LENGTHS)
    assert counts["users_by_minimum"][str(least)] == len(kept)
    assert counts["train_by_rule"][str(least)][str(less)] == sum(n - less for n in kept)


def test_usual_rule_counts_windows_of_50_and_a_label_without_the_last():
    windows = [
        (user, first)
        for user, length in enumerate(LENGTHS)
        if length >= 52
        for first in range(length - 50)  # the label is event first + 50
    ]
    read = count(LENGTHS)["read"]
    users = {user for user, _ in windows}
    assert read["users"] == len(users)
    assert read["train"] == len(windows) - len(users)
    assert (read["items"], read["items_with_events"]) == (500, 200)


@pytest.mark.parametrize("least", MINIMUMS)
@pytest.mark.parametrize("less", SUBTRACTED)
def test_rule_behind_the_papers_numbers_is_found(least, less, monkeypatch):
    # Many users near the border, so that every rule gives other numbers.
    lengths = [*[50] * 40, *[51] * 50, *[52] * 60, *[53] * 70, *[300] * 30]
    kept = [length for length in lengths if length >= least]
    row = PaperRow(len(kept), 500, sum(n - less for n in kept))
    monkeypatch.setitem(counting.TABLE_1, "MovieLens-20M", row)
    counts = count(lengths, "MovieLens-20M")
    assert counts["rule"] == {"minimum_events": least, "subtracted": less, "fits": True}
    assert counts["read"]["users"] == row.users
    assert counts["read"]["train"] == row.train
    assert "+0.00%" in rule_in_words(counts)


def test_a_part_of_the_papers_data_is_not_said_to_fit():
    counts = count(LENGTHS, "Google Review")
    assert not counts["rule"]["fits"]
    assert "No rule comes near" in rule_in_words(counts)


def test_table_1_has_the_papers_numbers_beside_ours_where_it_has_any():
    assert {len(row) for row in table_1_rows(count(LENGTHS))} == {2}
    table = {row[0]: row[1:] for row in table_1_rows(count(LENGTHS, "MovieLens-20M"))}
    assert table["#users"] == ("5", "82,977")
    assert table["#test"] == ("5", "82,977")
    assert table["#train"][1] == "13,821,405"
    assert table["sequence length"] == ("50", "50")
    assert len(window_rows(count(LENGTHS))) == 3
    assert "82,977" in window_rows(count(LENGTHS, "MovieLens-20M"))[-1]


def test_nobody_with_a_window_is_no_crash():
    counts = count([3, 4], "Amazon Review")
    assert counts["read"]["users"] == counts["read"]["train"] == 0
