"""What runs report beside metrics and cost: gates by block, and the language that is left."""

from typing import Any

from userllm.report.rows import Row, mean_tree


def extra(row: Row, key: str) -> Any:
    """Return what a row's runs report under ``key``, averaged over seeds; None where none does.

    A run of several tasks has one model, so any of its outcomes speaks for it.

    Args:
        row: A model's row.
        key: ``per_block`` or ``retention``.
    """
    if row.kind != "model":
        return None
    models = [[o for o in result.outcomes if o["kind"] == "model"] for result in row.runs]
    found = [own[0][key] for own in models if own and own[0].get(key)]
    return mean_tree(found) if found else None
