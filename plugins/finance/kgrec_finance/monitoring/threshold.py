"""How rare is rare enough: the threshold at which all series and detectors together open a stated number of false episodes a week.

No score is taken at its word. History says how often the largest score over all series reaches each height: empirically, and beyond
by the generalised Pareto tail of exceedances (Pickands 1975; Davison & Smith 1990), fitted by probability-weighted moments (Hosking
& Wallis 1987). That puts all detectors on one scale, the level. Episodes are then counted as they will be sent, merged over the
cool-down, and the tail of their peaks gives the threshold; a bootstrap of whole blocks (Künsch 1989) gives the interval of the rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kgrec_core import DAY, KgrecError
from kgrec_core.domain import damage
from kgrec_finance.monitoring.outliers import set_apart

WEEK = 7 * DAY
RESAMPLES = 500
NARROWEST = 0.25  # scale of a tail at least: scores are -log10 of probabilities or nats, whatever few values of history say
ENOUGH = 10  # episodes at the stated rate that history must be long enough for


class Tail(NamedTuple):
    """P(value >= x): empirical below `start`, generalised Pareto from there on."""

    heights: tuple[float, ...]  # ascending, with the share of values at or above each
    shares: tuple[float, ...]
    start: float
    scale: float
    shape: float

    def level(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """-log10 P(value >= x), any shape; nan stays nan."""
        low = np.interp(x, self.heights, -np.log10(self.shares))
        excess = np.maximum(np.where(np.isnan(x), 0, x) - self.start, 0)
        return np.where(x <= self.start, low, -np.log10(self.shares[-1]) + pareto(excess, self.scale, self.shape))


def pareto(excess: NDArray[np.float64], scale: float, shape: float) -> NDArray[np.float64]:
    """-log10 of the generalised Pareto tail; shape 0 is the exponential one."""
    if abs(shape) < 1e-6:
        return excess / scale / np.log(10)
    return np.log1p(np.maximum(shape * excess / scale, -1 + 1e-12)) / shape / np.log(10)


def fit_pareto(excess: NDArray[np.float64], largest: float = 0.5) -> tuple[float, float]:
    """(scale, shape) by probability-weighted moments; a shape in [0, largest]: no end of the tail is believed from few values."""
    ordered = np.sort(excess)
    n = len(ordered)
    if n < 2 or ordered[-1] <= 0:
        return (max(float(ordered.mean()), 1e-9) if n else 1.0), 0.0
    first, second = ordered.mean(), (ordered * (1 - (np.arange(1, n + 1) - 0.35) / n)).mean()
    shape = float(np.clip(2 - first / max(first - 2 * second, 1e-12), 0.0, largest))
    return max(float(first * (1 - shape)), 1e-9), shape


def fit_tail(values: NDArray[np.float64], beyond: int = 40) -> Tail:
    """The tail of (n,) values; the `beyond` largest (a tenth at most) are exceedances."""
    ordered = np.sort(values)
    n = len(ordered)
    at = max(n - max(min(beyond, n // 10), 2), 0)
    start = float(ordered[at])
    scale, shape = fit_pareto(ordered[at:] - start)
    scale = max(scale, NARROWEST)
    heights, first = np.unique(ordered[: at + 1], return_index=True)
    return Tail(tuple(heights.tolist()), tuple(((n - first) / n).tolist()), start, scale, shape)


@dataclass(frozen=True)
class Calibration:
    """threshold: a level; rate: the stated episodes a week; low, high: 95 % interval of what the threshold really gives.

    enough: whether history is as long as the stated rate needs; note: says so in words.
    """

    threshold: float
    rate: float
    low: float
    high: float
    weeks: float
    episodes: int  # in history, at the threshold
    enough: bool
    note: str
    tails: Mapping[str, Tail]
    far: Mapping[str, float]  # detector -> score that chance does not give: an episode that reaches it is taken for a true event
    apart: int  # such events in history, which taught nothing

    def level(self, detector: str, score: float) -> float:
        """-log10 of the share of windows in which any series reaches this score; what `Episodes` takes."""
        return float(self.tails[detector].level(np.array(score, float)))

    def state(self) -> dict[str, Any]:
        return asdict(self) | {"tails": {name: list(tail) for name, tail in self.tails.items()}}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave, also after a trip through JSON. Raises KgrecError where it is another thing."""
        with damage("this is no state of Calibration", "calibrate anew"):
            tails = {name: Tail(*(tuple(x) if isinstance(x, list | tuple) else x for x in tail)) for name, tail in state["tails"].items()}
            return cls(**{**state, "tails": tails})


