"""A monitor's file, for the verbs that read it, also while the monitor runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgrec_core import KgrecError
from kgrec_finance.monitoring.state import State


@dataclass(frozen=True, kw_only=True)
class Stored:
    """run: folder of the run that the monitor stands beside.
    state: the monitor's file [RUN.monitor.sqlite].
    """

    run: Path | None = field(default=None, metadata={"envvar": "KGREC_RUN", "metavar": "FOLDER"})
    state: Path | None = None

    @property
    def file(self) -> Path:
        return beside(self.run, self.state)

    def opened(self) -> State:
        return State(self.file, write=False)


def beside(run: Path | None, state: Path | None) -> Path:
    """The file that is named, or else the run's. Raises KgrecError where neither is."""
    if state is not None:
        return state
    if run is None:
        raise KgrecError("which monitor? name its file with --state, or the run that it stands beside with --run")
    run = Path(os.path.abspath(run))  # "." has no name
    return run.with_name(f"{run.name}.monitor.sqlite")


def episodes(state: State) -> list[list[dict[str, Any]]]:
    """Per episode its changes, in the order in which the episodes opened."""
    found: dict[str, list[dict[str, Any]]] = {}
    for alert in state.alerts():
        found.setdefault(alert.body["episode"], []).append(alert.body)
    return list(found.values())
