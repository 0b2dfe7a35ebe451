"""What a system answers when only its first class counts: how often that is right, evenly over classes, and what it mixes up.

A query with several targets is answered right by any of them; where one true class is asked (F1, confusions) its first target
stands for it. Queries without a target are left out: whether to answer at all is judged by `calibration`. A query that gets no
answer (-1) is wrong, and for macro F1 "no answer" is one more class with an F1 of 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import choices
from kgrec_core.evaluation.interval import Interval, f1_gain, f1_interval, gain, interval
from kgrec_core.evaluation.metrics import macro_f1
from kgrec_core.evaluation.ranks import BLOCK, Score, block_columns, columns
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits

METRICS = ("macro_f1", "accuracy")
Rows = NDArray[np.int64]


class PerClass(NamedTuple):
    """Columns, one entry per class that is a true or a predicted one, by row of the target kind; 0 where nothing can be divided."""

    row: Rows
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: Rows


class Confusion(NamedTuple):
    """n queries of class `true` were answered with `predicted`; both are rows of the target kind."""

    true: int
    predicted: int
    n: int


def predicted(hits: Hits) -> Rows:
    """(n,) the row every query is answered with, -1 = none."""
    return hits.rows[:, 0] if hits.rows.shape[1] else np.full(len(hits.rows), -1)


def best(score: Score, n: int, candidates: Rows, exclude: Ragged | None = None, block: int | None = None) -> Rows:
    """(n,) the candidate with the highest score (ties: the first), -1 where all are excluded or scored -inf.

    score: gives (b, m) float32 of the queries in a slice, a column per candidate; overwritten. block: queries at a time.
    """
    block, found = block or max(1, BLOCK // max(len(candidates), 1)), np.full(n, -1, np.int64)
    lookup = columns(candidates, *(() if exclude is None else (exclude.rows,)))
    for start in range(0, n if len(candidates) else 0, block):
        part = slice(start, min(start + block, n))
        scores = score(part)
        if exclude is not None:
            gone = block_columns(exclude, part, lookup)
            scores[gone.owner[gone.rows >= 0], gone.rows[gone.rows >= 0]] = -np.inf
        place = scores.argmax(1)
        found[part] = np.where(np.isneginf(scores[np.arange(len(place)), place]), -1, candidates[place])
    return found


def first(targets: Ragged) -> Rows:
    """(n,) the first target of every query, -1 = none."""
    return np.append(targets.rows, -1)[np.where(targets.counts > 0, targets.indptr[:-1], -1)]


def right(predicted: Rows, targets: Ragged) -> NDArray[np.float64]:
    """(n,) 1 where the predicted row is among the targets, else 0; NaN where there is none."""
    hit = np.bincount(targets.owner, targets.rows == predicted[targets.owner], minlength=len(predicted)) > 0
    return np.where(targets.counts > 0, hit, np.nan)


def value(predicted: Rows, targets: Ragged, metric: str) -> float:
    """One number of METRICS, without an interval: what early stopping watches. NaN when no query has a target."""
    if metric not in METRICS:
        raise choices("metric of classes", metric, METRICS)
    if not len(targets.rows):
        return float("nan")
    return macro_f1(predicted, first(targets)) if metric == "macro_f1" else float(np.nanmean(right(predicted, targets)))


def figures(predicted: Rows, targets: Ragged, seed: int = 0) -> dict[str, Interval]:
    """Metric -> {"mean", "low", "high", "n"}: 95 % bootstrap over queries, 10,000 resamples."""
    return {
        "macro_f1": _around(f1_interval(predicted, first(targets), seed)),
        "accuracy": _around(interval(right(predicted, targets), seed)),
    }


def gains(predicted: Rows, reference: Rows, targets: Ragged, seed: int = 0) -> dict[str, Interval]:
    """Metric -> the interval of the difference of two systems on the same resampled queries."""
    return {
        "macro_f1": _around(f1_gain(predicted, reference, first(targets), seed)),
        "accuracy": _around(gain(right(predicted, targets), right(reference, targets), seed)),
    }


def per_class(predicted: Rows, targets: Ragged) -> PerClass:
    """Precision, recall, F1 and support (true queries) of every class; definitions as in scikit-learn with zero_division = 0."""
    true = first(targets)
    predicted, true = predicted[true >= 0], true[true >= 0]
    rows = np.union1d(predicted, true)
    rows = rows[rows >= 0]
    guessed, meant, hits = (
        np.bincount(np.searchsorted(rows, of[of >= 0]), minlength=len(rows)) for of in (predicted, true, true[predicted == true])
    )
    return PerClass(rows, hits / np.maximum(guessed, 1), hits / np.maximum(meant, 1), 2 * hits / np.maximum(guessed + meant, 1), meant)


def confusions(predicted: Rows, targets: Ragged, most: int = 20) -> list[Confusion]:
    """The most frequent pairs of a first target and a wrong answer, most frequent first (-1 = no answer)."""
    wrong = right(predicted, targets) == 0
    pairs, counts = np.unique(np.stack([first(targets)[wrong], predicted[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [Confusion(*map(int, (*pairs[:, i], counts[i]))) for i in order]


def _around(of: Interval) -> Interval:
    """Resampled F1 is biased (classes drop out of resamples); an interval it pushes off its mean is widened to it."""
    return {**of, "low": min(of["mean"], of["low"]), "high": max(of["mean"], of["high"])}
