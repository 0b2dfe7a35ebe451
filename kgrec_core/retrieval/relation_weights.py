"""How much each relation of the graph counts where all of them together say what is near: learned from what was chosen together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Relation
from kgrec_core.retrieval.profile import matrix
from kgrec_core.retrieval.ties import Ends

PAIRS, FEW = 50_000, 50  # that are learned from: at most, and below which nothing is learned
SHARED = 10.0  # how hard weights are drawn towards the one that they share: as hard as by so many pairs a relation


def relation_weights(graph: Graph, chosen: Relation) -> Mapping[str, float]:
    """Name -> weight, 0 or more and 1 in the mean, of every timeless relation that ties the targets of `chosen`; learned once a graph.

    Logistic regression of "one source chose both" on the cosine by each relation, against the same targets paired at random, so that
    being chosen often tells nothing. Weights are not negative, and are drawn towards their common value, which is learned too (L-BFGS-B, Byrd et
    al. 1995). 1 each where there are fewer than 50 pairs, or no relation tells them apart. Of behaviour only edges of `chosen`
    in this graph are read, so a training view gives what training knows.
    """
    tables = [graph.relations[relation] for relation in (chosen, *sorted(graph.timeless))]
    return graph.memo.get(("relation weights", chosen), tuple(tables), lambda: _learned(graph, chosen))


def stored_weights(told: Any) -> Mapping[str, float]:
    """As a run keeps them. Raises ValueError where they are none."""
    found = {str(name): float(weight) for name, weight in dict(told).items()}
    if not all(0 <= weight < np.inf for weight in found.values()):
        raise ValueError("a relation's weight is no number from 0")
    return found


def _learned(graph: Graph, chosen: Relation) -> Mapping[str, float]:
    blocks = Ends(graph, chosen.target).direct
    one, other = _pairs(matrix(graph, chosen, 0), np.random.default_rng(0))
    apart = (mixed := np.random.default_rng(1).permutation(other)) != one
    equal = dict.fromkeys(blocks, 1.0)
    if len(blocks) < 2 or len(one) < FEW:
        return equal
    together = np.repeat([True, False], [len(one), apart.sum()])
    one, other = np.concatenate([one, one[apart]]), np.concatenate([other, mixed[apart]])
    near = np.stack([np.asarray(rows[one].multiply(rows[other]).sum(1)).ravel() for rows in blocks.values()], 1)
    weights = _fitted(near.astype(np.float64), together)
    return dict(zip(blocks, (weights / weights.mean()).tolist(), strict=True)) if weights.any() else equal


def _pairs(met: sp.csr_matrix, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two different targets of one source, as often as there are edges; every source as often as another."""
    counts = np.diff(met.indptr)
    several = np.flatnonzero(counts > 1)
    source = rng.choice(several, min(PAIRS, int(counts[several].sum()))) if len(several) else several
    first = (rng.random(len(source)) * counts[source]).astype(np.int64)
    second = (first + 1 + (rng.random(len(source)) * (counts[source] - 1)).astype(np.int64)) % counts[source]
    return met.indices[met.indptr[source] + first].astype(np.int64), met.indices[met.indptr[source] + second].astype(np.int64)


def _fitted(near: NDArray[np.float64], together: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(relations,) the weights; near: (pairs, relations)."""
    from scipy.optimize import minimize
    from scipy.special import expit

    sign, k = np.where(together, 1.0, -1.0), near.shape[1]

    def loss(told: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Of the weights, what they share, and the intercept."""
        margin, off = sign * (near @ told[:k] + told[k + 1]), told[:k] - told[k]
        missed = -sign * expit(-margin)
        slope = np.concatenate([near.T @ missed + SHARED * off, [-SHARED * off.sum(), missed.sum()]])
        return float(np.logaddexp(0, -margin).sum() + SHARED / 2 * (off @ off)), slope

    bounds = [(0.0, None)] * (k + 1) + [(None, None)]
    return minimize(loss, np.r_[np.ones(k + 1), 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x[:k]
