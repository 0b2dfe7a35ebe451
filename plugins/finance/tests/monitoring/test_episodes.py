"""Episodes: alarms merge, grow and end, the same for a machine that was taken to JSON in between."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kgrec_finance.monitoring.episodes import Episodes
from kgrec_finance.monitoring.threshold import opened

from kgrec_core import KgrecError


def run(machine: Episodes, levels) -> list:
    return [
        change for at, level in enumerate(levels) for change in machine.update("A", at, level if isinstance(level, dict) else {"x": level})
    ]


def test_an_episode_opens_grows_and_closes_after_the_cool_down():
    machine = Episodes(threshold=2.0, cooldown=2)
    found = run(machine, [1.9, 2.0, 2.5, 3.1, 0, 0, 4.2, {"x": 0.0, "y": 2.2}, 0, 0, 0, 0])
    assert [(c.what, c.at, c.number, c.severity) for c in found] == [
        ("open", 1, 0, "low"), ("update", 3, 1, "medium"), ("close", 6, 2, "medium"),
        ("open", 6, 0, "high"), ("update", 7, 1, "high"), ("close", 10, 2, "high")]  # fmt: skip
    assert found[0].id == found[1].id == found[2].id != found[3].id and found[4].detectors == ("x", "y")
    assert found[2].last == 3 and found[2].opened == 1 and machine.open() == {}


def test_series_have_episodes_of_their_own():
    machine = Episodes(threshold=1.0, cooldown=5)
    ids = {machine.update(name, 7, {"x": 3.0})[0].id for name in "AB"}
    assert len(ids) == 2 and set(machine.open()) == {"A", "B"}


LEVELS = st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.5, 5.0]), max_size=40)


@given(LEVELS, st.integers(0, 4), st.integers(0, 40))
def test_a_state_through_json_goes_on_as_if_nothing_happened(levels, cooldown, cut):
    whole, first = (Episodes(threshold=2.0, cooldown=cooldown) for _ in range(2))
    expected, found = [], []
    for at, level in enumerate(levels):
        expected += whole.update("A", at, {"x": level})
        first = Episodes.of(json.loads(json.dumps(first.state()))) if at == cut else first
        found += first.update("A", at, {"x": level})
    assert found == expected and first.state() == whole.state()


@given(LEVELS, st.integers(0, 4))
def test_numbers_count_on_and_every_alarm_is_in_one_episode(levels, cooldown):
    found = run(Episodes(threshold=2.0, cooldown=cooldown), [*levels, *[0.0] * (cooldown + 1)])
    by_id = {id: [c for c in found if c.id == id] for id in {c.id for c in found}}
    for changes in by_id.values():
        assert [c.number for c in changes] == list(range(len(changes)))
        assert changes[0].what == "open" and changes[-1].what == "close" and {c.what for c in changes[1:-1]} <= {"update"}
    alarms = {at for at, level in enumerate(levels) if level >= 2}
    spans = [set(range(c[0].opened, c[-1].last + 1)) for c in by_id.values()]
    assert all(sum(at in span for span in spans) == 1 for at in alarms)


@given(LEVELS.filter(len), st.integers(0, 4))
def test_calibration_counts_the_episodes_that_open(levels, cooldown):
    found = [c.at for c in run(Episodes(threshold=2.0, cooldown=cooldown), levels) if c.what == "open"]
    assert opened(np.array(levels)[:, None], 2.0, cooldown)[0].tolist() == found


def test_what_makes_no_machine_is_named():
    with pytest.raises(KgrecError, match="cooldown = -1"):
        Episodes(threshold=1.0, cooldown=-1)
    with pytest.raises(KgrecError, match="no state of Episodes"):
        Episodes.of({})
