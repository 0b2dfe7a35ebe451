"""Three small plots as inline SVG, so that a report needs no plotting library and no other file: dots, lines, bars.

All text is escaped; colours come from the page's CSS variables --c0 ... --c4, so one page serves light and dark screens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

LEFT, WIDTH, LINE = 215, 720, 22
LETTER = 7.2  # pixels that a letter of 12 pixels may need
COLOURS = 5


class Dot(NamedTuple):
    """A mean with its interval."""

    name: str
    mean: float
    low: float
    high: float


def dots(rows: Sequence[Dot], signed: bool = False) -> str:
    """One line per row: the mean as a dot, its interval as a bar, the figures in words; with `signed`, a line at zero."""
    low, high = min(r.low for r in rows), max(r.high for r in rows)
    low, high = (min(low, 0.0), max(high, 0.0)) if signed else (low, high)
    marks = ticks(low, high)
    low, high = min(low, marks[0]), max(high, marks[-1])
    left = max(LEFT, 20 + LETTER * max(len(r.name) for r in rows))  # no label is cut
    wide = left - LEFT + WIDTH
    place = _scale(low, high, left, wide - 190)
    body, bottom = [], LINE * len(rows) + 8
    for mark in marks:
        body.append(_grid(place(mark), 4, place(mark), bottom, strong=signed and mark == 0))
        body.append(_text(place(mark), bottom + 14, _short(mark), "middle"))
    for number, row in enumerate(rows):
        y, sign = LINE * number + 18, "+" if signed else ""
        said = f"{row.mean:{sign}.4f} [{row.low:{sign}.4f}, {row.high:{sign}.4f}]"
        body.append(_text(left - 10, y + 4, row.name, "end"))
        body.append(f'<line x1="{place(row.low):.1f}" y1="{y}" x2="{place(row.high):.1f}" y2="{y}" class="interval"/>')
        body.append(f'<circle cx="{place(row.mean):.1f}" cy="{y}" r="4.5" class="dot"/>')
        body.append(_text(wide - 180, y + 4, said, "start"))
    return _svg(body, bottom + 22, ", ".join(f"{r.name} {r.mean:.4f}" for r in rows), wide)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_name: str) -> str:
    """Lines with a dot at every point, named in a legend."""
    points = [point for line in series.values() for point in line]
    xs, ys = ticks(*_ends([x for x, _ in points])), ticks(*_ends([y for _, y in points]))
    across, up = _scale(xs[0], xs[-1], 70, WIDTH - 20), _scale(ys[0], ys[-1], 230, 30)
    body = _axes(xs, ys, across, up, x_name)
    for number, (name, line) in enumerate(series.items()):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        body.append(f'<polyline points="{path}" fill="none" stroke="var(--c{number % COLOURS})" stroke-width="2"/>')
        for x, y in line:
            body.append(
                f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.5" fill="var(--c{number % COLOURS})">'
                f"<title>{escape(name)} {x:g}: {y:.4g}</title></circle>"
            )
    return _svg([*body, *_legend(list(series))], 270, f"{', '.join(series)} by {x_name}")


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]], x_name: str) -> str:
    """Groups of bars, one per series; values are shares and written in percent."""
    top = ticks(0.0, max([v for values in series.values() for v in values] or [1.0]))
    up = _scale(0.0, top[-1], 230, 30)
    step = (WIDTH - 90) / max(len(groups), 1)
    body = _axes([], top, lambda x: x, up, x_name, percent=True)
    width = step * 0.8 / max(len(series), 1)
    for at, group in enumerate(groups):
        body.append(_text(70 + step * (at + 0.5), 246, group, "middle"))
        for number, (name, values) in enumerate(series.items()):
            x = 70 + step * (at + 0.1) + width * number
            body.append(
                f'<rect x="{x:.1f}" y="{up(values[at]):.1f}" width="{width:.1f}" height="{230 - up(values[at]):.1f}" '
                f'fill="var(--c{number % COLOURS})"><title>{escape(name)}, {escape(group)}: {values[at]:.2%}</title></rect>'
            )
    return _svg([*body, *_legend(list(series))], 270, f"{', '.join(series)} by {x_name}")


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that enclose [low, high], at steps of 1, 2 or 5 times a power of ten."""
    span = high - low or abs(high) or 1.0
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, max(last, first + 1) + 1)]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _scale(low: float, high: float, start: float, stop: float):
    return lambda value: start + (value - low) / ((high - low) or 1) * (stop - start)


def _axes(xs: Sequence[float], ys: Sequence[float], across, up, x_name: str, percent: bool = False) -> list[str]:
    body = []
    for y in ys:
        body += [_grid(70, up(y), WIDTH - 20, up(y)), _text(62, up(y) + 4, f"{y * 100:g}%" if percent else _short(y), "end")]
    body += [_text(across(x), 246, _short(x), "middle") for x in xs]
    return [*body, _text(WIDTH - 20, 264, x_name, "end")]


def _legend(names: Sequence[str]) -> list[str]:
    body, x = [], 70.0
    for number, name in enumerate(names):
        body += [f'<rect x="{x:.0f}" y="8" width="10" height="10" fill="var(--c{number % COLOURS})"/>', _text(x + 15, 17, name, "start")]
        x += 40 + 6.5 * len(name)
    return body


def _grid(x1: float, y1: float, x2: float, y2: float, strong: bool = False) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{"zero" if strong else "grid"}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _short(value: float) -> str:
    return f"{value:.6g}"


def _svg(body: Sequence[str], height: float, label: str, width: float = WIDTH) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">{"".join(body)}</svg>'
