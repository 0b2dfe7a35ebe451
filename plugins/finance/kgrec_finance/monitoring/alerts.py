"""`alerts`: the episodes of a monitor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kgrec_core.domain import columns
from kgrec_finance.monitoring.stored import Stored, episodes
from kgrec_finance.monitoring.wording import shown


@dataclass(frozen=True, kw_only=True)
class Alerts(Stored):
    """List the episodes, the latest last; as JSON every change of them.

    still_open: only episodes that are open.
    series: only of this series, e.g. "company:BA".

    Example: kgrec finance alerts --open --run runs/news
    """

    still_open: bool = field(default=False, metadata={"option": "--open"})
    series: str | None = field(default=None, metadata={"metavar": "NAME"})


def alerts(run: None, request: Alerts, progress: object = None) -> list[list[dict[str, Any]]]:
    """Per episode its changes."""
    with request.opened() as state:
        found = episodes(state)
    found = [of for of in found if request.series in (None, of[-1]["series"])]
    return [of for of in found if not request.still_open or of[-1]["what"] != "close"]


def told(found: list[list[dict[str, Any]]], request: Alerts) -> str:
    rows = [("alert", "opened", "until", "severity", "what")]
    for first, last in ((changes[0], changes[-1]) for changes in found):
        until = shown(last["last"]) if last["what"] == "close" else "open"
        rows.append((first["episode"], shown(first["opened"]), until, last["severity"], first["sentence"]))
    return columns(rows) if found else "no alerts"
