"""Questions put to one method as a service would, with something stored of its users or nothing.

Shape suffixes: B batch, T text tokens, S cached positions, V vocabulary or the chosen tokens of it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from userllm.context.model import Prefill, TokenBatch, UserLLM
from userllm.context.places import positions
from userllm.cost.latency import now
from userllm.encoder.memory import UserMemory
from userllm.run.question_work import Kept
from userllm.run.stored_prompt import StoredPrompt, read_behind, split_question, store
from userllm.task.answers import AnswerTokens
from userllm.task.batch import QuestionBatch
from userllm.task.exam import Exam
from userllm.task.known_text import KnownBatch, KnownTexts
from userllm.task.protocol import Ints, Questions
from userllm.task.ranking import RankingExam
from userllm.task.scorer import TitleScorer
from userllm.task.trie import Trie


@dataclass(frozen=True)
class _Ready:
    """Questions of some users, and what is stored of them."""

    batch: QuestionBatch
    question: TokenBatch
    stored: UserMemory | StoredPrompt | None


class Serving:
    """Answers questions of users whose histories are long enough to be told about.

    What is written is always the same, so that methods and what they store can be compared token
    by token: which token is read costs the same. The likeliest one is looked up all the same, of
    those that :func:`next_tokens` gives, whatever the method.

    Args:
        model: Who is asked; in evaluation mode.
        exam: Reads questions.
        asked: Whom.
        kept: What is stored of the users.
        tokens: How many tokens an answer has.
        device: Where the model is.
    """

    def __init__(
        self,
        *,
        model: UserLLM,
        exam: Exam,
        asked: Questions,
        kept: Kept,
        tokens: int,
        device: torch.device,
    ) -> None:
        self.model, self.exam, self.asked = model, exam, asked
        self.kept, self.device = kept, device
        self.tokens_V = next_tokens(exam)
        self.answer_T = self._fixed_answer(tokens)
        # Answers that are not known in advance leave nothing to read in advance either.
        repeats = exam.known_passes is not None
        self._texts = KnownTexts(Trie([self.answer_T.tolist()])) if repeats else None
        self._ready: dict[bytes, _Ready] = {}

    def get_ready(self, rows: Ints) -> None:
        """Make what is stored of these users, and what the trunk reads once for all users.

        Closed forms leave the trunk's reading of texts that repeat out, and so do times.
        """
        with torch.inference_mode():
            ready = self._of(rows)
            known = self._known(ready.batch.prompt)
            if known is not None:
                known.nodes(torch.arange(len(self.answer_T)).expand(len(rows), -1))
            if self.kept == "keys and values":
                last = TokenBatch(
                    ready.batch.prompt.ids_BT[:, -1:], ready.batch.prompt.mask_BT[:, -1:]
                )
                self.model.prefill(self._memory(ready), last)

    def prefill(self, rows: Ints) -> Prefill:
        """Read gathered questions up to the first logits of the answers."""
        with torch.inference_mode():
            return self._prefill(self._of(rows))[0]

    def first(self, rows: Ints) -> Tensor:
        """Return the first tokens ``[B]``; the questions are gathered and written out here."""
        with torch.inference_mode():
            return self._prefill(self._gathered(rows))[0].logits_BV.argmax(1)

    def answer(self, rows: Ints) -> Tensor:
        """Return the logits ``[B, V]`` of the last token of whole answers."""
        with torch.inference_mode():
            return self._write(*self._prefill(self._gathered(rows)))

    def answer_timed(self, rows: Ints) -> list[float]:
        """Answer, and return the seconds of the prefill in it."""
        with torch.inference_mode():
            ready = self._gathered(rows)
            began = now(self.device)
            prefill, known = self._prefill(ready)
            seconds = now(self.device) - began
            self._write(prefill, known)
        return [seconds]

    def _gathered(self, rows: Ints) -> _Ready:
        return replace(self._gather(rows), stored=self._of(rows).stored)

    def _prefill(self, ready: _Ready) -> tuple[Prefill, KnownBatch | None]:
        if isinstance(ready.stored, StoredPrompt):
            behind = read_behind(self.model, ready.stored, ready.question, tokens_V=self.tokens_V)
            return behind, None
        prompt = ready.batch.prompt
        known = self._known(prompt)
        above_BSD = None if known is None else known.prompt()
        prefill = self.model.prefill(
            self._memory(ready), prompt, tokens_V=self.tokens_V, above_BSD=above_BSD
        )
        return prefill, known

    def _known(self, prompt: TokenBatch) -> KnownBatch | None:
        return None if self._texts is None else self._texts.read(self.model, prompt)

    def _memory(self, ready: _Ready) -> UserMemory | None:
        if not isinstance(ready.stored, UserMemory):
            return self.model.read_user(ready.batch.events)
        # The blocks keep what they made of an object; of its copy they make it again.
        return ready.stored if self.kept == "keys and values" else replace(ready.stored)

    def _write(self, prefill: Prefill, known: KnownBatch | None) -> Tensor:
        """Return the last logits, all tokens of the answer but the last one being read."""
        read, logits_BV = prefill.mask_BS.shape[1], prefill.logits_BV
        mask_BS = F.pad(prefill.mask_BS, (0, len(self.answer_T) - 1), value=True)
        at_BS = positions(mask_BS)
        for number, token in enumerate(self.answer_T[:-1].tolist()):
            logits_BV.argmax(dim=1)
            seen = read + number + 1
            at_B1 = at_BS[:, seen - 1 : seen]
            ids_B1 = torch.full_like(at_B1, token)
            logits_BTV = self.model.extend(
                prefill.cache,
                ids_B1,
                mask_BS[:, None, None, :seen],
                at_B1,
                at_BS[:, :seen],
                tokens_V=self.tokens_V,
                above_BSD=None if known is None else known.nodes(torch.full_like(ids_B1, number)),
            )
            logits_BV = logits_BTV[:, -1]
        return logits_BV

    def _of(self, rows: Ints) -> _Ready:
        key = rows.tobytes()
        if key not in self._ready:
            self._ready[key] = self._stored(self._gather(rows), rows)
        return self._ready[key]

    def _gather(self, rows: Ints) -> _Ready:
        users, cuts = self.asked.users[rows], self.asked.cuts[rows]
        batch = self.exam.reader(users, cuts).to(self.device)
        if self.kept != "prompt":
            return _Ready(batch, batch.prompt, None)
        _, question = split_question(self.exam.reader.writer, batch.prompt, users, cuts)
        return _Ready(batch, question, None)

    def _stored(self, ready: _Ready, rows: Ints) -> _Ready:
        if self.kept == "nothing":
            return ready
        if self.kept == "prompt":
            users, cuts = self.asked.users[rows], self.asked.cuts[rows]
            writer = self.exam.reader.writer
            about, _ = split_question(writer, ready.batch.prompt, users, cuts)
            return replace(ready, stored=store(self.model, about))
        return replace(ready, stored=self.model.read_user(ready.batch.events))

    def _fixed_answer(self, tokens: int) -> Ints:
        """Return the beginning of the longest answer there is, or of the question."""
        answers = closed_list(self.exam)
        if answers is not None:
            longest = int(answers.table.lengths.argmax())
            ids_T = answers.table.rows(np.array([longest])).ids_BT[0]
        else:
            rows = np.zeros(1, dtype=np.int64)
            prompt = self.exam.reader(self.asked.users[rows], self.asked.cuts[rows]).prompt
            ids_T = prompt.ids_BT[0, -tokens:]
        return np.resize(ids_T.cpu().numpy(), tokens)


def closed_list(exam: Exam) -> AnswerTokens | None:
    """Return the answers of an exam as tokens; None where they are no closed list of texts."""
    if isinstance(exam, RankingExam) and isinstance(exam.ranker, TitleScorer):
        return exam.ranker.answers
    return None


def next_tokens(exam: Exam) -> Tensor | None:
    """Return the tokens ``[V]`` among which the next one is chosen; None is the whole vocabulary.

    Who writes one of a closed list needs the logits of its tokens alone: the likeliest of them is
    the same as with all logits. Likelihoods over the vocabulary need all, so that rankings under
    ``task.softmax=vocabulary`` cost more.
    """
    answers = closed_list(exam)
    return None if answers is None else answers.possible_V
