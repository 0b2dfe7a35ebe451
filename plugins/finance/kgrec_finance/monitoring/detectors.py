"""Something is other than usual: `ewma`, `cusum` and `poisson-burst`, one score per window and series, larger = rarer.

Scores do not depend on any alarm threshold, so one pass over history gives what `threshold.calibrate` needs. A window whose score is
at `hold` or above teaches the baseline nothing, for `patience` windows at most: after that the new level is the level.
`state()` is a dictionary for JSON; windows come in order of (start, series), as `Windows` closes them, one kind of series a detector.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any, ClassVar, Self

from kgrec_core import KgrecError
from kgrec_core.domain import choices, damage
from kgrec_finance.monitoring.baseline import WATCHED, Mean, Volume, tail
from kgrec_finance.monitoring.windows import Window


@dataclass(kw_only=True)
class Detector:
    """watch: "volume", "sentiment" (mean, both directions) or "negative" (share, upwards); memory: half-life of the baseline in windows.

    Raises KgrecError for another watch or a memory not above 0.
    """

    name: ClassVar[str]
    watch: str = "volume"
    memory: float = 28.0
    hold: float = 4.0
    patience: int = 14
    _series: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _held: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _shared: dict[str, Any] = field(default_factory=dict, init=False, repr=False)  # over all series, before the current start

    def __post_init__(self) -> None:
        if self.watch not in WATCHED:
            raise choices("watched value", self.watch, WATCHED)
        if self.memory <= 0:
            raise KgrecError(f"memory = {self.memory} remembers nothing; give windows above 0")
        self._baseline: Volume | Mean = WATCHED[self.watch](memory=self.memory)

    def update(self, window: Window) -> float:
        """The score with this window, which is then learned from unless it is held."""
        score = self._score(window)
        held = self._held.get(window.series, 0)
        if score >= self.hold and held < self.patience:
            self._held[window.series] = held + 1
        else:
            self._baseline.learn(window)
            if score < self.hold:
                self._held.pop(window.series, None)
        return score

    def expected(self, window: Window) -> float:
        """What is usual: the window's volume, one story's mean sentiment or the negative share."""
        return self._baseline.expect(window)[0]

    def alone(self, window: Window) -> Self:
        """A copy that knows the window's series and what all series share at its start: it scores this window as the whole would."""
        name, past = window.series, (self._series, self._held, self._baseline.sums)
        before = [json.dumps(of[name]) if name in of else None for of in past]
        self._score(window)  # renews what is shared, and moves this series
        new = type(self)(**{key: value for key, value in vars(self).items() if not key.startswith("_")})
        new._shared = json.loads(json.dumps(self._shared))
        new._baseline.restore(json.loads(json.dumps(self._baseline.state() | {"sums": {}})))
        for mine, theirs, kept in zip(past, (new._series, new._held, new._baseline.sums), before, strict=True):
            mine.pop(name, None)
            if kept is not None:
                mine[name], theirs[name] = json.loads(kept), json.loads(kept)
        return new

    def knows(self, series: str) -> bool:
        return series in self._series or series in self._baseline.sums

    def moved(self, series: str, other: Self) -> None:
        """Take the past of one series over from another detector."""
        for mine, theirs in ((self._series, other._series), (self._held, other._held), (self._baseline.sums, other._baseline.sums)):
            mine.pop(series, None)
            mine.update({series: json.loads(json.dumps(theirs[series]))} if series in theirs else {})

    def _score(self, window: Window) -> float:
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        settings = {key: value for key, value in vars(self).items() if not key.startswith("_")}
        now = {"series": self._series, "held": self._held, "shared": self._shared, "baseline": self._baseline.state()}
        return json.loads(json.dumps({"use": self.name, "settings": settings, **now}))  # a copy: later windows do not reach it

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave, also after a trip through JSON; any detector's. Raises KgrecError where it is another thing."""
        with damage("this is no state of a detector", "start anew, e.g. Cusum(watch='volume')"):
            settings = {key: tuple(v) if isinstance(v, list) else v for key, v in state["settings"].items()}
            new = DETECTORS[state["use"]](**settings)
            copied = json.loads(json.dumps(state))
            new._series, new._held, new._shared = (copied[name] for name in ("series", "held", "shared"))
            new._baseline.restore(copied["baseline"])
        return new


