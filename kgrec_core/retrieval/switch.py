"""One retrieval for those of whom much is known, another for newcomers: what ranks best differs with what a query has met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import choices
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task
from kgrec_core.interfaces import Filter, Hits, Retrieval, Vectors
from kgrec_core.recipe.ranges import Count
from kgrec_core.retrieval.merge import DEPTH, Around
from kgrec_core.retrieval.pool import lookup, top


@dataclass(kw_only=True, eq=False)
class Switch(Around):
    """Every query is answered by one of the channels alone, chosen by how much it has met of the task's relation.

    default: the channel that answers. short: the one that answers where a query has met something, but less than `few`. few: from so many on it is not short.
    strangers: where it has met nothing; without these two, default answers there, too. described: where it has met nothing by any of the
    task's relations, either, and has a text of its own: what knows behaviour alone has nothing to say of that.
    """

    channels: Mapping[str, Retrieval]
    default: str
    strangers: str | None = None
    short: str | None = None
    described: str | None = None
    few: Count = 5

    own = "history"

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; `columns` holds what the channel that answered says, NaN of another's."""

        def ask(channel: Retrieval, rows: NDArray[np.int64]) -> Hits:
            gone, given = None if exclude is None else exclude.take(rows), None if vectors is None else vectors[rows]
            return channel.search(queries.take(rows), given, k, allowed, gone)

        return self._answered(queries, k, ask)

    def explain(
        self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> tuple[Hits, Mapping[str, NDArray[np.float64]]]:
        """See Retrieval: what the channel that answers says of itself, under that channel's name where it is one piece."""
        every: dict[str, NDArray[np.float64]] = {}

        def ask(channel: Retrieval, rows: NDArray[np.int64]) -> Hits:
            gone, given = None if exclude is None else exclude.take(rows), None if vectors is None else vectors[rows]
            hits, parts = channel.explain(queries.take(rows), given, k, allowed, gone)
            name = next(name for name, own in self.channels.items() if own is channel)
            for part, values in parts.items():
                into = every.setdefault(name if part == "score" else part, np.zeros((len(queries), k)))
                into[rows, : values.shape[1]] = values
            return hits

        return self._answered(queries, k, ask), every

    def again(
        self, queries: Nodes, vectors: Vectors | None, pairs: Ragged, allowed: Filter | None = None, exclude: Ragged | None = None
    ) -> NDArray[np.float32]:
        """See Retrieval; asked of whoever answers the query."""
        each = int(pairs.counts.max(initial=1))

        def ask(channel: Retrieval, rows: NDArray[np.int64]) -> Hits:
            gone, given, mine = (
                None if exclude is None else exclude.take(rows),
                None if vectors is None else vectors[rows],
                pairs.take(rows),
            )
            return top(mine, channel.again(queries.take(rows), given, mine, allowed, gone), each, {})

        return lookup(self._answered(queries, each, ask), pairs)

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Fit the channels that learn, each by all the queries; returns (n, min(100, candidates)) hits, out of fold where one learned."""
        k = min(DEPTH, int(self.mask_.sum()))
        learned = {name: channel.fit(queries, vectors) for name, channel in self.channels.items() if channel.learns}
        exclude = None if self.task_.repeats else queries.nodes.read(self.task_.relation)
        found = {self.channels[name]: hits for name, hits in learned.items()}

        def ask(channel: Retrieval, rows: NDArray[np.int64]) -> Hits:
            if channel in found:
                return Hits(*(part[rows] for part in found[channel][:2]), {n: c[rows] for n, c in found[channel].columns.items()})
            gone, given = None if exclude is None else exclude.take(rows), None if vectors is None else vectors[rows]
            return channel.search(queries.nodes.take(rows), given, k, None, gone)

        return self._answered(queries.nodes, k, ask)

    def _place(self, graph: Graph, task: Task, mask: NDArray[np.bool_]) -> None:
        super()._place(graph, task, mask)
        for name in filter(None, (self.default, self.strangers, self.short, self.described)):
            if name not in self.channels:
                raise choices("channel", name, self.channels, f"retrieval.{task.name} names who answers")

    def _with(self, channels: Mapping[str, Retrieval]) -> Self:
        """The first channel that is left answers for a default that is not; for others, the default does."""
        other = super()._with(channels)
        other.default = self.default if self.default in channels else next(iter(channels))
        for which in ("strangers", "short", "described"):
            setattr(other, which, name if (name := getattr(self, which)) in channels else None)
        return other

    def _described(self, queries: Nodes) -> NDArray[np.bool_]:
        """(n,) who has a text, and nothing else."""
        met = [queries.read(relation, last=1).counts for relation in (self.task_.relation, *self.task_.history)]
        return np.array([bool(text) for text in queries.texts]) & (np.sum(met, axis=0) == 0)

    def _answered(self, queries: Nodes, k: int, ask: Callable[[Retrieval, NDArray[np.int64]], Hits]) -> Hits:
        met = queries.read(self.task_.relation, last=self.few).counts
        who = np.full(len(queries), self.default, object)
        who[met < self.few] = self.short or self.default
        who[met == 0] = self.strangers or self.default
        if self.described:
            who[self._described(queries)] = self.described
        found = Hits(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32), {})
        for name in dict.fromkeys(who):
            rows = np.flatnonzero(who == name)
            hits = ask(self.channels[name], rows)
            width = hits.rows.shape[1]
            found.rows[rows, :width], found.scores[rows, :width] = hits.rows, hits.scores
            for column, values in hits.columns.items():
                found.columns.setdefault(column, np.full((len(queries), k), np.nan, np.float32))[rows, :width] = values
        return found
