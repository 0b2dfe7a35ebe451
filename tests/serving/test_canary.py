"""A share of callers gets the second run, always the same ones; when feedback says that it is worse, nobody does any more."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.serving.canary import outcomes
from kgrec_core.serving.hosted import hosted
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.service import Service
from tests.asgi import Asking
from tests.serving.test_app import RECOMMEND


@pytest.fixture(scope="module")
def runs(published: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("canary")
    return [Path(shutil.copytree(published, folder / name)) for name in ("old", "new")]


@pytest.fixture(scope="module")
def both(runs):
    return hosted(runs, "ecommerce")


@pytest.fixture
def service(both, tmp_path) -> Service:
    return Service(both, state=tmp_path, canary=("new", 0.3, 0.0))


def told(service: Service, callers: int, rates: dict[str, float]) -> None:
    """Feedback of so many callers, each on one answer of its own, good with its arm's rate."""
    draw, now, rows = np.random.default_rng(0), time.time(), []
    for number in range(callers):
        arm = service.canary.arm(f"user {number}")
        event = "clicked" if draw.random() < rates[arm.name] else "shown"
        rows.append(
            {
                "key": str(number),
                "unit": arm.unit,
                "arm": arm.name,
                "published": arm.of.published,
                "event": event,
                "answered": now,
                "at": now,
            }
        )
    service.feedback.events = lambda since=0.0: rows


def test_callers_are_drawn_once_and_for_all(service, both, tmp_path):
    arms = [service.canary.arm(f"user {n}") for n in range(2_000)]
    share = np.mean([arm.name == "canary" for arm in arms])
    assert abs(share - 0.3) < 0.04 and {(a.name, a.propensity) for a in arms} == {("canary", 0.3), ("main", 0.7)}
    other = Service(both, state=tmp_path, canary=("new", 0.3, 0.0))
    assert [arm.name for arm in arms] == [other.canary.arm(f"user {n}").name for n in range(2_000)]


def test_requests_and_what_is_said_of_them(service):
    ask = Asking(service)
    names = {}
    for n in range(12):
        found = ask("POST", RECOMMEND, json={"text": "red mug", "k": 1}, headers={"X-User": f"u{n}"})
        names[n] = found.json()["run"]
        again = ask("POST", RECOMMEND, json={"user": f"u{n}", "k": 1}).json()["run"]
        assert again == names[n] == service.canary.arm(f"user u{n}").of.name
    assert set(names.values()) == {"old", "new"}
    ask("POST", "/v1/feedback", json={"answer": found.headers["X-Request-Id"], "event": "shown"})
    kept = service.feedback.events()[-1]
    assert (kept["run"], kept["propensity"]) == (names[11], 0.3 if names[11] == "new" else 0.7) and kept["unit"]
    assert ask("POST", RECOMMEND, json={"user": "u1", "k": 1}, params={"run": "old"}).json()["run"] == "old"
    assert ask("GET", "/v1/runs").json()["runs"][1]["canary"] | {"why": ""} == service.canary.told()
    assert ask("POST", "/admin/promote", json={"run": "old"}).status_code == 409
    assert ask("POST", "/admin/promote", json={"run": "new"}).status_code == 200
    assert {ask("POST", RECOMMEND, json={"user": f"u{n}", "k": 1}).json()["run"] for n in range(4)} == {"new"}
    assert ask("POST", "/admin/rollback", json={"run": "new"}).status_code == 200
    assert {ask("POST", RECOMMEND, json={"user": f"u{n}", "k": 1}).json()["run"] for n in range(4)} == {"old"}
    ask.close()


def test_a_clock_that_is_set_back_does_not_end_the_looking(service, monkeypatch):
    looks, today, steady = [], time.time(), time.monotonic()
    monkeypatch.setattr(service.canary, "_fails", lambda events: looks.append(1) is None)
    service.canary.look(service.feedback, every=-1)
    monkeypatch.setattr(time, "time", lambda: today - 86_400)
    monkeypatch.setattr(time, "monotonic", lambda: steady + 3600)
    service.canary.look(service.feedback)
    service.canary.look(service.feedback)
    assert len(looks) == 2


