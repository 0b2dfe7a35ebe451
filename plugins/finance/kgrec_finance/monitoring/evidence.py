"""What is kept of a moment at which an episode opens, so that `explain` can run its detectors again later, exactly as they ran."""

from __future__ import annotations

from typing import Any

from kgrec_finance.monitoring.ensemble import Ensemble, kind_of
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.spread import Reach
from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.windows import Window


class Evidence:
    """Reads from a monitor's state; ensembles of the past are kept from one episode to the next."""

    def __init__(self, state: State, settings: Settings, reach: Reach) -> None:
        self.state, self.settings, self.reach = state, settings, reach
        self._past: dict[int, Ensemble] = {}  # as they were after the windows of a start

    def of(self, window: Window) -> dict[str, Any]:
        """A series' last windows and, for each, what its detectors knew before it; and the ways on which articles of other companies
        came to the series, as the graph knew them then."""
        found, name = [], window.series
        rows = {w.start: w for w, *_ in self.state.windows(window.length, series=name, end=window.start)}
        before = self.state.checkpoints()[-self.settings.looked_back - 1 :]
        starts = [*before[1:], window.start]
        self._past = {start: self._past.get(start) or Ensemble.of(self.settings, self.state.checkpointed(start), None) for start in before}
        for at, ensemble in zip(starts, self._past.values(), strict=True):
            own = ensemble.of_kind(kind_of(name))
            of = window if at == window.start else rows.get(at, Window(name, at, window.length))
            alone = {key: detector.alone(of) for key, detector in own.items()}
            if at in rows or at == window.start or any(detector.knows(name) for detector in alone.values()):
                found.append({"window": list(of), "detectors": {key: detector.state() for key, detector in alone.items()}})
        touching = self.state.articles(starts[0] if starts else window.start, window.end, name)
        vias = {touch.via for article in touching for touch in article.touches if touch.series == name}
        return {"windows": found, "paths": {via: self.reach.path(via, name, window.start) for via in sorted(vias)}}
