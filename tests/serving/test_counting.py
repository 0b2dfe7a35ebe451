"""Rates and quotas: by a clock that nobody sets, together in Redis, and alone while that is away."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.serving import counting
from kgrec_core.serving.counting import Counting
from kgrec_core.serving.problem import Refused


def test_a_clock_that_is_set_back_keeps_nobody_out(monkeypatch):
    of = Counting({"minute": 3})
    of.spend("shop", 3)
    steady, today = time.monotonic(), time.time()
    monkeypatch.setattr(time, "time", lambda: today - 86_400)
    monkeypatch.setattr(time, "monotonic", lambda: steady + 59)
    with pytest.raises(Refused, match="come again in 1 s"):
        of.spend("shop", 1)
    of.spend("other", 3)
    monkeypatch.setattr(time, "monotonic", lambda: steady + 61)
    of.spend("shop", 3)


def test_counters_whose_time_is_over_are_dropped(monkeypatch):
    monkeypatch.setattr(counting, "MANY", 2)
    own, steady = counting.Own(), time.monotonic()
    for name in "abc":
        own.incr(name, 60)
    monkeypatch.setattr(time, "monotonic", lambda: steady + 61)
    assert own.incr("d", 60) == 1 and own.reset() == 1


def test_what_cannot_count(tmp_path):
    with pytest.raises(KgrecError, match="counted in memory:// or in a Redis"):
        Counting({"minute": 3}, "nonsense://here")
    with pytest.raises(KgrecError, match="this Redis does not answer"):
        Counting({"minute": 3}, f"redis+unix://{tmp_path}/none")


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server (apt-get install redis-server)")
def test_workers_count_together_and_alone_while_redis_is_away(tmp_path, monkeypatch, caplog):
    place = tmp_path / "redis"
    begin = ["redis-server", "--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(begin, stdout=subprocess.DEVNULL)
    try:
        while not place.exists():
            time.sleep(0.01)
        workers = [Counting({"minute": 3}, f"redis+unix://{place}") for _ in range(2)]
        workers[0].spend("shop", 2)
        workers[1].spend("shop", 1)
        for of in workers:
            with pytest.raises(Refused, match="3 requests a minute are used up"):
                of.spend("shop", 1)
    finally:
        process.kill()
        process.wait()
    workers[0].spend("shop", 3)
    assert "each worker by itself: Redis does not answer" in caplog.text
    with pytest.raises(Refused):
        workers[0].spend("shop", 1)
    workers[1].spend("shop", 3)
