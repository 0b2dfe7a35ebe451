"""What ties candidates together: the ends they share by a relation that holds at all times, such as a brand or a keyword.

An edge counts as much as it weighs (a confidence, a cosine). By a relation between candidates themselves ("alike", "goes with") each is an end of its own,
too, and edges count either way: so two that an edge joins are near.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Ragged, Relation
from kgrec_core.graph.ragged import ranges
from kgrec_core.knowledge.hierarchy import climbed, ways_up
from kgrec_core.retrieval.profile import rarity, unit_rows

ABOVE = " above"  # after a relation's name: by what is above its ends, too
CELLS = 2**22  # of dense rows that are looked up at once


@dataclass(frozen=True, eq=False)
class Ties:
    """Rows of length one (of all relations: one for each) over the ends, rare ends counting more: `base` of the candidates first known,
    `own` of the rows `late`."""

    base: sp.csr_matrix
    late: NDArray[np.int64]
    own: sp.csr_matrix

    def near(self, read: sp.csr_matrix, pool: Ragged) -> NDArray[np.float32]:
        """(len(pool.rows),) what a candidate is tied to, along the direction of what a query's history (n, candidates) is tied to."""
        place, late = _place(self.late, read.indices)
        old = sp.csr_matrix(
            (np.where(late, 0, read.data), np.where(late, 0, read.indices), read.indptr), (read.shape[0], self.base.shape[0])
        )
        left = old @ self.base
        if late.any():
            new = sp.csr_matrix((np.where(late, read.data, 0), np.where(late, place, 0), read.indptr), (read.shape[0], len(self.late)))
            left = left + new @ self.own
        left = unit_rows(left.tocsr())
        place, late = _place(self.late, pool.rows)
        found = _products(left, self.base, pool, ~late & (pool.rows < self.base.shape[0]), pool.rows)
        return found + _products(left, self.own, pool, late, place) if late.any() else found

    def with_own(self, late: NDArray[np.int64], own: sp.csr_matrix) -> Ties:
        """The same base, as wide as there are ends now."""
        base = sp.csr_matrix((self.base.data, self.base.indices, self.base.indptr), (self.base.shape[0], own.shape[1]))
        return replace(self, base=base, late=late, own=own)


class Side(NamedTuple):
    """A relation that ties candidates together: by its ends, or `climbs`: by these and all above them in their hierarchy."""

    relation: Relation
    climbs: bool

    @property
    def name(self) -> str:
        return f"{self.relation.name}{ABOVE if self.climbs else ''}"


class Ends:
    """The ties of a kind by every timeless relation that touches it, under its name, by what is above its ends, and by "all" of them together.

    weights: how much each relation counts in "all", by name (`relation_weights`); 1 where none is given. "all" is the weighted sum of the
    cosines by each relation: who has no end by one has nothing of it.
    """

    def __init__(self, graph: Graph, kind: str, weights: Mapping[str, float] = {}) -> None:
        self.kind, self.late, self.weights = kind, np.zeros(0, np.int64), weights
        relations = sorted((r for r in graph.timeless if kind in (r.source, r.target)), key=lambda r: r.name)
        climbing = [r for r in relations if r.source == kind and r.target != kind and ways_up(graph, r.target)]
        self.sides = [Side(relation, False) for relation in relations] + [Side(relation, True) for relation in climbing]
        rows = np.arange(graph.size(kind))
        counted = [_counts(graph, side, kind, rows) for side in self.sides]
        self.rarity = [rarity(counts) for counts in counted]
        base = self._weighed(counted)
        self.ties = {name: Ties(rows, self.late, rows[:0]) for name, rows in base.items()}

    def near(self, histories: Mapping[str, sp.csr_matrix], pool: Ragged) -> dict[str, NDArray[np.float32]]:
        """Name -> (len(pool.rows),) cosine of what a query's history and the candidate are tied to, rare ends counting more."""
        return {f"near by {name}{when}": ties.near(read, pool) for when, read in histories.items() for name, ties in self.ties.items()}

    def extended(self, graph: Graph, rows: NDArray[np.int64]) -> Ends:
        """As of a graph in which these rows came or have other ties now; costs what they cost. An end that is new is rare."""
        other = object.__new__(Ends)
        other.kind, other.sides, other.weights, other.late = self.kind, self.sides, self.weights, np.union1d(self.late, rows)
        counted = [_counts(graph, side, self.kind, other.late) for side in self.sides]
        other.rarity = [
            np.concatenate([rare, np.full(counts.shape[1] - len(rare), rare.max(initial=1), np.float32)])
            for rare, counts in zip(self.rarity, counted, strict=True)
        ]
        other.ties = {name: self.ties[name].with_own(other.late, own) for name, own in other._weighed(counted).items()}
        return other

    @property
    def direct(self) -> dict[str, sp.csr_matrix]:
        """Name -> (candidates, ends) rows of length one, or empty, by the ends of each relation themselves."""
        return {side.name: self.ties[side.name].base for side in self.sides if not side.climbs}

    @property
    def whole(self) -> sp.csr_matrix:
        """(candidates, ends) by all relations together."""
        parts = [self.ties["all"].base] if "all" in self.ties else list(self.direct.values())
        return parts[0] if parts else sp.csr_matrix((0, 0), dtype=np.float32)

    def _weighed(self, counted: list[sp.csr_matrix]) -> dict[str, sp.csr_matrix]:
        weighed = [unit_rows((m @ sp.diags(rare)).tocsr()) for m, rare in zip(counted, self.rarity, strict=True)]
        each = list(zip(self.sides, weighed, strict=True))
        found = {side.name: rows for side, rows in each}
        direct = [np.sqrt(np.float32(self.weights.get(side.name, 1.0))) * rows for side, rows in each if not side.climbs]
        return dict(sorted((found | {"all": sp.hstack(direct).tocsr()} if len(direct) > 1 else found).items()))


