"""What was said in each stretch of event time: counts and sentiment per series, the same for every order of arrival.

Tumbling windows under a watermark (Akidau et al. 2015, "The Dataflow Model"): a window closes once an event is seen that is later
than its end by the lateness. Sums are kept as whole numbers (billionths), so no order of additions changes them and a state taken to
JSON and back goes on exactly where it was: replay equals live.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple, Self

from kgrec_core import KgrecError
from kgrec_core.domain import damage

UNIT = 10**9  # whole numbers in one unit of weight


class Window(NamedTuple):
    """One closed stretch of one series: [start, start + length), int microseconds UTC, of events weighted and scored."""

    series: str
    start: int
    length: int
    count: int = 0  # events
    volume: float = 0.0  # sum of their weights
    negative: float = 0.0  # sums of weight x probability
    neutral: float = 0.0
    positive: float = 0.0
    exposure: float = 1.0  # how much the feed tells of the series now, as against what its level was learned from
    parts: tuple[tuple[str, int, float, float, float, float], ...] = ()  # outlet, and the sums of its events; of several outlets

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def sentiment(self) -> float | None:
        """Mean of P(positive) - P(negative), in [-1, 1]; None of an empty window."""
        return (self.positive - self.negative) / self.volume if self.volume else None

    @property
    def negative_share(self) -> float | None:
        """Mean of P(negative), in [0, 1]; None of an empty window."""
        return self.negative / self.volume if self.volume else None


@dataclass(kw_only=True)
class Windows:
    """Events in, closed windows out, in order of (start, series); `state()` and `of` carry it through JSON.

    length, lateness: int microseconds; windows start at n x length.
    A series has a window, of zeros where it is silent, from its first event on, or from the first event of all if named in `series`.
    outage: after so many windows without an event of any series the source is taken to be down: the silence beyond is no observation
    and gives no windows (None: it always does).
    Raises KgrecError for a length or outage below 1, a lateness below 0.
    """

    length: int
    lateness: int = 0
    outage: int | None = None
    series: tuple[str, ...] = ()
    latest: int | None = field(default=None, init=False)  # the newest event time; the watermark is this minus the lateness
    dropped: int = field(default=0, init=False)  # events that came after their window had closed
    _known: set[str] = field(default_factory=set, init=False, repr=False)
    _next: int | None = field(default=None, init=False, repr=False)  # start of the first window that is not closed
    _silent: int = field(default=0, init=False, repr=False)  # windows closed since the last with an event
    _open: dict[int, dict[str, dict[str, list[int]]]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.length < 1 or self.lateness < 0 or (self.outage is not None and self.outage < 1):
            given = f"length = {self.length}, lateness = {self.lateness}, outage = {self.outage}"
            raise KgrecError(f"{given} make no windows; give a length and an outage of 1 or more, a lateness of 0 or more")
        self.series = tuple(self.series)
        self._known.update(self.series)

    def add(
        self,
        time: int,
        series: str | Iterable[str],
        negative: float,
        neutral: float,
        positive: float,
        weight: float = 1.0,
        outlet: str = "",
    ) -> list[Window]:
        """Count one event in each of its series; the windows that its time closes.

        time: int microseconds UTC; probabilities in [0, 1]; weight >= 0, e.g. 1 / mentioned companies; outlet: who tells it. An event of a closed window is
        counted in `dropped`. Raises KgrecError for other values, before anything is changed.
        """
        scores = (negative, neutral, positive)
        if not (all(0 <= p <= 1 for p in scores) and isfinite(weight) and weight >= 0):
            raise KgrecError(f"probabilities {scores} with weight {weight} cannot be counted; give numbers in [0, 1] and a weight >= 0")
        start = time - time % self.length
        # Where nothing has closed yet, or after an outage, an earlier event may still come and moves the beginning back.
        if self._next is None or (start < self._next and not self._closing(start)):
            self._next = start
        if self._closing(start):
            self.dropped += 1
            return []
        sums = self._open.setdefault(start, {})
        for name in {series} if isinstance(series, str) else set(series):
            whole = round(weight * UNIT)
            new = [1, whole, *(round(weight * p * UNIT) for p in scores)]
            mine = sums.setdefault(name, {})
            mine[outlet] = [a + b for a, b in zip(mine.get(outlet, (0, 0, 0, 0, 0)), new, strict=True)]
        return self.advance(time)

    def late(self, time: int, latest: int | None = None) -> bool:
        """Whether the window of this time has closed, or will have once an event of the time `latest` was counted."""
        now = max((t for t in (latest, self.latest) if t is not None), default=None)
        return now is not None and time - time % self.length + self.length <= now - self.lateness

    def advance(self, time: int) -> list[Window]:
        """What closes when the newest event time is `time` (or already was later): also for a source's own heartbeat."""
        self.latest = time if self.latest is None else max(time, self.latest)
        return self._close(self.latest - self.lateness)

    def flush(self) -> list[Window]:
        """Close every window that holds an event: the end of a replay. Later events of those windows are dropped."""
        if not self._open:
            return []
        end = max(self._open) + self.length
        self.latest = max(self.latest, end + self.lateness)
        return self._close(end)

    def state(self) -> dict[str, Any]:
        """Everything, in values that JSON has."""
        settings = {name: getattr(self, name) for name in ("length", "lateness", "outage")} | {"series": list(self.series)}
        now = {"latest": self.latest, "dropped": self.dropped, "next": self._next, "silent": self._silent, "known": sorted(self._known)}
        waiting = [
            [start, {n: {o: list(v) for o, v in sorted(by.items())} for n, by in sorted(of.items())}] for start, of in self._open.items()
        ]
        return {**settings, **now, "open": sorted(waiting)}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave, also after a trip through JSON. Raises KgrecError where it is another thing."""
        with damage("this is no state of Windows", "start anew with Windows(length=...)"):
            new = cls(**{name: state[name] for name in ("length", "lateness", "outage", "series")})
            new.latest, new.dropped, new._next, new._silent = (state[name] for name in ("latest", "dropped", "next", "silent"))
            new._known = set(state["known"])
            new._open = {start: {name: {o: list(v) for o, v in by.items()} for name, by in of.items()} for start, of in state["open"]}
        return new

    def _closing(self, start: int) -> bool:
        return self.latest is not None and start + self.length <= self.latest - self.lateness

    def _close(self, watermark: int) -> list[Window]:
        closed: list[Window] = []
        while self._next is not None and self._next + self.length <= watermark:
            start = self._next
            if start in self._open:
                self._silent = 0
                self._known |= self._open[start].keys()
            else:
                self._silent += 1
            if self.outage is not None and self._silent > self.outage:  # on to the next event, or to the watermark
                self._next = min(self._open, default=watermark - watermark % self.length)
                continue
            closed += [self._window(name, start) for name in sorted(self._known)]
            self._open.pop(start, None)
            self._next = start + self.length
        return closed

    def _window(self, series: str, start: int) -> Window:
        by = self._open.get(start, {}).get(series, {})
        count, *sums = (sum(of) for of in zip(*by.values(), strict=True)) if by else (0, 0, 0, 0, 0)
        parts = tuple((outlet, of[0], *(s / UNIT for s in of[1:])) for outlet, of in sorted(by.items())) if by.keys() - {""} else ()
        return Window(series, start, self.length, count, *(s / UNIT for s in sums), parts=parts)
