"""Several tasks in one run: whose turn it is, and that one task alone is that task."""

from itertools import pairwise

import numpy as np
import pytest

from tests.task.made import corpus_of, exams, material, raw, task
from userllm.data.corpus import Corpus
from userllm.errors import UserError
from userllm.task.mixture import MixedBatches
from userllm.task.multi import Multi

NAMES = ("next_item", "favorite_category", "review")
WEIGHTS = {"weights": {"next_item": 2.0, "favorite_category": 1.0, "review": 1.0}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("multi") / "corpus", raw())


def batches(corpus: Corpus, option: str, seed: int = 0, **changes) -> MixedBatches:
    made = material(corpus)
    chosen = exams(option, made, changes)
    asked = [exam.subject.questions(corpus, made.split, "train") for exam in chosen]
    return MixedBatches(
        exams=chosen, questions=asked, batch_size=4, seed=seed, group_by_length=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_several_tasks_of_which_one_is_there_are_that_task(corpus: Corpus, name: str) -> None:
    others = {other: None for other in NAMES if other != name}
    several, alone = batches(corpus, "multi", **others), batches(corpus, name)
    for number in range(30):
        one, two = several(number), alone(number)
        assert np.array_equal(one.users, two.users)
        assert one.labels_B.equal(two.labels_B)
        assert one.prompt.ids_BT.equal(two.prompt.ids_BT)
        assert one.exam == two.exam == 0
    assert several.counts(30).tolist() == [30]


def test_turns_follow_the_weights(corpus: Corpus) -> None:
    mixed = batches(corpus, "multi", **WEIGHTS)
    shares = mixed.counts(4000) / 4000
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.03)
    assert mixed.share_X == pytest.approx([0.5, 0.25, 0.25])


def test_a_task_of_weight_zero_is_asked_and_never_trained_on(corpus: Corpus) -> None:
    weights = {"weights": {"next_item": 1.0, "favorite_category": 0.0, "review": 1.0}}
    mixed = batches(corpus, "multi", **weights)
    assert mixed.counts(500)[1] == 0
    assert len(mixed.exams) == 3


@pytest.mark.parametrize(("others", "alone"), [(1.0, False), (0.0, True)])
def test_whoever_other_tasks_train_on_is_not_called_untrained(
    corpus: Corpus, others: float, alone: bool
) -> None:
    weights = {"next_item": others, "favorite_category": 1.0, "review": others}
    made = material(corpus)
    exam = exams("multi", made, {"weights": weights})[1]
    protocol = exam.subject.questions(corpus, made.split, "test").protocol
    assert ("users not trained on" in protocol) is alone
    assert ("users whose answers to this were not trained on" in protocol) is not alone


def test_every_batch_is_of_one_task_and_found_by_its_number_in_any_order(corpus: Corpus) -> None:
    ahead, late = (batches(corpus, "multi", **WEIGHTS) for _ in range(2))
    forward = [ahead.rows(number) for number in range(40)]
    backward = [late.rows(number) for number in reversed(range(40))][::-1]
    for one, two in zip(forward, backward, strict=True):
        assert one[0] == two[0]
        assert np.array_equal(one[1], two[1])
        assert np.array_equal(one[2], two[2])


def test_each_task_goes_through_its_own_epochs_without_gaps(corpus: Corpus) -> None:
    mixed, alone = batches(corpus, "multi", **WEIGHTS), batches(corpus, "review")
    mine = [mixed.rows(number)[1] for number in range(60) if mixed.rows(number)[0] == 2]
    assert len(mine) > 5
    for nth, users in enumerate(mine):
        assert np.array_equal(users, alone.rows(nth)[1])


def test_processes_that_take_turns_train_on_what_one_alone_would(corpus: Corpus) -> None:
    alone = batches(corpus, "multi", **WEIGHTS)
    stride = 2
    helpers = [batches(corpus, "multi", **WEIGHTS) for _ in range(stride)]
    for number in range(20):
        process, step = number % stride, number // stride
        exam, users, _ = helpers[process].rows(step * stride + process)
        assert (exam, users.tolist()) == (alone.rows(number)[0], alone.rows(number)[1].tolist())


def test_another_seed_gives_other_turns(corpus: Corpus) -> None:
    first, second = (batches(corpus, "multi", seed=seed, **WEIGHTS) for seed in (0, 1))
    turns = [[mixed.rows(number)[0] for number in range(40)] for mixed in (first, second)]
    assert turns[0] != turns[1]
    assert any(a != b for a, b in pairwise(turns[0]))


@pytest.mark.parametrize(
    "weights",
    [
        {"next_item": 1.0, "favorite_category": 1.0, "review": -1.0},
        {"next_item": 1.0},
        {"next_item": 1.0, "favorite_category": 1.0, "review": 1.0, "revue": 1.0},
        {"next_item": 0.0, "favorite_category": 0.0, "review": 0.0},
    ],
)
def test_weights_that_do_not_fit_the_tasks_are_refused(weights: dict[str, float]) -> None:
    parts = {name: task(name) for name in NAMES}
    with pytest.raises(UserError, match=r"task\.weights"):
        Multi(weights=weights, **parts)


def test_a_task_to_train_on_that_has_no_questions_is_refused(corpus: Corpus) -> None:
    with pytest.raises(UserError, match="task=next_item: no training questions"):
        batches(corpus, "next_item", min_history=99)
