"""The learning rate's course over a run.

Source: User-LLM (arXiv 2402.13598), table 7: cosine decay, linear warm-up over the first 10 %.
"""

import math


def warmup_cosine(step: int, *, steps: int, warmup: float) -> float:
    """Return the factor on the peak learning rate for one optimiser step.

    It climbs linearly to 1 at the last step of the warm-up and falls along half a cosine to 0
    at ``steps``, which is one past the last step taken.

    Args:
        step: Number of optimiser steps already taken.
        steps: Length of the run.
        warmup: Share of the run spent climbing, from 0 up to but not including 1.
    """
    climb = round(steps * warmup)
    if step < climb:
        return (step + 1) / climb
    progress = min(1.0, (step - climb) / max(1, steps - climb))
    return 0.5 * (1.0 + math.cos(math.pi * progress))
