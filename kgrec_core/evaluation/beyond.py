"""What accuracy does not say about lists: how much of the catalogue they show, how obvious and how alike their items are.

Every function takes `Hits` and the number k of places looked at. `candidates` (m,) are rows of the target kind; `popularity`
and `vectors` are aligned with them. Values are per query, NaN where a list is empty; coverage is one number for all of them,
without an interval, since a resample with repeated queries always covers less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from kgrec_core.evaluation.ranks import columns
from kgrec_core.interfaces import Hits


def coverage(hits: Hits, candidates: NDArray[np.int64], k: int) -> float:
    """Share of the candidates that at least one list shows (catalogue coverage, Ge et al. 2010)."""
    shown = _places(hits, candidates, k)
    return float(len(np.unique(shown[shown >= 0])) / max(len(candidates), 1))


def novelty(hits: Hits, candidates: NDArray[np.int64], popularity: NDArray, k: int) -> NDArray[np.float64]:
    """(n,) mean self-information, -log2 of the item's share of all edges (Vargas & Castells 2011), in bits.

    popularity: (m,) edges per candidate in the view's graph; one is added to each, or an unseen item would be infinitely novel.
    """
    share = (popularity + 1) / (popularity.sum() + len(popularity))
    return _mean(-np.log2(share), _places(hits, candidates, k))


def popularity_bias(hits: Hits, candidates: NDArray[np.int64], popularity: NDArray, k: int) -> NDArray[np.float64]:
    """(n,) mean popularity percentile of the list: .5 as if drawn at random, 1 only the most popular.

    Average recommendation popularity (Abdollahpouri et al. 2019) on percentiles (ties share the mean) instead of counts, so
    that catalogues of any size compare.
    """
    percentile = (rankdata(popularity) - 0.5) / max(len(popularity), 1)
    return _mean(percentile, _places(hits, candidates, k))


def intra_list_diversity(hits: Hits, candidates: NDArray[np.int64], vectors: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """(n,) mean of 1 - cosine over all pairs of a list (Ziegler et al. 2005); NaN for lists of less than two."""
    shown = _places(hits, candidates, k)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    unit = np.vstack([unit, np.zeros_like(unit[:1])])  # place -1: nothing
    length, size = (shown >= 0).sum(1), (unit**2).sum(1)
    pairs = np.empty(len(shown))
    step = max(1, 2**23 // max(shown.shape[1] * unit.shape[1], 1))
    for start in range(0, len(shown), step):
        part = shown[start : start + step]
        # The square of the sum holds every pair twice, and each vector with itself.
        pairs[start : start + step] = (unit[part].sum(1) ** 2).sum(1) - size[part].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(length > 1, 1 - pairs / (length * (length - 1)), np.nan)


def _places(hits: Hits, candidates: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    rows = hits.rows[:, :k]
    return np.where(rows >= 0, columns(candidates, rows.ravel())[rows], -1)


def _mean(values: NDArray[np.float64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    shown = places >= 0
    with np.errstate(invalid="ignore"):
        return np.where(shown, values[places], 0).sum(1) / shown.sum(1)
