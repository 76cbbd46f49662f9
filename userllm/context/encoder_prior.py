"""Spell titles from the encoder's own ranking, and learn what the language model adds.

Shape suffixes: B batch, A items (real ones), I item ids incl. 3 special ones.
"""

import torch
from torch import Tensor, nn

from userllm.data.vocabulary import FIRST_ID

LM_WEIGHT = 0.1
"""Where the language model's weight starts. It knows which words go together, not which films
this user watches: at full weight its taste drowns the ranking (an untrained mix on MovieLens-100K,
943 validation users: recall@10 falls from .24 to .08), at a tenth it costs little and may grow."""


class EncoderPrior(nn.Module):
    """Two learned weights, of the encoder's ranking and of the language model's logits.

    The next token of a title is chosen among those that continue some title, with the logits

        lm_weight · (language model's logit) + weight · log Σ p(item),

    summed over the items whose titles go on with that token, p being the softmax of the encoder's
    scores. With ``weight`` 1 and without the language model the likelihoods of titles are exactly
    the encoder's probabilities of the items; training shows what the language model adds. It is to
    spelled answers what `encoder_skip` is to the item head.

    The encoder was pretrained on the training events, so it ranks the answers of training questions
    a little better than those of a test, although its counts leave these answers out; what is
    learned is to trust it somewhat more than new users warrant.

    Source: ours, beyond the paper; a product of experts (Hinton 2002) whose choice between copying
    and writing is that of pointer networks (See et al., arXiv 1704.04368).
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.lm_weight = nn.Parameter(torch.tensor(LM_WEIGHT))

    def forward(self, scores_BI: Tensor) -> Tensor:
        """Return the log-probability of each real item as the next one, [B, A].

        Args:
            scores_BI: The encoder's.
        """
        return scores_BI[:, FIRST_ID:].log_softmax(dim=1)
