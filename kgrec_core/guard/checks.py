"""What a part's returns must be, as sentences: "" where all is well, else what is not.

The guard around every part in use and the conformance kit (`kgrec_core.testing`) ask these, so a part that passes here passes there.
They are asked for every answer: a few numpy calls on what was returned, nothing of the graph's size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Filter, Hits

CELLS = 2**24  # of a mask of what is excluded


def hits(found: Any, n: int, k: int, size: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> str:
    """`Hits` of n queries among `size` candidates: shapes, types, best first, none twice, none that may not be returned."""
    if not isinstance(found, Hits):
        return f"{type(found).__name__} instead of Hits"
    rows, scores, columns = found
    for values in (rows, scores, *columns.values()):
        if not isinstance(values, np.ndarray) or values.shape != (n, k):
            return f"{tuple(getattr(v, 'shape', ()) for v in (rows, scores, *columns.values()))} instead of {(n, k)}"
    if rows.dtype != np.int64 or any(values.dtype != np.float32 for values in (scores, *columns.values())):
        return f"{rows.dtype}, {', '.join(str(v.dtype) for v in (scores, *columns.values()))} instead of int64, float32"
    if not rows.size or (n == 1 and _plainly_well(rows[0], scores[0], size, allowed, exclude)):
        return ""
    none = rows < 0
    if not (scores[:, 1:] <= scores[:, :-1]).all() or np.isnan(scores[:, 0]).any():
        return "hits must stand best first, and no score is NaN"
    if ((scores == -np.inf) != none).any() or (scores[:, 0] == np.inf).any():
        return "where there is no row (-1) the score is -inf, and only there; no score is infinite"
    ordered = np.sort(rows, axis=1)
    if ordered[:, 0].min() < -1 or ordered[:, -1].max() >= size:
        return f"a row is no candidate: {ordered[:, 0].min()} to {ordered[:, -1].max()} of {size}"
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        return "a candidate is returned twice"
    if allowed is not None and not _all_allowed(ordered, allowed.rows):
        return "a candidate is returned that is not allowed"
    if exclude is not None and len(exclude.rows) and _any_excluded(rows, exclude, size):
        return "an excluded candidate is returned"
    return ""


def _plainly_well(rows: NDArray[np.int64], scores: NDArray[np.float32], size: int, allowed: Filter | None, exclude: Ragged | None) -> bool:
    """Whether one query's hits are certainly right: five times as fast as to look for what is wrong, for single answers."""
    found, values = rows.tolist(), scores.tolist()
    if found[-1] == -1:
        full = found.index(-1)
        if found[full:].count(-1) < len(found) - full or values[full:].count(-np.inf) < len(found) - full:
            return False
        rows, found, values = rows[:full], found[:full], values[:full]
        if not found:
            return True
    total = sum(values)
    if min(found) < 0 or max(found) >= size or len(set(found)) < len(found):
        return False
    if not -np.inf < total < np.inf or values != sorted(values, reverse=True):  # a sum with NaN is neither
        return False
    if allowed is not None and (max(found) >= len(allowed.rows) or not allowed.rows[rows].all()):
        return False
    return exclude is None or set(exclude.rows.tolist()).isdisjoint(found)


def _all_allowed(ordered: NDArray[np.int64], allowed: NDArray[np.bool_]) -> bool:
    if not len(allowed) or ordered[:, -1].max() >= len(allowed):
        return bool((ordered < 0).all())
    return bool((allowed[ordered] | (ordered < 0)).all())


def _any_excluded(rows: NDArray[np.int64], exclude: Ragged, size: int) -> bool:
    width = max(size, int(exclude.rows.max()) + 1) + 1  # the last column is that of "none"
    step = max(1, CELLS // width)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        gone, first = np.zeros(len(part) * width, bool), np.arange(len(part)) * width
        of = exclude if len(part) == len(rows) else exclude.take(np.arange(start, start + len(part)))
        gone[np.repeat(first, of.counts) + of.rows] = True
        if gone[np.where(part < 0, width - 1, part) + first[:, None]].any():
            return True
    return False


def scores(told: Any, pairs: Ragged) -> str:
    """One float32 per pair."""
    n = len(pairs.rows)
    if not isinstance(told, np.ndarray) or told.shape != (n,) or told.dtype != np.float32:
        return (
            f"scores of {n} pairs are {getattr(told, 'shape', type(told).__name__)} {getattr(told, 'dtype', '')} instead of {(n,)} float32"
        )
    return ""


def vectors(x: Any, n: int, dim: int | None = None) -> str:
    """(n, dim) of a tensor; dim = None: of any one width. float32, or what a mixed precision makes of it; finite, where nobody learns."""
    if not torch.is_tensor(x) or x.ndim != 2 or x.shape[0] != n or (dim is not None and x.shape[1] != dim):
        return f"{tuple(getattr(x, 'shape', ())) or type(x).__name__} for {n} nodes" + ("" if dim is None else f" and dim {dim}")
    if x.dtype != torch.float32 and not (x.is_floating_point() and torch.is_autocast_enabled(x.device.type)):
        return f"vectors must be finite float32, these are {x.dtype}"
    # while learning the loss shows it, and to look would make a device wait; else one sum, and each value only where that is not finite
    if not torch.is_grad_enabled() and not bool(torch.isfinite(x.sum())) and not bool(torch.isfinite(x).all()):
        return "vectors must be finite float32, these hold NaN or infinity"
    return ""


def loss(value: Any) -> str:
    """A scalar tensor."""
    return "" if torch.is_tensor(value) and value.ndim == 0 else f"the loss must be a finite scalar, not {type(value).__name__}"
