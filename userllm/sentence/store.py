"""Vectors of texts on disk, made once whatever happens on the way.

A set of texts and an encoder's identity have one file, named by their hash. It is filled shard by
shard, so that a job that was cut short goes on where it was, and shows up only when it is whole.
A lock lets one process work while the others wait for its result.

Shape suffixes: N texts, W sentence width.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from userllm.data.progress import track
from userllm.errors import UserError
from userllm.sentence.protocol import Encode

SHARD = 1024
"""Texts per shard: seconds of work for a small model."""

STORED = np.float16
"""Half the disk; a unit vector loses less than one part in a thousand per number."""

Stored = NDArray[np.float16]


class Texts(Protocol):
    """Texts of which some are read at a time; a list is one."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, at: slice, /) -> list[str]:
        """Return some of them."""
        ...


def stored_vectors(
    texts: Sequence[str], *, identity: str, width: int, cache: Path, load: Callable[[], Encode]
) -> Tensor:
    """Return a vector per text, [N, W] float32, from the cache or by encoding them now.

    Equal texts are encoded once, in an order that makes neighbours equally long.

    Args:
        texts: What to encode; "" gets zeros and reaches no model.
        identity: Everything that decides a vector besides its text: weights, pooling, ...
        width: W.
        cache: Folder of the files; made when it is needed.
        load: Called at most once, and only when something has to be encoded.

    Raises:
        UserError: The model gives vectors of another width or that are not finite.
    """
    distinct = sorted({text for text in texts if text}, key=lambda text: (len(text), text))
    vectors_NW = torch.zeros(len(texts), width)
    if not distinct:
        return vectors_NW
    path = cache / f"{digest_of(identity, distinct)}.npy"
    stored = vectors_file(distinct, path=path, width=width, load=load)
    row_of = {text: row for row, text in enumerate(distinct)}
    place = [n for n, text in enumerate(texts) if text]
    rows = [row_of[texts[n]] for n in place]
    vectors_NW[place] = torch.from_numpy(stored[rows].astype(np.float32))
    return vectors_NW


def vectors_file(texts: Texts, *, path: Path, width: int, load: Callable[[], Encode]) -> Stored:
    """Return a vector per text, [N, W], memory-mapped; never all texts or vectors in memory.

    Args:
        texts: What to encode; read a shard at a time.
        path: The file; made now unless it is there.
        width: W.
        load: Called at most once, and only when something has to be encoded.

    Raises:
        UserError: The model gives vectors of another width or that are not finite.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                _make(path, texts, width, load)
    stored: Stored = np.load(path, mmap_mode="r", allow_pickle=False)
    return stored


def digest_of(identity: str, texts: Iterable[str]) -> str:
    """Return the name of the file with an encoder's vectors of some texts."""
    digest = hashlib.sha256(identity.encode())
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        # The length in front keeps "ab", "c" and "a", "bc" apart.
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


def _make(path: Path, texts: Texts, width: int, load: Callable[[], Encode]) -> None:
    parts = path.with_suffix(".parts")
    parts.mkdir(exist_ok=True)
    starts = range(0, len(texts), SHARD)
    shards = [parts / f"{number:06d}.npy" for number in range(len(starts))]
    missing = [number for number, shard in enumerate(shards) if not shard.is_file()]
    encode = load() if missing else None
    for number in track(missing, f"encoding {len(texts):,} texts", len(missing)):
        assert encode is not None
        chunk = texts[starts[number] : starts[number] + SHARD]
        shape = (len(chunk), width)
        _write(shards[number], [_checked(encode(chunk), shape)], shape)
    loaded = (np.load(shard, allow_pickle=False) for shard in shards)
    _write(path, loaded, (len(texts), width))
    shutil.rmtree(parts)


def _checked(vectors_NW: Tensor, shape: tuple[int, int]) -> Stored:
    if tuple(vectors_NW.shape) != shape:
        raise UserError(
            f"the sentence model gave {tuple(vectors_NW.shape)} numbers, expected {shape}: "
            "its config.json and its weights do not belong together; save the model again"
        )
    array: Stored = vectors_NW.float().cpu().numpy().astype(STORED)
    if not np.isfinite(array).all():
        raise UserError(
            "the sentence model gave vectors that are not finite numbers, or above 65,504; type "
            "sentence.normalize=true and sentence.dtype=float32, or use another model"
        )
    return array


def _write(path: Path, pieces: Iterable[Stored], shape: tuple[int, int]) -> None:
    """Write an array, whole or not at all, piece after piece."""
    header = {"descr": np.dtype(STORED).str, "fortran_order": False, "shape": shape}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for piece in pieces:
                file.write(np.ascontiguousarray(piece).data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
