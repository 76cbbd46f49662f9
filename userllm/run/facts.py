"""What is known of a question besides how it was answered: for views of a comparison by it."""

import numpy as np

from userllm.data.corpus import Corpus
from userllm.data.split import Split
from userllm.encoder.popularity import events_of_targets
from userllm.task.protocol import Ints


def question_facts(corpus: Corpus, split: Split, users: Ints, cuts: Ints) -> dict[str, Ints]:
    """Return the columns of ``per_user.parquet`` that views are cut by, one entry per question.

    Events before the cut, training events of the item at the cut (0 is an unseen item), training
    events of the user.
    """
    return {
        "history_length": cuts,
        "target_events": events_of_targets(corpus, split, users, cuts),
        "training_events": np.asarray(split.train_end)[users],
    }
