"""What lists that are more varied, or show more of what is new, cost in accuracy: a curve each, of one system's hits.

Nothing is chosen by them: a shop that wants its lists otherwise sees the price first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kgrec_core.evaluation import beyond
from kgrec_core.evaluation.diversity import diverse
from kgrec_core.evaluation.metrics import measure
from kgrec_core.evaluation.ranks import hits_ranks
from kgrec_core.graph import Ragged
from kgrec_core.interfaces import Hits

DIVERSITY = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
BOOSTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # in units of the spread of a list's scores
ASKED, DEPTH, K = 300, 50, 10
Curve = list[dict[str, float]]


def curves(
    hits: Hits, targets: Ragged, candidates: NDArray[np.int64], vectors: NDArray[np.float32], new: NDArray[np.bool_], seed: int = 0
) -> dict[str, Curve]:
    """ndcg@10 against the diversity of lists, and against the share of their places that new candidates get; of up to 300 queries, and the
    first 50 of each list.

    candidates: (m,) rows; vectors, new: aligned with them.
    """
    part = np.sort(np.random.default_rng(seed).permutation(np.flatnonzero(targets.counts))[:ASKED])
    if not len(part):
        return {}
    hits, targets = Hits(hits.rows[part, :DEPTH], hits.scores[part, :DEPTH]), targets.take(part)
    is_new = np.zeros(max(candidates.max(initial=0), hits.rows.max(initial=0)) + 2, bool)
    is_new[candidates] = new
    found: dict[str, Curve] = {}
    varied = [(amount, diverse(hits, candidates, vectors, amount, K)) for amount in DIVERSITY]
    found["diversity"] = [
        {"mmr": amount, "ndcg@10": _ndcg(h, targets), "diversity@10": _mean(beyond.intra_list_diversity(h, candidates, vectors, K))}
        for amount, h in varied
    ]
    if new.any():
        spread = _spread(hits)
        lifted = [(boost, _sorted(hits, hits.scores + boost * spread * is_new[hits.rows])) for boost in BOOSTS]
        found["new"] = [
            {"boost": boost, "ndcg@10": _ndcg(h, targets), "new@10": float(is_new[h.rows[:, :K]].mean())} for boost, h in lifted
        ]
    return found


def _ndcg(hits: Hits, targets: Ragged) -> float:
    return _mean(measure(hits_ranks(hits, targets), targets, ("ndcg@10",))["ndcg@10"])


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _spread(hits: Hits) -> NDArray[np.float64]:
    """(n, 1) standard deviation of each list's scores."""
    scores = np.where(np.isfinite(hits.scores), hits.scores, np.nan)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.nanstd(scores, axis=1, keepdims=True))


def _sorted(hits: Hits, scores: NDArray[np.float64]) -> Hits:
    order = np.argsort(-scores, axis=1, kind="stable")
    return Hits(np.take_along_axis(hits.rows, order, 1), np.take_along_axis(scores, order, 1).astype(np.float32))
