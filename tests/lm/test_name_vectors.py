"""Names become vectors on the scale of single tokens."""

import pytest
import torch

from userllm.lm import name_vectors as module
from userllm.lm.name_vectors import name_vectors
from userllm.lm.tiny import TinyLM
from userllm.lm.token_scale import token_scale

LOADED = TinyLM(width=32, layers=1, heads=4, seed=0).load()
TABLE = LOADED.model.get_input_embeddings().weight.detach()
SCALE = token_scale(LOADED.model)


def vectors(names: list[str], table: torch.Tensor = TABLE) -> torch.Tensor:
    return name_vectors(names, tokenizer=LOADED.tokenizer, table_VD=table, scale=SCALE)


def test_they_are_the_means_of_tokens_moved_and_stretched() -> None:
    names = ["abc", "some longer name", "x"]
    means = torch.stack(
        [TABLE[LOADED.tokenizer(n, add_special_tokens=False)["input_ids"]].mean(0) for n in names]
    )
    got, around = vectors(names), means - means.mean(dim=0)
    moved = got - SCALE.mean_D
    torch.testing.assert_close(moved / moved.norm(), around / around.norm())
    assert moved.square().mean().sqrt() == pytest.approx(SCALE.std, rel=1e-4)


def test_a_name_without_tokens_gets_the_mean_and_does_not_move_the_others() -> None:
    with_empty = vectors(["", "abc", "", "xyz"])
    torch.testing.assert_close(with_empty[[1, 3]], vectors(["abc", "xyz"]))
    torch.testing.assert_close(with_empty[0], SCALE.mean_D)


@pytest.mark.parametrize("names", [["abc"], ["abc", "abc"], ["", ""]])
def test_names_that_do_not_differ_stay_finite(names: list[str]) -> None:
    torch.testing.assert_close(vectors(names), SCALE.mean_D.expand(len(names), -1))


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"name {n}" for n in range(11)] + [""]
    at_once = vectors(names)
    monkeypatch.setattr(module, "CHUNK", 4)
    torch.testing.assert_close(vectors(names), at_once)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_tables_do(dtype: torch.dtype) -> None:
    names = ["abc", "some longer name", "x"]
    got = vectors(names, TABLE.to(dtype))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, vectors(names), atol=1e-3, rtol=0.05)
