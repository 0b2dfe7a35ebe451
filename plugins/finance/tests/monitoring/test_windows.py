"""Windows of event time: what is counted, when it closes, and that the order of arrival does not matter."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kgrec_finance.monitoring.windows import Window, Windows

from kgrec_core import KgrecError

EVENT = st.tuples(
    st.integers(0, 400), st.sampled_from(["A", "B", "C"]), st.sampled_from([(0.1, 0.2, 0.7), (1 / 3, 1 / 3, 1 / 3)]), st.floats(0, 3)
)


def run(windows: Windows, events) -> list[Window]:
    closed = [w for time, series, scores, weight in events for w in windows.add(time, series, *scores, weight)]
    return closed + windows.flush()


def test_a_window_gives_volume_mean_sentiment_and_negative_share():
    windows = Windows(length=10)
    assert windows.add(3, "A", 0.7, 0.2, 0.1) == []
    assert windows.add(9, ["A", "B"], 0.1, 0.3, 0.6, weight=0.5) == []
    a, b = windows.add(10, "B", 0, 1, 0)
    assert (a.series, a.start, a.end, a.count, a.volume) == ("A", 0, 10, 2, 1.5)
    assert a.sentiment == pytest.approx((-0.6 + 0.25) / 1.5) and a.negative_share == pytest.approx(0.75 / 1.5)
    assert (b.series, b.count, b.volume) == ("B", 1, 0.5)


def test_silence_is_a_window_of_zeros_from_the_first_event_on():
    closed = run(Windows(length=10, series=("Z",)), [(5, "A", (1, 0, 0), 1.0), (35, "B", (1, 0, 0), 1.0)])
    assert [(w.start, w.series, w.count) for w in closed] == [
        *[(0, "A", 1), (0, "Z", 0)], *[(s, n, 0) for s in (10, 20) for n in "AZ"], *[(30, n, int(n == "B")) for n in "ABZ"]]  # fmt: skip
    assert closed[1].sentiment is None and closed[1].negative_share is None


def test_an_outage_is_no_observation_of_silence():
    closed = run(Windows(length=10, outage=2), [(0, "A", (1, 0, 0), 1.0), (1000, "A", (1, 0, 0), 1.0)])
    assert [w.start for w in closed] == [0, 10, 20, 1000]


def test_a_late_event_updates_its_window_and_a_later_one_is_dropped():
    windows = Windows(length=10, lateness=5)
    windows.add(8, "A", 1, 0, 0)
    assert windows.add(14, "A", 1, 0, 0) == [] and windows.add(9, "A", 0, 0, 1) == []
    (closed,) = windows.add(15, "A", 1, 0, 0)
    assert closed.count == 2 and windows.dropped == 0
    assert windows.add(9, "A", 1, 0, 0) == [] and windows.dropped == 1
    assert windows.flush()[0].count == 2


@pytest.mark.parametrize("values", [(-0.1, 0.5, 0.5), (0, 0, 1.5), (float("nan"), 0, 1)])
def test_what_is_no_probability_is_refused_and_changes_nothing(values):
    windows = Windows(length=10)
    before = windows.state()
    with pytest.raises(KgrecError, match="cannot be counted"):
        windows.add(5, "A", *values)
    with pytest.raises(KgrecError, match="weight"):
        windows.add(5, "A", 0, 0, 1, weight=-1)
    assert windows.state() == before


def test_settings_and_states_that_are_none_are_named():
    with pytest.raises(KgrecError, match="length = 0"):
        Windows(length=0)
    with pytest.raises(KgrecError, match="no state of Windows"):
        Windows.of({"length": 5})


@given(st.lists(EVENT, max_size=40), st.randoms(use_true_random=False), st.integers(0, 60))
def test_any_order_within_the_lateness_gives_the_same(events, random, lateness):
    """An event overtaken by at most the lateness: sorted by time plus a delay in [0, lateness]."""
    delayed = sorted(events, key=lambda e: (e[0] + random.uniform(0, lateness), random.random()))
    one, two = (Windows(length=15, lateness=lateness, outage=3) for _ in range(2))
    assert run(one, delayed) == run(two, sorted(events, key=lambda e: e[0]))
    assert one.dropped == two.dropped == 0


@given(st.lists(EVENT, max_size=30), st.integers(0, 30), st.integers(0, 40))
def test_a_state_through_json_goes_on_as_if_nothing_happened(events, cut, lateness):
    whole, first = Windows(length=15, lateness=lateness, outage=3), Windows(length=15, lateness=lateness, outage=3)
    expected = run(whole, events)
    closed = [w for e in events[:cut] for w in first.add(e[0], e[1], *e[2], e[3])]
    rest = Windows.of(json.loads(json.dumps(first.state())))
    assert closed + run(rest, events[cut:]) == expected and rest.state() == whole.state()


@given(st.lists(EVENT, max_size=40), st.integers(0, 30))
def test_every_event_is_in_one_window_or_dropped(events, lateness):
    windows = Windows(length=15, lateness=lateness)
    assert sum(w.count for w in run(windows, events)) + windows.dropped == len(events)
