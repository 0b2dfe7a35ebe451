"""What a monitor was told to do: kept in its state file, so that every start goes on with the same words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, make_dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, Self, get_origin, get_type_hints

from kgrec_core import DAY, KgrecError
from kgrec_core.domain import choices

if TYPE_CHECKING:
    from kgrec_finance.monitoring.detectors import Detector

UNITS = {"s": DAY // 86_400, "m": DAY // 1440, "h": DAY // 24, "d": DAY, "w": 7 * DAY}
LONGEST = 36_525 * DAY
Span = Annotated[int, "microseconds"]
WATCHED = ("poisson-burst:volume", "cusum:volume", "cusum:negative", "ewma:sentiment")


def span(value: str | int, name: str = "span") -> int:
    """int microseconds of "90s", "15m", "12h", "1d", "2w"; whole numbers are microseconds. Raises KgrecError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", value) if isinstance(value, str) else None
    if match is None and not isinstance(value, int):
        raise KgrecError(f'{name} = "{value}" is no span of time; write a number with s, m, h, d or w: "15m", "12h", "1d"')
    found = round(float(match[1]) * UNITS[match[2]]) if match and len(match[1]) < 20 else LONGEST + 1 if match else value
    if found > LONGEST:
        raise KgrecError(f"{name} = {value} is longer than a hundred years; give less")
    return found


def spelled(micros: int) -> str:
    """
    >>> spelled(86_400_000_000), spelled(5_400_000_000)
    ('1d', '90m')
    """
    unit = next((u for u in ("w", "d", "h", "m") if micros and micros % UNITS[u] == 0), "s")
    return f"{micros / UNITS[unit]:g}{unit}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides which alerts there are; a Span is int microseconds.

    window: length of a window [1d].
    lateness: how late an event may come after the newest one [1h].
    cooldown: calm after which an episode closes [2d].
    rate: false episodes a week, over all series and detectors together [1].
    stories: fewest stories about a company, sector or topic in a day (a window, where that is longer) for an alert [3].
    warmup: what the detectors see before their scores count, and what is seen of an outlet that comes later [4w].
    learn: what then decides the threshold, unless a history does [10w]. No episode opens before.
    detectors: detector and watched value, instead of all four.
    hops: how far an event spreads to suppliers; 0 = not at all, and whole to its sector [1].
    decay: what an event counts a step further [0.5].
    merge: similarity from which two articles tell the same story and count once [0.8].
    story: how long a story is remembered [3d].
    leap: how far ahead of all before it an event is believed before another confirms that time has moved on [1h].
    keep: how long articles, windows and alerts can be asked for [26w].
    outage: silence of all series that is taken to be the source's, and no observation [2w].
    """

    window: Span = DAY
    lateness: Span = DAY // 24
    cooldown: Span = 2 * DAY
    rate: float = field(default=1.0, metadata={"metavar": "N"})
    stories: int = field(default=3, metadata={"metavar": "N"})
    warmup: Span = 28 * DAY
    learn: Span = 70 * DAY
    detectors: tuple[str, ...] = field(default=WATCHED, metadata={"option": "--detector", "repeat": True, "metavar": "NAME:VALUE"})
    hops: int = field(default=1, metadata={"metavar": "N"})
    decay: float = field(default=0.5, metadata={"metavar": "SHARE"})
    merge: float = field(default=0.8, metadata={"metavar": "SIMILARITY"})
    story: Span = 3 * DAY
    leap: Span = DAY // 24
    keep: Span = 182 * DAY
    outage: Span = 14 * DAY

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
        if self.learn // self.window < 30:
            raise KgrecError(
                f"learn = {spelled(self.learn)} has {self.learn // self.window} windows of {spelled(self.window)}; a threshold needs 30"
            )
        if not 0 < self.rate < inf:
            raise KgrecError(f"rate = {self.rate} episodes a week has no threshold; give a number above 0")
        if self.hops < 0 or not 0 < self.decay < 1:
            raise KgrecError(f"hops = {self.hops}, decay = {self.decay}: hops are 0 or more, and decay lies between 0 and 1")
        if not 0 < self.merge <= 1:
            raise KgrecError(f"merge = {self.merge} is no similarity; give a number above 0, at most 1")
        if self.stories < 1:
            raise KgrecError(f"stories = {self.stories} make no alert; give 1 or more")
        if self.keep < self.story + self.lateness:
            raise KgrecError(f"keep = {spelled(self.keep)} forgets articles that may still be repeated; give more than story + lateness")
        self.built()  # refuses a watched value that is none

    @property
    def windows_before(self) -> tuple[int, int]:
        """How many windows warm up, and how many then decide the threshold."""
        return self.warmup // self.window, self.learn // self.window

    @property
    def windows_of_a_day(self) -> int:
        return max(DAY // self.window, 1)

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
            return cls(**{"learn" if name == "history" else name: value for name, value in state.items()})  # as once it was called
        except TypeError as error:
            raise KgrecError(f"these are no settings of a monitor ({error}); it was written by another version") from error

    def with_given(self, given: Given) -> Self:
        """With what is given in words."""
        told = {of.name: value for of in fields(Given) if (value := getattr(given, of.name)) not in (None, ())}
        return replace(self, **{name: span(value, name) if isinstance(value, str) else value for name, value in told.items()})


def _in_words(of: Field[Any], wanted: Any) -> tuple[str, Any, Any]:
    spoken = get_origin(wanted) is Annotated
    return (
        of.name,
        (str if spoken else wanted) | None,
        field(default=None, metadata={**({"metavar": "SPAN"} if spoken else {}), **of.metadata}),
    )


# The same for requests: spans as "15m", "12h", "1d", "2w"; None = as the monitor's state has it, or else as by default.
Given = make_dataclass(
    "Given",
    [_in_words(of, get_type_hints(Settings, include_extras=True)[of.name]) for of in fields(Settings)],
    frozen=True,
    kw_only=True,
    namespace={"__doc__": Settings.__doc__},
)
