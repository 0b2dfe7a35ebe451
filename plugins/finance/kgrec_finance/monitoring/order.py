"""One event with a wrong clock must not make all others late: it waits until another event confirms that time has moved on.

The wall clock is asked where lines are read (`events.Reader`); here the order of events alone decides, so a replay decides as the live
monitor did.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from kgrec_core.domain import damage
from kgrec_finance.feeds.events import Event

PATIENCE = 5  # events that come after a leap without confirming it, until it is refused


class Order:
    """leap: int microseconds. An event later than all before it by more waits; one that reaches it (up to `leap`) confirms it.

    `state()` is for JSON, `Order.of(state)` goes on where it was taken.
    """

    def __init__(self, leap: int) -> None:
        self.leap = leap
        self.latest: int | None = None
        self._waiting: list[list[Any]] = []  # [event, how many came after it]

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: Event) -> tuple[list[Event], list[Event]]:
        """(events to count now, events that are refused), each in the order they came in. A waiting id again is left out."""
        if any(waiting.id == event.id for waiting, _ in self._waiting):
            return [], []
        confirmed = [waiting for waiting, _ in self._waiting if event.time >= waiting.time - self.leap]
        if confirmed:
            self.latest = max(w.time for w in confirmed) if self.latest is None else max(self.latest, *(w.time for w in confirmed))
        ahead = self.latest is None or event.time > self.latest + self.leap
        now = [w for w, _ in self._waiting if self.latest is not None and w.time <= self.latest + self.leap]
        self._waiting = [[w, n + 1] for w, n in self._waiting if w not in now]
        if ahead:
            self._waiting.append([event, 0])
        else:
            now.append(event)
        if now:
            self.latest = max(self.latest, *(e.time for e in now)) if self.latest is not None else max(e.time for e in now)
        refused = [w for w, n in self._waiting if n >= PATIENCE]
        self._waiting = [[w, n] for w, n in self._waiting if n < PATIENCE]
        return now, refused

    def state(self) -> dict[str, Any]:
        waiting = [[[e.id, e.time, e.text, e.companies and list(e.companies), dict(e.raw), e.outlet], n] for e, n in self._waiting]
        return {"leap": self.leap, "latest": self.latest, "waiting": waiting}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave, also after a trip through JSON. Raises KgrecError where it is another thing."""
        with damage("this is no state of Order", "start anew with Order(leap)"):
            new = cls(state["leap"])
            new.latest = state["latest"]
            for (id, time, text, companies, raw, outlet), count in state["waiting"]:
                new._waiting.append([Event(id, time, text, companies and tuple(companies), raw, outlet), count])
        return new
