"""What is said of each company in an event: by the model, or as it was stored with the event, so that a replay needs no model.

{"id": "7", "time": "...", "text": "...", "scores": {"article": [0.7, 0.2, 0.1], "companies": {"BA": [0.8, 0.1, 0.1]}, "topics": {"orders": 0.9}}}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from kgrec_finance.feeds.events import Event, Refused

if TYPE_CHECKING:
    from kgrec_finance.articles.linking import Linker

Moods = tuple[float, float, float]  # P(negative), P(neutral), P(positive)
NEUTRAL: Moods = (0.0, 1.0, 0.0)


class Scored(NamedTuple):
    """companies: every company that the article mentions, by its id. topics: topic -> probability."""

    article: Moods
    companies: Mapping[str, Moods]
    topics: Mapping[str, float] = {}


Score = Callable[[Sequence[Event]], Sequence[Scored]]


class Unscored:
    """Companies by their names, everything neutral: where no model is asked, the volume alone is watched."""

    def __init__(self, linker: Linker | None) -> None:
        self.linker = linker

    def __call__(self, events: Sequence[Event]) -> list[Scored]:
        return [Scored(NEUTRAL, dict.fromkeys(named(event, self.linker), NEUTRAL)) for event in events]


def stored(event: Event, linker: Linker | None) -> Scored | None:
    """Raises Refused for a field `scores` that has none."""
    given = event.raw.get("scores")
    if given in (None, ""):
        return None
    try:
        given = json.loads(given) if isinstance(given, str) else given
        article = moods(given["article"]) if "article" in given else None
        companies = {str(id): moods(of) for id, of in given.get("companies", {}).items()}
        topics = {str(name): float(p) for name, p in given.get("topics", {}).items()}
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise Refused('scores are {"article": [negative, neutral, positive], "companies": {id: [...]}, "topics": {name: p}}') from None
    if any(not 0 <= p <= 1 for p in topics.values()):
        raise Refused("the probability of a topic lies between 0 and 1")
    if article is None:
        article = tuple(sum(of[i] for of in companies.values()) / len(companies) for i in range(3)) if companies else NEUTRAL
    return Scored(article, companies if "companies" in given else dict.fromkeys(named(event, linker), article), topics)


def moods(given: Any) -> Moods:
    """Raises ValueError or TypeError."""
    values = tuple(float(p) for p in given)
    if len(values) != 3 or not all(isfinite(p) and 0 <= p <= 1 for p in values) or abs(sum(values) - 1) > 0.02:
        raise ValueError("three probabilities that add up to 1")
    return values


def named(event: Event, linker: Linker | None) -> list[str]:
    """Companies that the text names and those that the feed names, as ids; a name that the table lacks is nobody."""
    if linker is None:
        return list(event.companies or ())
    told = (linker.resolve(name) for name in event.companies or ())
    return list(dict.fromkeys([*(span.company for span in linker.find(event.text)), *filter(None, told)]))