def calibrate(
    scores: Mapping[str, NDArray[np.float64]],
    *,
    length: int,
    cooldown: int,
    rate: float = 1.0,
    block: int = WEEK,
    seed: int = 0,
    events: bool = False,
) -> Calibration:
    """scores: detector -> (windows, series) of history without its warm-up, nan where a series did not exist yet.

    length: of a window, cooldown: as in `Episodes`, block: of the bootstrap; int us. rate: false episodes a week, over all series and
    detectors. events: what stands far above the rest of history is taken to have happened and is left out (`outliers`); scores are
    -log10 of probabilities or nats then. What else really happened counts as false, so the rate errs on the safe side. Raises KgrecError for no scores,
    different shapes, or a rate not above 0.
    """
    shapes = {np.shape(values) for values in scores.values()}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2 or min(shape) < 1 or shape[0] < 30:
        raise KgrecError(f"scores of shapes {sorted(shapes)} cannot be calibrated; give (windows, series), 30 windows or more, one shape")
    if rate <= 0:
        raise KgrecError(f"rate = {rate} episodes a week has no threshold; give a number above 0")
    gap = max(cooldown // length, 0)
    scores, far, apart = set_apart(scores, gap) if events else (scores, {}, 0)
    largest = {name: np.nanmax(np.where(np.isnan(values), 0.0, values), 1) for name, values in scores.items()}
    tails = {name: fit_tail(values) for name, values in largest.items()}
    levels = np.fmax.reduce([tails[name].level(np.asarray(values)) for name, values in scores.items()])
    weeks = shape[0] * length / WEEK
    threshold, least, most = _threshold(levels, rate, weeks, gap, max(block // length, 1), seed)
    count = len(opened(levels, threshold, gap)[0])
    enough = weeks * rate >= ENOUGH
    note = f"{count} episodes in {weeks:.1f} weeks of history at the threshold for {rate:g} a week"
    if apart:
        note += f"; {apart} stand far above the rest, are taken for true events and teach nothing"
    if not enough:
        note += f"; history is too short for that rate: it needs {ENOUGH / rate:.0f} weeks, the tail beyond it is extrapolated"
    return Calibration(threshold, rate, least, most, weeks, count, enough, note, tails, far, apart)


def _threshold(levels: NDArray[np.float64], rate: float, weeks: float, gap: int, size: int, seed: int) -> tuple[float, float, float]:
    """The level at which (windows, series) levels open `rate` episodes a week, and the 95 % interval of the rate that it really gives, by
    resampling blocks of `size` windows."""
    grid = np.linspace(0.0, np.nanmax(levels), 200)
    found = [opened(levels, h, gap) for h in grid]
    # Where history has the stated number of episodes, their count decides and the tail only smooths it (real tails are no exact Pareto
    # ones: fitted to three times as many peaks, 1.37 episodes a week were counted for a stated 1); the tail is needed beyond.
    wanted = max(ENOUGH, rate * weeks)
    at = max((i for i, (starts, _) in enumerate(found) if len(starts) >= wanted), default=int(np.argmax([len(s) for s, _ in found])))
    base, (starts, peaks) = float(grid[at]), found[at]
    excess = peaks - base

    def rate_at(height: float, excess: NDArray[np.float64], fit: tuple[float, float]) -> float:
        return len(excess) / weeks * 10 ** -float(pareto(np.array(max(height - base, 0.0)), *fit))

    fit = fit_pareto(excess, 1.0)
    low, high = base, base + 1.0
    while rate_at(high, excess, fit) > rate:
        high += 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rate_at(middle, excess, fit) > rate else (low, middle)
    draw, blocks, rates = np.random.default_rng(seed), -(-len(levels) // size), []
    inside = [excess[starts // size == b] for b in range(blocks)]
    for _ in range(RESAMPLES):
        drawn = np.concatenate([inside[b] for b in draw.integers(0, blocks, blocks)])
        rates.append(rate_at(high, drawn, fit_pareto(drawn, 1.0)) if len(drawn) else 0.0)
    least, most = np.quantile(rates, [0.025, 0.975])
    return high, float(least), float(most)


def opened(levels: NDArray[np.float64], threshold: float, gap: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n,) window in which each episode of (windows, series) levels opens and (n,) its peak; alarms up to `gap` windows apart are one."""
    series, at = np.nonzero((levels >= threshold).T)
    if not len(at):
        return np.zeros(0, np.int64), np.zeros(0)
    new = np.ones(len(at), bool)
    new[1:] = (series[1:] != series[:-1]) | (np.diff(at) > gap)
    first = np.flatnonzero(new)
    return at[first], np.maximum.reduceat(levels[at, series], first)
