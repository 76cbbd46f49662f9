"""The user's recent events written into the prompt, the paper's TP baseline (§6)."""

from userllm.context.none import NoMemory


class TextPrompt(NoMemory):
    """Write the last events as text; no encoder, no memory.

    Args:
        text_events: How many of the last events are written, oldest first.
    """

    def __init__(self, *, text_events: int) -> None:
        super().__init__()
        if text_events < 1:
            raise ValueError(f"text_events ({text_events}) must be at least 1; context=none is 0")
        self.text_events = text_events
