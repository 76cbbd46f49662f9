"""Written answers: those of the library's generation, cut where configured, priced as counted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.context.fakes import histories
from tests.context.families import families, token_rows
from tests.context.test_contexts import left_padded, make_model, whole
from tests.task.made import corpus_of, exams, joined, material, raw
from userllm.context.work import Lengths, answer_flops, forward_flops
from userllm.context.writing import writing_rule
from userllm.data.corpus import Corpus
from userllm.task.writing import WritingExam

CPU = torch.device("cpu")
NEVER = 96


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_of(tmp_path_factory.mktemp("writing") / "corpus", raw())


def exam_of(corpus: Corpus, **changes):
    return exams("review", material(corpus), {"max_answer_tokens": 8} | changes)[0]


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("beams", [1, 3])
def test_without_a_user_it_writes_what_the_language_model_writes(family: str, beams: int) -> None:
    model = make_model("none", family)
    prompts = left_padded(token_rows(3, 7), [7, 4, 5])
    with torch.no_grad():
        expected = model.lm.generate(
            prompts.ids_BT,
            attention_mask=prompts.mask_BT.long(),
            max_new_tokens=5,
            num_beams=beams,
            do_sample=False,
            eos_token_id=NEVER,
            pad_token_id=NEVER,
        )[:, 7:]
        got = model.generate(None, prompts, writing_rule(beams=beams, limit=5, end=NEVER))
    assert torch.equal(got, expected)


@pytest.mark.parametrize("kind", ["gated", "plain", "soft_prompt", "hybrid"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_padded_batch_of_users_writes_what_each_alone_writes(kind: str, beams: int) -> None:
    model = make_model(kind)
    rows, lengths, seen = token_rows(3, 7), [7, 4, 5], [4, 2, 3]
    events = histories(seen)
    with torch.no_grad():
        batched = model.generate(
            model.read_user(events),
            left_padded(rows, lengths),
            writing_rule(beams=beams, limit=5, end=NEVER),
        )
        for row, length in enumerate(lengths):
            alone = type(events)(
                {n: ids[row : row + 1, : seen[row]] for n, ids in events.features.items()},
                events.mask[row : row + 1, : seen[row]],
            )
            single = model.generate(
                model.read_user(alone),
                whole(rows[row : row + 1, -length:]),
                writing_rule(beams=beams, limit=5, end=NEVER),
            )
            assert batched[row].tolist() == single[0].tolist()


def test_greedy_writing_follows_the_likeliest_token_of_a_full_pass() -> None:
    model = make_model("gated")
    prompts = whole(token_rows(1, 6))
    with torch.no_grad():
        memory = model.read_user(histories([4]))
        written = model.generate(memory, prompts, writing_rule(beams=1, limit=4, end=NEVER))
        logits = model.answer_logits(memory, prompts, whole(written))
    assert logits.argmax(dim=2).tolist() == written.tolist()


@pytest.mark.parametrize("kind", ["none", "gated", "soft_prompt"])
def test_an_answer_that_may_not_end_takes_the_likeliest_other_token(kind: str) -> None:
    model = make_model(kind)
    prompts = left_padded(token_rows(2, 6), [6, 4])
    with torch.no_grad():
        memory = model.read_user(histories([4, 3]))
        end = int(model.generate(memory, prompts, writing_rule(beams=1, limit=1, end=NEVER))[0, 0])
        free = model.generate(memory, prompts, writing_rule(beams=1, limit=4, end=end))
        written = model.generate(memory, prompts, writing_rule(beams=1, limit=4, end=end, least=2))
        logits = model.answer_logits(memory, prompts, whole(written))
    assert (free[0] == end).all()
    logits[:, :2, end] = -torch.inf
    assert logits[:, :2].argmax(dim=2).tolist() == written[:, :2].tolist()


def test_no_beam_ends_an_answer_before_its_least_length() -> None:
    model, prompts = make_model("none"), whole(token_rows(4, 6))
    with torch.no_grad():
        end = int(model.generate(None, prompts, writing_rule(beams=3, limit=4, end=NEVER))[0, 0])
        free = model.generate(None, prompts, writing_rule(beams=3, limit=4, end=end))
        written = model.generate(None, prompts, writing_rule(beams=3, limit=4, end=end, least=2))
    assert end in free[:, :2]
    assert end not in written[:, :2]


def test_settings_of_the_language_model_do_not_change_what_it_writes() -> None:
    model = make_model("none")
    prompts = whole(token_rows(2, 6))
    plain = model.generate(None, prompts, writing_rule(beams=1, limit=6, end=NEVER))
    settings = model.lm.generation_config
    settings.repetition_penalty, settings.temperature, settings.do_sample = 5.0, 0.1, True
    assert torch.equal(
        model.generate(None, prompts, writing_rule(beams=1, limit=6, end=NEVER)), plain
    )


def test_an_answer_ends_at_the_end_token_and_the_rest_is_not_read(corpus: Corpus) -> None:
    exam = exam_of(corpus)
    tokenizer = exam.material.tokenizer
    end = tokenizer.eos_token_id
    good, better = (tokenizer(text)["input_ids"] for text in (" good", " better"))
    rows = [[*good, end, *good], [*better, end, end, end]]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [end] * (width - len(row)) for row in rows])
    texts, lengths = exam._read_back(tokens)
    assert texts == ["good", "better"]
    assert lengths.tolist() == [len(good) + 1, len(better) + 1]
    _, whole_length = exam._read_back(torch.tensor([better]))
    assert whole_length.tolist() == [len(better)]


def test_an_exam_asks_for_answers_of_the_least_length(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, exam = joined("none"), exam_of(corpus, min_answer_tokens=0)
    asked = exam.subject.questions(corpus, exam.material.split, "test").first(1)
    batch = exam.reader(asked.users, asked.cuts)
    first = int(exam.answer(model, batch)[0, 0])
    monkeypatch.setattr(WritingExam, "_end", first)
    assert exam.ask(model, asked, batch_size=1, device=CPU).tokens == 1
    longer = exam_of(corpus, min_answer_tokens=2)
    assert longer.ask(model, asked, batch_size=1, device=CPU).tokens >= 3


def test_texts_that_are_cut_are_learned_without_an_end(corpus: Corpus) -> None:
    exam = exam_of(corpus)
    train = exam.subject.questions(corpus, exam.material.split, "train").first(6)
    labels = exam.subject.labels(corpus, train.users, train.cuts)
    end = exam.material.tokenizer.eos_token_id
    texts = exam.subject.texts(corpus, labels)
    for limit in (4, 64):
        longer = exam_of(corpus, max_answer_tokens=limit)
        rows = longer._tokens(labels).rows(np.arange(6))
        for text, ids, mask in zip(texts, rows.ids_BT, rows.mask_BT, strict=True):
            tokens = exam.material.tokenizer(f" {text}")["input_ids"]
            assert ids[mask].tolist() == [*tokens, end][:limit]


def test_the_loss_is_the_likelihood_of_the_true_texts_tokens(corpus: Corpus) -> None:
    exam, model = exam_of(corpus, max_answer_tokens=64), joined()
    train = exam.subject.questions(corpus, exam.material.split, "train").first(3)
    batch = exam.reader(train.users, train.cuts)
    with torch.no_grad():
        loss = exam.loss(model, batch)
        surprises = []
        for row in range(3):
            one = exam.reader(train.users[row : row + 1], train.cuts[row : row + 1])
            text = exam.truths(train)[row]
            ids = [*exam.material.tokenizer(f" {text}")["input_ids"], 2]
            answer = whole(torch.tensor([ids]))
            logits = model.answer_logits(model.read_user(one.events), one.prompt, answer)
            steps = logits.log_softmax(dim=2).gather(2, answer.ids_BT[:, :, None])
            surprises += (-steps.flatten()).tolist()
    assert float(loss) == pytest.approx(float(np.mean(surprises)), rel=1e-4)


@pytest.mark.parametrize("kind", ["none", "gated", "soft_prompt"])
def test_the_closed_form_of_a_written_answer_equals_the_counter(corpus: Corpus, kind: str) -> None:
    model = joined(kind)
    prompt, events, tokens = whole(token_rows(1, 9)), histories([4]), 6
    exam = exam_of(corpus, max_answer_tokens=tokens)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
        memory = model.read_user(events)
        model.generate(memory, prompt, writing_rule(beams=1, limit=tokens, end=NEVER))
    lengths = Lengths(events=4.0, prompt=9.0, answer=0.0, logits=1.0)
    expected = sum(forward_flops(model, lengths).values())
    expected += sum(answer_flops(model, lengths, *one) for one in exam.extensions(float(tokens)))
    assert expected == pytest.approx(counter.get_total_flops(), rel=1e-9)


def test_answers_of_one_token_and_no_answers_cost_nothing_more(corpus: Corpus) -> None:
    exam = exam_of(corpus)
    assert exam.extensions(1.0) == exam.extensions(0.0) == []


def test_mean_answer_length_is_counted_over_all_questions(corpus: Corpus, tmp_path: Path) -> None:
    exam, model = exam_of(corpus), joined()
    asked = exam.subject.questions(corpus, exam.material.split, "test").first(5)
    answered = exam.ask(model, asked, batch_size=2, device=CPU)
    assert 1 <= answered.tokens <= 8
