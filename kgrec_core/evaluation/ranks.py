"""The rank of every target among all candidates: from scores, block by block, or from ranked lists.

Everything that is reported follows from these ranks, so there is one definition of them. A queries x candidates matrix never
exists: a block of scores is made, counted and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits

Score = Callable[[slice], NDArray[np.float32]]
BLOCK = 2**23  # scores held at a time (32 MB)


def dense_ranks(
    score: Score, targets: Ragged, candidates: NDArray[np.int64], exclude: Ragged | None = None, block: int | None = None
) -> NDArray[np.float64]:
    """Ranks of the targets when every candidate is scored.

    score: gives the scores (b, m) float32 of the queries in a slice, a column per candidate; the array is overwritten.
    targets, exclude: rows of the target kind, a list per query; candidates: (m,) rows of the target kind.
    block: queries at a time; by default as many as 32 MB of scores hold.

    Returns (len(targets.rows),) float64: 1 + candidates scored strictly higher + half of the others scored equal (the mean
    rank). Excluded rows are out of the ranking unless they are targets. inf: not a candidate, or a score of NaN.
    Raises KgrecError when `score` gives another shape.
    """
    n, m = len(targets.indptr) - 1, len(candidates)
    block = block or max(1, BLOCK // max(m, 1))
    lookup = columns(candidates, *(r.rows for r in (targets, exclude) if r is not None))
    ranks = np.full(len(targets.rows), np.inf)
    for start in range(0, n, block):
        part = slice(start, min(start + block, n))
        scores = score(part)
        if scores.shape != (part.stop - start, m):
            raise KgrecError(
                f"scores of {part.stop - start} queries x {m} candidates have shape {scores.shape}; give a row per query, a column each"
            )
        inside = slice(targets.indptr[start], targets.indptr[part.stop])
        ranks[inside] = block_ranks(scores, *(None if r is None else block_columns(r, part, lookup) for r in (targets, exclude)))
    return ranks


def block_ranks(scores: NDArray[np.float32], targets: Ragged, exclude: Ragged | None = None) -> NDArray[np.float64]:
    """`dense_ranks` for one block (b, m), whose lists hold column numbers (-1 = no candidate). Overwrites `scores`."""
    found = targets.rows >= 0
    owner, column = targets.owner[found], targets.rows[found]
    own = scores[owner, column]
    if exclude is not None:
        out = exclude.rows >= 0
        scores[exclude.owner[out], exclude.rows[out]] = np.nan  # neither higher nor equal
        scores[owner, column] = own
    counts = np.empty(len(own))
    whole = np.uint16 if scores.shape[1] < 2**16 else np.uint32  # the narrowest sum is the fastest
    for start in range(0, len(own), len(scores)):
        part = slice(start, start + len(scores))
        rows, limit = scores[owner[part]], own[part, None]
        higher, as_high = ((op(rows, limit).view(np.uint8).sum(1, dtype=whole)).astype(np.float64) for op in (np.greater, np.greater_equal))
        counts[part] = (higher + as_high + 1) / 2
    ranks = np.full(len(targets.rows), np.inf)
    ranks[found] = np.where(np.isnan(own), np.inf, counts)
    return ranks


def hits_ranks(hits: Hits, targets: Ragged) -> NDArray[np.float64]:
    """(len(targets.rows),) float64: the place of every target in its query's list, inf where it is absent.

    The lists must be as long as the largest k of the metrics; `mrr` is then cut off at their length.
    """
    place = np.flatnonzero(hits.rows.ravel() >= 0)
    rows, query = hits.rows.ravel()[place], place // hits.rows.shape[1]
    width = max(rows.max(initial=0), targets.rows.max(initial=0)) + 1
    keys = query * width + rows
    order = np.argsort(keys)
    wanted = targets.owner * width + targets.rows
    at = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    if not len(keys):
        return np.full(len(wanted), np.inf)
    found = order[at]
    return np.where(keys[found] == wanted, place[found] % hits.rows.shape[1] + 1.0, np.inf)


def columns(candidates: NDArray[np.int64], *asked: NDArray[np.int64]) -> NDArray[np.int64]:
    """A table row -> its place in `candidates` (-1 = none), long enough for all the rows asked."""
    table = np.full(max([r.max(initial=-1) for r in (candidates, *asked)]) + 1, -1, np.int64)
    table[candidates] = np.arange(len(candidates))
    return table


def block_columns(ragged: Ragged, part: slice, lookup: NDArray[np.int64]) -> Ragged:
    """The lists of a slice of queries, rows replaced by their places in `lookup` (of `columns`)."""
    indptr = ragged.indptr[part.start : part.stop + 1]
    rows = ragged.rows[indptr[0] : indptr[-1]]
    return Ragged(indptr - indptr[0], lookup[rows], rows)
