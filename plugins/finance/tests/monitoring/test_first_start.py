"""A monitor that cannot begin says why before it leaves a file, and what it remembers is what it has read with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from kgrec_finance.__main__ import main
from kgrec_finance.monitoring.sinks import Delivery, Stdout, open_sink
from kgrec_finance.monitoring.state import State

from kgrec_core import KgrecError

ROW = json.dumps({"id": "1", "text": "Acme gains.", "time": "2024-05-01T12:00:00Z"})


@pytest.fixture(autouse=True)
def feed(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "feed.jsonl").write_text(ROW + "\n")
    return tmp_path


def kgrec(*words: str, fails: str = "") -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == (2 if fails else 0) and fails in done.stderr, (done.exit_code, done.stderr, done.exception)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sink", "nowhere.txt"], 'sink "nowhere.txt" is none'),
        (
            ["--sink", "absent/alerts.jsonl"],
            "sinks: absent/alerts.jsonl cannot be written (it has no folder); name a file in a folder that is there",
        ),
        (["--secret", "env:HOOK"], "secret: it signs what a webhook gets, and no sink is one"),
        (["--time-zone", "Moon"], 'time_zone = "Moon" is no time zone'),
        (["--time-format", "%Q"], "tells no day"),
        (["--companies", "absent.csv"], "no file in . is called 'absent.csv'"),
        (["--column", "txt=a"], "did you mean 'text'"),
        (["--poll", "nan"], "poll = nan seconds"),
        (["--poll", "inf"], "poll = inf seconds"),
    ],
)
def test_what_can_be_refused_is_before_there_is_a_file(feed, words, said):
    kgrec("monitor", "feed.jsonl", "--state", "s.sqlite", "--once", *words, fails=said)
    assert [file.name for file in feed.iterdir()] == ["feed.jsonl"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "nan"], "rate = nan"),
        (["--rate", "1e400"], "rate = inf"),
        (["--decay", "nan"], "decay = nan"),
        (["--hops", "-1"], "hops = -1"),
        (["--merge", "7"], "merge = 7.0 is no similarity"),
        (["--merge", "nan"], "merge = nan"),
        (["--detector", "cusum:nothing"], "no watched value is called 'nothing'"),
        (["--keep", "99999999d"], "keep = 99999999d is longer than a hundred years"),
        (["--window", "1" + "0" * 400 + "d"], "is longer than a hundred years"),
    ],
)
def test_numbers_that_are_none_are_refused(words, said):
    kgrec("monitor", "feed.jsonl", "--state", "s.sqlite", "--once", *words, fails=said)


def test_what_has_read_nothing_may_be_begun_otherwise():
    kgrec("monitor", "absent.jsonl", "--state", "s.sqlite", "--once", "--window", "1h", fails="there is no file absent.jsonl")
    kgrec("monitor", "feed.jsonl", "--state", "s.sqlite", "--once", "--window", "2h")
    kgrec("monitor", "feed.jsonl", "--state", "s.sqlite", "--once", "--window", "1h", fails="was begun with window = 7200000000")


def test_a_state_that_was_only_made_has_a_status_and_a_page(feed):
    State(feed / "s.sqlite", write=True).close()
    assert "no event yet" in kgrec("status", "--state", "s.sqlite")
    kgrec("report", "--state", "s.sqlite", "--out", "page.html")


def test_a_folder_is_no_state_and_a_run_may_be_called_by_a_dot(feed):
    for words in (["monitor", "feed.jsonl", "--once"], ["status"]):
        kgrec(*words, "--state", ".", fails=". is a folder; name a monitor's file with --state")
    kgrec("status", "--run", ".", fails=f"there is no state file {feed}.monitor.sqlite")


def test_a_reader_of_alerts_that_has_gone_ends_the_monitor(feed, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("kgrec_finance.monitoring.sinks.say_json", gone)
    with State(feed / "s.sqlite", write=True) as state:
        delivery = Delivery(state, [Stdout()])
        with state.transaction():
            state.alarm("e-1", {"key": "e-1", "episode": "e", "series": "x", "what": "open", "at": 1})
        with pytest.raises(BrokenPipeError):
            delivery.push()
        assert [(of.name, of.sent) for of in state.sinks()] == [("stdout", 0)], "the next start sends it"


def test_refusals_are_counted_aloud(feed, caplog):
    (feed / "feed.jsonl").write_text('{"text": "Up."}\n' * 3 + ROW + "\n")
    kgrec("monitor", "feed.jsonl", "--state", "s.sqlite", "--once")
    said = caplog.text
    assert "refused, it has no time; name its field with --column time=...; fields: text" in said
    assert "3 were refused, each with its reason in s.sqlite.refused.jsonl" in said


def test_what_is_refused_last_is_tried_again_at_each_start_and_status_says_so(feed):
    broken = '{"id": "2", "text": "Up.", "time": "2024-05-01 13:00"}\n'
    (feed / "feed.jsonl").write_text(ROW + "\n" + broken)
    words = ["monitor", "feed.jsonl", "--state", "s.sqlite", "--once"]
    for _ in range(2):
        kgrec(*words)
        said = kgrec("status", "--state", "s.sqlite")
        assert f"{len(broken)} bytes of feed.jsonl behind its last event: refused, or not read yet" in said
    assert len((feed / "s.sqlite.refused.jsonl").read_text().splitlines()) == 1
    kgrec(*words, "--time-zone", "UTC")
    assert "bytes of" not in (said := kgrec("status", "--state", "s.sqlite")) and "2 read" in said


def test_a_poisoned_event_is_refused_and_the_others_are_counted(feed):
    scores = [{"companies": {"A": [10**400, 0, 0]}}, {"companies": {"\ud800": [0, 1, 0]}}, "[" * 100_000]
    rows = [{"id": str(n), "text": f"Up {n}.", "time": f"2024-05-0{n + 1}T12:00:00Z", "scores": of} for n, of in enumerate(scores)]
    rows.append({"id": "9", "text": "Down.", "time": "2024-05-04T12:00:00Z", "company": ["\udfff\0\x1b[31m"]})
    rows.append({"id": "10", "text": "Down and out.", "time": "2024-05-04T12:10:00Z"})
    (feed / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kgrec("monitor", "feed.jsonl", "--state", "s.sqlite", "--once")
    assert json.loads(kgrec("status", "--state", "s.sqlite", "--json"))["events"]["read"] == 5


def test_a_folder_of_alerts_is_no_file(feed):
    (feed / "alerts.jsonl").mkdir()
    with pytest.raises(KgrecError, match=r"sinks: .*alerts.jsonl cannot be written .it is a folder"):
        open_sink("alerts.jsonl")
