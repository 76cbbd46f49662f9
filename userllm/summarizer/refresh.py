"""How often a summary is written anew, so that training at every cut stays affordable.

Shape suffixes: B batch.
"""

import numpy as np

from userllm.summarizer.protocol import Ints


def refreshed(cuts_B: Ints, refresh: int) -> Ints:
    """Return the cut whose summary is used at each cut: never a later one.

    It is the last multiple of ``refresh``; before the first multiple, the last power of two, so
    that short histories have a summary too and long ones cost a writer only a few more.

    Args:
        cuts_B: Events before each question.
        refresh: Events between two summaries; 1 writes one for every cut.
    """
    multiple_B = cuts_B // refresh * refresh
    power_B = 2 ** np.floor(np.log2(np.maximum(cuts_B, 1))).astype(np.int64)
    short_B = np.where(cuts_B > 0, power_B, 0)
    refreshed_B: Ints = np.where(cuts_B >= refresh, multiple_B, short_B)
    return refreshed_B
