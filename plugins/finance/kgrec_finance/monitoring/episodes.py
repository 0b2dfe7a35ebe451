"""Many alarms, one message: alarms of a series become an episode that opens, is updated and closes. Pure: a level in, changes out.

The level of a series is -log10 of how often all series together reach it, per window (`Calibration.level`): +1 = ten times rarer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, Self

from kgrec_core import KgrecError
from kgrec_core.domain import damage

SEVERITIES = ("low", "medium", "high")  # at the threshold, 10 times and 100 times rarer


class Change(NamedTuple):
    """What a sink is told. id: of the episode, the same in every run over the same events; key = (id, number) is sent once.

    number: 0 opens, each change counts on; at: end of the window that made the change; last: of the last alarm; int us UTC.
    """

    what: Literal["open", "update", "close"]
    id: str
    number: int
    series: str
    opened: int
    last: int
    at: int
    peak: float
    severity: str
    detectors: tuple[str, ...]


@dataclass(kw_only=True)
class Episodes:
    """threshold: level from which a window alarms; cooldown: int us without an alarm after which an episode closes.

    An episode is updated when it becomes more severe or another detector joins. Raises KgrecError for a cooldown below 0.
    """

    threshold: float
    cooldown: int
    _open: dict[str, dict[str, Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.cooldown < 0:
            raise KgrecError(f"cooldown = {self.cooldown} is no time; give microseconds, 0 or more")

    def update(self, series: str, at: int, levels: Mapping[str, float]) -> list[Change]:
        """What one closed window (its end: at) changes, given the level of each detector: at most a close, then an open."""
        alarms = {name: level for name, level in levels.items() if level >= self.threshold}
        now, changes = self._open.get(series), []
        if now and at - now["last"] > self.cooldown:
            changes.append(self._change("close", series, at))
            del self._open[series]
            now = None
        if not alarms:
            return changes
        peak = max(alarms.values())
        if now is None:
            id = blake2b(f"{series}\n{at}".encode(), digest_size=8).hexdigest()
            self._open[series] = {"id": id, "number": -1, "opened": at, "last": at, "peak": peak, "detectors": sorted(alarms)}
            return [*changes, self._change("open", series, at)]
        before = (self._severity(now["peak"]), now["detectors"])
        now |= {"last": at, "peak": max(peak, now["peak"]), "detectors": sorted({*now["detectors"], *alarms})}
        if (self._severity(now["peak"]), now["detectors"]) != before:
            changes.append(self._change("update", series, at))
        return changes

    def open(self) -> dict[str, dict[str, Any]]:
        """series -> its open episode: id, opened, last, peak, detectors."""
        return {series: dict(episode) for series, episode in sorted(self._open.items())}

    def state(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "cooldown": self.cooldown, "open": self.open()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What `state` gave, also after a trip through JSON. Raises KgrecError where it is another thing."""
        with damage("this is no state of Episodes", "start anew with Episodes(threshold=, cooldown=)"):
            new = cls(threshold=state["threshold"], cooldown=state["cooldown"])
            new._open = {series: dict(episode) for series, episode in state["open"].items()}
        return new

    def _severity(self, peak: float) -> str:
        return SEVERITIES[min(int(max(peak - self.threshold, 0)), 2)]

    def _change(self, what: Literal["open", "update", "close"], series: str, at: int) -> Change:
        now = self._open[series]
        now["number"] += 1
        names = tuple(now["detectors"])
        return Change(
            what, now["id"], now["number"], series, now["opened"], now["last"], at, now["peak"], self._severity(now["peak"]), names
        )
