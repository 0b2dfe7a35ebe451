"""What everybody meets, in a window before the query's own moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Nodes
from kgrec_core.interfaces import Vectors
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import clocked, fading, moments


@dataclass(kw_only=True, eq=False)
class Popular(Blockwise):
    """Edges per candidate with t - days <= time < t, t being the query's `before` or the graph's present; without a clock: all edges.

    days: length of the window; 0 = all time. half_life: days after which an edge counts half; 0 = all alike.
    """

    days: float = 30.0
    half_life: float = 0.0

    reads = "nothing"

    def attach(self) -> None:
        relation = self.task_.relation
        table = self.graph_.relations[relation].drop_nulls(["source", "target"])
        dated = clocked(self.graph_, relation)
        table = table.sort("time") if dated else table
        self._targets = table["target"].to_numpy()
        self._times = table["time"].to_numpy() if dated else None

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        if self._times is None:
            counts = np.bincount(self._targets, minlength=len(self.mask_))
            return np.tile(counts.astype(np.float32), (len(queries), 1))
        asked, which = np.unique(moments(queries, self.now_), return_inverse=True)
        counts = np.empty((len(asked), len(self.mask_)), np.float32)
        # A slice of the edges in time order costs less than a search per candidate, and queries often share their moment.
        for i, time in enumerate(asked):
            stop = np.searchsorted(self._times, time)
            start = np.searchsorted(self._times, time - self.days * DAY) if self.days else 0
            weights = fading(time - self._times[start:stop], self.half_life) if self.half_life else None
            counts[i] = np.bincount(self._targets[start:stop], weights, minlength=len(self.mask_))
        return counts[which]
