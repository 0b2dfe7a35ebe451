"""95 % bootstrap intervals over queries, paired for comparisons (Efron & Tibshirani 1993, percentile method).

10,000 resamples are drawn with a fixed seed. A resample is a row of counts, how often each query is in it; one matrix product
turns a block of such rows into the means of any number of metrics, so all metrics of the same queries share one drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from kgrec_core.evaluation.metrics import f1_of_counts, macro_f1

RESAMPLES, BLOCK = 10_000, 2**18  # counts held at a time (2 MB): they stay in the cache
Interval = dict[str, float]


def interval(values: NDArray[np.float64], seed: int = 0) -> Interval:
    """{"mean", "low", "high", "n"} of values per query; NaN (no target) is left out."""
    return intervals({"": values}, seed)[""]


def gain(values: NDArray[np.float64], reference: NDArray[np.float64], seed: int = 0) -> Interval:
    """The interval of the paired differences `values - reference`; a gain is real where its low is above 0."""
    return interval(values - reference, seed)


def least(values: NDArray[np.float64], seed: int = 0) -> float:
    """What the mean is at least, with 95 % confidence: the one-sided bound, below which lie 5 % of the resamples' means. NaN (no target) is left out."""
    values = values[~np.isnan(values)]
    return float(np.quantile(np.concatenate([counts @ values for counts in _counts(len(values), seed)]) / len(values), 0.05))


def mean_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """The mean and its standard error, infinite for a single value; NaN (no target) is left out."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else 0.0, float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.inf


def intervals(columns: Mapping[str, NDArray[np.float64]], seed: int = 0) -> dict[str, Interval]:
    """`interval` for every column; columns that miss the same queries share the resamples, at no further cost."""
    groups: dict[bytes, list[str]] = {}
    for name, values in columns.items():
        groups.setdefault(np.packbits(~np.isnan(values)).tobytes(), []).append(name)
    found = dict.fromkeys(columns, _interval(np.nan, np.nan, np.nan, 0))
    for names in groups.values():
        table = np.stack([columns[name][~np.isnan(columns[name])] for name in names], axis=1).astype(np.float64)
        n = len(table)
        if n:
            low, high = _bounds(np.concatenate([counts @ table for counts in _counts(n, seed)]) / n)
            found |= {name: _interval(*of, n) for name, *of in zip(names, table.mean(0), low, high, strict=True)}
    return found


def f1_interval(predicted: NDArray[np.int64], true: NDArray[np.int64], seed: int = 0) -> Interval:
    """The interval of `macro_f1` over resampled queries."""
    return _f1(true, macro_f1(predicted, true), [predicted], seed)


def f1_gain(predicted: NDArray[np.int64], reference: NDArray[np.int64], true: NDArray[np.int64], seed: int = 0) -> Interval:
    """The interval of the difference of two `macro_f1`, both on the same resampled queries."""
    return _f1(true, macro_f1(predicted, true) - macro_f1(reference, true), [predicted, reference], seed)


def _f1(true: NDArray[np.int64], mean: float, predictions: list[NDArray[np.int64]], seed: int) -> Interval:
    known = true >= 0
    if not known.any():
        return _interval(np.nan, np.nan, np.nan, 0)
    # Queries with the same predictions and truth are exchangeable: a resample is a multinomial draw over such cells.
    (truth, *given), counts = np.unique(np.stack([true, *predictions])[:, known], axis=1, return_counts=True)
    n, draw, step = int(known.sum()), np.random.default_rng(seed), max(1, BLOCK // len(counts))
    blocks = []
    for start in range(0, RESAMPLES, step):
        totals = draw.multinomial(n, counts / n, min(step, RESAMPLES - start)).astype(np.float64)
        scores = [f1_of_counts(rows, truth, totals) for rows in given]
        blocks.append(scores[0] - scores[1] if len(scores) == 2 else scores[0])
    return _interval(mean, *_bounds(np.concatenate(blocks)), n)


def _counts(n: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Blocks (b, n) of 10,000 resamples: how often each of the n queries is in each."""
    draw, step = np.random.Generator(np.random.SFC64(seed)), max(1, BLOCK // n)
    for start in range(0, RESAMPLES, step):
        b = min(step, RESAMPLES - start)
        index = draw.integers(0, n, (b, n)) + (np.arange(b) * n)[:, None]
        yield np.bincount(index.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)


def _bounds(means: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.quantile(means, [0.025, 0.975], axis=0)


def _interval(mean: float, low: float, high: float, n: int) -> Interval:
    return {"mean": float(mean), "low": float(low), "high": float(high), "n": n}
