"""The nearest earlier queries, and what they led to: user-kNN, FAQ variants, "articles like these"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.retrieval.blockwise import Blockwise, came
from kgrec_core.retrieval.index import library
from kgrec_core.retrieval.profile import matrix, profile, rarity, unit_rows

SPARE = 16  # vectors beyond `neighbours` that are looked at: the query itself is none, and up to so many equal to the last one count


@dataclass(kw_only=True, eq=False)
class Neighbours(Blockwise):
    """Indexes the sources of the task's relation; a candidate's score is the sum of its nearest sources' similarities.

    by: "vectors", the cosine of the queries' vectors; or "history", the cosine of what both met, rare targets counting more.
    neighbours: how many sources are followed; never the query itself. half_life: days after which an edge counts half, in the
    histories compared and in the edges followed; 0 = all alike.
    """

    by: Literal["vectors", "history"] = "vectors"
    neighbours: int = 100
    half_life: float = 0.0

    newcomers = True
    scales = "compares the query with every known source, exactly; a million candidates take 1 ms more a query to rank"
    state = ("sources_", "index_", "rarity_", "followed_")

    @property
    def reads(self) -> Literal["vectors", "history"]:
        """vectors where by = "vectors", else history"""
        return self.by

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        met = matrix(self.graph_, self.task_.relation, self.now_, self.half_life)
        self.sources_ = np.flatnonzero(np.diff(met.indptr))
        self.rarity_ = rarity(met)
        self.followed_ = met[self.sources_]
        if self.by == "vectors":
            self.index_ = _unit(encode(Nodes(self.graph_, self.task_.relation.source, self.sources_, "query")))
        else:
            self.index_ = unit_rows((self.followed_ @ sp.diags(self.rarity_)).tocsr())

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """Also follows the edges that came since: a source that is new, or known with what it leads to now. One that has ended no more."""
        other = super().extended(graph, new, encode)
        relation = self.task_.relation
        alive = graph.alive(relation.source)
        fresh = came(self.graph_, graph, relation)["source"].unique().sort().to_numpy().astype(np.int64)
        fresh, kept = fresh[alive[fresh]], alive[self.sources_] & ~np.isin(self.sources_, fresh)
        if not len(fresh) and kept.all():
            return other
        width, whole = graph.size(relation.target), graph.adjacent(relation, fresh)
        edges = sp.csr_matrix((np.ones(len(whole.rows), np.float32), whole.rows, whole.indptr), shape=(len(fresh), width))
        edges.sum_duplicates()
        edges.data[:] = 1
        known = self.followed_[np.flatnonzero(kept)]
        known.resize(known.shape[0], width)
        if self.by == "vectors":
            mine = _unit(encode(Nodes(graph, relation.source, fresh, "query")))
            index = np.concatenate([self.index_[kept], mine])
        else:
            other.rarity_ = np.concatenate([self.rarity_, np.full(width - len(self.rarity_), self.rarity_.max(initial=1), np.float32)])
            base = self.index_[np.flatnonzero(kept)]
            base.resize(base.shape[0], width)
            index = sp.vstack([base, unit_rows((edges @ sp.diags(other.rarity_)).tocsr())]).tocsr()
        sources = np.concatenate([self.sources_[kept], fresh])
        order = np.argsort(sources)
        other.sources_, other.index_ = sources[order], index[order]
        other.followed_ = sp.vstack([known, edges]).tocsr()[order]
        return other

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        if not len(self.sources_):
            return np.zeros((len(queries), self.followed_.shape[1]), np.float32)
        owner, source, near = self._by_vectors(queries, vectors) if self.by == "vectors" else self._by_history(queries)
        indptr = np.searchsorted(owner, np.arange(len(queries) + 1))
        followed = sp.csr_matrix((near, source, indptr), shape=(len(queries), len(self.sources_)))
        return (followed @ self.followed_).toarray()

    def _by_vectors(self, queries: Nodes, vectors: Vectors) -> tuple[NDArray, NDArray, NDArray[np.float32]]:
        """Query by query, the place in `sources_` and the cosine of each source that is followed."""
        faiss, k = library(), min(self.neighbours + SPARE, len(self.sources_))
        near, place = faiss.knn(_unit(vectors), self.index_, k, metric=faiss.METRIC_INNER_PRODUCT)
        near = near.round(6)  # the last digits depend on the order of the sum; equal texts are to be equally near
        near[self.sources_[place] == queries.rows[:, None]] = 0
        owner, column = _nearest(near, self.neighbours)
        return owner, place[owner, column], near[owner, column]

    def _by_history(self, queries: Nodes) -> tuple[NDArray, NDArray, NDArray[np.float32]]:
        """As `_by_vectors`, of histories."""
        read = profile(queries, self.task_.relation, len(self.rarity_), self.now_, half_life=self.half_life)
        if not self.half_life:
            read.sum_duplicates()
            read.data[:] = 1
        near = (unit_rows((read @ sp.diags(self.rarity_)).tocsr()) @ self.index_.T).toarray()
        place = np.searchsorted(self.sources_, queries.rows)
        itself = self.sources_[np.minimum(place, len(self.sources_) - 1)] == queries.rows
        near[np.flatnonzero(itself), place[itself]] = 0
        owner, source = _nearest(near, self.neighbours)
        return owner, source, near[owner, source]

    def _cells(self) -> int:
        return len(self.mask_) if self.by == "vectors" else max(len(self.mask_), len(self.sources_))


def _nearest(near: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the n highest of each row, and of those equal to the last of them; only what is above 0."""
    least = np.zeros((len(near), 1), near.dtype)
    if n < near.shape[1]:
        least = np.partition(near, near.shape[1] - n, axis=1)[:, near.shape[1] - n, None]
    return np.nonzero((near >= least) & (near > 0))


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
