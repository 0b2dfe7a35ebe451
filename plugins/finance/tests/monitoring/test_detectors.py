"""Detectors on streams whose truth is known: they fire on what they watch, stay quiet on what they do not, and go on from JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kgrec_finance.monitoring.baseline import Season, negative_binomial, tail
from kgrec_finance.monitoring.detectors import DETECTORS, Cusum, Detector, Ewma, PoissonBurst
from kgrec_finance.monitoring.windows import Window
from scipy.stats import nbinom

from kgrec_core import DAY, KgrecError

HOUR = DAY // 24
ALL = [(kind, watch) for kind in DETECTORS for watch in ("volume", "sentiment", "negative") if kind != "poisson-burst" or watch == "volume"]


def stream(days=40, levels=(0.5, 2.0, 10.0), length=DAY, seed=0, change=None) -> list[Window]:
    """Negative binomial counts around level x season, scores around .25 negative; change(day, series) -> (factor, negative mean)."""
    draw, windows = np.random.default_rng(seed), []
    for start in range(0, days * DAY, length):
        weekend = 0.4 if start // DAY % 7 >= 5 else 1.0
        for name, level in enumerate(levels):
            factor, negative = change(start // DAY, name) if change else (1.0, 0.25)
            mean = level * weekend * factor * length / DAY
            count = int(draw.poisson(draw.gamma(5, mean / 5)))
            p = np.clip(draw.normal(negative, 0.1, count), 0.01, 0.9)
            windows.append(Window(f"s{name}", start, length, count, float(count), float(p.sum()), count * 0.5, float((1 - p).sum()) / 2))
    return windows


def scores(detector: Detector, windows: list[Window]) -> np.ndarray:
    found = [detector.update(w) for w in windows]
    return np.array(found).reshape(-1, len({w.series for w in windows}))


@pytest.mark.parametrize("count, mean, dispersion", [(0, 1.0, 0.3), (3, 1.0, 0.3), (40, 7.0, 1.5), (5, 0.02, 0.02)])
def test_the_negative_binomial_is_scipys(count, mean, dispersion):
    of = nbinom(1 / dispersion, 1 / (1 + mean * dispersion))
    assert negative_binomial(count, mean, dispersion) == pytest.approx(of.logpmf(count), abs=1e-9)
    assert tail(count, mean, dispersion) == pytest.approx(-np.log10(of.sf(count - 1)), abs=1e-9)


def test_tails_are_probabilities_where_nothing_happens():
    """Calm streams: P(score >= 2) near .01 for the tail itself, whatever the series' level."""
    share = [scores(PoissonBurst(spans=(1,)), stream(200, seed=s))[40:] >= 2 for s in range(3)]
    assert 0.002 < np.mean(share) < 0.025
    assert np.max([np.mean(s, 0) for s in share]) < 0.04


@pytest.mark.parametrize("kind, watch", ALL)
def test_each_fires_on_its_change_and_on_that_series_alone(kind, watch):
    change = {"volume": (6.0, 0.25), "sentiment": (1.0, 0.6), "negative": (1.0, 0.6)}[watch]
    windows = stream(60, change=lambda day, name: change if day >= 50 and name == 2 else (1.0, 0.25))
    found = scores(DETECTORS[kind](watch=watch), windows)
    assert found[50:53, 2].max() > 1.5 * found[20:50].max()
    assert found[50:53, 2].max() > 2 * found[50:53, :2].max()


@pytest.mark.parametrize("kind", ["ewma", "cusum"])
@pytest.mark.parametrize("watch", ["sentiment", "negative"])
def test_volume_alone_moves_no_sentiment(kind, watch):
    windows = stream(60, change=lambda day, name: (5.0, 0.25) if day >= 50 else (1.0, 0.25))
    found = scores(DETECTORS[kind](watch=watch), windows)
    assert found[50:].max() < 1.5 * found[20:50].max() + 1


