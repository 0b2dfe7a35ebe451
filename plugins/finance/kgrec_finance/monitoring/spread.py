"""How far an event at a company reaches: its own series, its sector's, and, more weakly, those of its suppliers.

The graph is the one that was known at the event's time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kgrec_core import DAY, Graph
from kgrec_finance.articles.companies import IN_SECTOR, SUPPLIED_BY, spread

if TYPE_CHECKING:
    pass


class Reach:
    """company -> {series: weight}; a series is "company:ID", "sector:ID". See `companies.spread` for decay and hops.

    hops = 0: nothing spreads; the sector of a company counts its events as they are.
    """

    def __init__(self, graph: Graph | None, decay: float, hops: int) -> None:
        self.graph, self.decay, self.hops = graph, decay, hops
        known = [] if graph is None else [r for r in (IN_SECTOR, SUPPLIED_BY) if r in graph.relations]
        self._dated = any(graph.dated(relation) for relation in known)
        self._known: dict[tuple[str, int], dict[str, float]] = {}

    def of(self, company: str, time: int) -> dict[str, float]:
        """time: of the event, int us. Itself first."""
        day = time // DAY if self._dated else 0
        if (found := self._known.get((company, day))) is None:
            if len(self._known) > 100_000:
                self._known.clear()
            found = self._known[company, day] = self._reached(company, day * DAY)
        return found

    def path(self, company: str, series: str, time: int) -> list[str] | None:
        """The steps from the company to the series in words, [] for its own; None where it does not reach it."""
        kind, _, target = series.partition(":")
        if (kind, target) == ("company", company):
            return []
        if self.graph is None:
            return None
        graph, steps, seen = self._at(time), [(company, [])], {company}
        for _ in range(max(self.hops, 1)):
            further = []
            for at, path in steps:
                for relation, words in ((IN_SECTOR, "{} is in the sector {}"), (SUPPLIED_BY, "{1} supplies {0}")):
                    for other in self._ends(graph, relation, at):
                        step = [*path, words.format(at, other)]
                        if (relation.target, other) == (kind, target):
                            return step
                        if relation == SUPPLIED_BY and other not in seen:
                            seen.add(other)
                            further.append((other, step))
            steps = further
        return None

    def _reached(self, company: str, time: int) -> dict[str, float]:
        if self.graph is None:
            return {f"company:{company}": 1.0}
        graph = self._at(time)
        if self.hops == 0:
            return {f"company:{company}": 1.0, **{f"sector:{id}": 1.0 for id in self._ends(graph, IN_SECTOR, company)}}
        return {f"{kind}:{id}": weight for (kind, id), weight in spread(graph, company, self.decay, self.hops).items()}

    def _at(self, time: int) -> Graph:
        assert self.graph is not None
        return self.graph.at(time) if self._dated else self.graph

    @staticmethod
    def _ends(graph: Graph, relation, company: str) -> list[str]:
        rows = graph.rows("company", [company])
        if relation not in graph.relations or rows[0] < 0:
            return []
        return graph.gather(relation.target, graph.adjacent(relation, rows).rows, "id")["id"].to_list()
