"""The nearest earlier queries, and what they led to: user-kNN, FAQ variants, "articles like these"."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.graph.ragged import ranges
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Amount, Size
from kgrec_core.retrieval.blockwise import Blockwise, came
from kgrec_core.retrieval.delta import find
from kgrec_core.retrieval.index import library
from kgrec_core.retrieval.profile import matrix, profile, rarity, strangers, unit_rows
from kgrec_core.stored import numbers, rows

SPARE = 16  # vectors beyond `neighbours` that are looked at: the query itself is none, and up to so many equal to the last one count


class Known(NamedTuple):
    """m sources. sources: (m,) rows, ascending. index: (m, d) unit vectors, or (m, targets) CSC unit histories, rare targets counting
    more. followed: (m, targets) CSR, what they lead to."""

    sources: NDArray[np.int64]
    index: Vectors | sp.csc_matrix
    followed: sp.csr_matrix

    def take(self, mask: NDArray[np.bool_]) -> Known:
        where = np.flatnonzero(mask)
        return Known(self.sources[where], self.index[where], self.followed[where])

    def and_(self, other: Known) -> Known:
        """Both, where no source is in both; the other may know more targets."""
        sources = np.concatenate([self.sources, other.sources])
        order = np.argsort(sources)
        dense = isinstance(self.index, np.ndarray)
        index = np.concatenate([self.index, other.index]) if dense else _stacked(self.index, other.index)
        index = index[order] if dense else index[order].tocsc()
        return Known(sources[order], index, _stacked(self.followed, other.followed)[order])


@dataclass(kw_only=True, eq=False)
class Neighbours(Blockwise):
    """Indexes the sources of the task's relation; a candidate is scored by those of its sources that are nearest to the query.

    by: "vectors", the cosine of the queries' vectors; or "history", the cosine of what both met, rare targets counting more.
    per: what a candidate gets of the similarities of its sources: their "sum", as in user-kNN; or their "max", the similarity of its
    nearest source as it is: an FAQ entry with one question then counts as much as one with a hundred.
    neighbours: how many sources are followed; never the query itself. half_life: days after which an edge counts half, in the
    histories compared and in the edges followed; 0 = all alike.
    """

    by: Literal["vectors", "history"] = "vectors"
    per: Literal["sum", "max"] = "sum"
    neighbours: Size = 100
    half_life: Amount = 0.0

    says = "right for the most similar"
    newcomers = True
    scales = "compares the query with every known source, exactly; ranking a million candidates is one pass over a row of scores"
    state = ("sources_", "index_", "rarity_", "followed_")

    @property
    def reads(self) -> Literal["vectors", "history"]:
        """vectors where by = "vectors", else history"""
        return self.by

    @property
    def evidence(self) -> str:
        """whom the query is like in what was met, or known queries"""
        return "behaviour" if self.by == "history" else "examples"

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        met = matrix(graph, task.relation, self.now_, self.half_life)
        self.sources_ = np.flatnonzero(np.diff(met.indptr))
        self.rarity_ = rarity(met)
        self.followed_ = met[self.sources_]
        if self.by == "vectors":
            self.index_ = _unit(encode(Nodes(graph, task.relation.source, self.sources_, "query")))
        else:
            self.index_ = _weighted(self.followed_, self.rarity_).tocsc()  # what a query's few targets lead to stands together

    def attach(self) -> None:
        self.open_, self.added_ = None, None  # which of the sources still count, and those that came later
        n, width = len(rows(self.sources_, self.graph_.size(self.task_.relation.source))), len(self.rarity_)
        numbers(self.rarity_, (None,))
        if self.by == "vectors":
            numbers(self.index_, (n, None))
        if self.index_.shape[0] != n or self.followed_.shape != (n, width) or width > len(self.mask_):
            raise ValueError(f"histories {self.followed_.shape} do not belong to this graph of {len(self.mask_):,} candidates")
        if self.by == "history" and self.index_.shape[1] != width:
            raise ValueError(f"histories {self.index_.shape} do not belong to {width:,} candidates")
        if self.by == "history":
            self.index_ = self.index_.tocsc()

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """Also follows the edges that came since: a source that is new, or known with what it leads to now. One that has ended no more."""
        other, relation = super().extended(graph, new, encode), self.task_.relation
        alive, width = graph.alive(relation.source), graph.size(relation.target)
        fresh = came(self.graph_, graph, relation)["source"].unique().sort().to_numpy().astype(np.int64)
        fresh = fresh[alive[fresh]]
        other.open_ = alive[self.sources_] if self.open_ is None else self.open_ & alive[self.sources_]
        at = find(self.sources_, fresh)
        other.open_[at[at >= 0]] = False
        other.rarity_ = np.concatenate([self.rarity_, np.full(width - len(self.rarity_), self.rarity_.max(initial=1), np.float32)])
        whole = graph.adjacent(relation, fresh)
        edges = sp.csr_matrix((np.ones(len(whole.rows), np.float32), whole.rows, whole.indptr), shape=(len(fresh), width))
        edges.sum_duplicates()
        edges.data[:] = 1
        if self.by == "history":
            index = _weighted(edges, other.rarity_).tocsc()
        else:
            index = _unit(encode(Nodes(graph, relation.source, fresh, "query"))) if len(fresh) else self.index_[:0]
        other.added_ = Known(fresh, index, edges)
        if self.added_ is not None:
            stay = alive[self.added_.sources] & ~np.isin(self.added_.sources, fresh)
            other.added_ = self.added_.take(stay).and_(other.added_)
        return other

    def known(self) -> Known:
        """All that is followed, with what came later."""
        base = Known(self.sources_, self.index_, self.followed_)
        return base if self.added_ is None else base.take(self.open_).and_(self.added_)

    def save(self, folder: Path) -> None:
        whole = copy.copy(self)
        whole.sources_, whole.index_, whole.followed_ = self.known()
        if self.by == "history":
            whole.index_ = whole.index_.tocsr()
        super(Neighbours, whole).save(folder)

    def silent(self, queries: Nodes) -> bool:
        return self.by == "history" and strangers(queries, self.task_.relation)

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        layers = [Known(self.sources_, self.index_, self.followed_), *([] if self.added_ is None else [self.added_])]
        asked = _unit(vectors) if self.by == "vectors" else self._histories(queries)
        looked = [self._near(queries, asked, known, self.open_ if known is layers[0] else None) for known in layers]
        near = np.hstack([near for near, _ in looked])
        owner, column = _nearest(near, self.neighbours)
        out, start = np.zeros((len(queries), layers[-1].followed.shape[1]), np.float32), 0
        for known, (each, place) in zip(layers, looked, strict=True):
            here = (column >= start) & (column < start + each.shape[1])
            query, at = owner[here], column[here]
            source = place[query, at - start] if place is not None else at - start
            if self.per == "max":
                _raise(out, query, near[query, at], known.followed, source)
            else:
                indptr = np.searchsorted(query, np.arange(len(queries) + 1))
                followed = sp.csr_matrix((near[query, at], source, indptr), shape=(len(queries), len(known.sources)))
                out[:, : known.followed.shape[1]] += (followed @ known.followed).toarray()
            start += each.shape[1]
        return out

    def _near(
        self, queries: Nodes, asked: Vectors | sp.csr_matrix, known: Known, open_: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """(n, w) similarities of sources, 0 for the query itself and what is no longer followed, and their places; None = all in turn."""
        if self.by == "vectors":
            closed = 0 if open_ is None else int(np.count_nonzero(~open_))
            faiss, k = library(), min(self.neighbours + SPARE + closed, len(known.sources))
            if not k:
                return np.zeros((len(queries), 0), np.float32), None
            near, place = faiss.knn(asked, known.index, k, metric=faiss.METRIC_INNER_PRODUCT)
            near = near.round(6)  # the last digits depend on the order of the sum; equal texts are to be equally near
            near[known.sources[place] == queries.rows[:, None]] = 0
            if open_ is not None:
                near[~open_[place]] = 0
            return near, place
        near = (asked[:, : known.index.shape[1]] @ known.index.T).toarray()
        at = find(known.sources, queries.rows)
        near[np.flatnonzero(at >= 0), at[at >= 0]] = 0
        if open_ is not None:
            near[:, ~open_] = 0
        return near, None

    def _histories(self, queries: Nodes) -> sp.csr_matrix:
        read = profile(queries, self.task_.relation, len(self.rarity_), self.now_, half_life=self.half_life)
        if not self.half_life:
            read.sum_duplicates()
            read.data[:] = 1
        return _weighted(read, self.rarity_)

    def _cells(self) -> int:
        return len(self.mask_) if self.by == "vectors" else max(len(self.mask_), len(self.sources_))


def _nearest(near: NDArray[np.float32], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the n highest of each row, and of those equal to the last of them; only what is above 0."""
    least = np.zeros((len(near), 1), near.dtype)
    if n < near.shape[1]:
        least = np.partition(near, near.shape[1] - n, axis=1)[:, near.shape[1] - n, None]
    return np.nonzero((near >= least) & (near > 0))


def _raise(
    out: NDArray[np.float32], query: NDArray[np.int64], near: NDArray[np.float32], followed: sp.csr_matrix, source: NDArray[np.int64]
) -> None:
    """Raise every query's scores of what these sources lead to, to the similarity of the nearest of them."""
    flat, indptr = ranges(followed.indptr[source].astype(np.int64), followed.indptr[source + 1].astype(np.int64))
    edge = np.repeat(np.arange(len(source)), np.diff(indptr))
    np.maximum.at(out, (query[edge], followed.indices[flat]), near[edge] * followed.data[flat])


def _weighted(met: sp.csr_matrix, rarity: NDArray[np.float32]) -> sp.csr_matrix:
    """Histories as unit rows, rare targets counting more."""
    return unit_rows(sp.csr_matrix((met.data * rarity[met.indices], met.indices, met.indptr), shape=met.shape))


def _stacked(above: sp.csr_matrix, below: sp.csr_matrix) -> sp.csr_matrix:
    """One below the other, as wide as the second."""
    above = above.tocsr()
    above = sp.csr_matrix((above.data, above.indices, above.indptr), shape=(above.shape[0], below.shape[1]))
    return sp.vstack([above, below]).tocsr()


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
