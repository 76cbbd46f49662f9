"""ROUGE as a metric per user: the package called by hand, and its own sentence rule."""

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from userllm.errors import UserError
from userllm.metric.rouge import Rouge, by_sentence

TRUE = "I loved this film. The actors were great!\nWould watch again"
SAID = "The actors loved it. A great film (again). Watching was a joy."


def rouge(**changes):
    return Rouge(**({"kinds": ["rougeLsum", "rouge1", "rouge2"], "stemmer": True} | changes))


@pytest.mark.parametrize("stemmer", [True, False])
def test_values_are_those_of_the_package_times_100(stemmer):
    values = rouge(stemmer=stemmer).per_user([SAID, TRUE], [TRUE, SAID])
    scorer = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=stemmer)
    lines = [
        "I loved this film.\nThe actors were great!\nWould watch again",
        "The actors loved it.\nA great film (again).\nWatching was a joy.",
    ]
    for row, (said, true) in enumerate([(lines[1], lines[0]), (lines[0], lines[1])]):
        for kind, score in scorer.score(true, said).items():
            assert values[kind][row] == pytest.approx(100 * score.fmeasure)


def test_a_copy_scores_100_and_a_stranger_0():
    values = rouge().per_user([TRUE, "", "zzz"], [TRUE, TRUE, TRUE])
    for scores in values.values():
        assert scores.tolist() == [100.0, 0.0, 0.0]


def test_stems_count_only_where_they_are_asked_for():
    (stemmed,), (plain,) = (
        rouge(stemmer=stemmer, kinds=["rouge1"]).per_user(["loving it"], ["loved it"])["rouge1"]
        for stemmer in (True, False)
    )
    assert (stemmed, plain) == (100.0, 50.0)


def test_the_order_of_sentences_matters_less_than_that_of_words():
    swapped = "The actors were great! Would watch again. I loved this film."
    by_kind = rouge(kinds=["rougeLsum", "rougeL"]).per_user([swapped], [TRUE])
    assert by_kind["rougeLsum"][0] == 100.0
    assert by_kind["rougeL"][0] < 100.0


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("3.5 stars of 5.0", ["3.5 stars of 5.0"]),
        ('He said "wow." Then left.', ['He said "wow."', "Then left."]),
        ("a\n\nb\nc", ["a", "b", "c"]),
        ("  ", []),
    ],
)
def test_sentences_end_at_marks_before_white_space_and_at_line_breaks(text, lines):
    assert by_sentence(text).splitlines() == lines


def test_no_texts_give_no_values():
    assert rouge().per_user([], [])["rouge1"].dtype == np.float64


@pytest.mark.parametrize("kinds", [[], ["rouge"], ["rougeX", "rouge1"]])
def test_kinds_that_do_not_exist_are_refused(kinds):
    with pytest.raises(UserError, match="expected some of rouge1"):
        rouge(kinds=kinds)


def test_the_protocol_names_package_scale_and_stemming():
    line = rouge().protocol()
    assert "F1 × 100 by rouge-score" in line
    assert "words stemmed" in line
    assert "not stemmed" in rouge(stemmer=False).protocol()