def test_a_worse_one_is_taken_back_everywhere(service, both, tmp_path, caplog):
    told(service, 400, {"main": 0.6, "canary": 0.1})
    other = Service(both, state=tmp_path, canary=("new", 0.3, 0.0))
    assert other.canary.share_now == 0.3
    service.look()
    assert service.canary.now["state"] == "taken back" and service.canary.arm("user 1").of.name == "old"
    assert "worse: " in service.canary.told()["why"] and "canary new is taken back" in caplog.text
    assert 'kgrec_canary_share{run="new"} 0.0' in service.metrics.text().decode()
    other.look()
    assert other.canary.share_now == 0.0
    assert Service(both, state=tmp_path, canary=("new", 0.3, 0.0)).canary.share_now == 0.0


def test_one_that_fails_its_callers_is_taken_back_without_feedback(service, both, caplog, monkeypatch):
    """A fault of the canary's run, and of nobody else: after a handful of callers."""

    def broken(self, *given, **named):
        if self.folder.name == "new":
            raise ZeroDivisionError
        return answer(self, *given, **named)

    answer = Snapshot.answer
    monkeypatch.setattr(Snapshot, "answer", broken)
    ask = Asking(service)
    statuses = {n: ask("POST", RECOMMEND, json={"text": "red mug", "k": 1}, headers={"X-User": f"u{n}"}).status_code for n in range(30)}
    assert set(statuses.values()) == {200, 500}
    assert all(code == (500 if service.canary.arm(f"user u{n}").name == "canary" else 200) for n, code in statuses.items())
    service.look()
    assert service.canary.share_now == 0.0 and "faults: " in service.canary.told()["why"]
    assert ask("POST", RECOMMEND, json={"text": "red mug", "k": 1}, headers={"X-User": "u1"}).json()["run"] == "old"
    ask.close()


def test_faults_of_both_take_nothing_back_and_a_callers_later_ones_do_not_count(service):
    arms = {n: service.canary.arm(f"user {n}") for n in range(400)}
    for n, arm in arms.items():
        service.canary.judge(service.feedback, arm, [Refused(500 if n % 5 == 0 else 400, "")])
        service.canary.judge(service.feedback, arm, [Refused(504 if arm.name == "canary" else 503, "")])
    service.canary.look(service.feedback)
    assert service.canary.share_now == 0.3
    assert sum(service.canary.found["faults"].values()) == 80


def test_one_that_is_as_good_stays(service):
    told(service, 400, {"main": 0.3, "canary": 0.3})
    service.look()
    assert service.canary.share_now == 0.3 and sum(service.canary.found["callers"].values()) == 400


def test_a_caller_counts_once_and_only_in_time():
    def event(key, unit, arm, event, answered, at):
        return {"key": key, "unit": unit, "arm": arm, "event": event, "answered": answered, "at": at}

    events = [
        event("1", "a", "main", "shown", 0, 1),
        event("1", "a", "main", "clicked", 0, 9),
        event("2", "b", "canary", "clicked", 1, 50),  # too late to count, and nothing was said of it before
        event("3", "b", "canary", "shown", 5, 6),
        event("4", "a", "main", "shown", 7, 8),  # has counted
        event("5", "c", "main", "bought", 95, 96),  # its time is not over
    ]
    arms, good = outcomes(events, 10.0, 100.0)
    assert arms.tolist() == [False, True] and good.tolist() == [True, False]


def test_what_no_canary_can_be(both, tmp_path):
    with pytest.raises(KgrecError, match="is a canary for no run"):
        Service(both, state=tmp_path, canary=("old", 0.3, 0.0))
    with pytest.raises(KgrecError, match="no share of the callers"):
        Service(both, state=tmp_path, canary=("new", 1.5, 0.0))


def test_what_the_first_run_may_not_show_its_canary_may_not_either(runs, tmp_path):
    rules, own = (run.with_name(f"{run.name}.safety.toml") for run in runs)
    try:
        rules.write_text('[block]\nids = ["r0"]\n')
        with pytest.raises(KgrecError, match=r"new has no rules, but old has, or decisions; copy them, or write an empty "):
            Service(hosted(runs, "ecommerce"), state=tmp_path, canary=("new", 0.3, 0.0))
        own.write_text("")
        assert Service(hosted(runs, "ecommerce"), state=tmp_path, canary=("new", 0.3, 0.0)).canary
    finally:
        rules.unlink()
        own.unlink(missing_ok=True)