def test_sentiment_turns_in_both_directions_and_the_negative_share_upwards_only():
    windows = stream(60, change=lambda day, name: (1.0, 0.05) if day >= 50 and name == 2 else (1.0, 0.25))
    mean, share = (scores(Cusum(watch=watch), windows) for watch in ("sentiment", "negative"))
    assert mean[50:55, 2].max() > 2 * mean[20:50].max() and share[50:, 2].max() < 1


def test_the_weekday_and_the_hour_are_learned():
    detector = PoissonBurst()
    windows = stream(120, levels=(20.0, 30.0))
    scores(detector, windows)
    weekday, weekend = (detector.expected(Window("s1", day * DAY, DAY)) for day in (121, 124))
    assert weekend / weekday == pytest.approx(0.4, abs=0.1)
    season = Season(length=HOUR)
    for hour in range(24 * 300):
        season.learn(hour * HOUR, 3.0 if hour % 24 == 9 else 1.0, 1.0)
    assert season.factor(9 * HOUR) == pytest.approx(3, rel=0.2) and season.factor(10 * HOUR) == pytest.approx(1, rel=0.2)


def test_a_burst_teaches_nothing_until_it_is_the_new_level():
    detector = PoissonBurst(patience=5)
    scores(detector, stream(40, levels=(10.0,)))
    usual = detector.expected(Window("s0", 40 * DAY, DAY))
    burst = [Window("s0", (40 + i) * DAY, DAY, 200, 200.0) for i in range(40)]
    for window in burst[:5]:
        assert detector.update(window) > 4
    assert detector.expected(burst[0]) < 1.3 * usual
    for window in burst[5:]:
        detector.update(window)
    assert detector.expected(burst[-1]) > 5 * usual


def test_a_new_series_leans_on_the_others():
    """One story of an unknown series is no burst; its first expectation is the median level."""
    detector = PoissonBurst()
    scores(detector, stream(60, levels=(1.0, 2.0, 50.0)))
    new = Window("new", 60 * DAY, DAY, 1, 1.0)
    assert 0.5 < detector.expected(new) < 4 and detector.update(new) < 1


@pytest.mark.parametrize("kind, watch", ALL)
def test_an_empty_window_raises_no_score(kind, watch):
    detector = DETECTORS[kind](watch=watch)
    windows = stream(30)
    before = scores(detector, windows)[-1]
    after = [detector.update(Window(f"s{i}", 30 * DAY, DAY)) for i in range(3)]
    assert all(a <= b + 1e-9 for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("kind, watch", ALL)
@given(cut=st.integers(0, 90), seed=st.integers(0, 5))
@settings(max_examples=8, deadline=None)
def test_a_state_through_json_goes_on_as_if_nothing_happened(kind, watch, cut, seed):
    windows, whole, first = stream(30, seed=seed), DETECTORS[kind](watch=watch), DETECTORS[kind](watch=watch)
    expected = [whole.update(w) for w in windows]
    found = [first.update(w) for w in windows[:cut]]
    rest = Detector.of(json.loads(json.dumps(first.state())))
    assert found + [rest.update(w) for w in windows[cut:]] == expected and rest.state() == whole.state()


def test_a_cusum_keeps_to_its_bound():
    """Lorden: at most exp(-h) false alarms a window and series, here counted over windows for h = 4 on calm streams."""
    found = np.concatenate([scores(Cusum(limit=3.0), stream(150, seed=s))[40:] for s in range(4)])
    starts = (found[1:] >= 4) & (found[:-1] < 4)
    assert starts.mean() < np.exp(-4)


def test_what_cannot_be_watched_is_named():
    with pytest.raises(KgrecError, match="volume"):
        Ewma(watch="volum")
    with pytest.raises(KgrecError, match="memory = 0"):
        Cusum(memory=0)
    with pytest.raises(KgrecError, match="poisson-burst watches volume"):
        PoissonBurst(watch="sentiment")
    with pytest.raises(KgrecError, match="no state of a detector"):
        Detector.of({"use": "nothing"})
