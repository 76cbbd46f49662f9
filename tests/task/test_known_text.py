"""Text that repeats is read once, and nothing but the work changes."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.context.fakes import BagEncoder, histories
from tests.context.families import families, token_rows
from tests.context.test_contexts import left_padded, make_model
from userllm.context.item_head import ItemHead
from userllm.context.model import TokenBatch, UserLLM
from userllm.context.trunk import Trunk, trunk_of
from userllm.context.work import Lengths, answer_flops, forward_flops, known_text_flops
from userllm.encoder.memory import UserMemory
from userllm.errors import UserError
from userllm.task import known_text, likelihood, scorer
from userllm.task.answers import AnswerTokens
from userllm.task.known_text import KnownTexts
from userllm.task.protocol import Softmax
from userllm.task.scorer import ItemScorer, TitleScorer
from userllm.task.trie import Trie
from userllm.tuning.lora import Lora

END = 2
TITLES = [[5, 6, 7], [5, 6], [5, 9, 9, 4], [8], [8, 8], [10, 11], [30, 31, 32, 33]]
KINDS = {"none": {}, "gated": {"layers": 1}, "plain": {"layers": 2}, "literal": {"layers": 1}}


def frozen(kind: str, family: str) -> UserLLM:
    model = make_model(kind, family, **KINDS[kind])
    model.lm.requires_grad_(False)
    return model


def adapted(family: str, layers: int) -> UserLLM:
    """Return a model whose upper blocks have updates, trained a little."""
    model = make_model("gated", family, **KINDS["gated"])
    Lora(rank=2, alpha=4, dropout=0.0, targets=None, layers=layers).apply(model)
    for name, parameter in model.lm.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def scorers(softmax: Softmax = "vocabulary") -> list[TitleScorer]:
    answers = AnswerTokens(sequences=TITLES, end=END, softmax=softmax)
    return [TitleScorer(answers=answers, beams=beams) for beams in (None, 2)]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (known_text, likelihood, scorer):
        monkeypatch.setattr(module, "PIECE", 3)


@pytest.fixture
def prompts() -> TokenBatch:
    """Return three prompts, two of which are the same."""
    ids = token_rows(3, 7)
    ids[2] = ids[0]
    return left_padded(ids, [7, 4, 7])


def test_what_is_read_first_under_mixed_precision_is_what_scoring_would_read(
    prompts: TokenBatch,
) -> None:
    model, nodes = frozen("gated", "llama").eval(), torch.arange(3).expand(3, -1)
    model.trunk = trunk_of(model.lm, model.context)
    answers = AnswerTokens(sequences=TITLES, end=END, softmax="vocabulary")
    mixed, plain = KnownTexts(answers.trie), KnownTexts(answers.trie)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained = mixed.read(model, prompts)
        trained.nodes(nodes)
    scored, expected = mixed.read(model, prompts), plain.read(model, prompts)
    assert torch.equal(scored.prompt(), expected.prompt())
    assert torch.equal(scored.nodes(nodes), expected.nodes(nodes))


def test_what_was_read_on_one_device_is_read_again_on_another(
    prompts: TokenBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = frozen("gated", "llama").eval()
    model.trunk = trunk_of(model.lm, model.context)
    texts, made = KnownTexts(Trie(TITLES)), []

    class Noted(known_text.KnownText):
        def read(self, prompt: TokenBatch) -> None:
            made.append((self, prompt.ids_BT.device.type))

    monkeypatch.setattr(known_text, "KnownText", Noted)
    for device in ("cpu", "meta", "meta", "cpu"):
        texts.read(model, prompts.to(device))
    assert [where for _, where in made] == ["cpu", "meta", "meta", "cpu"]
    assert len({text for text, _ in made}) == 3


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("kind", ["none", "gated", "plain", "updates above"])
def test_rankings_and_gradients_are_those_of_reading_everything(
    kind: str, family: str, prompts: TokenBatch
) -> None:
    model = adapted(family, 1) if kind == "updates above" else frozen(kind, family)
    labels = torch.tensor([2, 0, 6])

    def results() -> tuple[list[Tensor], list[Tensor]]:
        memory = model.read_user(histories([4, 2, 3]))
        with torch.inference_mode():
            scores = [one.scores(model, memory, prompts) for one in scorers()]
        model.zero_grad()
        loss = scorers()[0].loss(model, memory, prompts, labels)
        if loss.requires_grad:
            loss.backward()
        grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        return [*scores, loss.detach()], grads

    expected = results()
    model.trunk = trunk_of(model.lm, model.context)
    assert model.trunk is not None
    got = results()
    assert kind == "none" or got[1]
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_updates_below_the_user_leave_no_trunk() -> None:
    model = adapted("llama", 2)
    assert trunk_of(model.lm, model.context) is None
    with pytest.raises(UserError, match=r"tuning\.layers=4: the language model has 3 blocks"):
        adapted("llama", 4)


@pytest.mark.parametrize("softmax", ["vocabulary", "catalogue", "siblings"])
def test_the_trunk_runs_once_for_each_text(
    softmax: Softmax, prompts: TokenBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = frozen("gated", "llama")
    model.trunk = trunk_of(model.lm, model.context)
    rows = []
    states = Trunk.states

    def counted(trunk: Trunk, **inputs: Tensor) -> Tensor:
        rows.append(inputs["input_ids"].shape[1])
        return states(trunk, **inputs)

    monkeypatch.setattr(Trunk, "states", counted)
    exhaustive, beam = scorers(softmax)
    for seed in (1, 2):
        with torch.inference_mode():
            memory = model.read_user(histories([4, 2, 3], seed))
            exhaustive.scores(model, memory, prompts)
            beam.scores(model, memory, prompts)
        memory = model.read_user(histories([4, 2, 3], seed))
        exhaustive.loss(model, memory, prompts, torch.tensor([0, 1, 2]))
    trie = exhaustive.answers.trie
    pieces = [len(piece.nodes_C) for piece in trie.pieces(3)]
    assert sorted(rows) == sorted([7, 4, *pieces, *pieces])


def test_lower_blocks_do_not_run_above_known_text(prompts: TokenBatch) -> None:
    model = frozen("gated", "llama")
    model.trunk = trunk_of(model.lm, model.context)
    ranker = scorers()[0]
    with torch.inference_mode():
        memory = model.read_user(histories([4, 2, 3]))
        first = ranker.scores(model, memory, prompts)
        for block in model.lm.model.layers[: model.trunk.blocks]:
            block.mlp.forward = None  # Whoever calls it fails.
        assert torch.equal(ranker.scores(model, memory, prompts), first)


def test_item_scores_start_above_the_trunk_too(prompts: TokenBatch) -> None:
    model = frozen("gated", "llama")
    table_IE = torch.randn(9, BagEncoder.width)
    model.item_head = ItemHead(text_dim=32, table_IE=table_IE, bias_I=torch.zeros(9), skip=False)
    ranker = ItemScorer()
    with torch.no_grad():
        memory = model.read_user(histories([4, 2, 3]))
        expected = ranker.scores(model, memory, prompts)
        model.trunk = trunk_of(model.lm, model.context)
        torch.testing.assert_close(ranker.scores(model, memory, prompts), expected)
        model.lm.model.layers[0].mlp.forward = None
        torch.testing.assert_close(ranker.scores(model, memory, prompts), expected)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("gated", {}), ("soft_prompt", {}), ("hybrid", {"layers": 1})],
)
def test_what_the_user_reaches_from_below_is_read_anew(kind: str, changes: dict) -> None:
    model = make_model(kind, "llama", **changes)
    model.lm.requires_grad_(False)
    assert trunk_of(model.lm, model.context) is None


@pytest.mark.parametrize("part", ["model.embed_tokens", "model.layers.0"])
def test_a_trunk_that_learns_is_read_anew(part: str) -> None:
    model = frozen("gated", "llama")
    model.lm.get_submodule(part).requires_grad_(True)
    assert trunk_of(model.lm, model.context) is None


def test_dropout_of_a_language_model_in_training_is_not_frozen_in(prompts: TokenBatch) -> None:
    model = frozen("gated", "gpt2")
    model.trunk = trunk_of(model.lm, model.context)
    texts = KnownTexts(Trie([[*title, END] for title in TITLES]))
    assert texts.read(model, prompts) is not None
    model.train()
    assert texts.read(model, prompts) is None


def test_states_stay_in_the_number_type_of_the_language_model(prompts: TokenBatch) -> None:
    model = frozen("gated", "llama")
    model.lm.to(torch.bfloat16)
    model.trunk = trunk_of(model.lm, model.context)
    known = KnownTexts(Trie([[*title, END] for title in TITLES])).read(model, prompts)
    assert known.prompt().dtype == torch.bfloat16
    assert known.nodes(torch.zeros(3, 1, dtype=torch.long)).dtype == torch.bfloat16


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize("softmax", ["vocabulary", "siblings"])
def test_closed_forms_equal_the_counter_above_the_trunk_and_in_it(
    softmax: Softmax, family: str
) -> None:
    model = frozen("gated", family)
    ranker, prompt = scorers(softmax)[0], left_padded(token_rows(1, 7), [7])

    def counted(memory: UserMemory) -> int:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            ranker.scores(model, memory, prompt)
        return counter.get_total_flops()

    def closed(known: bool) -> float:
        lengths = Lengths(4.0, 7.0, 0.0, 1.0, tokens=ranker.choices, known=known)
        parts = forward_flops(model, lengths)
        answers = [answer_flops(model, lengths, *one) for one in ranker.extensions()]
        # The encoder has worked already, and a memory that is asked again keeps its keys.
        return parts["reading"] + parts["blocks"] + parts["head"] + sum(answers)

    with torch.no_grad():
        memory = model.read_user(histories([4]))
        counted(memory)
        assert counted(memory) == closed(known=False)
        model.trunk = trunk_of(model.lm, model.context)
        first, later = counted(memory), counted(memory)
    assert later == closed(known=True) < closed(known=False)
    assert first - later == known_text_flops(model, np.array([7.0]), ranker.known_passes())
