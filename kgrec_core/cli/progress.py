"""How far a long stage is, on stderr: bars on a terminal, lines in a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Any]:
    """`progress(what, done, total)`: it is shown from the first call on; total = 0: nobody knows how long. `progress.note(what, said)` says
    more behind it."""
    shown: Any = None

    def progress(what: str, done: int, total: int) -> None:
        nonlocal shown
        if not quiet:
            shown = shown or (_Bars() if sys.stderr.isatty() else _Lines())
            shown.at(what, done, total)

    def note(what: str, said: str) -> None:
        if shown is not None:
            shown.note(what, said)

    progress.note = note  # type: ignore[attr-defined]
    try:
        yield progress
    finally:
        if shown is not None:
            shown.stop()


class _Bars:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        bar = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        columns = (*bar, TimeRemainingColumn(compact=True), TextColumn("{task.fields[note]}"))
        self.bars, self.tasks = Progress(*columns, console=Console(stderr=True)), {}
        self.stop = self.bars.stop
        self.bars.start()

    def at(self, what: str, done: int, total: int) -> None:
        bars, tasks = self.bars, self.tasks
        if what not in tasks:
            for earlier in tasks.values():
                bars.update(earlier, total=1, completed=1) if bars.tasks[earlier].total is None else bars.stop_task(earlier)
            tasks[what] = bars.add_task(what, total=total or None, note="")
        bars.update(tasks[what], completed=done, total=total or None)

    def note(self, what: str, said: str) -> None:
        if what in self.tasks:
            self.bars.update(self.tasks[what], note=said)


class _Lines:
    """A line when a stage begins and at every tenth of it, so that a log tells while it goes on."""

    def __init__(self) -> None:
        self.began, self.tenths, self.said = time.monotonic(), {}, {}

    def at(self, what: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth != self.tenths.get(what):
            self.tenths[what] = tenth
            parts = (f"{time.monotonic() - self.began:6.0f} s  {what}", f"{done}/{total}" if total else "", self.said.get(what, ""))
            print(" ".join(part for part in parts if part), file=sys.stderr, flush=True)

    def note(self, what: str, said: str) -> None:
        self.said[what] = said

    def stop(self) -> None:
        pass
