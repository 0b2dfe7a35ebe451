"""How far what is asked now is from what was asked before: PSI of a number or a category, MMD of vectors, each with what chance makes of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 10
MATTERS = 0.2  # a PSI above it is customarily called a major change
APART = 0.01  # an MMD² above it: order-book customers' vectors a month later are .005 apart, with shuffled histories .08
CHANCE = 1e-4  # of a value above its bound where nothing changed


class Level(NamedTuple):
    """A distance, and the bound above which it says that something has changed."""

    value: float
    bound: float

    @property
    def drifted(self) -> bool:
        return self.value > self.bound


def psi_numbers(before: NDArray[np.float64], now: NDArray[np.float64]) -> Level:
    """By the deciles of `before`; equal ones are one."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, values, "left"), minlength=len(edges) + 1) for values in (before, now)]
    return _psi(*counts)


def psi_categories(before: list[Any], now: list[Any]) -> Level:
    """By the values themselves, those of `now` alone included."""
    names = {name: place for place, name in enumerate(dict.fromkeys([*before, *now]))}
    return _psi(*(np.bincount([names[one] for one in values], minlength=len(names)) for values in (before, now)))


def _psi(before: NDArray[np.int64], now: NDArray[np.int64]) -> Level:
    """Population stability index: the sum of (p - q) log(p / q). Where nothing changed it is distributed as chi² with a degree of freedom
    less than bins, times 1/n + 1/m (Yurdakul & Naranjo 2020, "Statistical properties of the population stability index", J. Risk Model Valid. 14)."""
    from scipy.stats import chi2

    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, now))
    chance = chi2.ppf(1 - CHANCE, max(1, len(p) - 1)) * (1 / before.sum() + 1 / now.sum())
    return Level(float(((p - q) * np.log(p / q)).sum()), max(MATTERS, float(chance)))


def mmd(before: NDArray[np.float32], now: NDArray[np.float32], draws: int = 200, most: int = 500, seed: int = 0) -> Level:
    """Squared maximum mean discrepancy, unbiased, with a Gaussian kernel as wide as the median distance (Gretton et al. 2012, "A kernel two-sample
    test", JMLR 13). The bound is APART, or five standard deviations of what random relabellings give."""
    draw = np.random.default_rng(seed)
    before, now = (values[np.sort(draw.permutation(len(values))[:most])].astype(np.float64) for values in (before, now))
    every, n = np.concatenate([before, now]), len(before)
    square = (every**2).sum(1)
    distance = np.maximum(square[:, None] + square - 2 * every @ every.T, 0)
    kernel = np.exp(-distance / max(float(np.median(distance[np.triu_indices(len(every), 1)])), 1e-12))
    np.fill_diagonal(kernel, 0)
    signs = np.zeros((draws + 1, len(every)), bool)
    signs[0, :n] = True
    for row in signs[1:]:
        row[draw.permutation(len(every))[:n]] = True
    first, m = signs.astype(np.float64), len(now)
    own = ((first @ kernel) * first).sum(1) / (n * (n - 1))
    other = (((1 - first) @ kernel) * (1 - first)).sum(1) / (m * (m - 1))
    values = own + other - 2 * ((first @ kernel) * (1 - first)).sum(1) / (n * m)
    return Level(float(values[0]), float(max(5 * values[1:].std(), APART)))
