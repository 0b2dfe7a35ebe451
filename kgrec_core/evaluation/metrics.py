"""Accuracy of rankings and of classes, per query, so that any two systems can be compared query by query.

Definitions follow trec_eval with binary relevance: precision and recall at k; `map@k` divides by the number of targets;
`ndcg@k` (Järvelin & Kekäläinen 2002, log2 discount) by the best that is possible, min(k, number of targets) hits; `mrr` is
1 / rank of the first target, without a cut-off. A query without a target says nothing: NaN, and `interval` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Ragged

RANKED = ("ndcg@10", "recall@10", "recall@20", "hit_rate@10", "map@10", "mrr")
_AT_K = ("ndcg", "recall", "hit_rate", "map", "precision")


def measure(ranks: NDArray[np.float64], targets: Ragged, names: Iterable[str] = RANKED) -> dict[str, NDArray[np.float64]]:
    """Metric name -> (n,) float64 values per query, NaN for queries without a target.

    ranks: aligned with `targets.rows`, as `dense_ranks` and `hits_ranks` give them; targets of one query are distinct.
    Raises KgrecError for an unknown name.
    """
    parsed = [(name, *parse(name)) for name in names]
    order = np.lexsort((ranks, targets.owner))
    rank, owner, n = ranks[order], targets.owner, targets.counts
    place = np.arange(len(rank)) - targets.indptr[:-1][owner] + 1  # 1, 2, ... from a query's best target on
    some = n > 0
    best = np.full(len(n), np.nan)
    best[some] = rank[targets.indptr[:-1][some]]

    def total(values: NDArray) -> NDArray[np.float64]:
        return np.where(some, np.bincount(owner, values, len(n)), np.nan)

    result = {}
    for name, metric, k in parsed:
        hit = rank <= k
        if metric == "mrr":
            result[name] = 1 / best
        elif metric == "hit_rate":
            result[name] = np.where(some, best <= k, np.nan)
        elif metric == "recall":
            result[name] = total(hit) / np.maximum(n, 1)
        elif metric == "precision":
            result[name] = np.minimum(total(hit), k) / k
        elif metric == "map":
            # Targets that tie share their mean rank: without the cap, three of them on rank 2 would be 3 hits among 2.
            result[name] = total(np.where(hit, np.minimum(place / rank, 1), 0)) / np.maximum(n, 1)
        else:
            ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))[np.clip(n, 1, k) - 1]
            result[name] = np.minimum(total(np.where(hit, 1 / np.log2(rank + 1), 0)) / ideal, 1)
    return result


def parse(name: str) -> tuple[str, int]:
    """("ndcg", 10) for "ndcg@10"; ("mrr", 0) for "mrr". Raises KgrecError for what is no metric of a ranking."""
    metric, at, k = name.partition("@")
    if name == "mrr":
        return name, 0
    if metric not in _AT_K:
        raise choices("metric", name, ["mrr", *(f"{m}@K" for m in _AT_K)])
    if not at or not k.isdigit() or int(k) < 1:
        raise KgrecError(f'metric "{name}" needs a cut-off of at least 1, such as "{metric}@10"')
    return metric, int(k)


def macro_f1(predicted: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur among the true or the predicted rows; queries without a true row (-1) are left out."""
    known = true >= 0
    if not known.any():
        return float("nan")
    cells, counts = np.unique(np.stack([predicted[known], true[known]]), axis=1, return_counts=True)
    return float(f1_of_counts(cells[0], cells[1], counts[None].astype(np.float64))[0])


def f1_of_counts(predicted: NDArray[np.int64], true: NDArray[np.int64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(r,) macro F1 of r confusion tables at once: `counts` (r, cells) says how often each (predicted, true) pair occurred."""
    classes = np.union1d(predicted, true)
    guessed, meant = (ends[:, None] == classes for ends in (predicted, true))
    hits, either = counts @ (guessed & meant), counts @ (guessed.astype(np.float64) + meant)
    occurs = either > 0  # a class that a resample does not hold is not averaged
    return (2 * hits / np.where(occurs, either, 1)).sum(1) / occurs.sum(1)
