"""`acknowledge`: somebody has seen an alert. Kept beside the monitor's file, which its own process alone writes; and what the console shows."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec_core import KgrecError
from kgrec_core.domain import append, choices, each
from kgrec_finance.monitoring.page import render
from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.stored import beside, episodes
from kgrec_finance.monitoring.wording import shown

if TYPE_CHECKING:
    from kgrec_core.domain import Run


@dataclass(frozen=True)
class Acknowledge:
    """Say that an alert of the monitor beside the run was seen, so that nobody else looks into it again.

    episode: the alert's id, or the beginning of it. note: what came of it.

    Example: kgrec finance acknowledge 3f2a --note "a rumour, denied" --run runs/news
    """

    episode: str = field(metadata={"argument": True})
    note: str = ""


@each
def acknowledge(run: Run, request: Acknowledge) -> dict[str, Any]:
    """The line that was kept. Raises KgrecError for an unknown alert or several, and where it cannot be saved."""
    with State(beside(run.folder, None), write=False) as state:
        known = [changes[0]["episode"] for changes in episodes(state)]
    found = [id for id in known if request.episode and id.startswith(request.episode)]
    if len(found) != 1:
        raise choices("alert", request.episode, found or known)
    line = {"episode": found[0], "at": int(time.time() * 1e6), "note": request.note[:2000]}
    file = _file(run.folder)
    try:
        append(file, json.dumps(line))
    except OSError as error:
        raise KgrecError(f"{file}: it was not saved ({error}); free space or make it writable, then repeat it") from None
    return line


def told(line: Mapping[str, Any], request: Acknowledge) -> str:
    return f"alert {line['episode']} is acknowledged"


def acknowledged(run: Path) -> dict[str, dict[str, Any]]:
    """By episode the latest line; one that a crash cut off is left out."""
    file, found = _file(run), {}
    for raw in file.read_bytes().splitlines() if file.exists() else ():
        try:
            line = json.loads(raw)
            found[line["episode"]] = line
        except (ValueError, LookupError, RecursionError, TypeError):
            continue
    return found


def alerts(run: Path) -> list[dict[str, Any]]:
    """Of the console: the episodes of the monitor beside a run, open ones first, then the latest; [] where there is no monitor."""
    if not beside(run, None).is_file():
        return []
    seen = acknowledged(run)
    with State(beside(run, None), write=False) as state:
        found = episodes(state)
    rows = []
    for first, last in ((changes[0], changes[-1]) for changes in found):
        rows.append(
            {
                "id": first["episode"],
                "title": first["sentence"],
                "open": last["what"] != "close",
                "severity": last["severity"],
                "opened": shown(first["opened"]),
                "until": shown(last["last"]),
                "level": f"{first['level']:.2f}",
                "threshold": f"{first['threshold']:.2f}",
                "acknowledged": (seen[first["episode"]]["note"] or "seen") if first["episode"] in seen else "",
            }
        )
    return sorted(rows[::-1], key=lambda row: not row["open"])


def series(run: Path) -> str | None:
    """Of the console: the series over time with thresholds and articles, as one page; None where there is no monitor."""
    file = beside(run, None)
    if not file.is_file():
        return None
    with State(file, write=False) as state:
        return render(state, time.time(), f"Monitor {file.stem}")


def _file(run: Path) -> Path:
    return run.with_name(f"{run.name}.acknowledged.jsonl")
