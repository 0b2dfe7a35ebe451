"""How much is told, and by whom: what is usual for a series moves with the outlets that tell it, so that a feed that changes is no news.

Every outlet has a level of its own, and its own mix of series. A likelihood ratio against a grid of shifts (Page 1954, both directions)
says when an outlet tells more or less than it did; its level is then what it told since, and the usual volume of each series moves by
the share that the outlet has in it (`Window.exposure`). An outlet that is new after the warm-up is watched for as long as a warm-up
first: its mix is learned, its stories count nowhere; then they do. Of one series an outlet counts little more than is usual, so that
an event moves no level. Events that name no outlet, and outlets too small to be told apart, are one outlet, "".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import exp, sqrt
from typing import Any, Self

from kgrec_core import DAY
from kgrec_core.domain import damage
from kgrec_finance.monitoring.baseline import Volume, negative_binomial
from kgrec_finance.monitoring.windows import Window

SHARE, LEAST = 0.03, 3.0  # of a day's volume, and stories in it, from which an outlet is one of its own
SHIFTS = (0.02, 0.4, 0.67, 1.5, 2.5, 6.0)
LIMIT = 9.2  # evidence in nats at which a shift is as probable as none: one in 10,000 windows
SILENT = 0.1  # an outlet that tells less than this of what it did is silent, and remembered
FEW = 0.02  # stories in a window: less can neither grow nor fall silent
TOLD = 1.25  # a change of a level by less than this factor is followed and not told


class Outlets:
    """memory: windows in which what was seen loses half of its weight. begin: windows from the first on in which every outlet counts at
    once; a later one is watched as many. length: of a window, int us. changes: what was told, the latest last."""

    def __init__(self, *, memory: float, begin: int, length: int) -> None:
        self.memory, self.begin, self.length = memory, max(begin, 1), length
        self.settled = max(7 * DAY // length, 3)  # windows after which a shifted level is the level
        self.count = 0
        self.usual = Volume(memory=memory)
        self.known: dict[str, dict[str, Any]] = {"": _new(0, True)}
        self.scale: dict[str, float] = {}  # series -> exposure when all outlets are as they are known
        self.recent: dict[str, float] = {}  # small outlets -> what they told of late
        self.changes: list[dict[str, Any]] = []

    def watched(self, outlet: str) -> bool:
        """Whether the outlet is known and its stories do not count yet."""
        return outlet in self.known and not self.known[outlet]["counts"]

    def counted(self, windows: Sequence[Window]) -> list[Window]:
        """All windows of one start, without what does not count yet, with their exposure."""
        if not windows:
            return []
        self.count += 1
        told: dict[str, dict[str, float]] = {}
        for window in windows:
            for outlet, _, volume, *_ in window.parts or (("", window.count, window.volume),):
                told.setdefault(outlet, {})[window.series] = volume
        self._meet(told, windows[0].end)
        of: dict[str, dict[str, float]] = {name: {} for name in self.known}
        for outlet, series in told.items():
            mine = of[outlet if outlet in self.known else ""]
            for name, volume in series.items():
                mine[name] = mine.get(name, 0.0) + volume
        for name in sorted(of):
            self._follow(name, of[name], windows[0])
        exposures = self._exposures([window.series for window in windows])
        return [self._counted(window, x) for window, x in zip(windows, exposures, strict=True)]

    def share(self) -> float:
        """Of what is told now, how much counts."""
        every = [(of["counts"], of["factor"] * sum(of["sums"].values()) / max(of["weight"], 1e-9)) for of in self.known.values()]
        total = sum(volume for _, volume in every)
        return sum(volume for counts, volume in every if counts) / total if total else 1.0

    def _meet(self, told: Mapping[str, Mapping[str, float]], at: int) -> None:
        """Outlets that have become large enough to be told apart."""
        day, keep = min(DAY / self.length, 24.0), 0.5 ** (self.length / DAY)
        volumes = {outlet: sum(series.values()) for outlet, series in told.items()}
        usual = sum(of["level"] for of in self.known.values() if of["counts"]) or sum(volumes.values())
        self.recent = {name: keep * old for name, old in self.recent.items() if old > 0.25}
        for outlet, volume in volumes.items():
            if outlet in self.known or not volume:
                continue
            self.recent[outlet] = self.recent.get(outlet, 0.0) + volume
            if self.recent[outlet] >= max(LEAST, SHARE * usual * min(day, self.count)):
                del self.recent[outlet]
                self.known[outlet] = _new(self.count, counts := self.count <= self.begin)
                if not counts:
                    self._tell(outlet, "new", at)

    def _follow(self, name: str, volumes: Mapping[str, float], window: Window) -> None:
        own, of = self.known[name], window._replace(series=name, parts=(), exposure=1.0)
        mean, dispersion = self.usual.expect(of)
        season = self.usual.shared["season"]
        total = sum(volumes.values())
        if own["weight"] > 2:  # what is usual of each series is known
            mine = {series: max(own["factor"], 1.0) * season * seen / own["weight"] for series, seen in own["sums"].items()}
            total = sum(min(v, (q := mine.get(series, 0.0)) + 2 * sqrt(q) + 1) for series, v in volumes.items())
        of = of._replace(volume=total)
        if own["counts"] and own["weight"] > 2 and mean > FEW:
            self._weigh(own, total, mean, dispersion)
        changed = own["factor"] != 1.0
        if not changed:
            self.usual.learn(of)
        own["level"] = own["factor"] * mean / season
        if own["factor"] >= SILENT:
            keep = 0.5 ** (1 / self.memory)
            sums = {series: keep * seen for series, seen in own["sums"].items() if seen > 1e-6}
            own["sums"] = sums | {series: sums.get(series, 0.0) + v for series, v in volumes.items() if v}
            own["weight"] = keep * own["weight"] + season * own["factor"]
        self._settle(name, own, window.end)

    def _weigh(self, own: dict[str, Any], total: float, mean: float, dispersion: float) -> None:
        """The evidence of each shift, and the outlet's factor by the strongest."""
        usual = negative_binomial(total, mean, dispersion)
        for number, shift in enumerate(SHIFTS):
            evidence, seen, expected, windows = own["shifts"][number]
            evidence = min(evidence + negative_binomial(total, mean * shift, dispersion) - usual, 1.5 * LIMIT)
            own["shifts"][number] = [evidence, seen + total, expected + mean, windows + 1] if evidence > 0 else [0.0, 0.0, 0.0, 0]
        evidence, seen, expected, own["windows"] = max(own["shifts"])
        own["weight of"] = weight = 1 / (1 + exp(LIMIT - evidence))
        own["factor"] = 1 + weight * (seen / expected - 1) if weight > 0.1 and expected else 1.0

    def _settle(self, name: str, own: dict[str, Any], at: int) -> None:
        """What has lasted is the level; who has been watched long enough counts; who is long silent is forgotten."""
        if not own["counts"]:
            if self.count - own["since"] >= self.begin:
                self._shift({series: seen / own["weight"] for series, seen in own["sums"].items()})
                own["counts"] = True
                self._tell(name, "counts", at)
            return
        lasting = own["factor"] != 1.0 and own["weight of"] > 0.95 and own["windows"] >= self.settled
        silent = own["factor"] < SILENT
        if lasting and silent:
            if own["windows"] == self.settled and (name or len(self.known) == 1):
                self._tell(name, "silent", at)
            if own["windows"] > 2 * self.memory and name:
                self._shift({series: -seen / own["weight"] for series, seen in own["sums"].items()})
                del self.known[name]
                self.usual.sums.pop(name, None)
        elif lasting:
            factor = own["factor"]
            self._shift({series: (factor - 1) * seen / own["weight"] for series, seen in own["sums"].items()})
            own["sums"] = {series: factor * seen for series, seen in own["sums"].items()}
            self.usual.sums[name][1] /= factor
            own |= {"factor": 1.0, "shifts": [[0.0, 0.0, 0.0, 0] for _ in SHIFTS]}
            if not 1 / TOLD < factor < TOLD:
                self._tell(name, "changed", at, factor)

    def _means(self) -> tuple[dict[str, float], dict[str, float], float]:
        """Series -> its usual volume by all that count, the same as they tell now; what both are at least."""
        usual: dict[str, float] = {}
        now: dict[str, float] = {}
        for of in self.known.values():
            for series, seen in of["sums"].items() if of["counts"] and of["weight"] else ():
                mean = seen / of["weight"]
                usual[series] = usual.get(series, 0.0) + mean
                now[series] = now.get(series, 0.0) + of["factor"] * mean
        return usual, now, 0.1 * sum(usual.values()) / len(usual) if usual else 1.0

    def _exposures(self, names: Sequence[str]) -> list[float]:
        if not self.scale and all(of["factor"] == 1.0 for of in self.known.values()):
            return [1.0] * len(names)
        usual, now, least = self._means()
        common = sum(now.values()) / sum(usual.values()) if usual else 1.0
        other = self.scale.get("", 1.0)
        found = (self.scale.get(name, other) * (now.get(name, 0.0) + least * common) / (usual.get(name, 0.0) + least) for name in names)
        return [max(round(x, 6), 0.01) for x in found]

    def _shift(self, by: Mapping[str, float]) -> None:
        """The usual volume of each series moves by so much, for good. Called before the outlets themselves are changed."""
        usual, _, least = self._means()
        before = sum(usual.values())
        common = max((before + sum(by.values())) / before, 0.05) if before else 1.0
        other = self.scale.get("", 1.0)
        for series in {*usual, *by, *self.scale} - {""}:
            mean = usual.get(series, 0.0)
            factor = (mean + by.get(series, 0.0) + least * common) / (mean + least)
            self.scale[series] = self.scale.get(series, other) * max(factor, 0.05)
        self.scale[""] = other * common

    def _counted(self, window: Window, exposure: float) -> Window:
        count, sums = window.count, [window.volume, window.negative, window.neutral, window.positive]
        out = [part for part in window.parts if self.watched(part[0])]
        for _, number, *of in out:
            count, sums = count - number, [max(round(a - b, 9), 0.0) for a, b in zip(sums, of, strict=True)]
        return Window(window.series, window.start, window.length, count, *sums, exposure)

    def _tell(self, outlet: str, what: str, at: int, factor: float = 1.0) -> None:
        self.changes = [*self.changes, {"at": at, "outlet": outlet, "what": what, "factor": round(factor, 3)}][-50:]

    def state(self) -> dict[str, Any]:
        names = ("memory", "begin", "length", "count", "known", "scale", "recent", "changes")
        now = {name: getattr(self, name) for name in names} | {"usual": self.usual.state()}
        return json.loads(json.dumps(now))  # a copy: later windows do not reach it

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave, also after a trip through JSON. Raises KgrecError where it is another thing."""
        with damage("this is no state of Outlets", "start anew with Outlets(memory=, begin=, length=)"):
            new = cls(memory=state["memory"], begin=state["begin"], length=state["length"])
            new.count, new.scale, new.recent = state["count"], dict(state["scale"]), dict(state["recent"])
            new.known = {
                name: {**of, "sums": dict(of["sums"]), "shifts": [list(s) for s in of["shifts"]]} for name, of in state["known"].items()
            }
            new.changes = list(state["changes"])
            new.usual.restore(state["usual"])
        return new


def _new(since: int, counts: bool) -> dict[str, Any]:
    """sums: series -> volume, faded; weight: windows in it; factor: what it tells now by what it told; level: a window's volume."""
    nothing = {"sums": {}, "weight": 0.0, "weight of": 0.0, "windows": 0, "factor": 1.0, "level": 0.0}
    return {"since": since, "counts": counts, **nothing, "shifts": [[0.0, 0.0, 0.0, 0] for _ in SHIFTS]}
