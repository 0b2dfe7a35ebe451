"""What everybody meets, in a window before the query's own moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Graph, Nodes
from kgrec_core.graph.clock import clocked, fading, moments
from kgrec_core.graph.edges import grow
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Amount
from kgrec_core.retrieval.blockwise import Blockwise, came


@dataclass(kw_only=True, eq=False)
class Popular(Blockwise):
    """Edges per candidate with t - days <= time < t, t being the query's `before` or the graph's present; all edges without a clock.

    days: length of the window; 0 = all time. half_life: days after which an edge counts half; 0 = all alike.
    """

    days: Amount = 30.0
    half_life: Amount = 0.0

    says = "chosen often"
    evidence = "popularity"
    reads = "nothing"
    newcomers = True
    scales = "counts the window's edges once for every moment asked about; ranking a million candidates is one pass over a row of scores"

    def attach(self) -> None:
        self.last_: tuple[object, tuple[int, bytes], NDArray[np.float32]] | None = None
        relation, graph = self.task_.relation, self.graph_
        self.clocked_ = clocked(graph, relation)
        key = ("events by time", relation, self.clocked_)
        table = graph.relations[relation]
        self.events_ = (graph.memo.get(key, (table,), lambda: self._ordered(table.drop_nulls(["source", "target"]))),)

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """Also counts the edges that came since."""
        other, added = super().extended(graph, new, encode), came(self.graph_, graph, self.task_.relation)
        if len(added):
            other.events_ = grow(self.events_, self._ordered(added), lambda a, b: self._ordered(pl.concat([a, b])))
        return other

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        asked, which = np.unique(moments(queries, self.now_) if self.clocked_ else np.zeros(len(queries)), return_inverse=True)
        last, key = self.last_, (len(self.mask_), asked.tobytes())
        if last is None or last[0] is not self.events_ or last[1] != key:
            last = self.events_, key, self._counted(asked)
            self.last_ = last if len(asked) == 1 else None  # most that is asked of a run is asked of one moment
        return last[2][which]

    def _counted(self, asked: NDArray) -> NDArray[np.float32]:
        """(len(asked), candidates) at each of these times."""
        counts = np.zeros((len(asked), len(self.mask_)), np.float32)
        for events in self.events_:
            targets = events["target"].to_numpy()
            if not self.clocked_:
                counts += np.bincount(targets, minlength=len(self.mask_))
                continue
            times = events["time"].to_numpy()
            # A slice of the edges in time order costs less than a search per candidate, and queries often share their moment.
            for i, time in enumerate(asked):
                stop = np.searchsorted(times, time)
                start = np.searchsorted(times, time - self.days * DAY) if self.days else 0
                weights = fading(time - times[start:stop], self.half_life) if self.half_life else None
                counts[i] += np.bincount(targets[start:stop], weights, minlength=len(self.mask_))
        return counts

    def _ordered(self, events: pl.DataFrame) -> pl.DataFrame:
        if not self.clocked_:
            return events.select("target")
        events = events.select("target", "time")
        return events if events["time"].is_sorted() else events.sort("time")  # as most logs are, and it costs no copy then
