"""What a service is asked is held against the run's sample; when it has been another for long enough, the operator's command is run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.run.seen import KINDS, Sample
from kgrec_core.serving import drift
from kgrec_core.serving.hosted import hosted
from kgrec_core.serving.service import Service
from tests.asgi import Asking
from tests.serving.test_app import RECOMMEND


def drawn(n: int, seed: int, how: str = "words", script: str = "LATIN", shift: float = 0.0) -> Sample:
    draw = np.random.default_rng(seed)
    columns = {name: np.full(n, np.nan if of is float else None) for name, of in KINDS.items()}
    columns |= {"how": np.array([how] * n, object), "script": np.array([script] * n, object), "score": draw.normal(shift, 1, n)}
    columns |= {"met": draw.poisson(5, n).astype(float), "label": np.array([None] * n, object)}
    return Sample(columns, draw.normal(shift, 1, (n, 4)).astype(np.float32))


def test_levels_compare_what_was_put_in_the_same_way():
    before = drawn(300, 0)
    assert set(drift.levels(before, drawn(500, 1))["words"]) == {"met", "score", "script", "vectors"}
    assert not any(level.drifted for level in drift.levels(before, drawn(500, 1))["words"].values())
    assert {n for n, level in drift.levels(before, drawn(500, 1, shift=1.0))["words"].items() if level.drifted} == {"score", "vectors"}
    assert [n for n, level in drift.levels(before, drawn(500, 1, script="CJK"))["words"].items() if level.drifted] == ["script"]
    assert drift.levels(before, drawn(500, 1, how="known")) == {} == drift.levels(before, drawn(99, 1))
    assert set(drift.levels(drawn(300, 0, "history"), drawn(300, 1, "history"))["history"]) == {"script", "vectors"}


class Fake:
    """A hosted run whose sample is as the test wants it."""

    name, folder = "shop", Path("/runs/shop")

    def __init__(self, real) -> None:
        self.snapshot, self.published = real.snapshot, "first"

    def sample(self, task: str) -> Sample:
        return drawn(300, 0)


@pytest.fixture(scope="module")
def real(published: Path):
    return hosted([published], "ecommerce")["shop"]


def test_a_command_runs_once_it_has_held_and_one_at_a_time(real, tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "_near", lambda found, snapshot, task: found)
    fake, made = Fake(real), tmp_path / "made"
    words = f"{sys.executable} -c 'import sys,time; open(sys.argv[1],\"a\").write(sys.argv[2]); time.sleep(.3)' {made} '{{run}}'"
    first, second = (drift.Drift({"shop": fake}, tmp_path, words, holds) for holds in (0.0, 0.0))
    task = real.snapshot.task()
    for of in (first, second):
        of.tell(fake, task, drawn(500, 1))
        assert of.look() == [] and not of.windows["shop", "buys"].drifted
        of.tell(fake, task, drawn(500, 2, script="CJK"))
    assert first.look() == [("shop", "on drift")] and first.windows["shop", "buys"].drifted == ["words script"]
    assert second.look() == [] and first.look() == []  # another worker's runs, and this one's own
    first._child.wait(10)
    assert made.read_text() == "/runs/shop"
    fake.published = "second"  # what it published was loaded
    first.look()
    assert first.windows["shop", "buys"].told() == {"queries": 0, "since": None, "drifted": [], "distances": {}}
    patient = drift.Drift({"shop": fake}, tmp_path, words, holds=60.0)
    patient.tell(fake, task, drawn(500, 2, script="CJK"))
    assert patient.look() == [] and time.time() - 60 < patient.windows["shop", "buys"].told()["since"] <= time.time()
    monkeypatch.setattr(time, "time", lambda: 2e9)  # the clock is set forward
    assert patient.look() == []


def test_a_command_that_fails_is_told_and_begun_again(real, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(drift, "_near", lambda found, snapshot, task: found)
    of, fake = drift.Drift({"shop": Fake(real)}, tmp_path, "sh -c 'echo no rows; exit 3'", 0.0), Fake(real)
    of.tell(fake, real.snapshot.task(), drawn(500, 2, script="CJK"))
    assert of.look() == [("shop", "on drift")]
    of._child.wait(10)
    caplog.clear()
    assert of.look() == [("shop", "on drift failed"), ("shop", "on drift")]
    assert (
        f"failed (3); it said what is in {tmp_path / 'on_drift.log'}" in caplog.text
        and "no rows" in (tmp_path / "on_drift.log").read_text()
    )
    assert {record.levelname for record in caplog.records if "failed" in record.message} == {"ERROR"}


def test_what_is_no_command(real, tmp_path):
    for command, said in (("absent-program --x", "no such command"), ("sh -c 'a", "No closing quotation"), ("", "no such command")):
        with pytest.raises(KgrecError, match=said):
            drift.Drift({}, tmp_path, command)


def test_a_service_shows_it(real, tmp_path, monkeypatch):
    monkeypatch.setattr(drift, "LEAST", 3)
    ask = Asking(Service({"shop": real}, state=tmp_path, watch_every=3600))
    ask.service.drift.windows["shop", "buys"]._fresh = drift.FRESH
    for n in range(4):
        ask("POST", RECOMMEND, json={"text": "红色 杯子" * (n + 1), "k": 1})
    ask.service.look()
    (told,) = ask("GET", "/v1/drift").json()["runs"]
    assert (told["run"], told["task"], told["queries"]) == ("shop", "buys", 4) and told["drifted"] == ["words script"]
    assert 'kgrec_drift{how="words",run="shop",task="buys",what="script"}' in ask("GET", "/metrics").text
    ask.close()
