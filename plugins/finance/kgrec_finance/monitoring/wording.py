"""An alert as sinks get it, and its one sentence. Made of the change alone: the same in every run over the same events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kgrec_finance.monitoring.settings import spelled

if TYPE_CHECKING:
    from kgrec_finance.monitoring.ensemble import Judged
    from kgrec_finance.monitoring.episodes import Change
    from kgrec_finance.monitoring.windows import Window


def alert(
    change: Change, judged: Judged, names: Mapping[str, str], threshold: float, articles: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Values for JSON; times int us UTC, `time` the same for people."""
    window, (kind, _, id) = judged.window, change.series.partition(":")
    name = names.get(id, id) if kind == "company" else id
    title = f"{kind} {name}"
    return {
        "key": f"{change.id}-{change.number}",
        "episode": change.id,
        "number": change.number,
        "what": change.what,
        "series": change.series,
        "title": title,
        "severity": change.severity,
        "sentence": f"{title}: {_closed(change) if change.what == 'close' else changed(window, judged.usual)}",
        "time": shown(change.at),
        "at": change.at,
        "opened": change.opened,
        "last": change.last,
        "level": judged.level,
        "peak": change.peak,
        "threshold": threshold,
        "far": judged.far,
        "detectors": list(change.detectors),
        "window": {name: value for name, value in window._asdict().items() if name != "parts"},
        "usual": judged.usual,
        "articles": list(articles),
    }


def changed(window: Window, usual: Mapping[str, float]) -> str:
    """
    >>> from kgrec_finance.monitoring.windows import Window
    >>> changed(Window("company:BA", 0, 86_400_000_000, 12, 12.0, 9.0, 2.0, 1.0), {"volume": 3.0, "negative": 0.2})
    'volume 12.0 in 1d where 3.0 is usual (4.0 times); negative share 75 % where 20 % is usual'
    """
    said = []
    if (expected := usual.get("volume")) is not None:
        times = f" ({window.volume / expected:.1f} times)" if expected > 0 else ""
        said.append(f"volume {window.volume:.1f} in {spelled(window.length)} where {expected:.1f} is usual{times}")
    unscored = abs(window.neutral - window.volume) < 1e-6 and not usual.get("sentiment") and usual.get("negative", 0.0) <= 0.01
    if window.volume and not unscored and (expected := usual.get("negative")) is not None:
        said.append(f"negative share {window.negative_share:.0%} where {expected:.0%} is usual".replace("%", " %"))
    if window.volume and not unscored and (expected := usual.get("sentiment")) is not None:
        said.append(f"mean sentiment {window.sentiment:+.2f} where {expected:+.2f} is usual")
    return "; ".join(said) or "silent"


def shown(micros: int) -> str:
    """
    >>> shown(1_443_139_200_000_000)
    '2015-09-25 00:00 UTC'
    """
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def fed(change: Mapping[str, Any], watched: int) -> str:
    """A change of the feed.

    >>> fed({"outlet": "wire", "what": "changed", "factor": 2.0}, 0), fed({"outlet": "", "what": "changed", "factor": 0.5}, 0)
    ('outlet "wire" tells 2 times what it did; that is usual now', 'the feed tells 0.5 times what it did; that is usual now')
    """
    who = f'outlet "{change["outlet"]}"' if change["outlet"] else "the feed"
    said = {
        "new": f"is new; its mix is learned, its stories count in {spelled(watched)}",
        "counts": "is known now; its stories count",
        "silent": "is silent; that is usual now",
        "changed": f"tells {change['factor']:.2g} times what it did; that is usual now",
    }
    return f"{who} {said[change['what']]}"


def _closed(change: Change) -> str:
    return f"as usual again since {shown(change.last)}, after {spelled(change.last - change.opened) if change.last > change.opened else 'one window'}"
