"""Several channels, one ranking, nothing learnt: the re-ranker to start with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Nodes, Ragged, Task
from kgrec_core.interfaces import Encode, Hits, Retrieval, Vectors
from kgrec_core.retrieval.pool import lookup, pair_scores, relative, top, union


class Around:
    """Base of the re-rankers: a mapping of channels that are built, extended, saved and loaded together."""

    channels: Mapping[str, Retrieval]

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        if not self.channels:
            raise KgrecError(
                f'retrieval.{task.name}: no channel to rank; add a table such as [retrieval.{task.name}.popular] use = "popular"'
            )
        for channel in self.channels.values():
            channel.build(graph, task, candidates, encode)
        self._place(graph, task, candidates.rows)

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """A copy that also finds the new candidates, as far as its channels can; the others are shared as they are."""
        other = copy.copy(self)
        other.channels = {n: c.extended(graph, new, encode) if hasattr(c, "extended") else c for n, c in self.channels.items()}
        other._place(graph, self.task_, np.union1d(np.flatnonzero(self.mask_), new.rows))
        return other

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "candidates.npy", np.flatnonzero(self.mask_))
        for name, channel in self.channels.items():
            channel.save(folder / name)

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        for name, channel in self.channels.items():
            channel.load(folder / name, graph, task)
        try:
            self._place(graph, task, np.load(folder / "candidates.npy"))
        except (OSError, ValueError, EOFError, IndexError) as error:
            raise KgrecError(f"{folder}: candidates.npy is damaged or missing ({error}); fit again") from error

    def _place(self, graph: Graph, task: Task, rows: NDArray[np.int64]) -> None:
        self.graph_, self.task_ = graph, task
        self.mask_ = np.zeros(graph.size(task.relation.target), bool)
        self.mask_[rows] = True

    def _find(
        self, queries: Nodes, vectors: Vectors | None, n: int, allowed: NDArray[np.bool_] | None, exclude: Ragged | None
    ) -> dict[str, Hits]:
        return {name: channel.search(queries, vectors, n, allowed, exclude) for name, channel in self.channels.items()}


@dataclass(kw_only=True, eq=False)
class Merge(Around):
    """The union of the channels' best, by reciprocal rank or by weighted scores.

    by: "rank", sum of weight / (60 + rank) (Cormack et al. 2009); "score", sum of weight * score / best score of the query.
    weights: per channel, 1 where none is given. pool: how many candidates each channel gives.
    Every channel is asked for at least k, so where one of them always finds k, so does this.
    """

    channels: Mapping[str, Retrieval]
    by: Literal["rank", "score"] = "rank"
    weights: Mapping[str, float] = field(default_factory=dict)
    pool: int = 200

    def search(
        self, queries: Nodes, vectors: Vectors | None, k: int, allowed: NDArray[np.bool_] | None = None, exclude: Ragged | None = None
    ) -> Hits:
        """See Retrieval; `columns` holds every channel's score."""
        for name in self.weights:
            if name not in self.channels:
                raise choices("channel", name, self.channels, f"retrieval.{self.task_.name}.weights names channels")
        found = self._find(queries, vectors, max(k, self.pool), allowed, exclude)
        pool = union(found.values(), len(queries))
        columns = {name: pair_scores(c, queries, vectors, pool, found[name]) for name, c in self.channels.items()}
        merged = fuse(pool, found, columns, self.by, self.weights)
        return top(pool, merged, k, columns)


def fuse(
    pool: Ragged, found: Mapping[str, Hits], columns: Mapping[str, NDArray[np.float32]], by: str, weights: Mapping[str, float]
) -> NDArray[np.float32]:
    """(len(pool.rows),) the merged score of every pair."""
    total = np.zeros(len(pool.rows), np.float32)
    for name, hits in found.items():
        if by == "rank":
            rank = lookup(hits, pool, np.broadcast_to(np.arange(1, hits.rows.shape[1] + 1), hits.rows.shape))
            part = 1 / (60 + rank)
        else:
            part = relative(pool, columns[name])
        total += np.float32(weights.get(name, 1.0)) * np.nan_to_num(part)
    return total