@dataclass(kw_only=True)
class Ewma(Detector):
    """Exponentially weighted mean of deviates (Roberts 1959, "Control chart tests based on geometric moving averages").

    Score: -log10 of the normal tail of the mean over its asymptotic deviation; upwards, for sentiment both directions.
    A window without stories says nothing about sentiment and leaves the score as it was.
    """

    name: ClassVar[str] = "ewma"
    weight: float = 0.3

    def _score(self, window: Window) -> float:
        from scipy.special import log_ndtr

        now, new = self._series.get(window.series, 0.0), self._baseline.standard(window)
        if new is not None:
            now = (1 - self.weight) * now + self.weight * min(max(new, -8.0), 8.0)
            self._series[window.series] = now
        size = now / (self.weight / (2 - self.weight)) ** 0.5
        if self.watch == "sentiment":
            return -float(log_ndtr(-abs(size)) + log(2)) / log(10)
        return -float(log_ndtr(-size)) / log(10)


@dataclass(kw_only=True)
class Cusum(Detector):
    """Cumulative log likelihood ratio against a grid of shifts (Page 1954; Lorden 1971: at threshold h a series alarms falsely at most
    once in exp(h) windows), the largest of the grid; in nats. For "negative" the quasi-binomial CUSUM (Reynolds & Stoumbos 1999).

    fade: windows in which what was summed up loses half of its weight, so that a past episode ends; limit: the most that one window
    may add (Hawkins 1981, winsorised CUSUM): one odd story is no turn.
    """

    name: ClassVar[str] = "cusum"
    hold: float = 8.0
    fade: float = 28.0
    limit: float = 1e9

    def _score(self, window: Window) -> float:
        new = self._baseline.log_ratios(window)
        keep, past = 0.5 ** (1 / self.fade), self._series.get(window.series, [0.0] * len(new))
        self._series[window.series] = now = [max(0.0, keep * a + min(b, self.limit)) for a, b in zip(past, new, strict=True)]
        return max(now)


@dataclass(kw_only=True)
class PoissonBurst(Detector):
    """How unlikely is the volume of the last 1, 2, 4, ... windows: scan statistic with a negative binomial tail (Kulldorff et al. 2005;
    overdispersion per span, since bursts cluster). Score: -log10 of the smallest tail probability; a span is looked at only while its
    newest window is above the usual, so that a burst ends when it has ended. watch is "volume".
    """

    name: ClassVar[str] = "poisson-burst"
    spans: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.watch != "volume" or not self.spans or min(self.spans) < 1:
            raise KgrecError(f"poisson-burst watches volume over spans of 1 window or more, not {self.watch} over {self.spans}")

    def _score(self, window: Window) -> float:
        if self._shared.get("start") != window.start:
            pairs = [s["spread"] for s in self._series.values()]
            sums = [[sum(p[i][j] for p in pairs) for j in (0, 1)] for i in range(len(self.spans))]
            self._shared = {"start": window.start, "spread": [min(max((a + 5.0) / (q + 10.0), 0.02), 5.0) for a, q in sums]}
        mean, _ = self._baseline.expect(window)
        unsure = 1 / (self._baseline.sums.get(window.series, (0.0,))[0] + self._baseline.strength)
        own = self._series.setdefault(window.series, {"last": [], "spread": [[0.0, 0.0] for _ in self.spans]})
        own["last"] = [*own["last"], [window.volume, mean]][-max(self.spans) :]
        best, sums = 0.0, []
        for i, span in enumerate(self.spans):
            last = own["last"][-span:]
            seen, usual = sum(x for x, _ in last), sum(m for _, m in last)
            above, squares = own["spread"][i]
            spread = (above + 20 * self._shared["spread"][i]) / (squares + 20)
            if window.volume > mean:
                best = max(best, tail(seen, usual, min(max(spread, 0.02), 20.0) + unsure))
            sums.append(((seen - usual) ** 2 - usual, usual**2))
        if best < self.hold or self._held.get(window.series, 0) >= self.patience:
            keep = 0.5 ** (1 / self.memory)
            own["spread"] = [[keep * a + x, keep * q + y] for (a, q), (x, y) in zip(own["spread"], sums, strict=True)]
        return best


DETECTORS: dict[str, type[Detector]] = {"ewma": Ewma, "cusum": Cusum, "poisson-burst": PoissonBurst}
