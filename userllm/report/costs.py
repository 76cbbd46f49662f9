"""Tables of what one question costs, several methods side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from userllm.report import units

PAPER_TOKENS = {50: 21.9, 100: 42.2, 200: 78.1}
"""Events to the paper's "FLOPs reduction", which is a ratio of prompt tokens (Table 4)."""

PARTS = (
    "encoder",
    "candidates",
    "prior",
    "perceiver",
    "keys and values",
    "projection",
    "reading",
    "blocks",
    "head",
)
"""Parts of a question's work, in the order in which it is done."""

SHORT = {
    "keys and values": "K/V",
    "prompt": "text K/V",
    "memory": "vectors",
    "nothing": units.EMPTY,
}
"""How tables call what is stored of a user."""

BUSY_MARK = "*"

LEFT = ("method", "stored")
"""First columns."""

Row = Mapping[str, Any]


def compared(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows with ratios to the dearest one of their length that nothing is stored for.

    Args:
        rows: Of one language model, measured or in closed form.
    """
    cheapest_first = sorted(rows, key=lambda row: row["flops_prefill"])
    dearest = {row["history"]: row for row in cheapest_first if row["kept"] == "nothing"}
    return [{**row, "ratios": _ratios(dearest[row["history"]], row)} for row in rows]


def _ratios(dearest: Row, row: Row) -> dict[str, float]:
    found = {
        "tokens": dearest["prompt_tokens"] / max(row["prompt_tokens"], 1.0),
        "flops_prefill": dearest["flops_prefill"] / row["flops_prefill"],
        "flops_answer": dearest["flops_answer"] / row["flops_answer"],
    }
    if "latency_ms" in row:
        for kind, times in row["latency_ms"].items():
            found[kind] = dearest["latency_ms"][kind]["p50"] / times["p50"]
        for kind, rate in row["users_per_second"].items():
            found[f"users_per_second_{kind}"] = rate / dearest["users_per_second"][kind]
    return found


def work_table(rows: Sequence[Row]) -> Table:
    """Return the FLOPs of a question by part, what is stored and what one event more takes.

    Args:
        rows: What :func:`compared` returned.
    """
    first = rows[0]
    unit, size = _unit(max(row["flops_prefill"] for row in rows))
    parts = [part for part in PARTS if any(part in row["flops"] for row in rows)]
    title = f"{unit} of one question up to its first logits: {_what(first)}"
    heads = ["tokens", "vectors", *(SHORT.get(part, part) for part in parts)]
    heads += ["all", "fewer", "fewer tokens", "bytes stored", "one event more"]
    table = _table(
        title,
        heads,
        f"Closed form, a multiply-add is two FLOPs; blocks are {first['blocks']}. Ratios to the "
        f"dearest row.{_paper(first)}",
    )
    for row in rows:
        more = row["append_flops"]
        table.add_row(
            row["method"],
            SHORT[row["kept"]],
            f"{row['prompt_tokens']:,.0f}",
            f"{row['user_vectors']:,.0f}",
            *(_scaled(row["flops"].get(part), size) for part in parts),
            _scaled(row["flops_prefill"], size),
            units.times(row["ratios"]["flops_prefill"], 2),
            units.times(row["ratios"]["tokens"], 2),
            units.memory(row["stored_bytes"]) if row["stored_bytes"] else units.EMPTY,
            units.EMPTY if more is None else units.flops(more),
        )
    return table


def time_table(rows: Sequence[Row]) -> Table:
    """Return measured times, one user at a time and in batches, with the state of the machine.

    Args:
        rows: What :func:`compared` returned.
    """
    first = rows[0]
    heads = ["prefill", "faster", "first token", f"{first['answer_tokens']} tokens", "faster"]
    for what in ("users/s", "answers/s"):
        heads += [f"{what}, {first['batch']} together", "more"]
    table = _table(
        f"Milliseconds p50 / p95: {_what(first)}", [*heads, "memory"], machine_line(rows)
    )
    for row in rows:
        times, many, ratios = row["latency_ms"], row["batch_ms"], row["ratios"]
        cells = [
            _milliseconds(times["prefill"]),
            units.times(ratios["prefill"], 2),
            _milliseconds(times["first_token"]),
            _milliseconds(times["answer"]),
            units.times(ratios["answer"], 2),
        ]
        for kind in ("prefill", "answer"):
            rate = units.digits(row["users_per_second"][kind])
            cells += [rate + _busy(many[kind]), units.times(ratios[f"users_per_second_{kind}"], 2)]
        cells.append(units.memory(row["memory_bytes"]["1"]))
        table.add_row(row["method"], SHORT[row["kept"]], *cells)
    return table


def machine_line(rows: Sequence[Row]) -> str:
    """Return how times were taken, and whether anybody else was using the machine."""
    taken = [
        one for row in rows for kind in ("latency_ms", "batch_ms") for one in row[kind].values()
    ]
    first = taken[0]
    repeats = sorted({one["repeats"] for one in taken})
    loads = [one[key] for one in taken for key in ("load", "load_after") if one[key] is not None]
    load = f"{min(loads):.1f} to {max(loads):.1f}" if loads else "unknown"
    line = (
        f"Methods in turns, {repeats[0]} to {repeats[-1]} repeats after warm-up, "
        f"{first['threads']} threads, {first['device']}, load {load}. Memory: the most that an "
        "answer takes beyond weights and what is stored."
    )
    return f"{line}{busy_sentence(taken)}"


def busy_sentence(taken: Sequence[Row]) -> str:
    """Return a warning about times of a busy machine; empty where it was quiet."""
    busy = [one["other_cpu"] for one in taken if one.get("busy")]
    if not busy:
        return ""
    return (
        f"\n{BUSY_MARK} BUSY MACHINE: other processes took up to {max(busy):.0%} of it meanwhile, "
        "so these times are too long. Measure again when it is idle."
    )


def sliding_table(label: str, found: Mapping[str, Any]) -> Table:
    """Return what a stored text prompt loses once its window slides."""
    table = _table(
        f"{label}: the last {found['window_events']} events, stored and slid by "
        f"{found['dropped_events']}, against written anew ({found['n']} users)",
        ["written anew", "stored, slid", "change (paired)"],
        "Slid: positions stay, and the events that are left were read behind those that are gone.",
        left=["metric"],
    )
    for name, values in found["metrics"].items():
        change = values["change"]
        table.add_row(
            name,
            units.score(values["fresh"]["mean"]),
            units.score(values["stored"]["mean"]),
            f"{units.signed(change['mean'])} [{units.signed(change['low'])}, "
            f"{units.signed(change['high'])}]",
        )
    return table


def _table(title: str, heads: Sequence[str], caption: str, *, left: Sequence[str] = LEFT) -> Table:
    table = Table(title=title, caption=caption, caption_justify="left", pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=name == "stored")
    for name in heads:
        table.add_column(name, justify="right")
    return table


def _what(row: Row) -> str:
    return f"{row['lm']}, {row['data']}, {row['history']} events"


def _paper(row: Row) -> str:
    ratio = PAPER_TOKENS.get(row["history"])
    return f" The paper's ratio of tokens: {ratio}×." if ratio else ""


def _milliseconds(times: Row) -> str:
    return f"{units.digits(times['p50'])} / {units.digits(times['p95'])}{_busy(times)}"


def _busy(times: Row) -> str:
    return BUSY_MARK if times["busy"] else ""


def _unit(largest: float) -> tuple[str, float]:
    return ("GFLOP", 1e9) if largest >= 1e10 else ("MFLOP", 1e6)


def _scaled(work: float | None, size: float) -> str:
    return units.EMPTY if not work else units.digits(work / size)
