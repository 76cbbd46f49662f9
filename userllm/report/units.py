"""Numbers as people read them: three digits, one unit, the same in every output."""

from collections.abc import Sequence

from userllm.metric.paired import ALPHA

EMPTY = "–"
MINUS = "−"

_FLOP = (("FLOP", 1.0), ("kFLOP", 1e3), ("MFLOP", 1e6), ("GFLOP", 1e9), ("TFLOP", 1e12))
_FLOPS = (*_FLOP, ("PFLOP", 1e15), ("EFLOP", 1e18), ("ZFLOP", 1e21))
_BYTES = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))
_SECONDS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0))
_PLAIN = (("", 1.0), ("k", 1e3), ("M", 1e6), ("B", 1e9), ("T", 1e12))


def digits(value: float, significant: int = 3) -> str:
    """Write ``value`` with about three significant digits and thousands separators."""
    magnitude = abs(value)
    decimals = 0
    while decimals < significant - 1 and magnitude and magnitude < 10 ** (significant - 1):
        magnitude *= 10
        decimals += 1
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def flops(value: float) -> str:
    """Floating-point operations, a multiply-add being two."""
    return _scaled(value, _FLOPS)


def memory(value: float) -> str:
    """Bytes in decimal units (1 MB is 1,000,000 bytes)."""
    return _scaled(value, _BYTES)


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever reads best."""
    return _scaled(seconds, _SECONDS)


def milliseconds(value: float) -> str:
    """Milliseconds whatever the size, so that a latency column can be read down."""
    return f"{digits(value)} ms"


def parameters(value: float) -> str:
    """Counts of weights: 460 k, 10.8 M, 7.00 B."""
    return _scaled(value, _PLAIN).strip()


def count(value: float) -> str:
    """Counts of things: whole when whole, with one decimal when it is a mean."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def score(value: float) -> str:
    """A metric, with as many decimals as a thousand users can support."""
    return f"{value:.3f}".replace("-", MINUS)


def signed(value: float) -> str:
    """A difference of two metrics; the sign is always written."""
    return f"{value:+.3f}".replace("-", MINUS)


def times(ratio: float, significant: int = 3) -> str:
    """How many times as much."""
    return f"{digits(ratio, significant)}×"


def chance(p: float) -> str:
    """A p-value; beyond three decimals it says the same, but near what decides."""
    if p < 0.001:
        return "< 0.001"
    rounded = round(p, 3)
    return f"{p:.3f}" if (rounded < ALPHA) is (p < ALPHA) else f"{p:.5f}"


def _scaled(value: float, units: Sequence[tuple[str, float]]) -> str:
    """Divide by the largest unit that leaves at least one whole."""
    name, size = next((unit for unit in reversed(units) if abs(value) >= unit[1]), units[0])
    whole = size == 1.0 and float(value).is_integer()
    return f"{f'{value:,.0f}' if whole else digits(value / size)} {name}"
