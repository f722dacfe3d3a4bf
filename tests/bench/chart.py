"""Horizontal bars on a logarithmic scale, as SVG: equal distances are equal ratios, whatever the machine."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, STEP, THICK = 860, 250, 90, 96, 30, 18
COLOURS = {"ours": "#2f6fde", "peers": "#8a94a6", "floor": "#d9a13b"}
_TEXT = 'font-family="system-ui, sans-serif"'


@dataclass(frozen=True, slots=True)
class Bar:
    """``value`` is above 0; ``label`` is what is written at its end."""

    kind: str
    name: str
    value: float
    label: str


def bars(title: str, says: str, unit: str, rows: Sequence[Bar]) -> str:
    """The whole picture; ``says`` may take two lines."""
    low, high = decades([row.value for row in rows])
    height = TOP + STEP * len(rows) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, title, size=14, weight="600"),
        *(_text(16, 42 + 16 * number, line) for number, line in enumerate(textwrap.wrap(says, 125)[:2])),
        *_legend(unit),
    ]
    bottom = TOP + STEP * len(rows)
    for power in range(low, high + 1):
        at = _x(10.0**power, low, high)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP - 8}" x2="{at:.1f}" y2="{bottom}" stroke="#e3e6ec"/>')
        parts.append(_text(at, bottom + 18, f"{10.0**power:,.10g}", anchor="middle", colour="#667085"))
    for number, row in enumerate(rows):
        top = TOP + STEP * number
        long = max(_x(row.value, low, high) - LEFT, 2)
        colour = COLOURS.get(row.kind, "#8a94a6")
        parts.append(_text(LEFT - 10, top + 13, row.name, anchor="end"))
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{long:.1f}" height="{THICK}" rx="3" fill="{colour}"/>')
        parts.append(_text(LEFT + long + 6, top + 13, row.label))
    return "\n".join([*parts, "</svg>", ""])


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that hold them all, at least one decade; a bar that begins at its own value has no length."""
    if not values:
        return 0, 1
    low = math.floor(math.log10(min(values) / 1.5))
    return low, max(math.ceil(math.log10(max(values))), low + 1)


def _x(value: float, low: int, high: int) -> float:
    return LEFT + (math.log10(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _legend(unit: str) -> list[str]:
    parts = [_text(16, 80, f"{unit}, logarithmic", colour="#667085")]
    for number, (kind, colour) in enumerate(COLOURS.items()):
        at = LEFT + 90 * number
        parts.append(f'<rect x="{at}" y="71" width="11" height="11" rx="2" fill="{colour}"/>')
        parts.append(_text(at + 17, 80, kind, colour="#667085"))
    return parts


def _text(
    x: float, y: float, text: str, *, size: int = 12, weight: str = "400", anchor: str = "start",
    colour: str = "#1d2433",
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="{colour}" {_TEXT}>{escape(text)}</text>'
    )
