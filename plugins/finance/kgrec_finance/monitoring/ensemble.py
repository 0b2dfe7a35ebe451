"""Closed windows in, changes of episodes out: all detectors of all kinds of series, and the threshold that history gave them.

Pure and deterministic: the same windows give the same changes, wherever the state was taken to JSON and back in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kgrec_core import DAY
from kgrec_core.domain import damage
from kgrec_finance.monitoring.detectors import Detector
from kgrec_finance.monitoring.episodes import Change, Episodes
from kgrec_finance.monitoring.outlets import Outlets
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.threshold import WEEK, Calibration, calibrate
from kgrec_finance.monitoring.windows import Window

FARTHEST = 0.5  # of a level that the threshold moves from what history gave: three times as rare or as often


class Judged(NamedTuple):
    """scores: of the series' detectors, as `Settings.detectors` orders them. level: the highest, None before the calibration.
    usual: what each watched value was expected to be. far: whether a score is what chance does not give."""

    window: Window
    scores: tuple[float, ...]
    level: float | None
    usual: dict[str, float]
    changes: list[Change]
    far: bool = False
    threshold: float | None = None  # that its levels were held against


class Ensemble:
    """count: starts of windows that were seen, which the warm-up and the history of the calibration are counted in."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.count = 0
        self.detectors: dict[str, dict[str, Detector]] = {}  # kind of series -> name -> detector
        a_day = DAY / settings.window
        self.outlets = Outlets(memory=max(28 * a_day, 4.0), begin=settings.windows_before[0], length=settings.window)
        self.told: dict[str, list[int]] = {}  # series -> stories in each window of the last day
        self.candidates = [0.0, 0.0]  # series with the stories for an alert: of late, and in history; 0 = not known
        self._candidates = 0
        self.calibration: Calibration | None = None
        self.episodes: Episodes | None = None

    def update(self, windows: Sequence[Window]) -> list[Judged]:
        """All windows of one start, in the order of their series."""
        self.count += 1
        self._candidates = 0
        judged = [self._judged(window) for window in self.outlets.counted(windows)]
        self._adjust()
        return judged

    def calibrate(self, series: Sequence[str], scores: NDArray[np.float64], candidates: float = 0.0) -> Calibration:
        """scores: (windows, series, detectors) of the windows after the warm-up, nan where a series had none. Episodes open from now on.
        candidates: series with the stories for an alert, per window; 0 = not known."""
        table = {}
        for kind in sorted({kind_of(name) for name in series}):
            others = np.array([kind_of(name) != kind for name in series])
            for number, name in enumerate(self.settings.detectors):
                table[f"{kind} {name}"] = np.where(others, np.nan, scores[:, :, number])
        now = self.settings
        self.calibration = calibrate(table, length=now.window, cooldown=now.cooldown, rate=now.rate, events=True)
        self.candidates = [candidates, candidates]
        self.open_for()
        return self.calibration

    def open_for(self) -> None:
        """Episodes open from now on."""
        assert self.calibration is not None
        self.episodes = Episodes(threshold=self.calibration.threshold, cooldown=self.settings.cooldown)

    def levels(self, window: Window, scores: Sequence[float], stories: int) -> dict[str, float]:
        """Detector -> level; none of a kind of series that history did not have, and none of too few stories in the last day."""
        kind, known = kind_of(window.series), self.calibration
        names = [f"{kind} {name}" for name in self.settings.detectors]
        if known is None or names[0] not in known.tails or stories < self.settings.stories:
            return {}
        return {name: known.level(full, score) for name, full, score in zip(self.settings.detectors, names, scores, strict=True)}

    def of_kind(self, kind: str) -> dict[str, Detector]:
        if kind not in self.detectors:
            self.detectors[kind] = self.settings.built()
        return self.detectors[kind]

    def _judged(self, window: Window) -> Judged:
        own = self.of_kind(kind_of(window.series))
        usual = {detector.watch: detector.expected(window) for detector in own.values()}
        scores = tuple(detector.update(window) for detector in own.values())
        past = [*self.told.pop(window.series, []), window.count][-self.settings.windows_of_a_day :]
        if any(past):
            self.told[window.series] = past
        self._candidates += sum(past) >= self.settings.stories
        levels = self.levels(window, scores, sum(past))
        changes = self.episodes.update(window.series, window.end, levels) if self.episodes else []
        level, far = max(levels.values(), default=None), bool(levels) and self._far(window, scores)
        return Judged(window, scores, level, usual, changes, far, self.episodes and self.episodes.threshold)

    def _adjust(self) -> None:
        """Where more series have the stories for an alert than had in history, each must be rarer, for as many false episodes in all."""
        now, then = self.candidates
        keep = 0.5 ** (self.settings.window / WEEK)
        self.candidates[0] = now = keep * now + (1 - keep) * self._candidates
        if self.episodes and self.calibration and min(now, then) > 0:
            more = min(max(log10(now / then), -FARTHEST), FARTHEST)
            self.episodes.threshold = round(self.calibration.threshold + more, 9)

    def _far(self, window: Window, scores: Sequence[float]) -> bool:
        kind, far = kind_of(window.series), self.calibration.far if self.calibration else {}
        return any(score >= far[f"{kind} {name}"] for name, score in zip(self.settings.detectors, scores, strict=True))

    def state(self) -> dict[str, Any]:
        """Without the calibration, which does not change."""
        return {
            "count": self.count,
            "detectors": {kind: {name: d.state() for name, d in own.items()} for kind, own in self.detectors.items()},
            "episodes": self.episodes and self.episodes.state(),
            "outlets": self.outlets.state(),
            "candidates": list(self.candidates),
            "told": {series: list(past) for series, past in sorted(self.told.items())},
        }

    @classmethod
    def of(cls, settings: Settings, state: Mapping[str, Any], calibration: Mapping[str, Any] | None) -> Self:
        """Raises KgrecError where it is another thing."""
        new = cls(settings)
        with damage("this is no state of Ensemble", "start anew with Ensemble(settings)"):
            new.count = int(state["count"])
            new.detectors = {kind: {name: Detector.of(d) for name, d in own.items()} for kind, own in state["detectors"].items()}
            new.episodes = Episodes.of(state["episodes"]) if state["episodes"] else None
            new.candidates = [float(x) for x in state["candidates"]]
            new.outlets = Outlets.of(state["outlets"])
            new.told = {series: list(past) for series, past in state["told"].items()}
        new.calibration = Calibration.of(calibration) if calibration else None
        return new


def kind_of(series: str) -> str:
    """ "company" of "company:AAA"."""
    return series.partition(":")[0]
