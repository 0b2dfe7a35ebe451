"""An event from the future moves nothing; whoever is confirmed comes through, each once and in its order."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.order import PATIENCE, Order

from kgrec_core import KgrecError


def event(id: int, time: int) -> Event:
    return Event(str(id), time, "Up.", ("BA",), {"text": "Up."})


def passed(times: list[int], leap: int = 10) -> tuple[list[int], list[int], int]:
    """Times that came through, times that were refused, how many wait."""
    order, now, refused = Order(leap), [], []
    for id, time in enumerate(times):
        a, b = order.add(event(id, time))
        now, refused = now + [e.time for e in a], refused + [e.time for e in b]
    return now, refused, len(order)


def test_one_event_from_the_future_is_refused():
    assert passed([0, 1, 9_999, *range(2, 10)]) == ([0, 1, *range(2, 10)], [9_999], 0)


def test_the_first_event_may_be_from_the_future():
    assert passed([9_999, *range(10)]) == (list(range(10)), [9_999], 0)


def test_after_a_silence_the_second_event_confirms_the_first():
    assert passed([0, 1, 500, 501, 502]) == ([0, 1, 500, 501, 502], [], 0)
    assert passed([0, 1, 500])[2] == 1


def test_one_from_the_future_right_after_a_silence():
    now, refused, _ = passed([0, 1, 9_999, 500, 501, *range(502, 510)])
    assert now == [0, 1, 500, 501, *range(502, 510)] and refused == [9_999]


def test_late_events_come_through_at_once():
    assert passed([0, 8, 3, 1, 7]) == ([0, 8, 3, 1, 7], [], 0)


def test_the_same_event_twice_does_not_confirm_itself():
    order = Order(10)
    order.add(event(0, 0)), order.add(event(1, 1))
    assert order.add(event(2, 999)) == ([], []) and order.add(event(2, 999)) == ([], []) and len(order) == 1


@given(st.lists(st.integers(0, 60), max_size=40), st.integers(0, 40))
def test_nothing_is_lost_or_doubled_and_a_restart_changes_nothing(times, cut):
    through = Order(10)
    again = Order(10)
    seen: list[str] = []
    for id, time in enumerate(times):
        if id == cut:
            again = Order.of(json.loads(json.dumps(again.state())))
        found = through.add(event(id, time))
        assert found == again.add(event(id, time))
        seen += [e.id for part in found for e in part]
    waiting = [e.id for e, _ in through._waiting]
    assert sorted(seen + waiting, key=int) == [str(i) for i in range(len(times))]
    assert all(n < PATIENCE for _, n in through._waiting)


def test_a_foreign_state_is_refused():
    with pytest.raises(KgrecError, match="no state of Order"):
        Order.of({"leap": 1})
