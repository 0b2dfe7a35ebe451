"""A feed in batches: as many events as have come, none waits for a batch to fill.

A thread reads, so that a pause of the feed does not keep back what has come. Which events share a batch depends on the clock; nothing
that is made of them does.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from kgrec_finance.feeds.events import Event, Seen
from kgrec_finance.feeds.follow import follow


class _All(Seen):
    """Lets every id through: the state file knows which were counted, also from before a restart."""

    def add(self, id: str) -> bool:
        return True


def batches(
    source: str | Path,
    offset: str | None,
    *,
    size: int,
    poll: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    **reading: Any,
) -> Iterator[list[tuple[Event, str]]]:
    """Lists of (event, offset behind it), at most `size`, empty ones where nothing came for a second; ends with the source, or after
    `stop()`.

    poll: seconds after which the source is looked at again; None = a second for a file, five minutes for an address. reading: further parameters of `follow`. What `follow` raises is raised here.
    """
    ready: queue.Queue[Any] = queue.Queue(4 * size)
    over = threading.Event()
    poll = poll or (300.0 if str(source).startswith(("http://", "https://")) else 1.0)

    def ended() -> bool:
        return over.is_set() or stop()

    def given(item: tuple[Any, Any]) -> bool:
        """Put into the queue once there is room; False where nobody waits any more."""
        while not over.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.5)
                return True
        return False

    def read() -> None:
        end = None
        try:
            for item in follow(source, offset, seen=_All(), poll=poll, stop=ended, **reading):
                if not given(item):
                    return
        except BaseException as error:
            end = error
        given(("", end))

    threading.Thread(target=read, name="feed", daemon=True).start()
    try:
        while True:
            batch: list[tuple[Event, str]] = []
            with suppress(queue.Empty):
                batch.append(ready.get(timeout=min(poll, 1.0)))
                while len(batch) < size:
                    batch.append(ready.get_nowait())
            if batch and batch[-1][0] == "":
                end = batch.pop()[1]
                if batch:
                    yield batch
                if end is not None:
                    raise end
                return
            yield batch
            if stop():
                return
    finally:
        over.set()
