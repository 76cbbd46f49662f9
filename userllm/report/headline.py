"""What the numbers of a table say, in sentences that claim no more than the tests allow."""

from collections.abc import Iterable, Sequence

from userllm.metric.interval import paired_difference
from userllm.report import units
from userllm.report.columns import interval_text
from userllm.report.comparison import Table
from userllm.report.machines import machine
from userllm.report.rows import Row, lower_is_better, same_users
from userllm.report.verdicts import tested

_WORTH_SAYING = 1.1
"""A cost ratio below this is not worth a sentence."""


def headline(table: Table) -> list[str]:
    """Return one to three sentences: against the baseline, the cost, the floors."""
    if not table.models:
        return ["Nothing here has finished yet."]
    sentences = [_against_baseline(table), _cheapest_of_the_best(table), _floor(table)]
    return [sentence for sentence in sentences if sentence]


def _against_baseline(table: Table) -> str:
    """Say who beats the baseline beyond chance, who does not, and who leads."""
    leaders = _leaders(table)
    best = leaders[0]
    compared = [row for row in table.models if row.delta]
    if len(table.models) == 1 and not compared:
        return f"{_scored(best)} is the only model here, judged by {best.primary}."
    if not compared:
        return f"The best of {len(table.models)} is {_scored(best)}{_ties(leaders)}."
    baseline = table.baseline or "its baseline"
    groups = {
        f"Better than {baseline} beyond chance": 1,
        f"Not distinguishable from {baseline}": 0,
        f"Worse than {baseline} beyond chance": -1,
    }
    said = [
        f"{what}: {_names(rows)}."
        for what, verdict in groups.items()
        if (rows := [row for row in compared if _verdict(row) == verdict])
    ]
    if best.primary in best.marks:
        said.append(f"The best is {_scored(best)}{_ties(leaders)}.")
    return " ".join(said)


def _cheapest_of_the_best(table: Table) -> str:
    """Say what the cheapest of the leading models costs, next to the dearest model."""
    priced = [row for row in table.models if row.cost_of("flops_per_user")]
    leaders = [row for row in _leaders(table) if row in priced]
    if not leaders:
        return ""
    cheapest, dearest = min(leaders, key=_flops), max(priced, key=_flops)
    ratio = _flops(dearest) / _flops(cheapest)
    if ratio < _WORTH_SAYING:
        return ""
    price = units.flops(_flops(cheapest))
    less = f"{units.times(ratio, 2)} less than {dearest.label}{_latency(cheapest, dearest)}"
    if len(leaders) == 1:
        return f"The best, {cheapest.label}, needs {price} per user, {less}."
    return f"Among the best, {cheapest.label} is the cheapest with {price} per user, {less}."


def _floor(table: Table) -> str:
    """Say whether the best model is worth more than the best method without a language model.

    The best is chosen among all, so its test is corrected for them.
    """
    if not table.references:
        return ""
    best, floor = _leaders(table)[0], table.references[0]
    both = same_users(best, floor, best.primary)
    if both is None:
        return ""
    test = tested([(row, floor) for row in table.models])[best]
    gap = paired_difference(*both)
    sign = -1 if lower_is_better(best.primary) else 1
    verdict = "is better" if sign * gap.mean > 0 else "is worse"
    verdict = verdict if test.differs else "is not distinguishable"
    difference = f"{units.signed(gap.mean)} {interval_text(gap, units.signed)}"
    return f"Against the reference {_scored(floor)}, {best.label} {verdict}: {difference}."


def _leaders(table: Table) -> list[Row]:
    """Return the best model and those that cannot be told from it; the best comes first."""
    marked = [row for row in table.models if row.marks.get(row.primary)]
    return marked or list(table.models)


def _verdict(row: Row) -> int:
    """Return 1 for better than the baseline beyond chance, -1 for worse, 0 for neither.

    The test is the table's own, corrected for its number of comparisons.
    """
    if row.delta is None or row.test is None or not row.test.differs:
        return 0
    better = (row.delta.mean > 0) != lower_is_better(row.primary)
    return 1 if better else -1


def _ties(leaders: Sequence[Row]) -> str:
    """Name who cannot be told from the best."""
    others = list(leaders[1:])
    return f", not distinguishable from {_names(others)}" if others else ""


def _latency(cheapest: Row, dearest: Row) -> str:
    """Add the measured ratio, usually smaller than that of FLOPs, where one machine has both."""
    if machine(cheapest) != machine(dearest):
        return ""
    one, other = (row.cost_of("latency_ms", "p50") for row in (cheapest, dearest))
    if not one or not other:
        return ""
    return f" ({units.times(other / one, 2)} in measured latency)"


def _flops(row: Row) -> float:
    return float(row.cost_of("flops_per_user") or 0)


def _scored(row: Row) -> str:
    values = " ".join(filter(None, (units.score(row.score.mean), interval_text(row.score))))
    return f"{row.label} ({values})"


def _names(rows: Iterable[Row]) -> str:
    """Return ``a, b and c``."""
    *first, last = [row.label for row in rows]
    return f"{', '.join(first)} and {last}" if first else last
