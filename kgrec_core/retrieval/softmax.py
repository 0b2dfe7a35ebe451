"""Multinomial logistic regression (scikit-learn learns it): which settings to take, and how probable each class is then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

FOLDS = 5
LEARNED, ENOUGH = 3_000, 600  # examples that settings are chosen with, and of these, how many are held out in turn before it is enough
STRENGTHS = (10.0, 1.0, 100.0)  # C, the inverse of the L2 penalty; the first where there is nothing to choose by
SHARPER = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
Features = NDArray[np.float32] | sp.csr_matrix


class Softmax(NamedTuple):
    """classes: (c,) ascending. weights: (f, c) and bias: (c,) float32; a feature that no example had has no weight at all."""

    classes: NDArray[np.int64]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def log_p(self, x: Features) -> NDArray[np.float32]:
        """(n, c) log probabilities of rows of length one, or 0, whose unknown words are left out first."""
        logits = x @ self.weights
        if sp.issparse(x):
            known = np.sqrt(x.power(2) @ self.weights.any(1).astype(np.float32))
            logits /= np.where(known > 0, known, 1)[:, None]
        logits = (logits + self.bias).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)

    def sharpened(self, factor: float) -> Softmax:
        return Softmax(self.classes, self.weights * np.float32(factor), self.bias * np.float32(factor))


class Choice(NamedTuple):
    """Which of the features, how strong, and by what the logits are multiplied so that the probabilities hold."""

    features: str
    strength: float
    sharper: float


def learned(x: Features, y: NDArray[np.int64], strength: float) -> Softmax:
    """Of n >= 1 examples; with one class or without features, the shares of the classes."""
    from sklearn.linear_model import LogisticRegression

    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2 or not x.shape[1]:
        return Softmax(classes, np.zeros((x.shape[1], len(classes)), np.float32), np.log(counts / len(y)).astype(np.float32))
    some = np.flatnonzero(x.getnnz(0)) if sp.issparse(x) else np.arange(x.shape[1])  # a word that no example has would stay at weight 0
    model = LogisticRegression(C=strength, max_iter=1_000).fit(x[:, some] if len(some) < x.shape[1] else x, y)
    weights, bias = np.zeros((x.shape[1], len(model.coef_)), np.float32), model.intercept_
    weights[some] = model.coef_.T
    if len(classes) == 2:  # one column for both: half of it for each
        weights, bias = np.hstack([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
    return Softmax(classes, weights.astype(np.float32), bias.astype(np.float32))


def folds(groups: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int8]:
    """(n,) which fold each example is in: all of a group in one, the groups of a class spread evenly."""
    first = np.unique(groups, return_index=True)[1]
    draw = np.random.default_rng(0).permutation(len(first))
    order = draw[np.argsort(y[first][draw], kind="stable")]
    fold = np.empty(len(first), np.int8)
    fold[order] = np.arange(len(first)) % FOLDS
    return fold[np.searchsorted(groups[first], groups)]


def choose(features: Sequence[str], strengths: Sequence[float], make: Callable[[str], Features], y: NDArray, fold: NDArray) -> Choice:
    """The settings with the lowest log loss on held-out examples, each at its best sharpness: first the features, then the strength.

    make(features): those of all examples, kept by the caller. Where nothing can be held out and known to the others, the first of each.
    """
    index = np.arange(len(y))
    if len(y) > LEARNED:
        index = np.sort(np.argsort(y, kind="stable")[np.linspace(0, len(y) - 1, LEARNED).astype(int)])
    tried: dict[tuple[str, float], tuple[float, float]] = {}

    def loss(name: str, strength: float) -> float:
        if (name, strength) not in tried:
            tried[name, strength] = _loss(make(name)[index], y[index], fold[index], strength)
        return tried[name, strength][0]

    name = min(features, key=lambda name: loss(name, strengths[0]))
    strength = min(strengths, key=lambda strength: loss(name, strength))
    return Choice(name, strength, tried[name, strength][1])


def _loss(x: Features, y: NDArray, fold: NDArray, strength: float) -> tuple[float, float]:
    """Log loss per held-out example whose class the others know, and the sharpness that it has there; 0, 1 without any."""
    seen, total = 0, np.zeros(len(SHARPER))
    for part in _in_turn(fold):
        model = learned(x[~part], y[~part], strength)
        place = np.searchsorted(model.classes, y[part]).clip(max=len(model.classes) - 1)
        right = model.classes[place] == y[part]
        held, at = x[part][right], (np.arange(right.sum()), place[right])
        total += [-model.sharpened(factor).log_p(held)[at].sum() for factor in SHARPER]
        seen += len(at[0])
        if seen >= ENOUGH:
            break
    best = int(total.argmin()) if seen else SHARPER.index(1.0)
    return total[best] / max(seen, 1), SHARPER[best]


def _in_turn(fold: NDArray) -> Iterable[NDArray[np.bool_]]:
    """Masks of the folds that hold some, but not all."""
    masks = (fold == number for number in range(FOLDS))
    return (mask for mask in masks if mask.any() and not mask.all())
