"""Make table.md and the figures of every committed study again, from its results alone.

Usage: python experiments/tables.py [STUDY …] [--check]

Equal results give equal bytes of table.md on every machine. How a letter looks in a picture depends
on the machine's fonts, so a figure carries the hash of what it shows and is drawn anew only when
that changes. --check writes nothing and fails when something would change.
"""

import argparse
import hashlib
import json
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from userllm.errors import UserError
from userllm.report import figure, table
from userllm.report.comparison import Table, build_tables
from userllm.report.results import Result, Unfinished, load
from userllm.run.compare import figures
from userllm.run.reference import find_runs, study_names

HERE = Path(__file__).parent
TABLE = "table.md"
FIGURES = ("accuracy_vs_*.png", "gates_by_block.png")
"""Patterns of the pictures that belong to a table."""

KEY = b"userllm-shows"
SIGNATURE, HEADER_BYTES = b"\x89PNG\r\n\x1a\n", 33
"""What every PNG opens with, and where its first chunk, the header, ends."""
LENGTH_TYPE_SUM = 12
"""Bytes of a chunk of a PNG besides its content."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the tables of the named studies, or of all; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="none: all that are committed")
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    options = parser.parse_args(arguments)
    try:
        folders = [committed(name) for name in options.studies] or all_committed()
        stale = [place for folder in folders for place in refresh(folder, write=not options.check)]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for place in stale:
        print(f"{'differs' if options.check else 'written'}: {place.relative_to(HERE.parent)}")
    print(f"{len(folders)} studies, {len(stale)} files {'differ' if options.check else 'written'}")
    return 1 if options.check and stale else 0


def all_committed(here: Path = HERE) -> list[Path]:
    """Return the folders of all studies whose results are kept, by name."""
    return sorted({file.parents[2] for file in here.glob("*/results/studies/*.jsonl")})


def committed(name: str, here: Path = HERE) -> Path:
    """Return the folder of one study.

    Raises:
        UserError: Its results are not kept.
    """
    if here / name not in (folders := all_committed(here)):
        names = ", ".join(folder.name for folder in folders) or "none yet"
        raise UserError(f"{name!r} has no results in {here}; studies that have: {names}")
    return here / name


def read(folder: Path) -> list[Result | Unfinished]:
    """Return all runs of a committed study; its results are a small folder of runs."""
    results = folder / "results"
    return [load(run) for run in find_runs(study_names(results), results)]


def tables_of(folder: Path) -> list[Table]:
    """Return the tables of a committed study, as ``userllm compare`` makes them."""
    return build_tables(read(folder), None, study_names(folder / "results"))


def refresh(folder: Path, *, write: bool = True) -> list[Path]:
    """Bring table.md and the figures up to date; return what was not.

    Args:
        folder: The study's, with ``results/`` inside.
        write: False only looks.
    """
    tables = tables_of(folder)
    files = {folder / TABLE: table.markdown(tables).encode()}
    stale = [file for file, content in files.items() if _bytes(file) != content]
    charts = {folder / f"{stem}.png": drawn for stem, drawn in figures(tables).items()}
    shown = {file: fingerprint(figure.specification(drawn)) for file, drawn in charts.items()}
    redrawn = [file for file, what in shown.items() if shows(_bytes(file)) != what]
    gone = [file for pattern in FIGURES for file in folder.glob(pattern) if file not in charts]
    if write:
        for file in stale:
            file.write_bytes(files[file])
        for file in redrawn:
            file.write_bytes(marked(figure.png(charts[file]), shown[file]))
        for file in gone:
            file.unlink()
    return [*stale, *redrawn, *gone]


def fingerprint(specification: Any) -> str:
    """Return a hash of what a figure shows; digits that nobody can see do not count."""
    text = json.dumps(_rounded(specification), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def marked(png: bytes, text: str) -> bytes:
    """Return a PNG with a line of text behind its header, where no viewer shows it."""
    body = b"tEXt" + KEY + b"\0" + text.encode("ascii")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:HEADER_BYTES] + chunk + png[HEADER_BYTES:]


def shows(png: bytes) -> str | None:
    """Return the text that :func:`marked` put into a PNG, None where there is none."""
    texts = (data for kind, data in _chunks(png) if kind == b"tEXt")
    found = (data.partition(b"\0") for data in texts)
    return next((text.decode("ascii") for key, _, text in found if key == KEY), None)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while png.startswith(SIGNATURE) and at + LENGTH_TYPE_SUM <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + LENGTH_TYPE_SUM


def _rounded(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _rounded(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_rounded(value) for value in node]
    return f"{node:.6g}" if isinstance(node, float) else node


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


if __name__ == "__main__":
    sys.exit(main())
