"""Where latencies were measured, as far as rows must agree to be compared."""

from collections.abc import Iterable, Mapping
from typing import Any

from userllm.report.rows import Row


def machines_of(rows: Iterable[Row]) -> list[str]:
    """Return the machines of some rows; one stands in the notes, several in a column."""
    return sorted({place for row in rows if (place := machine(row))})


def machine(row: Row) -> str | None:
    """Return device, processors of all its runs and threads; None where nothing was timed."""
    latency = row.cost and row.cost.get("latency_ms")
    if not latency:
        return None
    device = latency["device"].partition(":")[0]
    names = sorted({_processor(device, run.environment) for run in row.runs} - {""})
    where = f"{device} ({' and '.join(names)})" if names else device
    threads, busy = latency["threads"], ", busy with others" * bool(latency.get("busy"))
    return f"{where}, {threads} thread{'' if threads == 1 else 's'}{busy}"


def _processor(device: str, environment: Mapping[str, Any]) -> str:
    if device != "cpu":
        return str(environment.get("gpu") or "")
    kind = str(environment.get("cpu_kind") or "").partition(", stepping")[0]
    return ", ".join(filter(None, (environment.get("cpu"), kind)))
