"""The fewest stories without which an alert would not have been.

The question is put to the detectors themselves: their state before each of the last windows is kept with the alert, so they are run
again on these windows without some stories (a counterfactual explanation: Wachter, Mittelstadt & Russell 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from kgrec_core import DAY
from kgrec_finance.monitoring.detectors import Detector
from kgrec_finance.monitoring.ensemble import Ensemble
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import Article, Touch
from kgrec_finance.monitoring.windows import Window

PAIRS = 60  # stories up to which all pairs are tried


class Counted(NamedTuple):
    """A story's first article as a series counted it, in the window of this number."""

    article: Article
    touch: Touch
    window: int


class Again:
    """The last windows of an alert's series, to be run again without some of what they counted."""

    def __init__(self, settings: Settings, ensemble: Ensemble, evidence: Sequence[dict[str, Any]]) -> None:
        self.settings, self.ensemble = settings, ensemble
        self.windows = [Window(*of["window"]) for of in evidence]
        # Two of each: one to run, one to begin anew from. What they share is set for their own window and stays.
        self._own, self._kept = ([{name: Detector.of(d) for name, d in of["detectors"].items()} for of in evidence] for _ in (0, 1))

    def level(self, removed: Collection[Counted] = ()) -> float:
        """The level of the last window; removed: what is not counted."""
        first, series, scores = min((one.window for one in removed), default=0), self.windows[-1].series, (0.0,)
        before = self._kept[first]
        for window, own, number in zip(self.windows[first:], self._own[first:], range(first, len(self.windows)), strict=True):
            for name, detector in own.items():
                detector.moved(series, before[name])
            now = without(window, [one.touch for one in removed if one.window == number])
            scores, before = tuple(detector.update(now) for detector in own.values()), own
        recent = self.windows[-self.settings.windows_of_a_day :]
        stories = sum(window.count for window in recent if window.start > self.windows[-1].end - max(DAY, recent[-1].length) - 1)
        gone = sum(self.windows[one.window] in recent for one in removed)
        return max(self.ensemble.levels(self.windows[-1], scores, stories - gone).values(), default=0.0)


def without(window: Window, touches: Sequence[Touch]) -> Window:
    """The window had these events not been told."""
    volume, *sums = window.volume, window.negative, window.neutral, window.positive
    for touch in touches:
        volume -= touch.weight
        sums = [total - touch.weight * p for total, p in zip(sums, touch.moods, strict=True)]
    return window._replace(
        count=window.count - len(touches),
        volume=round(max(volume, 0.0), 9),
        negative=round(max(sums[0], 0.0), 9),
        neutral=round(max(sums[1], 0.0), 9),
        positive=round(max(sums[2], 0.0), 9),
    )


def smallest(counted: Sequence[Counted], level: Callable[[Collection[Counted]], float], threshold: float) -> tuple[list[Counted], bool]:
    """(the fewest that have to go for the level to fall below the threshold, whether fewer were ruled out); nothing where all together
    do not silence it.

    One and (of up to PAIRS) two are tried in all combinations. More are found by leaving out those that matter most alone, as many as
    it takes, then taking back each that is not needed: no proper part of the answer silences the alert.
    """
    alone = {one: level([one]) for one in counted}
    order = sorted(counted, key=lambda one: alone[one])
    if order and alone[order[0]] < threshold:
        return [order[0]], True
    if len(counted) <= PAIRS:
        best = min(combinations(order, 2), key=level, default=None)
        if best is not None and level(best) < threshold:
            return list(best), True
    if level(order) >= threshold:
        return [], True
    low, high = 1, len(order)  # `low` are too few, `high` are enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if level(order[:middle]) < threshold else (middle, high)
    found = order[:high]
    for one in reversed(order[:high]):
        rest = [other for other in found if other is not one]
        if level(rest) < threshold:
            found = rest
    return found, len(found) <= 2 or (len(found) == 3 and len(counted) <= PAIRS)
