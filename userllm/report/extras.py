"""What runs report beside metrics and cost: gates by block, and the language that is left."""

from typing import Any

from userllm.report.rows import Row, mean_tree


def reported(row: Row, key: str) -> list[Any]:
    """Return what each of a row's runs reports under ``key``; empty where none does.

    A run of several tasks has one model, so any of its outcomes speaks for it.

    Args:
        row: A model's row.
        key: ``per_block`` or ``retention``.
    """
    if row.kind != "model":
        return []
    models = [[o for o in result.outcomes if o["kind"] == "model"] for result in row.runs]
    return [own[0][key] for own in models if own and own[0].get(key)]


def extra(row: Row, key: str) -> Any:
    """Return what :func:`reported` has, averaged over seeds; None where no run reports it."""
    return mean_tree(reported(row, key))
