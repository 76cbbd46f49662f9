"""What every option of ``task=`` must satisfy; a new file in conf/task is found by itself."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.task.made import corpus_of, exams, joined, material, raw, with_texts
from userllm.config import conf_dir
from userllm.context.work import forward_flops, training_flops
from userllm.data.corpus import Corpus
from userllm.data.protocol import RawData
from userllm.task.exam import Exam, example_lengths, prompt_lengths
from userllm.task.protocol import Questions

OPTIONS = sorted(path.stem for path in (conf_dir() / "task").glob("*.yaml"))
CUT = 8
SHORT = {"multi": {"review.max_answer_tokens": 12}, "review": {"max_answer_tokens": 12}}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("task") / "corpus", raw())


@pytest.fixture(scope="module", params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


def exams_of(option: str, corpus: Corpus, **changes) -> list[Exam]:
    return exams(option, material(corpus, **changes), SHORT.get(option))


def asked_of(exam: Exam, corpus: Corpus, part: str = "test", count: int = 4) -> Questions:
    return exam.subject.questions(corpus, material(corpus).split, part).first(count)


def test_every_question_has_a_true_answer_and_history(option: str, written: Corpus) -> None:
    for exam in exams_of(option, written):
        for part in ("train", "valid", "test"):
            asked = asked_of(exam, written, part, 10_000)
            assert len(asked)
            assert (exam.subject.labels(written, asked.users, asked.cuts) >= 0).all()
            assert (asked.cuts >= 1).all()


def test_training_ends_before_every_held_out_event(option: str, written: Corpus) -> None:
    for split in ("leave_last_out", "global_time"):
        made = material(written, split=split)
        for exam in exams(option, made, SHORT.get(option)):
            train = exam.subject.questions(written, made.split, "train")
            assert (train.cuts < made.split.train_end[train.users]).all()
            for held_out in (made.split.valid, made.split.test):
                position = held_out[train.users]
                assert ((train.cuts < position) | (position < 0)).all()


def test_nothing_after_the_cut_and_no_true_text_reaches_a_model(
    option: str, written: Corpus, tmp_path: Path
) -> None:
    """The event at the cut stays: its name and rating may be in a question, its text may not."""
    changed = raw(changed_after=CUT + 1)
    events = with_texts(changed.events, " Said otherwise.")
    other = corpus_of(tmp_path / "other", RawData(events, changed.items, changed.provenance))
    users, cuts = np.arange(40), np.full(40, CUT)
    for one, two in zip(
        exams_of(option, written, text_events=4),
        exams_of(option, other, text_events=4),
        strict=True,
    ):
        labels = one.subject.labels(written, users, cuts)
        known = labels >= 0
        first, second = (exam.reader(users[known], cuts[known]) for exam in (one, two))
        assert first.prompt.ids_BT.equal(second.prompt.ids_BT)
        for name, values in first.events.features.items():
            assert values.equal(second.events.features[name]), name


def test_a_batch_is_answered_like_single_questions(option: str, written: Corpus) -> None:
    model = joined()
    for exam in exams_of(option, written, text_events=2):
        asked = asked_of(exam, written)
        together = exam.ask(model, asked, batch_size=4, device=CPU)
        alone = exam.ask(model, asked, batch_size=1, device=CPU)
        assert together.shown == alone.shown
        for name, values in together.metrics.items():
            np.testing.assert_allclose(values, alone.metrics[name])


def test_everybody_gets_one_value_per_metric_from_model_and_references(
    option: str, written: Corpus
) -> None:
    model = joined()
    for exam in exams_of(option, written):
        asked = asked_of(exam, written, count=7)
        own = exam.ask(model, asked, batch_size=3, device=CPU)
        references = exam.references(asked)
        assert references
        assert exam.subject.primary in own.metrics
        for answered in (own, *references.values()):
            assert answered.metrics.keys() == own.metrics.keys()
            assert {len(values) for values in answered.metrics.values()} == {7}
            assert len(answered.shown) == 5
        assert len(exam.truths(asked)) == 7
        assert all(exam.truths(asked))


def test_a_stranger_is_asked_the_same_and_has_no_history(option: str, written: Corpus) -> None:
    model = joined("hybrid")
    for exam in exams_of(option, written, text_events=4):
        asked = asked_of(exam, written)
        known = exam.reader(asked.users, asked.cuts)
        stranger = exam.reader.without_history(asked.users, asked.cuts)
        assert not stranger.events.mask.any()
        assert stranger.labels_B.equal(known.labels_B)
        for row, ids in enumerate(stranger.prompt.ids_BT):
            text = exam.reader.writer.tokenizer.decode(ids[stranger.prompt.mask_BT[row]])
            question = exam.reader.writer.question(int(asked.users[row]), int(asked.cuts[row]))
            assert text.endswith(f"{question}\nAnswer:")
            assert text.count("Title") == question.count("Title")
        assert len(exam.without_history(model, asked, device=CPU)) == 4


def test_the_loss_teaches_and_costs_what_its_lengths_say(option: str, written: Corpus) -> None:
    model = joined()
    for exam in exams_of(option, written):
        train = asked_of(exam, written, "train", 6)
        batch = exam.reader(train.users, train.cuts)
        loss = exam.loss(model, batch)
        loss.backward()
        assert torch.isfinite(loss)
        assert model.context.parts()["gates"][0].grad.abs() > 0
        lengths = example_lengths(exam, batch)
        forward = sum(forward_flops(model, prompt_lengths(exam, batch)).values())
        assert (training_flops(model, lengths) > forward).all()


def test_the_weights_of_a_task_add_up_to_its_own(option: str, written: Corpus) -> None:
    assert sum(exam.weight for exam in exams_of(option, written)) == pytest.approx(1.0)


def test_a_question_without_a_true_answer_is_refused(written: Corpus) -> None:
    exam = exams_of("favorite_category", written)[0]
    with pytest.raises(ValueError, match="1 questions have no true answer"):
        exam.reader(np.array([0, 1]), np.array([0, 5]))


def test_row_order_in_the_file_changes_no_question(option: str, tmp_path: Path) -> None:
    data = raw(users=10)
    events = data.events.with_columns(pl.lit(1.0, dtype=pl.Float32).alias("rating"))
    shuffled = events.sample(fraction=1.0, shuffle=True, seed=1)
    one, two = (
        corpus_of(tmp_path / name, RawData(frame, data.items, data.provenance))
        for name, frame in (("a", events), ("b", shuffled))
    )
    for first, second in zip(exams_of(option, one), exams_of(option, two), strict=True):
        asked = [asked_of(e, c) for e, c in ((first, one), (second, two))]
        assert np.array_equal(asked[0].users, asked[1].users)
        assert first.truths(asked[0]) == second.truths(asked[1])
