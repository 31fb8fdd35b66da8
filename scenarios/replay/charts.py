"""Small charts as SVG, with nothing but text: a page that holds them opens anywhere, also offline."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from attrs import frozen

WIDTH: Final = 960
LEFT: Final = 150
LINE_HEIGHT: Final = 90
BAR: Final = 18
TICKS: Final = 8


@frozen
class Bar:
    """Something that went on from `start` to `end` (seconds); `faint` if it changed nothing."""

    label: str
    title: str
    start: float
    end: float
    faint: bool = False


@frozen
class Scale:
    """Seconds of a run to places on the page."""

    length: float

    def x(self, at: float) -> float:
        """The place of an instant."""
        return LEFT + (WIDTH - LEFT - 10) * (min(max(at, 0.0), self.length) / self.length)


def line_chart(title: str, points: Sequence[tuple[float, float]], scale: Scale, unit: str = "") -> str:
    """A figure over time, from nothing to its highest value."""
    top = max((value for _, value in points), default=0.0)
    shown = " ".join(f"{scale.x(at):.1f},{_y(value, top):.1f}" for at, value in points)
    return _svg(
        LINE_HEIGHT,
        f'<text x="0" y="20" class="name">{escape(title)}</text>'
        f'<text x="0" y="38" class="dim">at most {top:g}{escape(unit)}</text>'
        f'<line x1="{LEFT}" y1="{LINE_HEIGHT - 10}" x2="{WIDTH - 10}" y2="{LINE_HEIGHT - 10}" class="axis"/>'
        f'<polyline points="{shown}" class="line"/>',
    )


def bar_chart(bars: Sequence[Bar], scale: Scale) -> str:
    """One line for each label, in the order given, with its bars; what is over at once is a mark."""
    labels = list(dict.fromkeys(bar.label for bar in bars))
    parts = [f'<text x="0" y="{_row(row) + 13}" class="name">{escape(label)}</text>' for row, label in enumerate(labels)]
    for bar in bars:
        left, width = scale.x(bar.start), max(3.0, scale.x(bar.end) - scale.x(bar.start))
        kind = "faint" if bar.faint else "bar"
        place = f'x="{left:.1f}" y="{_row(labels.index(bar.label)) + 2}" width="{width:.1f}" height="{BAR - 5}"'
        parts.append(f'<rect {place} class="{kind}"><title>{escape(bar.title)}</title></rect>')
    return _svg(_row(len(labels)) + 4, "".join(parts))


def axis(scale: Scale, healed: float | None) -> str:
    """The seconds, and where the healing was over."""
    step = scale.length / TICKS
    parts = [f'<text x="{scale.x(n * step):.1f}" y="14" class="dim">{n * step:.0f} s</text>' for n in range(TICKS)]
    if healed is not None:
        parts.append(f'<text x="{scale.x(healed):.1f}" y="30" class="healed">healed</text>')
    return _svg(36, "".join(parts))


def _y(value: float, top: float) -> float:
    return LINE_HEIGHT - 10 - (LINE_HEIGHT - 25) * (value / top if top else 0.0)


def _row(number: int) -> int:
    return number * BAR


def _svg(height: int, inside: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">{inside}</svg>'
