"""How charts look, on white paper and inside the page.

The page's colours are CSS variables with a fallback, so that it can turn dark without scripts.
"""

from dataclasses import dataclass
from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07800", "#3A93C7", "#7A6FBE", "#8C6D46")
"""After Okabe and Ito: told apart with any colour vision, dark enough for text on white."""
PALETTE_ON_DARK = (
    "#5DB3EA",
    "#F0884E",
    "#3CC49A",
    "#E29BC6",
    "#E0AE4C",
    "#8FCDF2",
    "#ABA1EC",
    "#CBA67F",
)
"""The same hues, light enough for a dark page."""
SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")


@dataclass(frozen=True)
class Theme:
    """The colours of a chart."""

    ink: str
    muted: str
    grid: str
    background: str
    series: tuple[str, ...]


PRINT = Theme("#1b1b19", "#5f5e59", "#e4e3de", "white", PALETTE)
PAGE = Theme(
    ink="currentColor",
    muted="var(--muted, #5f5e59)",
    grid="var(--line, #e4e3de)",
    background="transparent",
    series=tuple(f"var(--series-{n}, {colour})" for n, colour in enumerate(PALETTE)),
)


def config_of(theme: Theme) -> dict[str, Any]:
    """Return how a theme looks, as a specification's ``config``."""
    text = {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500, "titlePadding": 10}
    return {
        "background": theme.background,
        "font": FONT,
        "view": {"stroke": None},
        "title": {"color": theme.ink, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "axis": {
            **text,
            "labelColor": theme.muted,
            "titleColor": theme.muted,
            "gridColor": theme.grid,
            "domainColor": theme.muted,
            "tickColor": theme.muted,
        },
    }
