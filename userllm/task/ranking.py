"""Ask a model every question and keep where the truth ranked and what was ranked first.

Shape suffixes: B batch, Q questions, A answers, K best answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from userllm.context.model import UserLLM
from userllm.data.progress import track
from userllm.metric.ranking import rank_of_target
from userllm.task.batch import QuestionReader
from userllm.task.beam import top_overlap
from userllm.task.protocol import Ints, Questions
from userllm.task.scorer import Scorer, TitleScorer

KEPT = 10


@dataclass(frozen=True)
class Ranked:
    """Per question: the rank of the true answer, and the best answers with the truth.

    Attributes:
        ranks_Q: Rank of the true answer, 1 is best; ties count against the method.
        best_QK: Numbers of the best answers.
        labels_Q: Numbers of the true answers.
    """

    ranks_Q: Ints
    best_QK: Ints
    labels_Q: Ints


def rank_questions(
    model: UserLLM,
    scorer: Scorer,
    reader: QuestionReader,
    asked: Questions,
    *,
    batch_size: int,
    device: torch.device,
) -> Ranked:
    """Score every answer of every question and rank the truth, without gradients."""
    model.eval()
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    batches = list(chunks(len(asked), batch_size))
    for first, last in track(batches, "asking users", len(batches)):
        users, cuts = asked.users[first:last], asked.cuts[first:last]
        batch = reader(users, cuts).to(device)
        with torch.inference_mode():
            scores_BA = scorer.scores(model, model.read_user(batch.events), batch.prompt)
        seen = reader.task.seen(reader.corpus, users, cuts)
        rows.append(_rank(scores_BA.cpu(), batch.labels_B.cpu(), seen))
    ranks, best, labels = (torch.cat(column).numpy() for column in zip(*rows, strict=True))
    return Ranked(ranks, best, labels)


def rank_scores(scores_QA: NDArray[np.float64], reader: QuestionReader, asked: Questions) -> Ranked:
    """Rank scores that need no model, by the same rules."""
    labels = reader.task.labels(reader.corpus, asked.users, asked.cuts)
    seen = reader.task.seen(reader.corpus, asked.users, asked.cuts)
    ranks, best, kept = _rank(torch.from_numpy(scores_QA), torch.from_numpy(labels), seen)
    return Ranked(ranks.numpy(), best.numpy(), kept.numpy())


def beam_overlap(
    model: UserLLM,
    scorer: TitleScorer,
    reader: QuestionReader,
    asked: Questions,
    *,
    device: torch.device,
) -> NDArray[np.float64]:
    """Return, per question, the share of the exhaustive top 10 that the beam found."""
    model.eval()
    exhaustive = TitleScorer(answers=scorer.answers, beams=None)
    shares = []
    for row in track(range(len(asked)), "comparing beams with exhaustive scoring", len(asked)):
        batch = reader(asked.users[row : row + 1], asked.cuts[row : row + 1]).to(device)
        with torch.inference_mode():
            memory = model.read_user(batch.events)
            found = scorer.scores(model, memory, batch.prompt)
            exact = exhaustive.scores(model, memory, batch.prompt)
        shares.append(top_overlap(found, exact, KEPT))
    return np.array(shares)


def chunks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of consecutive pieces."""
    for first in range(0, total, size):
        yield first, min(first + size, total)


def _rank(
    scores_BA: Tensor, labels_B: Tensor, seen: np.ndarray | None
) -> tuple[Tensor, Tensor, Tensor]:
    seen_BA = None if seen is None else torch.from_numpy(seen)
    if seen_BA is not None:
        scores_BA = scores_BA.masked_fill(seen_BA, -torch.inf)
    best_BK = scores_BA.topk(min(KEPT, scores_BA.shape[1]), dim=1).indices
    return rank_of_target(scores_BA, labels_B), best_BK, labels_B
