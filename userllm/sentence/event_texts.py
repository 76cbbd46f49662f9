"""Frozen vectors of what users wrote, one per different text, in a file that is read row by row.

Shape suffixes: D different texts, W sentence width.
"""

from userllm.data.download import cache_dir
from userllm.data.event_texts import DifferentTexts
from userllm.sentence.protocol import SentenceEncoder
from userllm.sentence.store import Stored, digest_of, vectors_file


def event_text_vectors(
    sentence: SentenceEncoder, texts: DifferentTexts, cache: str | None
) -> Stored:
    """Return one vector per different text, float16 [D, W], memory-mapped.

    They are made once for a corpus and a sentence encoder, which are all that names the file.

    Args:
        sentence: Makes a text's vector.
        texts: The different texts of a corpus.
        cache: Folder of the file; None is the project's cache folder.

    Raises:
        UserError: The model is not to be had.
    """
    name = digest_of(sentence.identity, ["texts of events", texts.name])
    return vectors_file(
        texts,
        path=cache_dir(cache) / "sentence" / f"{name}.npy",
        width=sentence.width,
        load=sentence.load,
    )
