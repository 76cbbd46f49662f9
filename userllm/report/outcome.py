"""The outcomes of one run as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from userllm.report.costs import busy_sentence


def outcome_table(outcomes: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row per method, the primary metric with its interval, the protocol below.

    Args:
        outcomes: Outcomes of one task and protocol, as ``result.json`` holds them.
    """
    first = outcomes[0]
    primary = first["primary"]
    names = [primary, *(name for name in first["metrics"] if name != primary)]
    table = Table(title=f"{first['task']} ({first['part']})", caption=first["protocol"])
    table.add_column("method")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("n", justify="right")
    for outcome in outcomes:
        metrics = outcome["metrics"]
        others = [f"{metrics[n]['mean']:.3f}" if n in metrics else "–" for n in names[1:]]
        n = str(metrics[primary]["n"])
        table.add_row(outcome["method"], interval_text(metrics[primary]), *others, n)
    return table


def interval_text(metric: Mapping[str, Any]) -> str:
    """Return ``mean [low, high]``."""
    return f"{metric['mean']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def retention_table(kept: Mapping[str, Any]) -> Table:
    """Return perplexity and accuracy before and after, with their paired change."""
    table = Table(title="language model without a user: before and after tuning")
    for name in ("", "before", "after", "change", "n"):
        table.add_column(name, justify="right" if name else "left")
    for name, values in kept.items():
        sign = "× " if name == "perplexity" else ""
        change = f"{sign}{interval_text(values['change'])}"
        cells = [interval_text(values[when]) for when in ("before", "after")]
        table.add_row(name, *cells, change, str(values["after"]["n"]))
    return table


def cost_table(method: str, cost: Mapping[str, Any]) -> Table:
    """Return what an answer costs, FLOPs by part included."""
    latency = cost["latency_ms"]
    table = Table(
        title=f"Cost of one answer: {method}",
        caption=busy_sentence([latency]).strip() or None,
        show_header=False,
    )
    table.add_column()
    table.add_column(justify="right")
    load = "unknown" if latency["load"] is None else f"{latency['load']:.1f}"
    machine = f"threads {latency['threads']}, {latency['device']}, load {load}"
    rows = {
        "prompt tokens": f"{cost['prompt_tokens']:.0f}",
        "user vectors": f"{cost['user_vectors']:.0f}",
        "answer tokens written": f"{cost['answer_tokens']:.1f}",
        "GFLOP": f"{cost['flops_per_user'] / 1e9:.2f}",
        **{f"  {part}": f"{count / 1e9:.3f}" for part, count in cost["flops_parts"].items()},
        "latency p50 / p95, ms": f"{latency['p50']:.0f} / {latency['p95']:.0f} ({machine})",
        "peak memory of the run, MB": f"{cost['peak_memory_bytes'] / 1e6:.0f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
