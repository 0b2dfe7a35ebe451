"""What a monitor was told to do: kept in its state file, so that every start goes on with the same words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import DAY

if TYPE_CHECKING:
    from kgrec_finance.monitoring.detectors import Detector

UNITS = {"s": DAY // 86_400, "m": DAY // 1440, "h": DAY // 24, "d": DAY, "w": 7 * DAY}
WATCHED = ("poisson-burst:volume", "cusum:volume", "cusum:negative", "ewma:sentiment")


def span(value: str | int, name: str = "span") -> int:
    """int microseconds of "90s", "15m", "12h", "1d", "2w"; whole numbers are microseconds. Raises KgrecError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", value) if isinstance(value, str) else None
    if match is None and not isinstance(value, int):
        raise KgrecError(f'{name} = "{value}" is no span of time; write a number with s, m, h, d or w: "15m", "12h", "1d"')
    return round(float(match[1]) * UNITS[match[2]]) if match else value


def spelled(micros: int) -> str:
    """
    >>> spelled(86_400_000_000), spelled(5_400_000_000)
    ('1d', '90m')
    """
    unit = next((u for u in ("w", "d", "h", "m") if micros and micros % UNITS[u] == 0), "s")
    return f"{micros / UNITS[unit]:g}{unit}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Spans are int microseconds.

    window, lateness: of `Windows`; an event may come `lateness` after the newest one. cooldown: of `Episodes`.
    rate: false episodes a week over all series and detectors together. warmup, history: what the detectors see before their scores
        count, and how much then decides the threshold. No episode opens before.
    detectors: "name:watched value".
    decay, hops: an event at a company counts decay**n at what is n steps away (`companies.spread`); hops = 0: its sector alone.
    merge: similarity from which two articles tell the same story and count once. story: how long a story is remembered.
    leap: an event further ahead of all before it waits until another confirms that time has moved on.
    keep: how long articles, windows and alerts can be asked for.
    outage: silence of all series that is taken to be the source's: it is no observation.
    """

    window: int = DAY
    lateness: int = UNITS["h"]
    cooldown: int = 2 * DAY
    rate: float = 1.0
    warmup: int = 28 * DAY
    history: int = 70 * DAY
    detectors: tuple[str, ...] = WATCHED
    decay: float = 0.5
    hops: int = 1
    merge: float = 0.8
    story: int = 3 * DAY
    leap: int = UNITS["h"]
    keep: int = 182 * DAY
    outage: int = 14 * DAY

    def __post_init__(self) -> None:
        from kgrec_finance.monitoring.detectors import DETECTORS

        object.__setattr__(self, "detectors", tuple(self.detectors))
        for name in self.detectors:
            if name.partition(":")[0] not in DETECTORS:
                raise choices("detector", name.partition(":")[0], DETECTORS, 'write name:watched, e.g. "cusum:volume"')
        if (
            not self.detectors
            or min(self.window, self.leap, self.keep, self.story) < 1
            or min(self.lateness, self.cooldown, self.warmup) < 0
        ):
            raise KgrecError("a monitor needs a detector, and spans above 0: window, leap, keep, story")
        if self.history // self.window < 30:
            raise KgrecError(
                f"history = {spelled(self.history)} has {self.history // self.window} windows of {spelled(self.window)}; a threshold needs 30"
            )
        if self.rate <= 0:
            raise KgrecError(f"rate = {self.rate} episodes a week has no threshold; give a number above 0")
        if self.keep < self.story + self.lateness:
            raise KgrecError(f"keep = {spelled(self.keep)} forgets articles that may still be repeated; give more than story + lateness")

    @property
    def windows_before(self) -> tuple[int, int]:
        """How many windows warm up, and how many then decide the threshold."""
        return self.warmup // self.window, self.history // self.window

    @property
    def looked_back(self) -> int:
        """Windows that an alert's explanation reaches back: three days, but at least 7 and at most 36."""
        return min(max(3 * DAY // self.window, 7), 36)

    def built(self) -> dict[str, Detector]:
        """New detectors of one kind of series. Memories are 28 days whatever the window is; settings of `cusum` from the benchmark
        `finance_detector`."""
        from kgrec_finance.monitoring.detectors import Cusum, Ewma, PoissonBurst

        a_day = DAY / self.window
        memory, patience = max(28 * a_day, 4.0), max(round(14 * a_day), 3)
        found: dict[str, Detector] = {}
        for name in self.detectors:
            use, _, watch = name.partition(":")
            common: dict[str, Any] = {"watch": watch or "volume", "memory": memory, "patience": patience}
            if use == "cusum":
                short = common["watch"] == "volume" and a_day > 4  # of many short windows none may say much
                found[name] = Cusum(fade=max(6 * a_day, 1.0), limit=0.3 if short else 1.0, **common)
            elif use == "ewma":
                found[name] = Ewma(**common)
            else:
                found[name] = PoissonBurst(**common)
        return found

    def state(self) -> dict[str, Any]:
        return asdict(self) | {"detectors": list(self.detectors)}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave. Raises KgrecError where it is another thing."""
        try:
            return cls(**state)
        except TypeError as error:
            raise KgrecError(f"these are no settings of a monitor ({error}); it was written by another version") from error

    def with_given(self, given: Mapping[str, Any]) -> Self:
        """With words of a command line: spans as text, None left out."""
        numbers = {"rate": float, "decay": float, "hops": int, "merge": float, "detectors": tuple}
        return replace(self, **{name: numbers[name](v) if name in numbers else span(v, name) for name, v in given.items() if v is not None})
