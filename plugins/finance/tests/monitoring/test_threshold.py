"""Thresholds: the stated rate is what fresh data of the same kind give, over all series and detectors together."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from kgrec_finance.monitoring.threshold import Calibration, calibrate, fit_pareto, fit_tail, opened

from kgrec_core import DAY, KgrecError

WEEK = 7


def calm(days: int, seed: int, series: int = 20) -> dict[str, np.ndarray]:
    """Two detectors on unlike scales, dependent on each other, with clusters in time: a moving mean of heavy-tailed noise."""
    noise = np.random.default_rng(seed).exponential(size=(days + 1, series))
    first = noise[1:] + 0.5 * noise[:-1]
    return {"light": first, "heavy": np.expm1(first / 2) + np.random.default_rng(seed + 9999).exponential(size=first.shape)}


def count(known: Calibration, scores: dict[str, np.ndarray], gap: int) -> int:
    levels = np.fmax.reduce([known.tails[name].level(values) for name, values in scores.items()])
    return len(opened(levels, known.threshold, gap)[0])


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_the_stated_rate_is_kept_on_fresh_streams(rate):
    weeks, found, covered = 30, [], []
    for seed in range(20):
        known = calibrate(calm(weeks * WEEK, seed), length=DAY, cooldown=2 * DAY, rate=rate, seed=seed)
        found.append(count(known, calm(100 * WEEK, 500 + seed), 2) / 100)
        covered.append(known.low <= found[-1] <= known.high)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - rate) < 2.5 * error + 0.05 * rate
    assert np.mean(covered) >= 0.75


def test_a_longer_history_gives_a_narrower_interval():
    short, long = (calibrate(calm(w * WEEK, 1), length=DAY, cooldown=DAY) for w in (15, 150))
    assert long.high - long.low < 0.6 * (short.high - short.low) and long.low < 1 < long.high


def test_a_short_history_says_so():
    known = calibrate(calm(5 * WEEK, 1), length=DAY, cooldown=DAY, rate=0.1)
    assert not known.enough and "too short" in known.note and "100 weeks" in known.note
    assert calibrate(calm(20 * WEEK, 1), length=DAY, cooldown=DAY).enough


def test_fewer_false_alarms_cost_a_higher_threshold_and_detectors_share_the_budget():
    scores = calm(40 * WEEK, 3)
    of = [calibrate(scores, length=DAY, cooldown=DAY, rate=rate).threshold for rate in (0.25, 1.0, 4.0)]
    assert of[0] > of[1] > of[2]
    both, one = (calibrate(s, length=DAY, cooldown=DAY).threshold for s in (scores, {"light": scores["light"]}))
    assert both > one


def test_the_level_is_how_rare_the_largest_of_all_series_is():
    scores = calm(200 * WEEK, 4)
    known = calibrate(scores, length=DAY, cooldown=DAY)
    for name, values in scores.items():
        for share in (0.5, 0.1, 0.01):
            assert known.level(name, np.quantile(values.max(1), 1 - share)) == pytest.approx(
                -np.log10(share), abs=0.15
            )  # 14 values at the rarest
        rising = [known.level(name, x) for x in np.linspace(0, 3 * values.max(), 50)]
        assert all(a <= b for a, b in pairwise(rising))


@pytest.mark.parametrize("shape", [0.0, 0.2, 0.4])
def test_the_pareto_tail_is_found_again(shape):
    uniform = np.random.default_rng(0).uniform(size=20_000)
    drawn = -np.log(uniform) if shape == 0 else (uniform**-shape - 1) / shape
    scale, found = fit_pareto(2 * drawn)
    assert scale == pytest.approx(2, rel=0.1) and found == pytest.approx(shape, abs=0.05)


def test_constant_scores_and_late_series_are_no_trouble():
    tail = fit_tail(np.zeros(100))
    assert np.isfinite(tail.level(np.array([0.0, 1.0]))).all()
    scores = calm(40 * WEEK, 5)
    for values in scores.values():
        values[:100, 3] = np.nan
    assert np.isfinite(calibrate(scores, length=DAY, cooldown=DAY).threshold)


def test_a_state_through_json_is_the_same():
    known = calibrate(calm(20 * WEEK, 6), length=DAY, cooldown=DAY)
    again = Calibration.of(json.loads(json.dumps(known.state())))
    assert again == known and again.level("heavy", 3.3) == known.level("heavy", 3.3)


def test_what_cannot_be_calibrated_is_named():
    with pytest.raises(KgrecError, match="shapes"):
        calibrate({"x": np.zeros((5, 2))}, length=DAY, cooldown=DAY)
    with pytest.raises(KgrecError, match="rate = 0"):
        calibrate(calm(100, 0), length=DAY, cooldown=DAY, rate=0)
    with pytest.raises(KgrecError, match="no state of Calibration"):
        Calibration.of({"rate": 1})
