"""The feed changes, the companies do not: exposures follow, and what is told of one company moves no outlet."""

from __future__ import annotations

import json

import numpy as np
import pytest
from kgrec_finance.monitoring.outlets import Outlets
from kgrec_finance.monitoring.windows import Window, Windows

from kgrec_core import DAY, KgrecError

NAMES = [f"company:{n:02}" for n in range(20)]
BEGIN = 16_000 * DAY


def told(days: range, level: dict[str, float], seed: int = 0, **more: dict[str, float]) -> list[list[Window]]:
    """Each day's windows. level: outlet -> stories of a company a day. more: outlet -> company -> factor of its level there."""
    found = []
    for day in days:
        draw, windows = np.random.default_rng([seed, day]), Windows(length=DAY, series=tuple(NAMES))
        for name in NAMES:
            for outlet, mean in level.items():
                for _ in range(draw.poisson(mean * more.get(outlet, {}).get(name, 1.0))):
                    windows.add(BEGIN + day * DAY, name, 0, 1, 0, outlet=outlet)
        found.append(windows.flush())
    return found


def outlets() -> Outlets:
    return Outlets(memory=28.0, begin=28, length=DAY)


def learned(days: int = 60, **level: float) -> tuple[Outlets, list[Window]]:
    new, last = outlets(), []
    for windows in told(range(days), level):
        last = new.counted(windows)
    return new, last


def means(of: Outlets, days: list[list[Window]]) -> tuple[list[float], list[float]]:
    """Per day mean exposure and volume."""
    seen = [of.counted(windows) for windows in days]
    return [float(np.mean([w.exposure for w in day])) for day in seen], [sum(w.volume for w in day) for day in seen]


def test_a_feed_that_stays_is_left_as_it_is():
    of, last = learned(a=0.6, b=0.3)
    assert {w.exposure for w in last} == {1.0} and not of.changes and not any(w.parts for w in last)
    assert of.share() == 1.0 and not of.watched("a")


@pytest.mark.parametrize(("now", "expected"), [(1.2, 1.67), (0.2, 0.56), (0.0, 0.33)])
def test_an_outlet_that_tells_more_less_or_nothing_moves_what_is_usual(now, expected):
    of, _ = learned(a=0.6, b=0.3)
    exposures, _ = means(of, told(range(60, 90), {"a": now, "b": 0.3}))
    assert exposures[9] == pytest.approx(expected, rel=0.25), "within days"
    assert exposures[-1] == pytest.approx(expected, rel=0.2), "the rest is learned as the level of each series"
    assert [change["outlet"] for change in of.changes] == ["a"]
    assert of.changes[0]["what"] == ("changed" if now else "silent")


def test_an_outlet_that_comes_back_counts_as_it_did():
    of, _ = learned(a=0.6, b=0.3)
    means(of, told(range(60, 75), {"b": 0.3}))
    exposures, _ = means(of, told(range(75, 90), {"a": 0.6, "b": 0.3}))
    assert exposures[-1] == pytest.approx(1.0, abs=0.1)


def test_a_new_outlet_counts_once_its_mix_is_known():
    of, _ = learned(a=0.6, b=0.3)
    mix = {name: 4.0 for name in NAMES[:5]} | {name: 0.2 for name in NAMES[5:]}
    feed = told(range(60, 100), {"a": 0.6, "b": 0.3, "c": 0.5}, c=mix)
    _, volumes = means(of, feed[:27])
    assert of.watched("c") and np.mean(volumes) == pytest.approx(18, rel=0.1), "its stories are left out"
    means(of, feed[27:])
    last = {w.series: w.exposure for w in of.counted(told(range(100, 101), {"a": 0.6, "b": 0.3, "c": 0.5}, c=mix)[0])}
    assert np.mean([last[name] for name in NAMES[:5]]) == pytest.approx(2.9 / 0.9, rel=0.25)
    assert np.mean([last[name] for name in NAMES[5:]]) == pytest.approx(1.0 / 0.9, rel=0.15)
    assert [change["what"] for change in of.changes] == ["new", "counts"]


def test_an_outlet_of_the_first_weeks_counts_at_once_and_a_small_one_is_nobody():
    of = outlets()
    means(of, told(range(10), {"a": 0.6}))
    means(of, told(range(10, 40), {"a": 0.6, "b": 0.3, **{f"tiny {n}": 0.005 for n in range(5)}}))
    assert not of.watched("b") and not of.changes and set(of.known) == {"", "a", "b"}


def test_an_event_moves_no_outlet():
    of, _ = learned(a=0.6)
    exposures, _ = means(of, told(range(60, 66), {"a": 0.6}, a={NAMES[0]: 40.0}))
    assert max(exposures) < 1.1


def test_a_feed_that_names_no_outlet_is_one():
    of, last = learned(**{"": 0.9})
    assert {w.exposure for w in last} == {1.0}
    exposures, _ = means(of, told(range(60, 80), {"": 1.8}))
    assert exposures[-1] == pytest.approx(2.0, rel=0.15)


def test_a_state_goes_on_where_it_was_taken():
    of, _ = learned(40, a=0.6, b=0.3)
    feed = told(range(40, 80), {"a": 1.2, "c": 0.5})
    again = Outlets.of(json.loads(json.dumps(of.state())))
    assert [of.counted(windows) for windows in feed] == [again.counted(windows) for windows in feed]
    assert of.state() == again.state()
    with pytest.raises(KgrecError, match="no state of Outlets"):
        Outlets.of({"memory": 1})
