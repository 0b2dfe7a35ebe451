"""`status`: how far a monitor is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgrec_core import DAY
from kgrec_finance.monitoring.outlets import Outlets
from kgrec_finance.monitoring.promise import met
from kgrec_finance.monitoring.promise import told as kept
from kgrec_finance.monitoring.settings import UNITS, Settings
from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.stored import Stored, episodes
from kgrec_finance.monitoring.wording import fed, shown

HOUR = DAY // 24


@dataclass(frozen=True, kw_only=True)
class Status(Stored):
    """Show how far a monitor is: lag, rates, open episodes, sinks that wait.

    Example: kgrec finance status --run runs/news
    """


def status(run: None, request: Status, progress: object = None) -> dict[str, Any]:
    with request.opened() as state:
        return reviewed(state, time.time())


def reviewed(state: State, now: float) -> dict[str, Any]:
    """Values for JSON. now: unix seconds. lag: seconds from the newest event to now; behind: bytes of a file after its
    last event, which are not read yet, or were refused and are tried again at the next start."""
    settings, now_kept, watch = Settings.of(state.kept("settings") or {}), state.kept("now") or {}, state.last_checkpoint() or {}
    latest, calibration = now_kept.get("windows", {}).get("latest"), state.kept("calibration")
    checkpoint, outlets = max(state.checkpoints(), default=0), watch.get("outlets")
    unread = {name: left for name, after in state.sources().items() if (left := _left(name, after)) is not None}
    opened = [changes[-1] for changes in episodes(state) if changes[-1]["what"] != "close"]
    last = state.last_alert()
    return {
        "state": str(state.file),
        "model": state.kept("model"),
        "settings": settings.state(),
        "phase": "learning" if calibration is None else "watching",
        "windows_seen": watch.get("count", 0),
        "windows_needed": sum(settings.windows_before),
        "calibration": None
        if calibration is None
        else {k: calibration[k] for k in ("threshold", "rate", "low", "high", "enough", "note", "apart")},
        "met": met(state, checkpoint + settings.window, outlets["changes"]) if outlets else None,
        "feed": {"share": Outlets.of(outlets).share(), "changes": outlets["changes"]} if outlets else None,
        "latest": latest,
        "lag_seconds": None if latest is None else now - latest / 1e6,
        "behind_bytes": unread,
        "events": now_kept.get("counts", {}),
        "waiting": len(now_kept.get("order", {}).get("waiting", [])),
        "events_an_hour": 0.0 if latest is None else state.events_since(latest - 24 * HOUR) / 24,
        "kept": state.counted(),
        "open": [{k: e[k] for k in ("episode", "series", "title", "severity", "opened", "last", "sentence")} for e in opened],
        "sinks": [{"name": s.name, "behind": len(state.alerts(s.sent)) if s.sent < last else 0, "error": s.error} for s in state.sinks()],
    }


def told(found: dict[str, Any], request: object = None) -> str:
    """`reviewed` for a person at a terminal."""
    seen, needed = found["windows_seen"], found["windows_needed"]
    phase = found["calibration"]["note"] if found["calibration"] else f"{seen} of {needed} windows seen; no episode opens before"
    lag = "no event yet" if found["latest"] is None else f"{shown(found['latest'])}, {_ago(found['lag_seconds'])} ago"
    lines = [f"{found['state']}: {found['phase']} ({phase})", f"newest event: {lag}"]
    behind = {name: left for name, left in found["behind_bytes"].items() if left}
    lines += [f"{left:,} bytes of {name} behind its last event: refused, or not read yet" for name, left in behind.items()]
    counts = ", ".join(f"{count:,} {name}" for name, count in found["events"].items())
    lines.append(f"events: {counts or 'none'}; {found['events_an_hour']:.1f} an hour in the last day of them")
    if found["calibration"]:
        c = found["calibration"]
        lines.append(f"false episodes a week: {c['rate']:g} asked for, 95 % interval of learning {c['low']:.2f} to {c['high']:.2f}")
    lines += kept(found["met"], shown) if found["met"] else []
    if found["feed"] and found["feed"]["changes"]:
        lines.append(f"feed: {found['feed']['share']:.0%} of it counts".replace("%", " %"))
        lines += [f"  {shown(change['at'])} {fed(change, found['settings']['warmup'])}" for change in found["feed"]["changes"][-5:]]
    lines.append(f"open episodes: {len(found['open']) or 'none'}")
    lines += [f"  {e['episode']} {e['severity']} since {shown(e['opened'])}: {e['sentence']}" for e in found["open"]]
    lines += [
        f"sink {s['name']}: {s['behind']} wait ({s['error']})" if s["behind"] else f"sink {s['name']}: has all" for s in found["sinks"]
    ]
    return "\n".join(lines)


def _ago(seconds: float) -> str:
    """
    >>> _ago(90), _ago(360_000)
    ('2m', '4d')
    """
    unit = next((u for u in ("d", "h", "m") if abs(seconds) * 1e6 >= UNITS[u]), "s")
    return f"{seconds * 1e6 / UNITS[unit]:.0f}{unit}"


def _left(name: str, after: str) -> int | None:
    """Of a file that is still there."""
    path = Path(name.removeprefix("history "))
    try:
        return max(path.stat().st_size - json.loads(after)["at"], 0) if path.suffix != ".gz" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
