"""Pools: the sparse union of several channels' candidates, and rankings made of it. Never a queries x candidates matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Ragged
from kgrec_core.graph.ragged import distinct
from kgrec_core.interfaces import Hits

Columns = Mapping[str, NDArray[np.float32]]  # one number for every pair of a pool


def union(hits: Iterable[Hits], n: int, also: Ragged | None = None) -> Ragged:
    """Every candidate that some channel found, and `also` these, once per query, by row."""
    also = Ragged.empty(n) if also is None else also
    owners, rows = [also.owner], [also.rows]
    for found in hits:
        owner, column = np.nonzero(found.rows >= 0)
        owners.append(owner)
        rows.append(found.rows[owner, column])
    owner, row = np.concatenate(owners), np.concatenate(rows)
    width = int(row.max(initial=0)) + 1
    keys = distinct(owner * width + row)
    return Ragged.of(keys // width, keys % width, n)


def lookup(hits: Hits, pool: Ragged, values: NDArray | None = None, missing: float = np.nan) -> NDArray[np.float32]:
    """(len(pool.rows),) the hits' scores (or other (n, k) values) for the pairs of a pool; else `missing`."""
    out = np.full(len(pool.rows), missing, np.float32)
    owner, column = np.nonzero(hits.rows >= 0)
    if not len(owner):
        return out
    width = max(int(pool.rows.max(initial=0)), int(hits.rows.max())) + 1
    keys, wanted = owner * width + hits.rows[owner, column], pool.owner * width + pool.rows
    order = np.argsort(keys)
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    known = keys[place] == wanted
    out[known] = (hits.scores if values is None else values)[owner, column][place[known]]
    return out


def places_of_each(pool: Ragged, scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """(channels, pairs) `places` by each row of scores."""
    order = np.argsort(_keys(pool.owner, scores), axis=1, kind="stable")
    out = np.empty(order.shape, np.int64)
    np.put_along_axis(out, order, np.broadcast_to(np.arange(order.shape[1]) - pool.indptr[:-1][pool.owner], order.shape), axis=1)
    return out


def places(pool: Ragged, scores: NDArray) -> NDArray[np.int64]:
    """(len(pool.rows),) the rank, from 0, of every pair in its query; equal scores: the lower row first, NaN last."""
    order = np.lexsort((-scores, pool.owner)) if scores.dtype != np.float32 else np.argsort(_keys(pool.owner, scores), kind="stable")
    out = np.empty(len(order), np.int64)
    out[order] = np.arange(len(order)) - pool.indptr[:-1][pool.owner]
    return out


def _keys(owner: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """One number for query and score, so that one sort does for both: the bits of a float, those below 0 turned around, are in its order."""
    bits = (np.float32(0) - scores).view(np.int32)
    bits ^= (bits >> 31) & np.int32(2**31 - 1)
    bits[np.isnan(scores)] = 2**31 - 1
    return (owner << 32) + bits


def alike(pool: Ragged, scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """(len(pool.rows),) the group of every pair: pairs of a query with the same score above 0 are in one, every other pair in its own."""
    keys = np.where(scores > 0, _keys(pool.owner, scores), -(2**33) - np.arange(len(scores)))
    return np.unique(keys, return_inverse=True)[1]


def relative(pool: Ragged, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """(pairs,), or (channels, pairs), scores divided by the best one of the query; 0 where that is not positive."""
    if (n := len(pool.indptr) - 1) == 1:
        best = np.fmax.reduce(scores, axis=-1, initial=0, keepdims=True)
    else:
        best = np.zeros((*scores.shape[:-1], n), np.float32)
        for row, said in zip(np.atleast_2d(best), np.atleast_2d(scores), strict=True):
            np.fmax.at(row, pool.owner, said)
    return np.where(best > 0, 1 / np.where(best > 0, best, 1), 0).astype(np.float32)[..., pool.owner] * scores


def top(pool: Ragged, scores: NDArray, k: int, columns: Columns) -> Hits:
    """The k best of every query, with the pool's further columns beside them."""
    n, place, owner = len(pool.indptr) - 1, places(pool, scores), pool.owner
    kept = place < k
    rows, best = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    rows[owner[kept], place[kept]], best[owner[kept], place[kept]] = pool.rows[kept], scores[kept]
    beside = {}
    for name, values in columns.items():
        beside[name] = np.full((n, k), np.nan, np.float32)
        beside[name][owner[kept], place[kept]] = values[kept]
    return Hits(rows, best, beside)


def explained(
    pool: Ragged, scores: NDArray, k: int, columns: Columns, parts: Mapping[str, NDArray[np.float64]]
) -> tuple[Hits, dict[str, NDArray[np.float64]]]:
    """`top`, and beside every score (n, k) what it is the sum of; 0 where there is no hit. parts: one number for every pair each."""
    n, place, owner = len(pool.indptr) - 1, places(pool, scores), pool.owner
    kept, beside = place < k, {}
    for name, values in parts.items():
        beside[name] = np.zeros((n, k))
        beside[name][owner[kept], place[kept]] = values[kept]
    return top(pool, scores, k, columns), beside
