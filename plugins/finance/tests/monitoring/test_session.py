"""The monitor's words, from Python and as commands: on the tweets of the package, on broken feeds, and killed."""

from __future__ import annotations

import base64
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import kgrec_finance
import pytest
from click.testing import CliRunner
from kgrec_finance.__main__ import main
from kgrec_finance.articles.sample import TWEETS, TWEETS_COMPANIES
from kgrec_finance.monitoring.state import State

from kgrec_core import KgrecError

TWEETED = {"companies": TWEETS_COMPANIES, "columns": {"time": "created_at"}}
QUICK = ["--window", "1h", "--warmup", "12h", "--learn", "40h", "--rate", "5", "--lateness", "10m", "--cooldown", "3h"]


def command(*words) -> list[str]:
    return [sys.executable, "-m", "kgrec_finance", *map(str, words)]


def kgrec(*words, fails: str | None = None, given: str | None = None) -> str:
    done = CliRunner().invoke(main, list(map(str, words)), input=given)
    if fails is None:
        assert done.exit_code == 0, done.stderr[-2000:]
        return done.stdout
    assert done.exit_code == 2 and fails in done.stderr and "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stderr


def lines(hours: range, burst: int | None = None) -> list[str]:
    """About a story an hour about A and B; in hour `burst` forty about A."""
    rows = []
    for hour in hours:
        for company in "AB":
            for n in range(40 if hour == burst and company == "A" else random.Random(f"{hour}{company}").choice((0, 0, 1, 1, 1, 2, 2, 3))):
                at = f"2024-05-{1 + hour // 24:02d}T{hour % 24:02d}:{n:02d}:00Z"
                scores = {"companies": {company: [0.2, 0.5, 0.3]}}
                rows.append(
                    json.dumps({"id": f"{hour}-{company}-{n}", "time": at, "text": f"{company} {hour} {n} says so", "scores": scores})
                )
    return rows


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A folder in which the tweets were watched: tweets.sqlite, tweets.jsonl."""
    folder = tmp_path_factory.mktemp("watched")
    alerts = kgrec_finance.monitor(
        feed=str(TWEETS), state=folder / "tweets.sqlite", sinks=(str(folder / "tweets.jsonl"), "stdout"), once=True, **TWEETED
    )
    assert alerts == [json.loads(row) for row in (folder / "tweets.jsonl").read_text("utf-8").splitlines()]
    return folder


def test_the_sample_has_its_warning_and_not_its_flood(watched):
    told = [json.loads(row) for row in (watched / "tweets.jsonl").read_text("utf-8").splitlines()]
    days = {(body["series"], body["time"][:10]) for body in told if body["what"] == "open"}
    assert ("company:WMT", "2015-10-15") in days and not any(series == "company:KO" for series, _ in days)


def test_a_replay_gives_what_the_monitor_gave(watched, tmp_path, capsys):
    told = (watched / "tweets.jsonl").read_text("utf-8").splitlines()
    asked = {"like": watched / "tweets.sqlite", "batch": 50, "dead_letters": tmp_path / "dead.jsonl", "as_json": True}
    alerts = kgrec_finance.replay(file=str(TWEETS), **asked, **TWEETED)
    assert capsys.readouterr().out.splitlines() == told and alerts == [json.loads(row) for row in told]


def test_status_alerts_explain_and_report(watched):
    state = ["--state", watched / "tweets.sqlite"]
    said = kgrec("status", *state)
    assert "watching (10 episodes in 10.0 weeks" in said and "5,371 read" in said and "open episodes: none" in said
    found = json.loads(kgrec("status", *state, "--json"))
    assert found["phase"] == "watching" and found["behind_bytes"] == {} and found["lag_seconds"] > 0
    assert all(sink["behind"] == 0 for sink in found["sinks"])
    assert "Wal-Mart" in kgrec("alerts", *state) and kgrec("alerts", *state, "--open") == "no alerts\n"
    episodes = json.loads(kgrec("alerts", *state, "--series", "company:WMT", "--json"))
    assert [body["what"] for body in episodes[0]] == ["open", "close"]
    alert = episodes[0][0]["episode"]
    assert "stories carry it" in kgrec("explain", alert[:6], *state)
    why = json.loads(kgrec("explain", alert, *state, "--json"))
    assert why["level_without"] < why["alert"]["threshold"] <= why["level_again"] == why["alert"]["level"]
    page = watched / "page.html"
    assert kgrec("report", *state, "--out", page).strip() == str(page)
    assert f'id="a-{alert}"' in page.read_text("utf-8")
    kgrec("explain", "zz", *state, fails="begin with")
    kgrec("status", fails="--state")
    kgrec("status", "--state", watched / "none.sqlite", fails="there is no state file")


def test_a_file_that_grows_broken_and_cut_lines_and_a_kill(tmp_path):
    feed, state, out = tmp_path / "feed.jsonl", tmp_path / "s.sqlite", tmp_path / "a.jsonl"
    rows, new = lines(range(60)), lines(range(60, 100), burst=70)
    feed.write_text(
        "\n".join([*rows[:40], '{"id": "x", "time": ', json.dumps({"id": "n", "text": "A", "time": "2024-05-01 10:00"}), *rows[40:]])
    )
    words = ["monitor", feed, "--state", state, "--sink", out, "--poll", "0.05", *QUICK]
    process = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: seen(state) >= len(rows) - 1)
        kgrec(*words, fails=f"belongs to the monitor that runs as process {process.pid}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with feed.open("a") as file:
            file.write("\n" + "\n".join(new) + "\n")
        process = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
        until(lambda: seen(state) >= len(rows) + len(new))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
    told = [json.loads(row) for row in out.read_text().splitlines()]
    assert any(body["series"] == "company:A" and body["time"] == "2024-05-03 23:00 UTC" for body in told)
    assert len({body["key"] for body in told}) == len(told)
    reasons = [json.loads(row)["reason"] for row in (tmp_path / "s.sqlite.refused.jsonl").read_text().splitlines()]
    assert {reason.split(":")[0] for reason in reasons} == {"broken JSON", 'time "2024-05-01 10'}
    whole = kgrec("replay", feed, *QUICK, "--json", "--dead-letters", tmp_path / "d").splitlines()
    assert [json.loads(row) for row in whole] == told
    since, before = told[1]["time"][:16], told[-1]["time"][:16]
    part = kgrec("replay", feed, *QUICK, "--json", "--dead-letters", tmp_path / "d", "--from", since, "--to", before).splitlines()
    assert [json.loads(row) for row in part] == [body for body in told if since <= body["time"][:16] < before]


def test_standard_input_and_a_history_of_its_own(tmp_path):
    history = tmp_path / "history.jsonl"
    history.write_text("\n".join(lines(range(60))) + "\n")
    words = ["--state", tmp_path / "s.sqlite", "--history", history, *QUICK]
    said = kgrec("monitor", "-", *words, "--once", given="\n".join(lines(range(60, 100), burst=70)) + "\n")
    assert "company A" in said and "open" in said
    kgrec("monitor", "-", "--state", tmp_path / "s.sqlite", "--rate", "2", "--once", given="", fails="was begun with rate = 5.0")
    short = tmp_path / "short.jsonl"
    short.write_text("\n".join(lines(range(20))) + "\n")
    kgrec("monitor", "-", "--state", tmp_path / "t", "--history", short, *QUICK, given="", fails="a threshold needs 30")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x.jsonl"], "name its file with --state"),
        (["x.jsonl", "--state", "s", "--window", "soon"], 'window = "soon" is no span of time'),
        (["x.jsonl", "--state", "s", "--sink", "nowhere"], 'sink "nowhere" is none'),
        (["x.jsonl", "--state", "s", "--column", "time"], "write NAME=VALUE"),
        (["x.jsonl", "--state", "s", "--detector", "cusom:volume"], "did you mean 'cusum'?"),
        (["x.jsonl", "--state", "s", "--once"], "there is no file"),
        (["x.jsonl", "--state", "s", "--batch", "0"], "make no transaction"),
        (["x.jsonl", "--state", "s", "--poll", "0"], "give .01 or more"),
    ],
)
def test_wrong_words(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KgrecError, match=re.escape(said)):
        main(["monitor", *words], standalone_mode=False)
    with pytest.raises(KgrecError, match="yesterday"):
        kgrec_finance.replay(file="x.jsonl", since="yesterday")


def seen(file: Path) -> int:
    """Events that were read."""
    try:
        with State(file, write=False) as state:
            return (state.kept("now") or {"counts": {}})["counts"].get("read", 0)
    except KgrecError:
        return 0


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("where", ["env:FEED", "in the open"])
def test_the_password_of_a_feed_is_nowhere_but_where_it_was_given(tmp_path, monkeypatch, where):
    pytest.importorskip("feedparser", reason="the extra rss is not installed")
    dated = "<item><guid>b</guid><title>A rises</title><pubDate>Mon, 05 Jan 2026 10:00:00 GMT</pubDate></item>"
    entry = f"<item><guid>a</guid><title>A undated</title></item>{dated}"

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:word").decode()
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(f'<rss version="2.0"><channel><title>N</title>{entry}</channel></rss>'.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://me:word@127.0.0.1:{server.server_address[1]}/feed"
        monkeypatch.setenv("FEED", address)
        (tmp_path / "companies.csv").write_text("id,name\nA,A\n")
        feed = where if where.startswith("env:") else address
        words = ["monitor", feed, "--companies", tmp_path / "companies.csv", "--state", tmp_path / "state.sqlite", "--once", *QUICK]
        done = CliRunner().invoke(main, list(map(str, words)))
        server.shutdown()
    assert done.exit_code == 0 and "it has no time" in (tmp_path / "state.sqlite.refused.jsonl").read_text(), done.stderr
    assert "word" not in (done.stdout + done.stderr).replace("password", "")
    assert not any(b"word@" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_feed_whose_variable_is_not_set(tmp_path):
    (tmp_path / "companies.csv").write_text("id,name\nA,A\n")
    words = ["monitor", "env:NO_SUCH", "--companies", tmp_path / "companies.csv", "--state", tmp_path / "state.sqlite", "--once"]
    kgrec(*words, fails="the environment variable NO_SUCH is not set")
    assert not (tmp_path / "state.sqlite").exists()
