"""Feedback is about an answer that was given, kept once, masked, with the arm that answered; and it can be learned from."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

import kgrec_core
from kgrec_core.cli.main import main
from kgrec_core.errors import KgrecError
from kgrec_core.lifecycle.later_rows import labelled
from kgrec_core.recipe.registry import Registry
from kgrec_core.serving.feedback import Answered, Feedback, FeedbackLog, known_to
from kgrec_core.serving.hosted import hosted
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.service import Service
from tests.asgi import Asking
from tests.serving.test_app import RECOMMEND


@pytest.fixture(scope="module")
def run(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(published, tmp_path_factory.mktemp("heard") / "shop"))


@pytest.fixture(scope="module")
def ask(run: Path):
    found = Asking(Service(hosted([run], "ecommerce"), feedback=7))
    yield found
    found.close()


def say(ask: Asking, **event):
    return ask("POST", "/v1/feedback", json=event)


def test_an_event_is_kept_once_with_what_answered(ask, run):
    answer = ask("POST", RECOMMEND, json={"user": "ruser0", "k": 2})
    id, event = answer.json()["result"][0]["id"], {"answer": answer.headers["X-Request-Id"], "event": "bought"}
    assert say(ask, **event, id=id).json() == {"result": {"new": True}}
    assert say(ask, **event, id=id).json() == {"result": {"new": False}}
    text = "for jo@example.com, please"
    found = ask(
        "POST", "/v1/feedback", json={"requests": [{**event, "event": "shown", "text": text}, {**event, "id": "zz"}, {"answer": "x"}]}
    )
    assert [set(one) for one in found.json()["results"]] == [{"result"}, {"error"}, {"error"}]
    assert "no item of this run has the id 'zz'" in found.json()["results"][1]["error"]["detail"]
    bought, shown = ask.service.feedback.events()
    assert (bought["run"], bought["edit"], bought["arm"], bought["propensity"], bought["source"]) == ("shop", 0, "main", 1.0, "ruser0")
    assert shown["text"] == "for <EMAIL>, please" and bought["published"] == ask.service.named().published
    assert 'kgrec_feedback_total{arm="main",event="bought",run="shop"}' in ask("GET", "/metrics").text


def test_of_many_answers_each_has_its_own_name(ask):
    found = ask("POST", RECOMMEND, json={"requests": [{"user": "ruser0", "k": 1}, {"k": 1}, {"user": "buser1", "k": 1}]})
    id = found.headers["X-Request-Id"]
    assert say(ask, answer=f"{id}/2", event="shown").status_code == 200
    assert ask.service.feedback.events()[-1]["source"] == "buser1"
    assert say(ask, answer=f"{id}/1", event="shown").status_code == 404 and say(ask, answer=id, event="shown").status_code == 404


def test_what_is_wrong(ask, published):
    assert "needs the id of what was clicked" in say(ask, answer="a", event="clicked").json()["detail"]
    assert "known: bought, clicked" in say(ask, answer="a", event="stolen").json()["detail"]
    assert say(ask, answer="a", event="shown", text="x" * 2_001).status_code == 400
    silent = Asking(Service(hosted([published], "ecommerce"), state=Path("/nowhere")))
    assert "kgrec serve --feedback" in say(silent, answer="a", event="shown").json()["detail"]
    silent.close()


def test_callers_speak_of_their_own_answers(tmp_path):
    log = FeedbackLog(tmp_path, days=1)
    log.note("shop", "one", Answered("run", "abc", 3, "canary", 0.1))
    assert log.about("shop", "one").propensity == 0.1 and log.about("other", "one") is None
    assert FeedbackLog(tmp_path, days=1).about("shop", "one").edit == 3  # another worker
    log.note("shop", "old", Answered("run", "abc", 3, answered=1.0))
    log._swept = 0
    assert log.about("shop", "old") is None


def test_a_stranger_is_masked_and_a_known_customer_is_not(published):
    snapshot = kgrec_core.open_run(published).snapshot
    told = [known_to(snapshot.graph, snapshot.tasks, Feedback("a", "shown", source=of)).source for of in ("ruser0", "jo@example.com")]
    assert told == ["ruser0", "<EMAIL>"]


def test_where_nothing_can_be_written_answers_go_on(run, tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    ask = Asking(Service(hosted([run], "ecommerce"), state=tmp_path / "state", feedback=7))
    answer = ask("POST", RECOMMEND, json={"user": "ruser0", "k": 1})
    assert answer.status_code == 200
    assert say(ask, answer=answer.headers["X-Request-Id"], event="shown").status_code == 503
    ask.close()
    log = FeedbackLog(tmp_path, days=1)
    (tmp_path / "feedback.sqlite").write_text("no database")
    with pytest.raises(Refused, match="feedback cannot be kept"):
        log.keep("a", Feedback("a", "shown"), Answered("r", "p", 0))


def test_the_table_is_what_update_learns_from(ask, run, tmp_path):
    answer = ask("POST", RECOMMEND, json={"user": "ruser0", "k": 1})
    say(ask, answer=answer.headers["X-Request-Id"], event="bought", id="r1")
    state = str(ask.service.state)

    def kgrec(*words):
        return CliRunner().invoke(main, ["feedback", str(run), "--state", state, *words])

    assert "thumbs_up" in kgrec().output and "main" in kgrec().output
    assert kgrec("--out", str(tmp_path / "all.parquet")).exit_code == 0
    assert kgrec("--learn", "bought", "--out", str(tmp_path / "new.csv")).exit_code == 0
    opened = kgrec_core.open_run(run)
    rows, skipped = labelled(opened.recipe, Registry.discover(), opened.snapshot, [tmp_path / "new.csv"])
    assert ("ruser0", "r1") in rows["buys"].select("source", "target").rows() and not skipped and rows["buys"]["time"].dtype.is_integer()
    whole = (tmp_path / "new.csv").read_text()
    for row, told in (
        ("buys,ruser0", "row {}: 2 fields where the header has 5"),
        ("buys,,r1,2024-03-01T12:00:00.000000Z,", "row {}: source is empty"),
        ("buys,ruser0,r1,tomorrow,", 'row {}: .*"tomorrow"'),
    ):
        (tmp_path / "new.csv").write_text(f"{whole}{row}\n")
        with pytest.raises(KgrecError, match=rf"new\.csv {told.format(whole.count(chr(10)) + 1)}"):
            labelled(opened.recipe, Registry.discover(), opened.snapshot, [tmp_path / "new.csv"])
    assert kgrec("--learn", "clicked", "--out", str(tmp_path / "none.csv")).exit_code != 0
    with sqlite3.connect(ask.service.feedback.file) as db:
        assert db.execute("SELECT COUNT(*) FROM events WHERE text LIKE '%@%'").fetchone()[0] == 0
