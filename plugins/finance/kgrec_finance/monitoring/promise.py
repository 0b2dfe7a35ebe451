"""The rate of false episodes that was asked for, beside the one that was met: a promise is kept, or taken back aloud."""

from __future__ import annotations

from typing import Any

from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.stored import episodes
from kgrec_finance.monitoring.threshold import WEEK

SURE = 0.025  # of each side of the interval
LEAST = 2.0  # weeks before a promise is taken back: one event may open several episodes at once


def interval(count: int, weeks: float) -> tuple[float, float]:
    """95 % interval of a rate a week, exact for a Poisson count (Garwood 1936).

    >>> [round(x, 2) for x in interval(10, 10.0)]
    [0.48, 1.84]
    """
    from scipy.special import gammaincinv

    return float(gammaincinv(count, SURE)) / weeks if count else 0.0, float(gammaincinv(count + 1, 1 - SURE)) / weeks


def met(state: State, now: int, changes: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What became of the rate since episodes open, and since the feed last changed; None before the first window.

    now: end of the newest window, int us UTC. changes: of the feed. An episode that reached what chance does not give (`Calibration.far`)
    is taken for a true event and not counted. promise: "withdrawn" where either interval lies above the rate that was asked for.
    """
    since, calibration = state.kept("watching"), state.kept("calibration")
    if since is None or now <= since:
        return None
    since = max(since, now - (state.kept("settings") or {}).get("keep", now))  # what is older is forgotten
    opened = [(of[0]["at"], any(change["far"] for change in of)) for of in episodes(state) if of[0]["what"] == "open"]
    changed = max((change["at"] for change in changes), default=since)
    spans = [_counted(opened, since, now)] + ([_counted(opened, changed, now)] if since < changed < now else [])
    broken = any(span["low"] > calibration["rate"] and span["weeks"] >= LEAST for span in spans)
    return {"asked": calibration["rate"], "promise": "withdrawn" if broken else "kept", "spans": spans}


def told(found: dict[str, Any], shown: Any) -> list[str]:
    """In words. shown: a time -> its text."""
    lines = []
    for number, of in enumerate(found["spans"]):
        since = f"since {shown(of['since'])}" + (", when the feed changed," if number else "")
        events = f", {of['events']} more far above chance, taken for true events" if of["events"] else ""
        interval = f"{of['rate']:.2f} a week, 95 % interval {of['low']:.2f} to {of['high']:.2f}"
        lines.append(f"met {since}: {of['episodes']} in {of['weeks']:.1f} weeks, {interval}{events}")
    if found["promise"] == "withdrawn":
        lines.append(
            f"THE PROMISE OF {found['asked']:g} A WEEK IS WITHDRAWN: more episodes open than it allows; "
            "begin another --state to learn anew, or give a lower --rate"
        )
    return lines


def _counted(opened: list[tuple[int, bool]], since: int, now: int) -> dict[str, Any]:
    mine, weeks = [far for at, far in opened if since < at <= now], (now - since) / WEEK
    low, high = interval(len(mine) - sum(mine), weeks)
    rate = (len(mine) - sum(mine)) / weeks
    return {"since": since, "weeks": weeks, "episodes": len(mine) - sum(mine), "events": sum(mine), "rate": rate, "low": low, "high": high}