def _counts(graph: Graph, side: Side, kind: str, rows: NDArray[np.int64]) -> sp.csr_matrix:
    """(len(rows), ends) what each edge weighs, 1 where a relation has no weights."""
    relation = side.relation
    other = relation.target if relation.source == kind else relation.source
    counts = _edges(graph, relation, rows, relation.source != kind)
    if relation.source == relation.target:
        itself = sp.csr_matrix((np.ones(len(rows), np.float32), (np.arange(len(rows)), rows)), shape=counts.shape)
        counts = counts.maximum(_edges(graph, relation, rows, True)).maximum(itself).tocsr()
    if side.climbs:
        ends, place = np.unique(counts.indices, return_inverse=True)
        up = climbed(graph, other, ends.astype(np.int64))
        up = sp.csr_matrix((np.ones(len(up.rows), np.float32), up.rows, up.indptr), shape=(len(ends), counts.shape[1]))
        counts = (sp.csr_matrix((counts.data, place, counts.indptr), shape=(len(rows), len(ends))) @ up).tocsr()
        counts.data[:] = 1
    return counts


def _edges(graph: Graph, relation: Relation, rows: NDArray[np.int64], inverse: bool) -> sp.csr_matrix:
    """(len(rows), other ends) of repeated edges the highest weight."""
    met = graph.adjacent(relation, rows, inverse=inverse)
    shape = (len(rows), graph.size(relation.source if inverse else relation.target))
    counts = sp.csr_matrix((np.ones(len(met.rows), np.float32), met.rows, met.indptr), shape=shape)
    counts.sum_duplicates()
    counts.data[:] = 1
    if "weight" not in graph.relations.held[relation].columns:
        return counts
    weight = np.nan_to_num(graph.values(relation, "weight", met.edges).astype(np.float32), nan=1.0)
    order = np.lexsort((weight, met.rows, met.owner))
    last = np.append(np.diff(met.owner[order] * shape[1] + met.rows[order]) != 0, True)[: len(order)]
    return sp.csr_matrix((weight[order][last], counts.indices, counts.indptr), shape=shape)


def _place(late: NDArray[np.int64], rows: NDArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where rows are among the late ones, and whether they are."""
    if not len(late):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
    place = np.minimum(np.searchsorted(late, rows), len(late) - 1)
    return place, late[place] == rows


def _products(
    left: sp.csr_matrix, right: sp.csr_matrix, pool: Ragged, asked: NDArray[np.bool_], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(len(pool.rows),) dot products of a query's row on the left and row `rows` on the right, where asked; else 0.

    A few queries at a time: their dense rows are looked up where the right row has something.
    """
    out, width, owner = np.zeros(len(rows), np.float32), left.shape[1], pool.owner
    step = max(1, CELLS // max(1, width))
    for start in range(0, left.shape[0], step):
        pairs = np.arange(pool.indptr[start], pool.indptr[min(start + step, left.shape[0])])
        pairs = pairs[asked[pairs]]
        flat, indptr = ranges(right.indptr[rows[pairs]].astype(np.int64), right.indptr[rows[pairs] + 1].astype(np.int64))
        pair = np.repeat(np.arange(len(pairs)), np.diff(indptr))
        dense = left[start : start + step].toarray().ravel()
        found = dense[(owner[pairs][pair] - start) * width + right.indices[flat]] * right.data[flat]
        out[pairs] = np.bincount(pair, found, len(pairs))
    return out
