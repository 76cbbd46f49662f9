"""Training batches of several exams in turn, as a pure function of (seed, number).

Shape suffixes: K batches, X exams.
"""

from collections.abc import Sequence

import numpy as np

from userllm.data.hashing import uniform
from userllm.errors import UserError
from userllm.task.batch import QuestionBatch
from userllm.task.exam import Exam
from userllm.task.protocol import Ints, Questions, Values
from userllm.training.batches import EpochBatches

TURN = 0x7042


class MixedBatches:
    """Batch k belongs to one exam, drawn in proportion to the weights by a hash of seed and k.

    So every process of a run and every resumed run finds the same exam under the same number, and
    each exam goes through shuffled epochs of its own questions.

    Args:
        exams: What is trained on.
        questions: Training questions of each exam.
        batch_size: Questions of a batch; fewer where an exam has fewer.
        seed: Decides the turns and the order of the questions.
        group_by_length: Whether histories of like length share a batch.

    Raises:
        UserError: An exam that should be trained on has no questions.
    """

    def __init__(
        self,
        *,
        exams: Sequence[Exam],
        questions: Sequence[Questions],
        batch_size: int,
        seed: int,
        group_by_length: bool,
    ) -> None:
        self.exams, self.seed = list(exams), seed
        weights_X = np.array([exam.weight for exam in exams])
        self.share_X = weights_X / weights_X.sum()
        for exam, asked in zip(exams, questions, strict=True):
            if exam.weight and not len(asked):
                raise UserError(
                    f"task={exam.subject.name}: no training questions in "
                    f"{exam.reader.corpus.folder}. Expected users with more events; lower "
                    "task.min_history or give more data."
                )
        self.sizes = [min(batch_size, len(asked)) for asked in questions]
        self.batches = [
            EpochBatches(
                lambda _, asked=asked: [asked.users, asked.cuts],  # type: ignore[misc]
                batch_size=size,
                seed=seed,
                lengths=(lambda columns: columns[1]) if group_by_length else None,
            )
            for asked, size in zip(questions, self.sizes, strict=True)
        ]
        self._exam_K = self._place_K = np.zeros(0, dtype=np.int64)

    def __call__(self, number: int) -> QuestionBatch:
        """Return one batch; it knows the number of its exam."""
        exam, users, cuts = self.rows(number)
        batch = self.exams[exam].reader(users, cuts)
        batch.exam = exam
        return batch

    def rows(self, number: int) -> tuple[int, Ints, Ints]:
        """Return the exam of a batch, its users and its cuts."""
        exam = int(self._turns(number + 1)[number])
        users, cuts = self.batches[exam](int(self._place_K[number]))
        return exam, users, cuts

    def weights(self, numbers: Sequence[int]) -> Values:
        """Return how much the parts of one step count: as much as they have targets, by exam."""
        exam_K, target_K = map(np.array, zip(*map(self._targets, numbers), strict=True))
        weights_K: Values = target_K.astype(np.float64)
        for exam in set(exam_K.tolist()):
            weights_K[exam_K == exam] /= weights_K[exam_K == exam].mean()
        return weights_K

    def _targets(self, number: int) -> tuple[int, float]:
        """Return the exam of a batch, and of how many targets its loss is the mean."""
        number, users, cuts = self.rows(number)
        exam = self.exams[number]
        labels = exam.subject.labels(exam.reader.corpus, users, cuts)
        tokens = float(np.sum(exam.training_lengths(labels)[0]))
        # Without tokens, items are ranked: one target a question.
        return number, tokens or float(len(users))

    def counts(self, total: int) -> Ints:
        """Return how many of the first ``total`` batches belong to each exam, [X]."""
        return np.bincount(self._turns(total), minlength=len(self.exams))

    def _turns(self, total: int) -> Ints:
        """Return the exam of each of the first batches, [K]; note its place among that exam's."""
        if total > len(self._exam_K):
            number_K = np.arange(max(total, 2 * len(self._exam_K)))
            # An exam of weight 0 has no room between two bounds.
            bounds_X = np.cumsum(self.share_X)[:-1]
            draws_K = uniform(self.seed, TURN, number_K)
            self._exam_K = np.searchsorted(bounds_X, draws_K, side="right")
            self._place_K = np.zeros_like(self._exam_K)
            for exam in range(len(self.exams)):
                mine_K = self._exam_K == exam
                self._place_K[mine_K] = np.arange(mine_K.sum())
        return self._exam_K[:total]
