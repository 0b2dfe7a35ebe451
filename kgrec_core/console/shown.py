"""Results as a page has them: answers as cards, explanations with their graph, whatever else as facts and lists.

Any verb's result comes out, a third party's too. Names are texts of strangers: what is no visible character is spelled out here, the rest
is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from markupsafe import Markup

from kgrec_core.errors import visible
from kgrec_core.explain.explanation import Explanation
from kgrec_core.report.paths import drawn
from kgrec_core.requests import as_data
from kgrec_core.run.asks import Answer

MOST, DEEP = 200, 6  # of a list that are shown; how deep
HIDDEN = ("since", "until")


class Shown(NamedTuple):
    """kind: "text", "flag" (bool), "items" (list of Shown), "facts" (list of (name, Shown)), "answer" (Card) or "why" (Why). more: so many are left out."""

    kind: str
    value: Any
    more: int = 0


class Why(NamedTuple):
    """sentence; graph: inline SVG; parts: (what, by how much) that the score is the sum of."""

    sentence: str
    graph: Markup
    parts: list[tuple[str, str]]


class Card(NamedTuple):
    """An answer. share: of the best one's score, 0 to 1, where scores are above 0."""

    id: str
    text: str
    score: str
    share: float | None
    reason: str
    facts: list[tuple[str, str]]
    why: Why | None


def shown(value: Any, depth: int = 0) -> Shown | None:
    """None for nothing."""
    if isinstance(value, Answer):
        return Shown("answer", card(value, value.score))
    if isinstance(value, Explanation):
        return Shown("why", why(value))
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _facts(value._asdict(), depth)
    if is_dataclass(value) and not isinstance(value, type):
        return _facts({of.name: getattr(value, of.name) for of in fields(value)}, depth)
    if isinstance(value, Mapping):
        return _facts(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _items(list(value), depth)
    if isinstance(value, bool):
        return Shown("flag", value)
    text = "" if value is None else _number(value) if isinstance(value, float) else visible(str(as_data(value)))
    return Shown("text", text) if text else None


def card(of: Answer, best: float) -> Card:
    """best: the score of the first answer beside it."""
    share = max(0.0, min(1.0, of.score / best)) if best > 0 else None
    facts = [(visible(str(name)), _cell(value)) for name, value in of.attributes.items() if name not in HIDDEN and value is not None]
    found = None if of.explanation is None else why(of.explanation)
    return Card(visible(of.id), visible(of.text or of.id), _number(of.score), share, visible(of.reason), facts, found)


def why(of: Explanation) -> Why:
    parts = [(visible(name), f"{value:+.3g}") for name, value in of.channels.items()]
    return Why(visible(str(of)), Markup(visible(drawn(of))), parts)  # `drawn` has escaped every name


def _items(value: list[Any], depth: int) -> Shown | None:
    if depth >= DEEP:
        return Shown("text", f"{len(value):,}") if value else None
    kept, best = value[:MOST], next((one.score for one in value if isinstance(one, Answer)), 0.0)
    found = [Shown("answer", card(one, best)) if isinstance(one, Answer) else shown(one, depth + 1) for one in kept]
    rest = [one for one in found if one is not None]
    return Shown("items", rest, len(value) - len(kept)) if rest else None


def _facts(value: Mapping[str, Any], depth: int) -> Shown | None:
    if depth >= DEEP:
        return Shown("text", visible(str(as_data(value)))) if value else None
    found = [(visible(str(name).replace("_", " ")), shown(of, depth + 1)) for name, of in list(value.items())[:MOST]]
    rest = [(name, of) for name, of in found if of is not None]
    return Shown("facts", rest) if rest else None


def _number(value: float) -> str:
    return f"{value:.4g}"


def _cell(value: Any) -> str:
    return _number(value) if isinstance(value, float) else visible(str(value))
