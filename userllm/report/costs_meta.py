"""Tables of costs over language models that nobody loaded: the paper's Table 4 and Figure 3."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from userllm.report import units
from userllm.report.costs import PAPER_TOKENS

SMALL = 0.1
"""Crossovers below it are told no more exactly."""

Row = Mapping[str, Any]

TEXT, MEMORY, TOP = "text prompt", "cross-attention", "top 5 blocks, text read once"
"""Methods of the tables; others stand in ``result.json``."""

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("all blocks", MEMORY, "nothing"),
    ("K/V stored", MEMORY, "keys and values"),
    ("top 5, K/V stored", TOP, "keys and values"),
)
"""Heading, method and what is stored."""


def reduction_table(rows: Sequence[Row]) -> Table:
    """Return how many times fewer FLOPs than a text prompt, beside the paper's token ratios.

    Source: User-LLM Table 4.
    """
    lengths = sorted({row["history"] for row in rows})
    heads = [f"{length}: {name}" for length in lengths for name, *_ in COLUMNS]
    table = _table("FLOPs reduction (Table 4): a text prompt's FLOPs over User-LLM's", heads)
    known = {length: units.times(ratio) for length, ratio in PAPER_TOKENS.items()}
    paper = [known.get(length, units.EMPTY) for length in lengths for _ in COLUMNS]
    table.add_row("the paper (tokens)", units.EMPTY, *paper, style="bold")
    for lm, own in _by_lm(rows).items():
        cells = [
            units.times(
                _one(own, TEXT, length, "nothing")["flops_prefill"]
                / _one(own, method, length, kept)["flops_prefill"]
            )
            for length in lengths
            for _, method, kept in COLUMNS
        ]
        table.add_row(lm, units.parameters(own[0]["parameters"]), *cells)
    table.caption = f"Prompts: {rows[0]['words']}. Encoder and cross-attention are counted."
    return table


def figure_3_table(rows: Sequence[Row]) -> Table:
    """Return the FLOPs of the paper's prompts on Amazon (Figure 3), 50 events."""
    tokens = rows[0]["tokens"]
    heads = [f"{name}, {count} tokens" for name, count in tokens.items()]
    others = [name for name in tokens if name != "User-LLM"]
    title = "FLOPs of one question with the paper's prompts on Amazon (Figure 3)"
    table = _table(title, [*heads, *(f"{name} / User-LLM" for name in others)])
    ours = tokens["User-LLM"]
    paper = [units.EMPTY] * len(heads) + [units.times(tokens[name] / ours) for name in others]
    table.add_row("the paper (tokens)", units.EMPTY, *paper, style="bold")
    for row in rows:
        flops = row["flops"]
        ratios = [units.times(flops[name] / flops["User-LLM"]) for name in others]
        cells = [units.flops(flops[name]) for name in tokens]
        table.add_row(row["lm"], units.parameters(row["parameters"]), *cells, *ratios)
    return table


def stored_table(rows: Sequence[Row]) -> Table:
    """Return bytes stored per user, and the work of a question and of an event behind these.

    The rival is a text prompt whose keys and values are stored.
    """
    length = max(row["history"] for row in rows)
    kinds = ((TEXT, "prompt"), (MEMORY, "memory"), (MEMORY, "keys and values"))
    names = ("text, K/V", "vectors", "vectors, K/V")
    what = ("bytes", "GFLOP asked", "MFLOP for an event")
    heads = [f"{one}: {name}" for one in what for name in names]
    table = _table(f"What can be stored of {length} events, and what is left to do", heads)
    table.add_column("bytes of these", justify="right")
    for lm, own in _by_lm(rows).items():
        found = [_one(own, method, length, kept) for method, kept in kinds]
        mark = "" if _fits(_one(own, TEXT, length, "nothing")) else " *"
        table.add_row(
            lm + mark,
            units.parameters(own[0]["parameters"]),
            *(units.memory(row["stored_bytes"]) for row in found),
            *(units.digits(row["flops_prefill"] / 1e9) for row in found),
            *(units.digits(row["append_flops"] / 1e6) for row in found),
            units.memory(own[0]["weights_bytes"]),
        )
    table.caption = (
        "Numbers of four bytes. Asked: the question alone is read. One event: what adding it to "
        "what is stored takes. * a text prompt of so many events is longer than the model reads."
    )
    return table


def crossover_table(rows: Sequence[Row]) -> Table:
    """Return below which lengths a text prompt is the cheaper one."""
    events, tokens = rows[0]["events"], rows[0]["event_tokens"]
    heads = [
        f"read each time: events of {tokens:.1f} tokens",
        f"read each time: tokens per event, {events:.0f} events",
        f"all stored: events of {tokens:.1f} tokens",
        f"all stored: tokens per event, {events:.0f} events",
    ]
    table = _table("Text costs fewer FLOPs than cross-attention below", heads)
    for row in rows:
        keys = ("read_events", "read_event_tokens", "stored_events", "stored_event_tokens")
        cells = [_below(row[key]) for key in keys]
        table.add_row(row["lm"], units.parameters(row["parameters"]), *cells)
    table.caption = (
        "Read each time: text against encoder and cross-attention in all blocks. All stored: the "
        "question behind a text's stored keys and values, against one behind the vectors' own."
    )
    return table


def method_table(rows: Sequence[Row]) -> Table:
    """Return the FLOPs of methods that were asked for, for every language model."""
    names = list(dict.fromkeys((row["method"], row["history"], row["kept"]) for row in rows))
    table = _table(
        "FLOPs of one question up to its first logits",
        [
            f"{method}, {length}" + ("" if kept == "nothing" else f", {kept} stored")
            for method, length, kept in names
        ],
    )
    for lm, own in _by_lm(rows).items():
        cells = [units.flops(_one(own, *name)["flops_prefill"]) for name in names]
        table.add_row(lm, units.parameters(own[0]["parameters"]), *cells)
    table.caption = f"Prompts: {rows[0]['words']}."
    return table


def meta_tables(found: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Return all tables of costs without weights."""
    if not found["crossovers"]:
        return [method_table(found["costs"])]
    makers: list[tuple[Callable[[Sequence[Row]], Table], str]] = [
        (reduction_table, "costs"),
        (figure_3_table, "figure_3"),
        (stored_table, "costs"),
        (crossover_table, "crossovers"),
    ]
    return [make(found[key]) for make, key in makers]


def _by_lm(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["lm"], []).append(row)
    return found


def _one(rows: Sequence[Row], method: str, length: int, kept: str) -> Row:
    wanted = (method, length, kept)
    return next(r for r in rows if (r["method"], r["history"], r["kept"]) == wanted)


def _fits(row: Row) -> bool:
    return row["longest_prompt"] is None or row["prompt_tokens"] <= row["longest_prompt"]


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, caption_justify="left", pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column("language model", no_wrap=True)
    for name in ("weights", *heads):
        table.add_column(name, justify="right")
    return table


def _below(value: float | None) -> str:
    if value is None:
        return "always"
    if value == 0:
        return "never"
    return "< 0.1" if value < SMALL else units.digits(value, 2)
