"""How far a long stage is, as a line on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Any]:
    """`progress(what, done, total)`: a bar begins with the first call; stages without a length get a spinner. `progress.note(what, said)` says
    more behind it."""
    bar: Any = None
    tasks: dict[str, Any] = {}

    def progress(what: str, done: int, total: int) -> None:
        nonlocal bar
        if quiet:
            return
        if bar is None:
            bar = _bar()
            bar.start()
        if what not in tasks:
            for earlier in tasks.values():
                bar.update(earlier, total=1, completed=1) if bar.tasks[earlier].total is None else bar.stop_task(earlier)
            tasks[what] = bar.add_task(what, total=total or None, note="")
        bar.update(tasks[what], completed=done, total=total or None)

    def note(what: str, said: str) -> None:
        if what in tasks:
            bar.update(tasks[what], note=said)

    progress.note = note  # type: ignore[attr-defined]
    try:
        yield progress
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bar = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    columns = (*bar, TimeRemainingColumn(compact=True), TextColumn("{task.fields[note]}"))
    return Progress(*columns, console=Console(stderr=True))
