"""True events in the learning weeks do not teach a monitor to sleep, and what is only chance stays in."""

from __future__ import annotations

import numpy as np
from kgrec_finance.monitoring.outliers import set_apart
from kgrec_finance.monitoring.threshold import calibrate

from kgrec_core import DAY

WEEKS, SERIES = 10, 20


def scores(seed: int, events: int = 0) -> dict[str, np.ndarray]:
    """-log10 of tail probabilities; events last three days on one series, which one detector sees."""
    draw = np.random.default_rng(seed)
    found = {name: draw.exponential(1 / np.log(10), (WEEKS * 7, SERIES)) for name in ("burst", "share")}
    for number in range(events):
        day, series = draw.integers(0, WEEKS * 7 - 3), draw.integers(SERIES)
        found[("burst", "share")[number % 2]][day : day + 3, series] += draw.uniform(4, 12)
    return found


def test_chance_stays_in():
    counts = [set_apart(scores(seed), 2)[2] for seed in range(40)]
    assert np.mean(counts) < 0.4


def test_events_are_left_out_with_the_days_around_them():
    for seed in range(5):
        kept, far, count = set_apart(scores(seed, 8), 2)
        assert 6 <= count <= 10 and all(3.5 < bound < 5.5 for bound in far.values())
        assert all(np.nanmax(values) < far[name] for name, values in kept.items())
        assert np.array_equal(np.isnan(kept["burst"]), np.isnan(kept["share"]))


def test_the_threshold_is_the_one_without_the_events():
    of = {events: [calibrate(scores(s, events), length=DAY, cooldown=2 * DAY, events=True) for s in range(8)] for events in (0, 8)}
    fresh = [scores(100 + seed) for seed in range(8)]

    def rate(known, new) -> float:
        loud = np.fmax.reduce([known.tails[name].level(values) for name, values in new.items()]) >= known.threshold
        return loud.sum() / WEEKS

    false = {events: np.mean([rate(known, new) for known, new in zip(found, fresh, strict=True)]) for events, found in of.items()}
    assert 0.6 < false[8] / false[0] < 1.4
    assert all("are taken for true events and teach nothing" in known.note and known.apart for known in of[8])


def test_too_few_scores_leave_nothing_out():
    tiny = {"burst": np.array([[0.1], [9.0]] * 4)}
    kept, far, count = set_apart(tiny, 2)
    assert count == 0 and far == {"burst": np.inf} and np.array_equal(kept["burst"], tiny["burst"])
