"""The graph around an answer as inline SVG: what was met on the left, what joins in the middle, the answer on the right.

Every node and every path has a title that a screen reader says, and can be reached by the keyboard; all names are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple
from unicodedata import east_asian_width

from kgrec_core.explain.explanation import Explanation, Path
from kgrec_core.explain.sentences import readable

WIDTH, ROW, TOP, BOX = 720, 46, 26, 210
LEFT, MIDDLE, RIGHT = 8, 262, 502  # where the boxes of each column begin


class Way(NamedTuple):
    """One path as it is drawn: names of start and middle ("" = none), the word on its line, its weight and a title."""

    start: str
    middle: str
    word: str
    weight: float
    title: str


def drawn(why: Explanation) -> str:
    """An explanation's paths; "" where it has none."""
    ways = [_way(path, why.score) for path in why.paths]
    if not ways:
        return ""
    starts, middles = (list(dict.fromkeys(way[column] for way in ways if way[column])) for column in (0, 1))
    height = TOP + ROW * max(len(starts), len(middles), 1) + 8
    y_left, y_middle, y_right = _rows(starts, height), _rows(middles, height), TOP + (height - TOP) / 2
    heaviest = max(way.weight for way in ways)
    body = [_heading(LEFT, "met"), _heading(MIDDLE, "what joins"), _heading(RIGHT, "the answer")]
    for way in ways:
        points = [(LEFT + BOX, y_left[way.start])] if way.start else []
        points += [(MIDDLE, y_middle[way.middle]), (MIDDLE + BOX, y_middle[way.middle])] if way.middle else []
        points.append((RIGHT, y_right))
        width = 1 + 4 * way.weight / heaviest
        for (x1, y1), (x2, y2) in zip(
            points[:: 2 if way.middle and way.start else 1], points[1 :: 2 if way.middle and way.start else 1], strict=False
        ):
            body.append(
                f'<g tabindex="0" role="img" aria-label="{escape(way.title)}"><title>{escape(way.title)}</title>'
                f'<line x1="{x1}" y1="{y1:.0f}" x2="{x2}" y2="{y2:.0f}" stroke="var(--c0)" stroke-width="{width:.1f}"/></g>'
            )
    body += [_box(LEFT, y_left[name], name, "met before") for name in starts]
    body += [_box(MIDDLE, y_middle[name], name, "joins them") for name in middles]
    body.append(_box(RIGHT, y_right, why.item.name, "the answer"))
    label = f"Graph around {why.item.name}: {why}"
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="group" aria-label="{escape(label)}">{"".join(body)}</svg>'


def _way(path: Path, score: float) -> Way:
    start = path.nodes[0].name if len(path.nodes) > 1 else ""
    word = readable(path.relations[0]) if path.relations else path.evidence
    middle = {
        "graph": f"{word}: {path.nodes[len(path.nodes) // 2].name}" if len(path.nodes) > 2 else word,
        "own": f"{word}: {path.nodes[1].name}" if len(path.nodes) > 1 else word,
        "behaviour": f"{path.count:,} others have both",
        "text": f"words: {', '.join(path.words)}" if path.words else "alike in meaning",
        "habit": f"{word} {path.count}x before",
        "examples": "a known one like it",
    }[path.evidence]
    title = f"{start + ' – ' if start else ''}{middle} – {path.nodes[-1].name}, {path.weight:.3g} of a score of {score:.3g}"
    return Way(start, middle, word, path.weight, title)


def fitting(name: str, width: float) -> str:
    """As much of a name as stands on so many pixels in letters of 12: small ones take about 7, capitals 9, Chinese 12."""
    for place, letter in enumerate(name):
        width -= 12 if east_asian_width(letter) in "WF" else 9 if letter.isupper() or letter in "mwMW@%" else 7
        if width < 0:
            return name[: max(place - 1, 1)] + "…"
    return name


def _rows(names: Sequence[str], height: float) -> dict[str, float]:
    """The middle of each box, spread over the height."""
    step = (height - TOP) / max(1, len(names))
    return {name: TOP + step * (place + 0.5) for place, name in enumerate(names)}


def _heading(x: float, words: str) -> str:
    return f'<text x="{x}" y="14" text-anchor="start" opacity=".7">{escape(words)}</text>'


def _box(x: float, y: float, name: str, what: str) -> str:
    """A rounded box with as much of the name as fits, whole in the title."""
    shown = fitting(name, BOX - 16)
    return (
        f'<g tabindex="0" role="img" aria-label="{escape(f"{what}: {name}")}"><title>{escape(name)}</title>'
        f'<rect x="{x}" y="{y - 16:.0f}" width="{BOX}" height="32" rx="6" class="node"/>'
        f'<text x="{x + 8}" y="{y + 4:.0f}" text-anchor="start">{escape(shown)}</text></g>'
    )
