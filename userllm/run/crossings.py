"""Where text becomes dearer than user vectors, and what the paper's own prompts cost.

Shape suffix: N values that are tried.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from userllm.context.model import UserLLM
from userllm.context.work import Lengths
from userllm.cost.crossover import Values, crossover
from userllm.cost.flops import Count
from userllm.run.assumptions import PAPER_AMAZON
from userllm.run.question_work import Asking, Kept, question_flops

SIDES: tuple[tuple[str, Kept, Kept], ...] = (
    ("read", "nothing", "nothing"),
    ("stored", "prompt", "keys and values"),
)
"""Name of a comparison, what is stored of a text prompt, and of cross-attention."""

HISTORIES = np.unique(np.concatenate([np.linspace(0, 4, 401), np.arange(4.0, 2001.0)]))
EVENT_TOKENS = np.unique(np.concatenate([np.linspace(0, 4, 401), np.linspace(4, 64, 601)]))
"""Where crossovers are looked for."""


@dataclass(frozen=True)
class Words:
    """How long texts are.

    Attributes:
        events: Mean events of a history.
        question: Tokens of a prompt without its history.
        event: Tokens of an event.
        source: Where these come from.
    """

    events: float
    question: float
    event: float
    source: str


def asking_without_data(
    model: UserLLM, events: Count, question: Count, event: Count, answer: int
) -> Asking:
    """Return a question about so many events, some of them written out."""
    written = np.minimum(events, model.context.text_events)
    lengths = Lengths(
        events=events, prompt=question + written * event, answer=0.0, logits=1.0, known=True
    )
    return Asking(lengths, question, event, float(answer))


def crossovers(text: UserLLM, memory: UserLLM, words: Words) -> dict[str, Any]:
    """Return below which history, and below how many tokens per event, text costs less.

    Once with histories read for every question, once with all that can be stored of them.
    """
    found: dict[str, Any] = {"event_tokens": words.event, "events": words.events}
    # Closed forms write out as many events as the context may.
    text.context.text_events = int(HISTORIES[-1])
    for name, left, right in SIDES:
        pairs: dict[str, tuple[Values, Count, Count]] = {
            "events": (HISTORIES, HISTORIES, words.event),
            "event_tokens": (EVENT_TOKENS, words.events, EVENT_TOKENS),
        }
        for what, (at_N, events, event) in pairs.items():
            one, other = (
                prefill_flops(
                    model, asking_without_data(model, events, words.question, event, 1), kept
                )
                for model, kept in ((text, left), (memory, right))
            )
            found[f"{name}_{what}"] = crossover(at_N, one + 0.0 * at_N, other + 0.0 * at_N)
    return found


def prefill_flops(model: UserLLM, asking: Asking, kept: Kept) -> Count:
    """Return the FLOPs from a question to the first logits of its answer."""
    return sum(question_flops(model, asking, kept).values())


def figure_3(text: UserLLM, memory: UserLLM) -> dict[str, Any]:
    """Return the FLOPs of the paper's prompts on Amazon, 50 events each."""
    flops = {}
    for name, tokens in PAPER_AMAZON.items():
        model = memory if name == "User-LLM" else text
        lengths = Lengths(events=50.0, prompt=float(tokens), answer=0.0, logits=1.0)
        flops[name] = float(prefill_flops(model, Asking(lengths, tokens, 0.0, 1.0), "nothing"))
    return {"flops": flops, "tokens": dict(PAPER_AMAZON)}
