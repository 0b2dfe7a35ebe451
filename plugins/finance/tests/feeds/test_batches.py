"""What has come is not kept back, nothing is lost between reader and monitor, and a fault of the feed arrives where the batch is made."""

from __future__ import annotations

import json
import threading
import time

import pytest
from kgrec_finance.feeds.batches import batches

from kgrec_core import KgrecError


def rows(first: int, last: int) -> str:
    return "".join(json.dumps({"id": str(n), "text": f"Up {n}", "time": "2024-05-01T12:00:00Z"}) + "\n" for n in range(first, last))


def test_batches_hold_every_event_once_and_in_order(tmp_path):
    (tmp_path / "a.jsonl").write_text(rows(0, 1000) + rows(0, 3))
    found = list(batches(tmp_path / "a.jsonl", None, size=64, wait=False))
    ids = [event.id for batch in found for event, _ in batch]
    assert ids == [*map(str, range(1000)), "0", "1", "2"], "who is known is known by the state, not by the reader"
    assert max(map(len, found)) <= 64
    at = found[2][-1][1]
    rest = [event.id for batch in batches(tmp_path / "a.jsonl", at, size=64, wait=False) for event, _ in batch]
    assert rest == ids[sum(map(len, found[:3])) :]


def test_a_pause_of_the_feed_keeps_nothing_back(tmp_path):
    file, stopped = tmp_path / "a.jsonl", threading.Event()
    file.write_text(rows(0, 2))
    found = batches(file, None, size=64, poll=0.05, stop=stopped.is_set, wait=True)
    first = [event.id for batch in (next(found), next(found)) for event, _ in batch]
    assert first == ["0", "1"]
    with file.open("a") as more:
        more.write(rows(2, 3))
    end = time.monotonic() + 20
    while not (batch := next(found)):
        assert time.monotonic() < end
    assert [event.id for event, _ in batch] == ["2"]
    stopped.set()
    assert not [event for batch in found for event in batch]


def test_a_fault_of_the_feed_is_raised(tmp_path):
    with pytest.raises(KgrecError, match="there is no file"):
        list(batches(tmp_path / "none.jsonl", None, size=2, wait=False))
