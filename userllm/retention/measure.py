"""Perplexity and four-choice accuracy of a bare language model.

Nothing about a user is read: what is measured is the language model that a method leaves behind.
Full tuning can destroy it while every table about users looks well.

Shape suffixes: P passages, Q questions, C choices of each, N rows, T tokens, S all positions,
V vocabulary.
Source: SeqLLM (arXiv 2608.03063), where MMLU falls to chance after User-LLM's full tuning.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from userllm.retention.material import FourChoice, passages, questions
from userllm.training.record import evaluated

CHOICES = 4
BATCH = 15
LOGITS = 1 << 26
"""Logits of prose in memory at once; the rows of a batch follow from it."""


@dataclass(frozen=True)
class LanguageScores:
    """What was found, unit by unit, so that before and after can be paired.

    Attributes:
        surprise_P: Mean negative log-likelihood per token of each passage, in nats.
        right_Q: 1.0 where the right answer was the likeliest one of its question.
    """

    surprise_P: NDArray[np.float64]
    right_Q: NDArray[np.float64]


def score_language(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> LanguageScores:
    r"""Read the prose and answer the questions; weights and modes of all parts stay as they are.

    An answer's score is its log-likelihood per byte behind ``Question: …\nAnswer:``, so that long
    answers are not at a disadvantage and no model needs to know what a letter in a list means.
    """

    def measure() -> LanguageScores:
        surprise = list(_surprises(model, tokenizer, passages()))
        asked = questions()
        batches = [asked[at : at + BATCH] for at in range(0, len(asked), BATCH)]
        right = [row for batch in batches for row in _right(model, tokenizer, batch)]
        return LanguageScores(np.array(surprise), np.array(right))

    return evaluated(model, measure)


def _surprises(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> Iterator[float]:
    rows = [_with_start(tokenizer, text) for text in texts]
    size = max(1, LOGITS // (max(map(len, rows)) * _vocabulary(model)))
    for at in range(0, len(rows), size):
        ids_NT, mask_NT = _padded(rows[at : at + size], left=False, like=model)
        logits_NTV = model(input_ids=ids_NT, attention_mask=mask_NT, use_cache=False).logits
        chosen_NT = _chosen(logits_NTV[:, :-1], ids_NT[:, 1:])
        real_NT = mask_NT[:, 1:]
        yield from (-(chosen_NT * real_NT).sum(dim=1) / real_NT.sum(dim=1)).tolist()


def _right(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: list[FourChoice]
) -> list[float]:
    """Return 1.0 for each question whose right answer scores best; a tie is no answer."""
    prompts = [_with_start(tokenizer, f"Question: {one.question}\nAnswer:") for one in asked]
    options = [option for one in asked for option in one.options]
    answers = [_plain(tokenizer, f" {option}") for option in options]
    scores_N = _answer_scores(model, prompts, answers)
    scores_N /= torch.tensor([len(o.encode()) for o in options], device=scores_N.device)
    scores_QC = scores_N.view(-1, CHOICES)
    return (scores_QC[:, 0] > scores_QC[:, 1:].amax(dim=1)).double().tolist()


def _answer_scores(
    model: PreTrainedModel, prompts: list[list[int]], answers: list[list[int]]
) -> Tensor:
    """Return the log-likelihood of each answer, reading each prompt once for all its choices."""
    ids_QS, mask_QS = _padded(prompts, left=True, like=model)
    # Without a config the cache keeps every position, also for sliding windows.
    cache = DynamicCache()
    last_QV = model(
        input_ids=ids_QS,
        attention_mask=mask_QS,
        position_ids=_positions(mask_QS),
        cache=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    cache.batch_repeat_interleave(CHOICES)
    ids_NT, mask_NT = _padded(answers, left=False, like=model)
    mask_NS = torch.cat([mask_QS.repeat_interleave(CHOICES, dim=0), mask_NT], dim=1)
    logits_NTV = model(
        input_ids=ids_NT,
        attention_mask=mask_NS,
        position_ids=_positions(mask_NS)[:, -ids_NT.shape[1] :],
        cache=cache,
        use_cache=True,
    ).logits
    first_NV = last_QV.repeat_interleave(CHOICES, dim=0)
    before_NTV = torch.cat([first_NV[:, None], logits_NTV[:, :-1]], dim=1)
    return (_chosen(before_NTV, ids_NT) * mask_NT).sum(dim=1)


def _chosen(logits_NTV: Tensor, ids_NT: Tensor) -> Tensor:
    """Return the log-likelihood of each token."""
    logits_NTV = logits_NTV.float()
    picked_NT = logits_NTV.gather(2, ids_NT[:, :, None]).squeeze(2)
    return (picked_NT - logits_NTV.logsumexp(dim=2)).double()


def _with_start(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return token ids behind the start token, where the family has one."""
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    return start + _plain(tokenizer, text)


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _padded(rows: list[list[int]], *, left: bool, like: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Return ids and mask ``[N, T]`` on the model's device; padding is never attended to."""
    width = max(map(len, rows))
    ids_NT = torch.zeros(len(rows), width, dtype=torch.long)
    mask_NT = torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        part = slice(width - len(row), None) if left else slice(len(row))
        ids_NT[number, part] = torch.tensor(row)
        mask_NT[number, part] = 1
    return ids_NT.to(like.device), mask_NT.to(like.device)


def _positions(mask_NS: Tensor) -> Tensor:
    return (mask_NS.cumsum(dim=1) - 1).clamp(min=0)


def _vocabulary(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().vocab_size)
