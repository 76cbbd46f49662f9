"""Reads a run's .wandb file back: W&B writes it as LevelDB logs, one protobuf message a record."""

import struct
from pathlib import Path

BLOCK = 32768
FILE_HEADER, HEADER = 7, 7
PADDING, WHOLE, LAST = 0, 1, 4


def records(path: Path):
    """Yield every message of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), FILE_HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        if kind == PADDING:
            return
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (WHOLE, LAST):
            yield Record.FromString(parts)
            parts = b""


def read(path: Path):
    """Return the messages of a .wandb file by kind."""
    found = {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        found.setdefault(kind, []).append(getattr(record, kind))
    return found
