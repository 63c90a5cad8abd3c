"""Two charts as inline SVG: lines over a number, and horizontal bars. No script, no font, no file from outside.

Colours come from the page's style sheet by class, so that light and dark both have contrast; lines differ by dashes
as well as by colour. The view box is narrow enough to be read on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 420, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 40
_POINTS = 400
_BAR, _BAR_STEP = 10, 36


@dataclass(frozen=True)
class Series:
    """One line: its name and its points (x, y); points that are not finite are left out."""

    name: str
    points: Sequence[tuple[float, float]]

    def drawn(self) -> list[tuple[float, float]]:
        """Return the finite points, thinned evenly to a few hundred; the last one stays."""
        finite = [point for point in self.points if all(map(math.isfinite, point))]
        step = -(-len(finite) // _POINTS) or 1
        return finite[-1::-step][::-1]


@dataclass(frozen=True)
class Bar:
    """One bar; ``chosen`` is drawn in the accent colour."""

    name: str
    value: float
    chosen: bool = False


def line_chart(title: str, x_label: str, series: Sequence[Series]) -> Markup:
    """Draw lines over a common x axis from its smallest value; empty markup when there is nothing to draw."""
    lines = [(one.name, one.drawn()) for one in series]
    lines = [(name, points) for name, points in lines if points]
    if not lines:
        return Markup()
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    across = _scale(min(xs), max(xs), _LEFT, WIDTH - _RIGHT)
    up = _scale(min(y_ticks[0], *ys), max(y_ticks[-1], *ys), HEIGHT - _BOTTOM, _TOP)
    body = [_y_tick(up(tick), number(tick)) for tick in y_ticks]
    below = HEIGHT - _BOTTOM + 16
    body += [_text(across(tick), below, number(tick), "middle") for tick in x_ticks if min(xs) <= tick <= max(xs)]
    body.append(_text(WIDTH - _RIGHT, HEIGHT - 4, x_label, "end"))
    for index, (_, points) in enumerate(lines):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        body.append(Markup('<polyline class="line s{}" points="{}"/>').format(index, path))
    return _figure(title, HEIGHT, body, [name for name, _ in lines] if len(lines) > 1 else [])


def bar_chart(title: str, bars: Sequence[Bar]) -> Markup:
    """Draw bars from zero, each with its name and value above it."""
    longest = max((bar.value for bar in bars), default=0) or 1
    body = []
    for index, bar in enumerate(bars):
        top = index * _BAR_STEP
        chosen = " chosen" if bar.chosen else ""
        body.append(_text(0, top + 14, bar.name, "start", chosen))
        body.append(_text(WIDTH, top + 14, f"{bar.value:.3f}", "end", chosen))
        width = max(1.0, WIDTH * bar.value / longest)
        shape = '<rect class="bar{}" x="0" y="{}" width="{:.1f}" height="{}" rx="2"/>'
        body.append(Markup(shape).format(chosen, top + 19, width, _BAR))
    return _figure(title, _BAR_STEP * len(bars), body, [])


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return about ``wanted`` round numbers from ``low`` to ``high``, in steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """Format a number for an axis: ``1.5M``, ``20k``, ``0.25``, ``3e-05``."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{unit}"
    return f"{value:.4g}"


def _scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    """Return the function from values between ``low`` and ``high`` to places between ``start`` and ``stop``."""
    span = high - low
    return lambda value: start + ((value - low) / span if span > 0 else 0.5) * (stop - start)


def _y_tick(y: float, label: str) -> Markup:
    grid = Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(_LEFT, WIDTH - _RIGHT, y, y)
    return grid + _text(_LEFT - 6, y + 4, label, "end")


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> Markup:
    return Markup('<text class="label{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        more, x, y, anchor, text
    )


def _figure(title: str, height: int, body: Sequence[Markup], names: Sequence[str]) -> Markup:
    key = Markup(
        '<span class="key"><svg viewBox="0 0 24 8" aria-hidden="true"><path class="line s{}" d="M0 4h24"/></svg>'
        "{}</span>"
    )
    legend = Markup(" ").join(key.format(index, name) for index, name in enumerate(names))
    return Markup(
        "<figure><figcaption>{title} {legend}</figcaption>"
        '<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}">{body}</svg></figure>'
    ).format(title=title, legend=legend, width=WIDTH, height=height, body=Markup("\n").join(body))
