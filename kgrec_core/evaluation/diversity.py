"""Lists whose items are less alike: maximal marginal relevance (Carbonell & Goldstein 1998)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kgrec_core.evaluation.ranks import columns
from kgrec_core.interfaces import Hits

CELLS, NOTHING = 2**23, -1e9  # of the vectors of a block of lists; the relevance of a place that holds nothing


def relevance(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, m) scores of each list on a scale from 0, the worst that was found, to 1, the best; far below where nothing was."""
    finite = np.isfinite(scores)
    low = np.where(finite, scores, np.inf).min(1, keepdims=True, initial=np.inf)
    high = np.where(finite, scores, -np.inf).max(1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        return np.where(finite, (scores - low) / np.maximum(high - low, 1e-12), NOTHING)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one, and a last one of zeros for what has none."""
    found = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.vstack([found, np.zeros_like(found[:1])]).astype(np.float32)


def diverse(hits: Hits, candidates: NDArray[np.int64], vectors: NDArray[np.float32], amount: float, k: int) -> Hits:
    """The k places of every list, each given to the best by (1 - amount) * relevance - amount * cosine with the nearest that stands above.

    candidates: (m,) rows that `vectors` (m, d) are of. amount: 0 = as they were, up to 1 = as different as can be. Scores stay their own,
    so they no longer fall; columns come along.
    """
    if not amount or not len(hits.rows):
        return hits
    n, m = hits.rows.shape
    place = np.where(hits.rows >= 0, columns(candidates, np.maximum(hits.rows, 0).ravel())[np.maximum(hits.rows, 0)], -1)
    own, value, order = unit(vectors), relevance(hits.scores), np.empty((n, min(k, m)), np.int64)
    step = max(1, CELLS // max(1, m * own.shape[1]))
    for start in range(0, n, step):
        part = slice(start, start + step)
        order[part] = _chosen(own[place[part]], value[part], amount, order.shape[1])
    return picked(hits, order)


def _chosen(own: NDArray[np.float32], value: NDArray[np.float64], amount: float, k: int) -> NDArray[np.int64]:
    n, m = value.shape
    nearest, taken, order, every = np.zeros((n, m)), np.zeros((n, m), bool), np.empty((n, k), np.int64), np.arange(n)
    for number in range(k):
        gain = np.where(taken, -np.inf, np.where(value == NOTHING, NOTHING, (1 - amount) * value - amount * nearest))
        order[:, number] = gain.argmax(1)
        taken[every, order[:, number]] = True
        nearest = np.maximum(nearest, np.einsum("nmd,nd->nm", own, own[every, order[:, number]]))
    return order


def picked(hits: Hits, order: NDArray[np.int64]) -> Hits:
    """The hits at these places of each list, -1 = none."""
    there, at = order >= 0, np.maximum(order, 0)
    rows = np.where(there, np.take_along_axis(hits.rows, at, 1), -1)
    scores = np.where(there & (rows >= 0), np.take_along_axis(hits.scores, at, 1), -np.inf).astype(np.float32)
    return Hits(rows, scores, {name: np.where(there, np.take_along_axis(values, at, 1), np.nan) for name, values in hits.columns.items()})
