"""Histories as sparse matrices: what the item-item and user-user channels multiply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Ragged, Relation
from kgrec_core.graph.clock import clocked, fading, moments

BLOCK = 512  # queries of which what was read is kept while they are asked


def events(queries: Nodes, relation: Relation) -> tuple[Ragged, NDArray[np.int64] | None]:
    """The queries' edges, each (target, time) once per query and oldest first, with their times; without a clock: all, None."""
    return _once(queries, ("events", relation), lambda: _events(queries, relation))


def _events(queries: Nodes, relation: Relation) -> tuple[Ragged, NDArray[np.int64] | None]:
    found = queries.read(relation)
    if relation not in queries.graph.relations or not queries.graph.clocked(relation):
        return found, None
    time = queries.graph.values(relation, "time", found.edges)
    order = np.lexsort((found.rows, time, found.owner))
    same = np.ones((len(order), 3), bool)
    for column, values in enumerate((found.owner, time, found.rows)):
        same[1:, column] = values[order][1:] == values[order][:-1]
    keep = np.ones(len(order), bool)
    keep[order] = ~same.all(1) | (np.arange(len(order)) == 0)
    return found.keep(keep), time[keep]


def strangers(queries: Nodes, *relations: Relation) -> bool:
    """Whether none of the queries has met anything by any of these."""
    return not any(_once(queries, ("met", of), lambda of=of: bool(queries.read(of, last=1).counts.any())) for of in relations)


def profile(queries: Nodes, relation: Relation, size: int, now: int, decay: float = 1.0, half_life: float = 0.0) -> sp.csr_matrix:
    """(n, size) float32: the queries' histories, read through `Nodes.read` only.

    decay: weight decay^(m - j) of the j-th of m edges. half_life: instead, where there is a clock, .5^(days since / half_life), summed
    over events. Targets beyond `size`, new since the channel was built, are left out.
    """
    how = ("profile", relation, size, now, decay, half_life)
    data, indices, indptr = _once(queries, how, lambda: _profile(queries, *how[1:]))
    return sp.csr_matrix((data.copy(), indices.copy(), indptr.copy()), shape=(len(queries), size), dtype=np.float32)


def _profile(queries: Nodes, relation: Relation, size: int, now: int, decay: float, half_life: float) -> tuple[NDArray, NDArray, NDArray]:
    """`profile` as data, indices and indptr."""
    if half_life and clocked(queries.graph, relation):
        found, time = events(queries, relation)
        weight = fading(moments(queries, now)[found.owner] - time, half_life)
    else:
        found = _once(queries, ("read", relation), lambda: queries.read(relation))
        place = found.indptr[1:][found.owner] - 1 - np.arange(len(found.rows))
        weight = (decay**place).astype(np.float32)
    known = found.rows < size
    read = sp.csr_matrix((weight[known], (found.owner[known], found.rows[known])), shape=(len(queries), size), dtype=np.float32)
    return read.data, read.indices, read.indptr


def _once(queries: Nodes, what: tuple[object, ...], make: Callable[[], Any]) -> Any:
    """What several channels ask of a block of queries; of many at once nothing is kept, it would be there as long as they are."""
    if len(queries) > BLOCK:
        return make()
    if what not in queries.memo:
        queries.memo[what] = make()
    return queries.memo[what]


def matrix(graph: Graph, relation: Relation, now: int, half_life: float = 0.0) -> sp.csr_matrix:
    """(sources, targets) float32: 1 for a pair that met, or with a half-life the sum of its faded events."""
    table = _distinct(graph, relation)
    fades = half_life and clocked(graph, relation)
    weight = fading(now - table["time"].to_numpy(), half_life) if fades else np.ones(len(table), np.float32)
    ends = tuple(table[end].to_numpy().astype(np.int64) for end in ("source", "target"))
    built = sp.csr_matrix((weight, ends), shape=(graph.size(relation.source), graph.size(relation.target)), dtype=np.float32)
    if not half_life:
        built.data[:] = 1
    return built


def baskets(graph: Graph, relation: Relation) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
    """(baskets, targets) float32 ones, and the source of every basket: what it met at one time; in order of source and time."""
    table = _distinct(graph, relation)
    table = table.with_columns(basket=pl.struct([c for c in ("source", "time") if c in table.columns]).rank("dense") - 1).sort("basket")
    row = table["basket"].to_numpy().astype(np.int64)
    shape = (int(row.max(initial=-1)) + 1, graph.size(relation.target))
    ends = (row, table["target"].to_numpy().astype(np.int64))
    first = np.flatnonzero(np.diff(row, prepend=-1))
    return sp.csr_matrix((np.ones(len(row), np.float32), ends), shape=shape), table["source"].to_numpy()[first].astype(np.int64)


def _distinct(graph: Graph, relation: Relation) -> pl.DataFrame:
    table = graph.relations[relation].drop_nulls(["source", "target"])
    return table.select([c for c in ("source", "target", "time") if c in table.columns]).unique(maintain_order=True)


def unit_rows(m: sp.csr_matrix) -> sp.csr_matrix:
    """Every row divided by its Euclidean length; empty rows stay."""
    length = np.sqrt(np.asarray(m.multiply(m).sum(1)).ravel())
    return (sp.diags((1 / np.where(length > 0, length, 1)).astype(np.float32)) @ m).tocsr().astype(np.float32)


def rarity(m: sp.csr_matrix) -> NDArray[np.float32]:
    """(columns,) smoothed inverse document frequency, log((1 + rows in use) / (1 + rows that have it)) + 1."""
    have = np.bincount(m.indices, minlength=m.shape[1])
    used = np.count_nonzero(np.diff(m.indptr))
    return (np.log((1 + used) / (1 + have)) + 1).astype(np.float32)
