"""The sequential test keeps its error rate however often it is asked, and finds a worse arm."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec_core.evaluation.sequential import evidence


def highest(rates: tuple[float, float], share: float, n: int, runs: int = 300) -> np.ndarray:
    """(runs,) the highest evidence that was ever seen."""
    draw = np.random.default_rng(1)
    arms = draw.random((runs, n)) < share
    outcomes = draw.random((runs, n)) < np.where(arms, rates[1], rates[0])
    return evidence(arms, outcomes, share).max(-1)


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.02, 0.02), (0.6, 0.6), (0.1, 0.15)])
def test_a_canary_that_is_not_worse_is_rarely_taken_back(rates, share):
    assert (highest(rates, share, 2_000) >= 20).mean() <= 0.05  # alpha of .05, looked at 2,000 times


def test_its_mean_is_one_where_arms_are_alike():
    draw = np.random.default_rng(2)
    arms = draw.random((50_000, 3)) < 0.3
    assert evidence(arms, draw.random((50_000, 3)) < 0.2, 0.3).mean(0) == pytest.approx(np.ones(3), abs=0.02)


def test_a_worse_one_is_found():
    assert (highest((0.3, 0.1), 0.1, 2_000, 100) >= 20).mean() > 0.95
    assert (highest((0.1, 0.05), 0.5, 2_000, 100) >= 20).mean() > 0.8
