"""The texts of a catalogue's items and their frozen vectors.

Shape suffixes: I items incl. 3 special ids, W sentence width.
"""

import torch
from torch import Tensor

from userllm.data.catalogue import Catalogue
from userllm.data.vocabulary import FIRST_ID, Vocabulary
from userllm.sentence.protocol import SentenceEncoder


def item_texts(catalogue: Catalogue, vocabulary: Vocabulary) -> list[str]:
    """Return ``title, category, category`` of every item id; "" for the special ids."""
    rows = vocabulary.item_categories.tolist()
    return [
        ", ".join([title, *(catalogue.categories[kind] for kind in kinds if kind >= FIRST_ID)])
        for title, kinds in zip(catalogue.titles, rows, strict=True)
    ]


def item_vectors(sentence: SentenceEncoder, catalogue: Catalogue, vocabulary: Vocabulary) -> Tensor:
    """Return one vector per item id [I, W]; zeros for the special ids.

    Under ``torch.device("meta")`` the result has a shape and no content: whoever only wants to
    know whether a model fits together should not wait for a catalogue to be encoded.
    """
    if torch.get_default_device().type == "meta":
        return torch.empty(len(catalogue.titles), sentence.width)
    return sentence.encode(item_texts(catalogue, vocabulary))
