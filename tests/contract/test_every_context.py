"""What every option of ``context=`` must satisfy; a new file in conf/context is found by itself."""

from functools import cache

import pytest
import torch
from omegaconf import DictConfig

from tests.context.fakes import CATALOGUE, VOCABULARY, BagEncoder, histories, open_up
from tests.context.families import tiny_model, token_rows
from tests.context.test_contexts import left_padded, whole
from userllm.build import build
from userllm.config import conf_dir, load
from userllm.context.model import UserLLM
from userllm.context.work import Lengths, forward_flops
from userllm.data.gather import EventBatch
from userllm.lm.tiny import byte_tokenizer

OPTIONS = sorted(path.stem for path in (conf_dir() / "context").glob("*.yaml"))


@cache
def node(option: str) -> DictConfig:
    return load("contextualize", [f"context={option}"]).config.context


def make(option: str) -> UserLLM:
    torch.manual_seed(0)
    encoder = BagEncoder()
    context = build(
        node(option),
        text_dim=32,
        user_dim=encoder.width,
        num_blocks=3,
        tokenizer=byte_tokenizer(),
        vocabulary=VOCABULARY,
        catalogue=CATALOGUE,
    )
    model = UserLLM(
        lm=tiny_model("llama"),
        context=context,
        encoder=encoder if context.reads_memory else None,
        item_head=None,
    )
    open_up(context)
    return model.eval()


@pytest.fixture(params=OPTIONS)
def model(request: pytest.FixtureRequest) -> UserLLM:
    return make(request.param)


def test_a_padded_batch_equals_single_users(model: UserLLM) -> None:
    events, prompts, answers = histories([5, 2]), token_rows(2, 6), token_rows(2, 3, seed=4)
    lengths = [6, 4]
    with torch.no_grad():
        memory = model.read_user(events)
        batched = model.answer_logits(memory, left_padded(prompts, lengths), whole(answers))
        for row, length in enumerate(lengths):
            size = int(events.mask[row].sum())
            features = {n: ids[row : row + 1, :size] for n, ids in events.features.items()}
            alone = EventBatch(features, events.mask[row : row + 1, :size])
            single = model.answer_logits(
                model.read_user(alone),
                whole(prompts[row : row + 1, -length:]),
                whole(answers[row : row + 1]),
            )
            torch.testing.assert_close(batched[row], single[0], atol=1e-5, rtol=1e-4)


def test_every_parameter_belongs_to_one_named_part(model: UserLLM) -> None:
    named = [id(p) for part in model.context.parts().values() for p in part]
    assert sorted(named) == sorted(id(p) for p in model.context.parameters())
    assert set(model.context.parts()) <= {"memory", "gates"}


def test_the_language_model_keeps_its_checkpoint_keys(model: UserLLM) -> None:
    assert set(model.lm.state_dict()) == set(tiny_model("llama").state_dict())


def test_prefix_length_is_the_number_of_positions_really_put_in_front(model: UserLLM) -> None:
    with torch.no_grad():
        memory = model.read_user(histories([5]))
        prefill = model.prefill(memory, whole(token_rows(1, 6)))
    assert int(prefill.mask_BS.sum()) == 6 + model.context.prefix_length(5.0)


def test_costs_grow_with_the_history_only_where_a_memory_is_read(model: UserLLM) -> None:
    short, long = (
        sum(forward_flops(model, Lengths(events=n, prompt=6, answer=0, logits=1)).values())
        for n in (5.0, 50.0)
    )
    assert (long > short) == (model.context.vectors(5.0) != 0)
