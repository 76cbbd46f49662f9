"""Prompts: what stands in them, that batches change nothing, and that the future is not in them."""

from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaTokenizer

from tests.summarizer.histories import EVENTS, USERS, every_cut, histories
from userllm.data.corpus import Corpus
from userllm.data.event_lines import HistoryText
from userllm.data.vocabulary import FIRST_ID
from userllm.lm.tiny import byte_tokenizer
from userllm.task.prompt import PromptWriter, packed, tokenize
from userllm.task.template import read_templates

TOKENIZER = byte_tokenizer()
REVIEW = frozenset({"title", "rating", "categories"})
HEADING = "The user's history, oldest first (title, categories, rating):\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return histories(tmp_path_factory.mktemp("prompt") / "corpus")


def writer(corpus: Corpus, where: str = "review", **changes: object) -> PromptWriter:
    templates = read_templates(where, corpus.nouns, None, REVIEW)
    options = {"tokenizer": TOKENIZER, "text_events": 3, "summaries": None, "seed": 0}
    return PromptWriter(corpus=corpus, **(options | {"templates": templates} | changes))


def read(batch) -> list[str]:
    rows = zip(batch.ids_BT, batch.mask_BT, strict=True)
    return [TOKENIZER.decode(ids[mask]) for ids, mask in rows]


def own(folder: Path, text: str) -> str:
    (folder / "own.txt").write_text(text, encoding="utf-8")
    return str(folder / "own.txt")


def target(corpus: Corpus, user: int, cut: int) -> tuple[str, str]:
    at = int(corpus.offsets[user]) + cut
    title = corpus.items["title"][int(corpus.features["item"][at]) - FIRST_ID]
    return title, f"{corpus.rating_values[int(corpus.features['rating'][at]) - FIRST_ID]:g}"


@pytest.mark.parametrize("where", ["review", "review_title", "next_item", "favorite_category"])
def test_a_prompt_is_the_history_and_the_question_as_people_read_them(corpus, where) -> None:
    users, cuts = every_cut()
    write = writer(corpus, where)
    history = HistoryText(corpus=corpus, events=3)
    assert read(write(users, cuts)) == [
        f"{HEADING}{history(u, c)}{write.question(u, c)}\nAnswer:"
        for u, c in zip(users.tolist(), cuts.tolist(), strict=True)
    ]


def test_target_fields_are_those_of_the_event_at_the_cut(corpus: Corpus, tmp_path: Path) -> None:
    templates = read_templates(own(tmp_path, "{title}|{rating}"), corpus.nouns, None, REVIEW)
    users, cuts = every_cut()
    texts = read(writer(corpus, templates=templates, text_events=0)(users, cuts))
    for text, user, cut in zip(texts, users, cuts, strict=True):
        title, rating = target(corpus, int(user), int(cut))
        assert text == f"{title}|{rating}\nAnswer:"


@pytest.mark.parametrize("where", ["next_item", "favorite_category"])
def test_nothing_at_or_after_the_cut_is_in_a_ranking_prompt(tmp_path: Path, where: str) -> None:
    cut = 17
    users, cuts = np.arange(USERS), np.full(USERS, cut)
    first, second = (
        read(writer(histories(tmp_path / name, changed_after=after), where)(users, cuts))
        for name, after in (("a", None), ("b", cut))
    )
    assert first == second


def test_a_review_prompt_depends_on_nothing_after_its_target(tmp_path: Path) -> None:
    cut = 17
    users, cuts = np.arange(USERS), np.full(USERS, cut)
    first, second = (
        read(writer(histories(tmp_path / name, changed_after=after))(users, cuts))
        for name, after in (("a", None), ("b", cut + 1))
    )
    assert first == second


def test_a_batch_holds_what_single_prompts_hold(corpus: Corpus) -> None:
    users, cuts = every_cut()
    write = writer(corpus)
    batched = read(write(users, cuts))
    rows = range(0, len(users), 17)
    assert [read(write(users[r : r + 1], cuts[r : r + 1]))[0] for r in rows] == [
        batched[r] for r in rows
    ]


def test_padding_is_on_the_left_only(corpus: Corpus) -> None:
    batch = writer(corpus)(*every_cut())
    assert (batch.mask_BT[:, 1:].int() >= batch.mask_BT[:, :-1].int()).all()
    assert batch.mask_BT[:, -1].all()
    assert batch.mask_BT[:, 0].any()


