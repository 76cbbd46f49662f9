"""Vectors on disk: made once, whatever order, process or accident."""

from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch
from torch import Tensor

from userllm.errors import UserError
from userllm.sentence import store
from userllm.sentence.store import stored_vectors


class Counter:
    """Encodes a text as its length and first letter, and remembers what it was asked."""

    def __init__(self, fail_at: str | None = None) -> None:
        self.fail_at = fail_at
        self.loads = 0
        self.asked: list[str] = []

    def load(self):
        self.loads += 1
        return self

    def __call__(self, texts: list[str]) -> Tensor:
        if self.fail_at in texts:
            raise KeyboardInterrupt
        self.asked += texts
        return torch.tensor([[len(text), ord(text[0])] for text in texts], dtype=torch.float32)


def vectors(texts: list[str], counter: Counter, cache: Path, identity: str = "one") -> Tensor:
    return stored_vectors(texts, identity=identity, width=2, cache=cache, load=counter.load)


def test_equal_texts_are_encoded_once_and_empty_ones_never(tmp_path):
    counter = Counter()
    found = vectors(["b", "", "aa", "b"], counter, tmp_path)
    assert found.tolist() == [[1, 98], [0, 0], [2, 97], [1, 98]]
    assert found.dtype == torch.float32
    assert sorted(counter.asked) == ["aa", "b"]


def test_nothing_to_encode_loads_nothing(tmp_path):
    counter = Counter()
    assert not vectors(["", ""], counter, tmp_path).any()
    assert not counter.loads


def test_the_second_time_nothing_is_loaded_in_whatever_order_texts_come(tmp_path):
    counter = Counter()
    first = vectors(["b", "aa", "ccc"], counter, tmp_path)
    again = vectors(["ccc", "b", "aa", "aa"], counter, tmp_path)
    assert counter.loads == 1
    assert torch.equal(again, first[[2, 0, 1, 1]])


def test_another_identity_or_other_texts_are_encoded_anew(tmp_path):
    counter = Counter()
    vectors(["ab", "c"], counter, tmp_path)
    vectors(["ab", "c"], counter, tmp_path, identity="two")
    vectors(["a", "bc"], counter, tmp_path)
    assert counter.loads == 3


def test_an_interrupted_job_continues_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD", 2)
    texts = [chr(97 + n) * (n + 1) for n in range(7)]
    broken = Counter(fail_at=texts[4])
    with pytest.raises(KeyboardInterrupt):
        vectors(texts, broken, tmp_path)
    assert broken.asked == texts[:4]
    assert not list(tmp_path.glob("*.npy"))
    counter = Counter()
    found = vectors(texts, counter, tmp_path)
    assert counter.asked == texts[4:]
    assert torch.equal(found, Counter()(texts))
    assert not list(tmp_path.glob("*.parts"))


def test_of_two_at_the_same_time_one_works_and_both_get_the_same(tmp_path):
    start, counter = Barrier(2), Counter()
    found: list[Tensor] = []

    def work() -> None:
        start.wait()
        found.append(vectors(["a", "bb"], counter, tmp_path))

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.loads == 1
    assert torch.equal(*found)


def test_vectors_of_another_width_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"\(1, 2\) numbers, expected \(1, 3\)"):
        stored_vectors(["a"], identity="one", width=3, cache=tmp_path, load=Counter().load)
    assert not list(tmp_path.glob("*.npy"))


def test_vectors_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(UserError, match="not finite"):
        stored_vectors(
            ["a"],
            identity="one",
            width=2,
            cache=tmp_path,
            load=lambda: lambda texts: torch.full((len(texts), 2), torch.nan),
        )


def test_a_text_that_is_no_valid_unicode_does_not_stop_the_job(tmp_path):
    assert vectors(["a\ud800"], Counter(), tmp_path).tolist() == [[2, 97]]
