"""Lists less alike, as a part of a recipe: maximal marginal relevance around another retrieval."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from kgrec_core.errors import KgrecError, damage
from kgrec_core.evaluation.diversity import diverse
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task
from kgrec_core.interfaces import Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.recipe.ranges import Share, Size
from kgrec_core.retrieval.merge import DEPTH, Around
from kgrec_core.stored import numbers


@dataclass(kw_only=True, eq=False)
class Mmr(Around):
    """Re-orders what one retrieval finds, so that a list's items are less alike (Carbonell & Goldstein 1998).

    channels: the one retrieval. amount: 0 = as it finds them, up to 1 = as different as can be; likeness is the cosine of the encoder's
    vectors. pool: how many of its best are looked at. A score is 1 / (1 + place), since the order is no longer that of the scores;
    theirs are beside it, as the channel's. Holds a vector for each candidate.
    """

    channels: Mapping[str, Retrieval]
    amount: Share = 0.3
    pool: Size = 100

    own = "vectors"

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """Raises KgrecError unless there is one channel."""
        if len(self.channels) != 1:
            raise KgrecError(f"retrieval.{task.name}: mmr re-orders one retrieval and has {len(self.channels)}; put several under a merge")
        super().build(graph, task, candidates, encode)
        self.rows_, self.vectors_ = candidates.rows, np.asarray(encode(candidates), np.float32)

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        other = copy.copy(super().extended(graph, new, encode))
        keep = ~np.isin(self.rows_, new.rows)
        other.rows_ = np.concatenate([self.rows_[keep], new.rows])
        other.vectors_ = np.concatenate([self.vectors_[keep], np.asarray(encode(new), np.float32)])
        return other

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; `columns` holds the channel's score and what its own channels say."""
        (channel,) = self.channels.values()
        return self._varied(channel.search(queries, vectors, max(k, self.pool), allowed, exclude), k)

    def fit(self, queries: Queries, vectors: Vectors | None) -> Hits:
        """Fit the channel, where it learns."""
        (channel,) = self.channels.values()
        return self._varied(channel.fit(queries, vectors), min(DEPTH, len(self.mask_)))

    def save(self, folder: Path) -> None:
        super().save(folder)
        save_file({"rows": self.rows_, "vectors": self.vectors_}, folder / "mmr.safetensors")

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        super().load(folder, graph, task)
        with damage(f"{folder}: mmr.safetensors is damaged or missing", "fit again"):
            stored = load_file(folder / "mmr.safetensors")
            self.rows_ = stored["rows"]
            self.vectors_ = numbers(stored["vectors"], (len(self.rows_), stored["vectors"].shape[-1]))
            if self.rows_.min(initial=0) < 0 or self.rows_.max(initial=-1) >= graph.size(task.relation.target):
                raise ValueError("a row is not in the graph")

    def _varied(self, hits: Hits, k: int) -> Hits:
        ((name, _),) = self.channels.items()
        found = diverse(hits, self.rows_, self.vectors_, self.amount, hits.rows.shape[1])
        rows = found.rows[:, :k]
        scores = np.where(rows >= 0, 1 / (1 + np.arange(rows.shape[1], dtype=np.float32)), -np.inf).astype(np.float32)
        beside: dict[str, NDArray[np.float32]] = {name: np.where(rows >= 0, found.scores[:, :k], np.nan).astype(np.float32)}
        return Hits(rows, scores, beside | {n: np.asarray(v[:, :k], np.float32) for n, v in found.columns.items()})
