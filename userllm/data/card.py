"""The data card: where a corpus comes from, what each filter left, and what it looks like."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from userllm.data.paper_counts import SUBTRACTED, rule_in_words, table_1_rows, window_rows
from userllm.data.split import SPLITS, Int64Array, time_cuts
from userllm.data.texts import OFFSETS

Array = NDArray[Any]


def statistics(arrays: Mapping[str, Array]) -> dict[str, float | str]:
    """Return lengths, ties and, if there are any, the number and size of the texts.

    Args:
        arrays: The arrays of a corpus, by name.
    """
    lengths, timestamps = np.diff(arrays["offsets"]), arrays["timestamps"]
    found: dict[str, float | str] = {
        "length_mean": round(float(lengths.mean()), 2),
        "length_median": float(np.median(lengths)),
        "length_max": int(lengths.max()),
        "tied_share": round(_tied_share(arrays["offsets"], timestamps), 4),
        "first_event": _date(int(timestamps.min())),
        "last_event": _date(int(timestamps.max())),
    }
    if OFFSETS in arrays:
        sizes = np.diff(arrays[OFFSETS])
        written = sizes[sizes > 0]
        found["events_with_text"] = len(written)
        found["text_bytes_median"] = float(np.median(written)) if len(written) else 0.0
    return found


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).date().isoformat()


def _tied_share(offsets: Int64Array, timestamps: Int64Array) -> float:
    """Share of events with the timestamp of another event of the same user."""
    same_as_next = timestamps[1:] == timestamps[:-1]
    same_as_next[offsets[1:-1] - 1] = False  # the next event is another user's
    tied = np.zeros(len(timestamps), dtype=bool)
    tied[:-1] |= same_as_next
    tied[1:] |= same_as_next
    return float(tied.mean())


def split_statistics(
    offsets: Int64Array, timestamps: Int64Array
) -> dict[str, dict[str, int | str]]:
    """Return training examples (targets with a history) and held-out users per split."""
    result: dict[str, dict[str, int | str]] = {}
    for name, make in SPLITS.items():
        split = make(offsets, timestamps)
        result[name] = {
            "training_examples": int(np.maximum(split.train_end - 1, 0).sum()),
            "valid_users": len(split.targets("valid")[0]),
            "test_users": len(split.targets("test")[0]),
        }
    valid_from, test_from = time_cuts(timestamps)
    result["global_time"] |= {"valid_from": _date(valid_from), "test_from": _date(test_from)}
    return result


def write_card(card: dict[str, Any], folder: Path) -> None:
    """Write the card for readers (card.md) and then for programs (card.json)."""
    lines = [f"# Data card: {card['name']}", ""]
    for title, rows in card_sections(card):
        lines += [f"## {title}", "", "| | |", "|---|---|"]
        lines += [f"| {key} | {value} |" for key, value in rows]
        lines.append("")
    for title, header, body in paper_tables(card):
        lines += [f"## {title}", "", _row(header), _row(["---"] * len(header)), *map(_row, body)]
        lines.append("")
    lines.append(rule_in_words(card["paper_counts"]))
    (folder / "card.md").write_text("\n".join(lines), encoding="utf-8")
    (folder / "card.json").write_text(json.dumps(card, indent=2), encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


PrintedTable = tuple[str, tuple[str, ...], Sequence[tuple[str, ...]]]


def paper_tables(card: dict[str, Any]) -> list[PrintedTable]:
    """Return (title, header, rows) of Table 1 and of the counts behind its likely rules."""
    counts = card["paper_counts"]
    header = ("", "read", *([counts["dataset"]] if counts["dataset"] else []))
    windows = ("history", "#users", *(f"sum of n - {k}" for k in SUBTRACTED))
    return [
        ("The counts of the paper's Table 1", header, table_1_rows(counts)),
        ("The same by every likely rule", windows, window_rows(counts)),
    ]


def card_sections(card: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the card as titled lists of (name, value), for any kind of output."""
    left = [
        (c["step"], f"{c['events']:,} events, {c['users']:,} users, {c['items']:,} items")
        for c in card["counts"]
    ]
    splits = [
        (name, ", ".join(f"{key.replace('_', ' ')} {_text(value)}" for key, value in parts.items()))
        for name, parts in card["splits"].items()
    ]
    return [
        ("Source", [*_flat(card["provenance"]), ("fingerprint", card["fingerprint"])]),
        ("Called", list(card["nouns"].items())),
        ("What each step left", left),
        ("Statistics", [(k.replace("_", " "), _text(v)) for k, v in card["statistics"].items()]),
        ("Splits", splits),
    ]


def _flat(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key, value in provenance.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{key} {name}".strip(), str(item)) for name, item in inner]
    return rows


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"
