"""What was promised is compared with what came, and taken back aloud."""

from __future__ import annotations

import pytest
from kgrec_finance.monitoring.promise import met, told
from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.threshold import WEEK


@pytest.fixture
def state(tmp_path):
    with State(tmp_path / "s", write=True) as state, state.transaction():
        state.keep("settings", {"keep": 26 * WEEK})
        state.keep("calibration", {"rate": 1.0})
        yield state


def opened(state, *times, far=()):
    for n, at in enumerate(times):
        body = {"key": f"{n}-0", "episode": f"{n}", "series": "company:A", "what": "open", "at": int(at * WEEK), "far": at in far}
        state.alarm(body["key"], body)


def test_nothing_is_said_before_episodes_open(state):
    assert met(state, 5 * WEEK, []) is None
    state.keep("watching", 5 * WEEK)
    assert met(state, 5 * WEEK, []) is None


def test_a_rate_that_is_kept(state):
    state.keep("watching", 0)
    opened(state, 1, 2.5, 4, 9, far=(4,))
    found = met(state, 10 * WEEK, [])
    assert found["promise"] == "kept" and len(found["spans"]) == 1
    (span,) = found["spans"]
    assert (span["episodes"], span["events"], span["rate"]) == (3, 1, 0.3) and span["low"] < 0.3 < span["high"]
    assert "1 more far above chance" in told(found, str)[0] and len(told(found, str)) == 1


def test_a_promise_that_is_broken_is_taken_back(state):
    state.keep("watching", 0)
    opened(state, *[n / 3 for n in range(1, 20)])
    assert met(state, int(1.9 * WEEK), [])["promise"] == "kept", "one event may open several at once"
    found = met(state, 7 * WEEK, [])
    assert found["promise"] == "withdrawn" and found["spans"][0]["low"] > 1
    assert "THE PROMISE OF 1 A WEEK IS WITHDRAWN" in told(found, str)[-1]


def test_good_years_hide_no_bad_weeks_since_the_feed_changed(state):
    state.keep("watching", 0)
    opened(state, *[20 + n / 4 for n in range(1, 13)])
    assert met(state, 23 * WEEK, [])["promise"] == "kept"
    found = met(state, 23 * WEEK, [{"at": 20 * WEEK}])
    assert found["promise"] == "withdrawn" and found["spans"][1]["episodes"] == 12
    assert "when the feed changed" in told(found, str)[1]


def test_what_is_forgotten_is_no_quiet_time(state):
    state.keep("watching", 0)
    opened(state, *range(75, 100))
    assert met(state, 100 * WEEK, [])["spans"][0]["weeks"] == 26
