"""The words around a table: what it is about, under which rules it was made, how to read it."""

from userllm.metric.paired import ALPHA
from userllm.report import units
from userllm.report.columns import scorers_of
from userllm.report.comparison import Table
from userllm.report.machines import machine, machines_of


def heading(table: Table) -> str:
    """Say what a table is about, and what sets it apart from others on the same question."""
    return ", ".join([f"{table.setting.task} on {table.setting.data}", *table.own])


def notes(table: Table) -> list[str]:
    """Say under which rules the numbers of a table were made and how to read them."""
    scorers = scorers_of(table)
    scorer = f", {scorers[0]} scorer" if len(scorers) == 1 else ""
    said = [f"Protocol ({table.setting.part} part{scorer}): {table.setting.protocol}"]
    if not table.rows:
        return said
    said += [*_different(table), *_intervals(table), *_tests(table)]
    if table.references:
        said.append("Italic: reference floors, computed without a language model.")
    if any(row.cost for row in table.rows):
        said.append(
            "FLOPs: closed form, a multiply-add is two; embedding lookups, norms and activations "
            "are not counted. The encoder's pretraining is charged in columns of its own."
        )
    return [*said, *_latency_note(table)]


def kept_apart(table: Table) -> list[str]:
    """Say what keeps a table apart from another one on the same question."""
    return [
        f"Not mixed with another table of this task, whose protocol differs: {text}."
        for text in table.apart
    ]


def _different(table: Table) -> list[str]:
    """Warn where rows are means over other users, or another table has another protocol."""
    sizes = sorted({row.score.n for row in table.rows})
    said = kept_apart(table)
    if len(sizes) > 1:
        asked = ", ".join(units.count(size) for size in sizes)
        said.append(f"Rows are means over different users (n = {asked}); Δ: those in common.")
    return [*said, *(text for row in table.rows for text in row.again)]


def _intervals(table: Table) -> list[str]:
    """Name both intervals: over users, and over training seeds where there are several."""
    methods = sorted({row.score.method for row in table.rows})
    users = ", ".join(methods)
    said = f"Brackets: 95 % interval over users ({users}), seeds averaged first."
    if any(row.over_seeds(row.primary) for row in table.models):
        said += (
            " Over seeds: half the width of the 95 % t interval over training seeds, each seed's "
            "mean counting once."
        )
    return [said]


def _tests(table: Table) -> list[str]:
    """Name the tests and the correction, and say what the marks mean."""
    said = []
    tests = [row.test for row in table.rows if row.test]
    if tests:
        names = " or ".join(sorted({test.test for test in tests}))
        plural = "" if len(tests) == 1 else "s"
        one = table.baseline or "the baseline row that each shares the most settings with"
        said.append(
            f"Δ: paired, same users, seeds averaged first. p: {names}, two-sided, corrected for "
            f"{len(tests)} comparison{plural} with {one} (Holm)."
        )
    marks = {mark for row in table.rows for mark in row.marks.values()}
    if "best" in marks:
        close = (
            "; ≈: not distinguishable from it (the same tests, each model against the best, "
            f"Holm-corrected, p ≥ {ALPHA})"
        )
        said.append(f"Bold: best model{close if 'close' in marks else ''}.")
    return said


def _latency_note(table: Table) -> list[str]:
    """Say how latencies were measured, with the load others put on the machine meanwhile."""
    rows = [row for row in table.rows if machine(row)]
    if not rows:
        return []
    places = machines_of(rows)
    place = places[0] if len(places) == 1 else "the machines named"
    loads, repeats = (
        sorted({value for row in rows if (value := row.cost_of("latency_ms", key)) is not None})
        for key in ("load", "repeats")
    )
    load = " to ".join(dict.fromkeys(f"{value:.1f}" for value in (*loads[:1], *loads[-1:])))
    return [
        f"Latency: one user at a time on {place}, at least {repeats[0]:.0f} repeats, "
        f"machine load {load or 'unknown'}."
    ]
