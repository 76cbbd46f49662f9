"""What a stored text prompt loses once its window slides: early positions, and early readers.

When the oldest events leave the window, a prompt that is written anew moves the others to the
front and reads them alone. A stored one cannot: its keys keep their positions and have read what
is gone. Both answer the same questions about the same users here.

Shape suffixes: B batch, T text tokens, A answers.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from userllm.context.model import TokenBatch, UserLLM
from userllm.data.progress import track
from userllm.data.vocabulary import FIRST_ID
from userllm.errors import UserError
from userllm.metric.interval import interval, paired_difference
from userllm.metric.ranking import rank_of_target
from userllm.run.assembly import Assembly
from userllm.run.stored_prompt import (
    StoredPrompt,
    last_state,
    question_lengths,
    read_behind,
    split_question,
    store,
)
from userllm.task.batch import QuestionReader
from userllm.task.beam import beam_scores
from userllm.task.exam import Exam
from userllm.task.likelihood import exhaustive_scores
from userllm.task.prompt import PromptWriter
from userllm.task.protocol import Ints, Questions
from userllm.task.ranking import RankingExam
from userllm.task.scorer import TitleScorer


def sliding_cost(
    assembly: Assembly,
    exam: Exam,
    asked: Questions,
    *,
    dropped: int,
    batch_size: int,
    device: torch.device,
) -> dict[str, Any]:
    """Return every metric with the window written anew, and with the stored one slid.

    Args:
        assembly: A text prompt's model.
        exam: What it is asked.
        asked: Of whom; only users with more events than the window holds are asked.
        dropped: How many events came, and left the window, since the prompt was stored.
        batch_size: Questions scored at once.
        device: Where the model is.

    Raises:
        UserError: The method stores no text, answers are not ranked, or nobody's window slides.
    """
    slider = Slider(assembly, exam, dropped=dropped)
    enough = np.flatnonzero(asked.cuts > slider.window)
    if not len(enough):
        raise UserError(
            f"slide={dropped}: nobody has more than the {slider.window} events that are written. "
            "Expected users with longer histories; type a smaller context.text_events."
        )
    users, cuts = asked.users[enough], asked.cuts[enough]
    ranks = {"fresh": np.zeros(len(users), np.int64), "stored": np.zeros(len(users), np.int64)}
    # Rows of a batch have questions of one length: sliding-window models count columns.
    lengths = question_lengths(slider.short, users, cuts)
    order = np.lexsort((cuts, lengths))
    breaks = np.flatnonzero(np.diff(lengths[order])) + 1
    parts = [
        group[first : first + batch_size]
        for group in np.split(order, breaks)
        for first in range(0, len(group), batch_size)
    ]
    for rows in track(parts, "sliding the window", len(parts)):
        for name, prompt in slider.prompts(users[rows], cuts[rows], device).items():
            ranks[name][rows] = slider.ranks(prompt, users[rows], cuts[rows])
    values = {name: slider.exam.subject.metrics(found) for name, found in ranks.items()}
    return {
        "window_events": slider.window,
        "dropped_events": dropped,
        "n": len(users),
        "metrics": {
            metric: {
                "fresh": interval(fresh).as_dict(),
                "stored": interval(values["stored"][metric]).as_dict(),
                "change": paired_difference(values["stored"][metric], fresh).as_dict(),
            }
            for metric, fresh in values["fresh"].items()
        },
    }


@dataclass(frozen=True)
class Window:
    """A window of events that was read, and the question that is asked behind it."""

    stored: StoredPrompt
    question: TokenBatch
    skipped_B: Tensor


class Slider:
    """Reads windows anew and as they were stored, and ranks answers behind them.

    Args:
        assembly: A text prompt's model.
        exam: What it is asked.
        dropped: How many events the stored prompt begins before the window.
    """

    def __init__(self, assembly: Assembly, exam: Exam, *, dropped: int) -> None:
        material = assembly.material
        if not material.text_events or assembly.model.context.reads_memory:
            raise UserError(
                "slide= is about text prompts that are stored: expected a run of "
                "context=text_prompt"
            )
        if not isinstance(exam, RankingExam):
            raise UserError(
                f"slide=: task={exam.subject.name} writes its answers. Expected a task that ranks "
                "them: next_item or favorite_category"
            )
        self.model, self.exam, self.window = assembly.model, exam, material.text_events
        self.short: PromptWriter = exam.reader.writer
        longer = replace(material, text_events=material.text_events + dropped)
        self.long = QuestionReader(longer, exam.subject).writer

    def prompts(self, users: Ints, cuts: Ints, device: torch.device) -> dict[str, Window]:
        """Return both ways to have read the last events of some users."""
        with torch.inference_mode():
            return {
                "fresh": self._read(self.short, users, cuts, device),
                "stored": self._slid(users, cuts, device),
            }

    def ranks(self, prompt: Window, users: Ints, cuts: Ints) -> Ints:
        """Return the rank of each true answer behind a window."""
        with torch.inference_mode():
            scores_BA = self.scores(prompt).float().cpu()
        corpus = self.exam.material.corpus
        seen = self.exam.subject.seen(corpus, users, cuts)
        labels_B = torch.from_numpy(self.exam.subject.labels(corpus, users, cuts))
        seen_BA = None if seen is None else torch.from_numpy(seen)
        ranks: Ints = rank_of_target(scores_BA, labels_B, seen_BA).numpy()
        return ranks

    def scores(self, prompt: Window) -> Tensor:
        """Return one score per answer ``[B, A]``, as the exam's own scorer would."""
        ranker = self.exam.ranker
        if not isinstance(ranker, TitleScorer):
            head = self.model.item_head
            assert head is not None
            state_BD = last_state(self.model, prompt.stored, prompt.question)
            return cast(Tensor, head(state_BD, None))[:, FIRST_ID:]
        tokens_V = ranker.answers.tokens_V
        prefill = read_behind(self.model, prompt.stored, prompt.question, tokens_V=tokens_V)
        model = cast(UserLLM, _Later(self.model, prompt.skipped_B, self._front))
        if ranker.beams is None:
            return exhaustive_scores(model, prefill, ranker.answers, None)
        return beam_scores(model, prefill, ranker.answers, ranker.beams, None)

    def _read(self, writer: PromptWriter, users: Ints, cuts: Ints, device: torch.device) -> Window:
        prompt = writer(users, cuts).to(device)
        about, question = split_question(writer, prompt, users, cuts)
        stored = store(self.model, about)
        return Window(stored, question, torch.zeros_like(stored.next_B))

    def _slid(self, users: Ints, cuts: Ints, device: torch.device) -> Window:
        """Return a longer prompt of which the first events are hidden, heading and rest kept."""
        whole = self._read(self.long, users, cuts, device)
        kept_B = self.short(users, cuts).mask_BT.sum(dim=1)
        skipped_B = (self.long(users, cuts).mask_BT.sum(dim=1) - kept_B).to(device)
        mask_BS = whole.stored.mask_BS
        columns = mask_BS.shape[1]
        first_B = columns - mask_BS.sum(dim=1) + self._front
        at_BS = torch.arange(columns, device=device)[None] - first_B[:, None]
        hidden_BS = (at_BS >= 0) & (at_BS < skipped_B[:, None])
        return Window(whole.stored.without(hidden_BS), whole.question, skipped_B)

    @property
    def _front(self) -> int:
        """Tokens in front of the first event."""
        return int(self.long.table.lengths[[0, self.long.heading]].sum())


class _Later:
    """A model whose answers stand behind positions that are hidden.

    Scorers count the positions that are seen; behind a slid window there are as many more as
    were dropped.
    """

    def __init__(self, model: UserLLM, skipped_B: Tensor, front: int) -> None:
        self.model, self.skipped_B1, self.front = model, skipped_B[:, None], front

    def extend(
        self,
        cache: Any,
        ids_BT: Tensor,
        mask_B1TS: Tensor,
        at_BT: Tensor,
        keys_at_BS: Tensor,
        **more: Any,
    ) -> Tensor:
        """Return the model's logits, with positions as they would be if nothing was hidden."""
        keys_at_BS = keys_at_BS + self.skipped_B1 * (keys_at_BS >= self.front)
        return self.model.extend(
            cache, ids_BT, mask_B1TS, at_BT + self.skipped_B1, keys_at_BS, **more
        )
