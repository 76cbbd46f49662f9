"""A summary of the history written into the prompt, the paper's TS baseline (§6)."""

from userllm.context.none import NoMemory
from userllm.summarizer.protocol import Summarizer


class TextSummary(NoMemory):
    """Write a summary of the history instead of its events; no encoder, no memory.

    Args:
        summarizer: Who writes the summary, an option of the ``summarizer`` group.
    """

    def __init__(self, *, summarizer: Summarizer) -> None:
        super().__init__()
        self.summarizer = summarizer
