"""What is usual for a series, learned as the stream goes: its level, its season, how far it strays; short histories lean on the others.

Two families. `Volume`: counts, negative binomial around level x season, the level a Gamma posterior with forgetting (West & Harrison
1997, ch. 14; the predictive of a Gamma-Poisson is negative binomial), its dispersion by moments (Anscombe 1950). `Share` and `Mean`:
sums of scores given how many stories there were, so that volume alone never moves them: quasi-binomial (McCullagh & Nelder 1989, 9.2)
and Gaussian. Every estimate is shrunk: towards the median of all series (Efron & Morris 1975, in spirit), the season towards flat.
States are dictionaries of numbers; the values shared by all series are renewed once per window start, so order within it is no matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, lgamma, log, log1p
from statistics import median
from typing import Any, ClassVar

from kgrec_core import DAY
from kgrec_finance.monitoring.windows import Window

SEASON = 50.0  # expected events for which a slot of the week is still believed to be as its weekday and hour make it


def negative_binomial(count: float, mean: float, dispersion: float) -> float:
    """log P(count) with variance mean + dispersion x mean**2; count may be fractional (weights)."""
    size = 1 / dispersion
    tail = lgamma(count + size) - lgamma(size) - lgamma(count + 1)
    return tail - size * log1p(mean / size) + count * log(mean / (mean + size))


@dataclass(kw_only=True)
class Season:
    """Factors per weekday and hour, shared by all series; windows of a day or longer have weekdays only, longer than a day none."""

    length: int
    seen: list[list[float]] = field(default_factory=list)
    expected: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.days, self.hours = (7, max(1, min(24, DAY // self.length))) if self.length <= DAY else (1, 1)
        self.seen = self.seen or [[0.0] * self.hours for _ in range(self.days)]
        self.expected = self.expected or [[0.0] * self.hours for _ in range(self.days)]

    def slot(self, start: int) -> tuple[int, int]:
        return start // DAY % 7 % self.days, start % DAY * self.hours // DAY

    def factor(self, start: int) -> float:
        day, hour = self.slot(start)

        def ratio(seen: float, expected: float, prior: float) -> float:
            return (seen + SEASON * prior) / (expected + SEASON)

        of_day = ratio(sum(self.seen[day]), sum(self.expected[day]), 1.0)
        of_hour = ratio(sum(d[hour] for d in self.seen), sum(d[hour] for d in self.expected), 1.0)
        return max(ratio(self.seen[day][hour], self.expected[day][hour], of_day * of_hour), 0.02)

    def learn(self, start: int, seen: float, expected: float) -> None:
        day, hour = self.slot(start)
        self.seen[day][hour] += seen
        self.expected[day][hour] += expected


@dataclass(kw_only=True)
class Volume:
    """Level x season of one kind of series. memory: windows in which what was seen loses half of its weight."""

    memory: float
    strength: float = 2.0  # events that the other series' level is worth
    sums: dict[str, list[float]] = field(default_factory=dict)  # series -> events, exposure, dispersion's two sums
    shared: dict[str, Any] = field(default_factory=dict)  # start, level, dispersion, season: from all windows before `start`
    season: Season | None = None
    shifts: ClassVar = (1.5, 2.5, 5.0)  # factors of the level

    def expect(self, window: Window) -> tuple[float, float]:
        """(mean, dispersion) of the window's volume, the uncertainty of the level included."""
        self._renew(window)
        events, exposure, above, squares = self.sums.get(window.series, (0.0, 0.0, 0.0, 0.0))
        prior, flat = self.strength, self.shared["level"]
        level = (events + prior) / (exposure + prior / flat)
        own = (above + 20 * self.shared["dispersion"]) / (squares + 20)
        return level * self.shared["season"] * window.exposure, min(max(own, 0.02), 20.0) + 1 / (events + prior)

    def value(self, window: Window) -> float:
        return window.volume

    def log_ratios(self, window: Window) -> list[float]:
        """log of P(volume | mean x shift) / P(volume | mean), one per shift."""
        mean, dispersion = self.expect(window)
        usual = negative_binomial(window.volume, mean, dispersion)
        return [negative_binomial(window.volume, mean * shift, dispersion) - usual for shift in self.shifts]

    def standard(self, window: Window) -> float | None:
        """The volume as a standard normal deviate with the same tail (mid-p, Lancaster 1961)."""
        mean, dispersion = self.expect(window)
        log_tail = [tail(window.volume + step, mean, dispersion) for step in (0, 1)]
        return deviate(sum(10**-x for x in log_tail) / 2)

    def learn(self, window: Window) -> None:
        mean, _ = self.expect(window)
        keep, factor, seen = 0.5 ** (1 / self.memory), self.shared["season"], window.volume
        new = (seen, factor * window.exposure, (seen - mean) ** 2 - mean, mean**2)
        self.sums[window.series] = [keep * a + b for a, b in zip(self.sums.get(window.series, (0.0,) * 4), new, strict=True)]
        self.season.learn(window.start, seen, mean / factor)

    def _renew(self, window: Window) -> None:
        if self.season is None:
            self.season = Season(length=window.length)
        if self.shared.get("start") == window.start:
            return
        levels = [events / exposure for events, exposure, *_ in self.sums.values() if exposure > 0]
        above, squares = (sum(s[i] for s in self.sums.values()) for i in (2, 3))
        self.shared = {
            "start": window.start,
            "level": max(median(levels), 0.01) if levels else 1.0,
            "season": self.season.factor(window.start),
        }
        self.shared["dispersion"] = min(max((above + 5.0) / (squares + 10.0), 0.02), 5.0)

    def state(self) -> dict[str, Any]:
        season = self.season and {"length": self.season.length, "seen": self.season.seen, "expected": self.season.expected}
        return {"sums": self.sums, "shared": self.shared, "season": season}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sums, self.shared = {name: list(sums) for name, sums in state["sums"].items()}, dict(state["shared"])
        self.season = Season(**state["season"]) if state["season"] else None


