"""What ties things together in the graph, as an explanation counts it: the ends they have, and what is above these in their hierarchy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Ragged, Relation
from kgrec_core.knowledge.hierarchy import climbed


class Ties:
    """The ends that rows of a kind have by a relation, of each, and the length of each row when rare ends count more.

    climbs: what is above an end in its hierarchy is one, too.
    """

    def __init__(self, graph: Graph, relation: Relation, kind: str, rows: NDArray[np.int64], climbs: bool = False) -> None:
        self.graph, self.relation, self.inverse, self.climbs = graph, relation, relation.source != kind, climbs
        self.kind, self.size = relation.target if relation.source == kind else relation.source, graph.size(kind)
        self._rare: dict[int, float] = {}
        self._weights: dict[tuple[int, int], float] = {}  # of edges, where they have some
        self._lowest: dict[tuple[int, int], int] = {}
        self.ends, self.length = self.of(rows)

    def of(self, rows: NDArray[np.int64]) -> tuple[list[NDArray[np.int64]], list[float]]:
        """The ends of each row, and its length."""
        found = self.graph.adjacent(self.relation, rows, inverse=self.inverse)
        if "weight" in self.graph.relations.held[self.relation].columns and not self.climbs:
            weights = np.nan_to_num(self.graph.values(self.relation, "weight", found.edges), nan=1.0).tolist()
            for owner, end, weight in zip(rows[found.owner].tolist(), found.rows.tolist(), weights, strict=True):
                self._weights[owner, end] = max(weight, self._weights.get((owner, end), 0.0))
        if self.climbs:
            up, of = climbed(self.graph, self.kind, found.rows), found.owner
            for owner, low, high in zip(rows[of[up.owner]].tolist(), found.rows[up.owner].tolist(), up.rows.tolist(), strict=True):
                if low == high or (owner, high) not in self._lowest:
                    self._lowest[owner, high] = low
            found = Ragged.of(of[up.owner], up.rows, len(rows))
        new = np.setdiff1d(found.rows, list(self._rare))
        have = self.graph.degree(self.relation, new, inverse=not self.inverse)
        have = self._under()[new] if self.climbs else have
        self._rare.update(zip(new.tolist(), (np.log((1 + self.size) / (1 + have)) + 1).tolist(), strict=True))
        ends = [np.unique(found.rows[start:end]) for start, end in zip(found.indptr[:-1], found.indptr[1:], strict=True)]
        pulls = [[self.pull(row, end) for end in of.tolist()] for row, of in zip(rows.tolist(), ends, strict=True)]
        return ends, [sum(pull**2 for pull in of) ** 0.5 or 1.0 for of in pulls]

    def pull(self, row: int, end: int) -> float:
        """How much an end counts for a row: the more the fewer have it, or have something below it, times what the edge weighs."""
        return self._rare[end] * self._weights.get((row, end), 1.0)

    def below(self, row: int, end: int) -> int:
        """The row's own end at or below this one."""
        return self._lowest[row, end]

    def _under(self) -> NDArray[np.int64]:
        """By end, how many have it or something below it, as counted once a graph."""

        def counted() -> NDArray[np.int64]:
            rows = np.arange(self.graph.size(self.kind))
            up, have = climbed(self.graph, self.kind, rows), self.graph.degree(self.relation, rows, inverse=not self.inverse)
            return np.minimum(np.bincount(up.rows, have[up.owner], len(rows)), self.size).astype(np.int64)

        return self.graph.memo.get(("have it or what is below", self.relation, self.graph.size(self.kind)), (), counted)
