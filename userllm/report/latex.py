"""Tables for a paper: LaTeX with booktabs, a ``table*`` per group of columns, so that all fit."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace

from userllm.report.columns import Cell, Grid, Group, Line, grid
from userllm.report.comparison import Table
from userllm.report.notes import heading, notes
from userllm.report.table import MARKS

HEADER = (
    "% Made by userllm compare. Put \\usepackage{booktabs,graphicx} into the preamble, and\n"
    "% \\input this file. A table wider than the text is shrunk to fit.\n"
)
BLOCKS: dict[Group, str] = {
    "quality": "results",
    "other metrics": "other metrics",
    "reading one user": "cost of one answer",
    "learning": "cost of learning",
}
"""Group of columns to the end of its caption; only the first has intervals, models and floors."""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "%": r"\%",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "–": "--",
    "’": "'",
}
_ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")
"""Accents that every LaTeX font encoding can put on a letter."""


def latex(tables: Sequence[Table], *, name: str) -> str:
    """Return all tables; equal results give equal bytes.

    Args:
        tables: What `userllm.report.comparison.build_tables` made of the runs.
        name: Name of the report, the first part of every label.
    """
    blocks = [
        block
        for number, table in enumerate(tables)
        for group, caption in BLOCKS.items()
        if (block := _table(table, group, caption, f"{name}-{number}-{caption}"))
    ]
    return HEADER + "\n" + "\n".join(blocks)


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is; what its fonts lack is named by its code point."""
    return "".join(map(_escaped, " ".join(text.split())))


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        return character
    return f"[U+{ord(character):04X}]"


def _table(table: Table, group: Group, caption: str, label: str) -> str:
    """Return one floating table; empty where it would hold nothing but names."""
    first = group == "quality"
    part = grid(table).only("method", group)
    part = part if first else _plain(part.models())
    named = sum(column.group == "method" for column in part.columns)
    if len(part.columns) == named or not part.lines:
        return ""
    # Results carry the rules; the others stand behind them.
    said = notes(table) if first else []
    lines = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escaped(heading(table))}: {caption}.}}",
        rf"\label{{tab:{_label(label)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{''.join('r' if one.numeric else 'l' for one in part.columns)}}}",
        r"\toprule",
        _row(escaped(column.title) for column in part.columns),
        *_body(part),
        r"\bottomrule",
        r"\end{tabular}}",
        *([r"\par\smallskip\raggedright\footnotesize"] if said else []),
        *(f"{escaped(text)}\\\\" for text in said[:-1]),
        *(escaped(text) for text in said[-1:]),
        r"\end{table*}",
        "",
    ]
    return "\n".join(lines)


def _plain(part: Grid) -> Grid:
    """Leave out intervals, and settings where no row has any."""
    part = part.pick(
        at
        for at, column in enumerate(part.columns)
        if column.title != "settings" or any(line.cells[at].text for line in part.lines)
    )
    lines = [
        Line(line.kind, [replace(cell, detail="") for cell in line.cells]) for line in part.lines
    ]
    return Grid(part.columns, lines)


def _body(part: Grid) -> Iterable[str]:
    """Yield the rows, a rule before each kind."""
    previous = ""
    for line in part.lines:
        if line.kind != previous:
            yield r"\midrule"
        previous = line.kind
        yield _row(_cell(cell, line) for cell in line.cells)


def _cell(cell: Cell, line: Line) -> str:
    text = escaped(cell.text)
    if cell.mark == "best":
        text = rf"\textbf{{{text}}}"
    if line.kind != "model" and cell is line.cells[0]:
        text = rf"\textit{{{text}}}"
    detail = rf" {{\scriptsize {escaped(cell.detail)}}}" if cell.detail else ""
    mark = MARKS[cell.mark].strip()
    return f"{text}{f'~{escaped(mark)}' if mark else ''}{detail}"


def _row(cells: Iterable[str]) -> str:
    # Braces keep a cell that begins with a bracket from being read as an option of the row break.
    return f"{' & '.join(f'{{{cell}}}' if cell[:1] in ('[', '*') else cell for cell in cells)} \\\\"


def _label(text: str) -> str:
    return "".join(one if one.isascii() and (one.isalnum() or one == "-") else "-" for one in text)
