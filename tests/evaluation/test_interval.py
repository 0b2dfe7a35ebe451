"""Bootstrap intervals: they cover, they are paired, and they are the same on every run."""

import numpy as np
import pytest
from scipy.stats import norm

from kgrec_core.evaluation.interval import f1_gain, f1_interval, gain, interval, intervals
from kgrec_core.evaluation.metrics import macro_f1


def test_about_95_percent_of_the_intervals_cover_the_true_mean():
    draw = np.random.default_rng(0)
    found = intervals({str(i): draw.normal(3, 2, 200) for i in range(600)})
    covered = np.mean([of["low"] <= 3 <= of["high"] for of in found.values()])
    assert 0.92 <= covered <= 0.975
    width = np.mean([of["high"] - of["low"] for of in found.values()])
    assert width == pytest.approx(2 * norm.ppf(0.975) * 2 / np.sqrt(200), rel=0.05)


def test_deterministic_whatever_stands_beside_it_and_nan_is_left_out():
    values = np.random.default_rng(1).random(500)
    holes = np.concatenate([values, np.full(70, np.nan)])
    assert interval(values) == interval(holes)
    beside = intervals({"a": holes, "b": holes**2, "c": np.zeros(570)})
    assert beside["a"] == pytest.approx(interval(values)) and beside["c"]["n"] == 570
    assert interval(values)["n"] == 500
    assert interval(values, seed=1)["low"] != interval(values)["low"]
    assert interval(np.full(3, np.nan))["n"] == 0 and np.isnan(interval(np.zeros(0))["mean"])


def test_pairing_finds_a_small_steady_gain_and_no_gain_where_there_is_none():
    draw = np.random.default_rng(2)
    hard = draw.random(300)
    better = hard + 0.01 + draw.normal(0, 0.02, 300)
    assert interval(better)["low"] < interval(hard)["high"]  # unpaired they overlap
    assert gain(better, hard)["low"] > 0 and not gain(hard, better)["low"] > 0 and not gain(hard, hard)["low"] > 0


def test_macro_f1_resamples_queries():
    draw = np.random.default_rng(3)
    true = draw.integers(0, 4, 400)
    good, poor = (np.where(draw.random(400) < p, true, draw.integers(0, 4, 400)) for p in (0.9, 0.5))
    of, index = f1_interval(good, true), draw.integers(0, 400, (1_000, 400))
    expected = np.quantile([macro_f1(good[i], true[i]) for i in index], [0.025, 0.975])
    assert of["mean"] == pytest.approx(macro_f1(good, true)) and of["n"] == 400
    np.testing.assert_allclose([of["low"], of["high"]], expected, atol=0.006)
    assert f1_gain(good, poor, true)["low"] > 0 and not f1_gain(poor, good, true)["low"] > 0
    assert f1_gain(good, good, true)["high"] == 0
    assert f1_interval(good, np.full(400, -1))["n"] == 0