def test_all_wordings_are_used_about_equally_often_and_by_chance(corpus: Corpus) -> None:
    users, cuts = (np.tile(values, 40) for values in every_cut())
    cuts = np.arange(len(cuts))
    which = writer(corpus, "next_item").questions.wording(users, cuts)
    shares = np.bincount(which) / len(which)
    assert len(shares) == 5
    assert shares == pytest.approx(0.2, abs=0.02)
    other = writer(corpus, "next_item", seed=1).questions.wording(users, cuts)
    assert (which == other).mean() == pytest.approx(0.2, abs=0.02)


def test_every_method_is_asked_in_the_same_words(corpus: Corpus) -> None:
    users, cuts = every_cut()
    with_text, without = (writer(corpus, text_events=n) for n in (5, 0))
    for text, question in zip(
        read(with_text(users, cuts)), read(without(users, cuts)), strict=True
    ):
        assert text.endswith(f"\n{question}")


def test_a_start_token_opens_every_prompt_of_tokenizers_that_write_one(corpus: Corpus) -> None:
    class Starting:
        bos_token_id = TOKENIZER.bos_token_id

        def __call__(self, texts, add_special_tokens=True):
            ids = TOKENIZER(texts, add_special_tokens=False)["input_ids"]
            if not add_special_tokens:
                return {"input_ids": ids}
            return {"input_ids": [self.bos_token_id, *ids]}

    users, cuts = every_cut()
    for text_events in (0, 3):
        plain = writer(corpus, text_events=text_events)(users, cuts)
        started = writer(corpus, tokenizer=Starting(), text_events=text_events)(users, cuts)
        for row in range(len(users)):
            ids = started.ids_BT[row][started.mask_BT[row]].tolist()
            rest = plain.ids_BT[row][plain.mask_BT[row]].tolist()
            assert ids == [Starting.bos_token_id, *rest]


def spacing_tokenizer() -> LlamaTokenizer:
    """Return a tokenizer as Llama 2 has it, one token per letter, a space joined to the next."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *letters]
    tokens += [f"▁{letter}" for letter in letters]
    vocab = {token: number for number, token in enumerate(tokens)}
    return LlamaTokenizer(vocab=vocab, merges=[("▁", letter) for letter in letters])


def test_tokenizers_that_start_texts_with_a_space_put_none_between_parts(corpus: Corpus) -> None:
    tokenizer = spacing_tokenizer()
    assert tokenizer.convert_ids_to_tokens(tokenizer(", 4")["input_ids"])[0] == "▁,"
    users, cuts = every_cut()
    write = writer(corpus, tokenizer=tokenizer)
    history = HistoryText(corpus=corpus, events=3)
    batch = write(users, cuts)
    for row, (user, cut) in enumerate(zip(users.tolist(), cuts.tolist(), strict=True)):
        text = f"{HEADING}{history(user, cut)}{write.question(user, cut)}\nAnswer:"
        ids = batch.ids_BT[row][batch.mask_BT[row]].tolist()
        assert tokenizer.decode(ids) == text
        # The first apart, these are the tokens of the whole text.
        assert ids[1:] == tokenizer(text)["input_ids"][1:]
    assert tokenizer.convert_ids_to_tokens(tokenize(tokenizer, [" To"])[0]) == ["▁T", "o"]


def test_a_space_before_a_field_is_tokenized_with_the_field(corpus, tmp_path) -> None:
    templates = read_templates(own(tmp_path, "Review {title} now"), corpus.nouns, None, REVIEW)
    write = writer(corpus, templates=templates, text_events=0)
    table = write.table
    pieces = [
        TOKENIZER.decode(table.flat[start : start + length])
        for start, length in zip(table.starts, table.lengths, strict=True)
    ]
    assert "Review" in pieces
    assert " Title 7" in pieces
    assert " now\nAnswer:" in pieces


def test_a_question_about_an_event_that_is_not_there_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="too short"):
        writer(corpus)(np.array([0]), np.array([EVENTS]))


def test_no_questions_make_an_empty_batch(corpus: Corpus) -> None:
    none = np.array([], dtype=np.int64)
    assert len(writer(corpus)(none, none).ids_BT) == 0


def test_packing_keeps_the_order_of_parts_and_moves_padding_to_the_left(corpus: Corpus) -> None:
    users, cuts = np.array([0, 1, 2]), np.array([0, 2, 9])
    parts = [writer(corpus, "next_item", text_events=n)(users, cuts) for n in (2, 0, 5)]
    joined = packed(parts)
    assert read(joined) == ["".join(texts) for texts in zip(*map(read, parts), strict=True)]
    assert (joined.mask_BT[:, 1:].int() >= joined.mask_BT[:, :-1].int()).all()