@dataclass(kw_only=True)
class Mean:
    """Mean sentiment given the number of stories: Gaussian around the series' own mean; a shift is in deviations of one story."""

    memory: float
    strength: float = 10.0  # stories that the other series' mean is worth
    sums: dict[str, list[float]] = field(default_factory=dict)  # series -> sum of scores, of weights, squared residuals, windows
    shared: dict[str, Any] = field(default_factory=dict)  # start, mean, spread
    shifts: ClassVar = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
    flat: ClassVar = (0.0, 0.25)  # mean and variance of one story where nothing is known

    def value(self, window: Window) -> float:
        return window.positive - window.negative

    def expect(self, window: Window) -> tuple[float, float]:
        """(mean, variance) of one story's score; for `Share` the variance in units of the binomial's."""
        self._renew(window)
        total, stories, squares, windows = self.sums.get(window.series, (0.0, 0.0, 0.0, 0.0))
        mean = (total + self.strength * self.shared["mean"]) / (stories + self.strength)
        return mean, max((squares + 10 * self.shared["spread"]) / (windows + 10), 1e-4)

    def unit(self, mean: float) -> float:
        return 1.0

    def log_ratios(self, window: Window) -> list[float]:
        """log of P(scores | shifted mean) / P(scores | mean), one per shift; 0 of an empty window."""
        mean, spread = self.expect(window)
        deviation = (self.value(window) - window.volume * mean) / spread**0.5
        return [shift * deviation - window.volume * shift**2 / 2 for shift in self.shifts]

    def standard(self, window: Window) -> float | None:
        """The window's sum as a deviate, the uncertainty of the mean included; None of an empty window."""
        mean, spread = self.expect(window)
        if not window.volume:
            return None
        known = self.sums.get(window.series, (0.0, 0.0))[1] + self.strength
        variance = spread * self.unit(mean) * window.volume * (1 + window.volume / known)
        return (self.value(window) - window.volume * mean) / variance**0.5

    def learn(self, window: Window) -> None:
        if not window.volume:
            return
        mean, _ = self.expect(window)
        keep = 0.5 ** (1 / self.memory)
        residual = (self.value(window) - window.volume * mean) ** 2 / (window.volume * self.unit(mean))
        new = (self.value(window), window.volume, residual, 1.0)
        self.sums[window.series] = [keep * a + b for a, b in zip(self.sums.get(window.series, (0.0,) * 4), new, strict=True)]

    def _renew(self, window: Window) -> None:
        if self.shared.get("start") == window.start:
            return
        means = [total / stories for total, stories, *_ in self.sums.values() if stories > 0]
        squares, windows = (sum(s[i] for s in self.sums.values()) for i in (2, 3))
        mean, spread = self.flat
        self.shared = {"start": window.start, "mean": median(means) if means else mean, "spread": (squares + 10 * spread) / (windows + 10)}

    def state(self) -> dict[str, Any]:
        return {"sums": self.sums, "shared": self.shared}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sums, self.shared = {name: list(sums) for name, sums in state["sums"].items()}, dict(state["shared"])


@dataclass(kw_only=True)
class Share(Mean):
    """Negative share given the number of stories: quasi-binomial; a shift is in log odds, upwards."""

    shifts: ClassVar = (0.5, 1.0, 2.0)
    flat: ClassVar = (0.25, 1.0)

    def value(self, window: Window) -> float:
        return window.negative

    def expect(self, window: Window) -> tuple[float, float]:
        mean, spread = super().expect(window)
        return min(max(mean, 0.005), 0.995), spread

    def unit(self, mean: float) -> float:
        return mean * (1 - mean)

    def log_ratios(self, window: Window) -> list[float]:
        mean, spread = self.expect(window)
        negative, rest = window.negative, window.volume - window.negative
        shifted = [1 / (1 + (1 - mean) / mean * exp(-shift)) for shift in self.shifts]
        return [(negative * log(q / mean) + rest * log((1 - q) / (1 - mean))) / spread for q in shifted]


def tail(count: float, mean: float, dispersion: float) -> float:
    """-log10 P(at least `count`) of a negative binomial; between whole counts by the incomplete beta function; at most 300."""
    from scipy.special import betainc

    if count <= 0:
        return 0.0
    size = 1 / dispersion
    return -log(max(float(betainc(count, size, mean / (mean + size))), 1e-300)) / log(10)


def deviate(upper: float) -> float:
    """The standard normal value with this upper tail, within +-8."""
    from scipy.special import ndtri

    return float(-ndtri(min(max(upper, 1e-15), 1 - 1e-15)))


WATCHED = {"volume": Volume, "sentiment": Mean, "negative": Share}
