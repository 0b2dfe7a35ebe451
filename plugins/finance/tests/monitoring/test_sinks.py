"""Every alert reaches every sink, in order, once by its key, whenever a sink or the monitor fails."""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kgrec_finance.monitoring.sinks import Apprise, Delivery, Lines, Stdout, Undelivered, Webhook, open_sink
from kgrec_finance.monitoring.state import State

from kgrec_core import KgrecError


@pytest.fixture
def state(tmp_path):
    with State(tmp_path / "s", write=True) as state:
        yield state


def alarm(state, *numbers):
    with state.transaction():
        for n in numbers:
            body = {"key": f"e-{n}", "episode": "e", "series": "company:ÄÖ", "what": "open", "at": n, "time": "now", "severity": "low"}
            state.alarm(f"e-{n}", body | {"title": "company ÄÖ", "sentence": "volume \ud800".replace("\ud800", "…"), "articles": []})


class Memory:
    """A sink that fails as often as told."""

    name = "memory"

    def __init__(self, fails=0):
        self.got, self.fails = [], fails

    def send(self, alert):
        if self.fails:
            self.fails -= 1
            raise Undelivered("closed for today")
        self.got.append(alert.key)


@pytest.fixture
def server():
    """A webhook: `answers` to give first, then 200; `got` (headers, body) of each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = self.server.answers.pop(0) if self.server.answers else 200
            self.server.got.append((dict(self.headers), body, code))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.got = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def address(server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/hook?token=x"


def test_a_new_sink_is_told_of_what_comes_from_now_on(state):
    alarm(state, 1, 2)
    sink = Memory()
    delivery = Delivery(state, [sink])
    alarm(state, 3, 4)
    assert delivery.push() is None and sink.got == ["e-3", "e-4"]
    assert delivery.push() is None and sink.got == ["e-3", "e-4"]


def test_a_sink_that_fails_is_asked_again_later_and_keeps_up_no_other(state):
    clock, bad, good = [0.0], Memory(fails=3), Memory()
    good.name = "good"
    delivery = Delivery(state, [bad, good], clock=lambda: clock[0])
    alarm(state, 1, 2)
    waits = []
    for _ in range(4):
        waits.append(delivery.push())
        clock[0] += waits[-1] or 0
    assert waits == [1.0, 2.0, 4.0, None] and bad.got == good.got == ["e-1", "e-2"]


def test_what_waits_is_sent_after_a_restart(state):
    delivery = Delivery(state, [Memory(fails=9)])
    alarm(state, 1)
    with pytest.raises(KgrecError, match=r"1 wait for memory \(closed for today\); they are kept in .* sent by the next start"):
        delivery.drain(0.5)
    sink = Memory()
    later = Delivery(state, [sink], clock=lambda: 1e12)
    assert later.push() is None and sink.got == ["e-1"]


def test_unwanted_alerts_are_passed_over(state):
    sink = Memory()
    delivery = Delivery(state, [sink], wanted=lambda body: body["at"] > 1)
    alarm(state, 1, 2)
    assert delivery.push() is None and sink.got == ["e-2"]


def test_a_webhook_is_signed_and_keyed_and_tried_again(state, server, monkeypatch):
    monkeypatch.setenv("HOOK", "secret")
    clock = [0.0]
    delivery = Delivery(state, [open_sink(address(server), "env:HOOK")], clock=lambda: clock[0])
    server.answers[:] = [500, 302, 429]
    alarm(state, 1, 2)
    while (wait := delivery.push()) is not None:
        clock[0] += wait
    assert [code for *_, code in server.got] == [500, 302, 429, 200, 200]
    assert [headers["Idempotency-Key"] for headers, *_ in server.got] == ["e-1"] * 4 + ["e-2"]
    for headers, body, _ in server.got:
        stamp, _, given = headers["X-Kgrec-Signature"].partition(",v1=")
        assert given == hmac.new(b"secret", f"{stamp[2:]}.".encode() + body, sha256).hexdigest()
        assert json.loads(body)["title"] == "company ÄÖ"
    assert "token" not in state.sinks()[0].name


def test_a_webhook_that_is_not_there(state):
    delivery = Delivery(state, [Webhook("http://127.0.0.1:9/", timeout=0.5)])
    alarm(state, 1)
    assert delivery.push() == 1.0 and "refused" in state.sinks()[0].error


def test_a_file_has_every_alert_once_whatever_was_cut_off(state, tmp_path):
    file = tmp_path / "a.jsonl"
    Delivery(state, [Lines(file)])
    alarm(state, 1, 2, 3)
    first, second, _ = state.alerts()
    Lines(file).send(first)
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"key": "e-2", "epi')
    Delivery(state, [Lines(file)]).push()
    assert [json.loads(row)["key"] for row in file.read_text("utf-8").splitlines()] == ["e-1", "e-2", "e-3"]
    Lines(file).send(second)
    assert len(file.read_text("utf-8").splitlines()) == 3
    with pytest.raises(Undelivered, match="cannot be written"):
        Lines(tmp_path / "none" / "a.jsonl").send(first)


def test_standard_output(state, capsys):
    alarm(state, 1)
    (one,) = state.alerts()
    Stdout().send(one)
    Stdout(as_json=False).send(one)
    said, words, *_ = capsys.readouterr().out.splitlines()
    assert json.loads(said)["key"] == "e-1" and "company ÄÖ" in words


def test_apprise_is_told_in_words(state, monkeypatch):
    import sys
    import types

    told = []

    class Notifier:
        def add(self, url):
            return url.startswith("mailto")

        def notify(self, **said):
            told.append(said)
            return len(told) > 1

    monkeypatch.setitem(sys.modules, "apprise", types.SimpleNamespace(Apprise=Notifier))
    alarm(state, 1)
    sink = open_sink("apprise:mailto://me:word@example.org")
    assert isinstance(sink, Apprise) and "word" not in sink.name
    with pytest.raises(Undelivered):
        sink.send(state.alerts()[0])
    sink.send(state.alerts()[0])
    assert told[1]["title"] == "company ÄÖ" and "e-1" in told[1]["body"]
    with pytest.raises(KgrecError, match="does not know"):
        open_sink("apprise:odd://x")
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(KgrecError, match=r'pip install "./plugins/finance\[apprise\]"'):
        open_sink("apprise:mailto://x")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([b"\x00 no http"], "no http"),
        ([], "without response"),
        ([b"HTTP/1.1 200 OK\r\nX: y\r\n"], "breaks off within its headers"),
        ([b"HTTP/1.1 200 OK\r\n", *[b"X"] * 400], "no answer within 0.2 s"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"] * 400, "no answer within 0.2 s"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000], "more than 65536 bytes"),
        ([b"HTTP/1.1 301 Go\r\nLocation: http://127.0.0.1:9/\r\n\r\n"], "answered 301, which sends us elsewhere"),
        ([b"HTTP/1.1 500 token=x\x1b[2J\r\n\r\n"], "answered 500"),
    ],
)
def test_whatever_a_webhook_answers_the_alert_waits(state, answer, said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answering():
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                peer.recv(65536)
                for part in answer:
                    peer.sendall(part)
                    time.sleep(0.02 if len(answer) > 1 else 0)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):  # what is left unread would reset the connection before the answer is read
                    pass

        threading.Thread(target=answering, daemon=True).start()
        hook = Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/hook?token=x", timeout=0.2 if len(answer) > 9 else 10.0)
        delivery, began = Delivery(state, [hook]), time.monotonic()
        alarm(state, 1)
        assert delivery.push() == 1.0 and time.monotonic() - began < 6.0
    error = state.sinks()[0].error
    assert said in error and "token=x" not in error and "\x1b" not in error


def test_a_secret_on_the_command_line_is_refused_and_a_password_told(caplog):
    for sink in ("stdout", "https://example.org/hook", "alerts.jsonl"):
        with pytest.raises(KgrecError, match=r"secret: put it into an environment variable and give its name, env:NAME") as caught:
            open_sink(sink, "hush-hush")
        assert "hush" not in str(caught.value)
    open_sink("https://example.org:80/a:b@c")
    assert not caplog.messages
    open_sink("https://me:word@example.org/")
    assert len(caplog.messages) == 1 and "the password in its address is seen by everybody" in caplog.text and "word@" not in caplog.text


def test_secrets_are_in_no_name_no_state_and_no_error(state, monkeypatch, tmp_path):
    monkeypatch.setenv("HOOK", "http://me:word@127.0.0.1:9/secret/path?token=x")
    monkeypatch.setenv("ODD", "ftp://me:word@example.org/")
    sinks = [open_sink("env:HOOK"), open_sink("http://me:word@127.0.0.1:9/hook?token=x")]
    delivery = Delivery(state, sinks)
    alarm(state, 1)
    delivery.push()
    assert [one.name for one in state.sinks()] == ["env:HOOK", "http://127.0.0.1:9/hook"]
    kept = "\n".join(state._db.iterdump())
    assert not any(word in kept for word in ("word", "token", "secret/path"))
    with pytest.raises(KgrecError, match='sink "env:ODD" is none'):
        open_sink("env:ODD")
    for wrong in ("http://:80/", "http://h:99999/", "http://a b/", "http://[::1/"):
        with pytest.raises(KgrecError, match="is no address"):
            open_sink(wrong)


def test_a_sink_that_breaks_stops_nothing_and_a_slow_one_keeps_nobody_waiting(state):
    class Broken(Memory):
        name = "broken"

        def send(self, alert):
            raise ZeroDivisionError("token=x")

    clock, slow = [0.0], Memory()

    def send(alert):
        clock[0] += 6.0
        slow.got.append(alert.key)

    slow.send = send
    delivery = Delivery(state, [Broken(), slow], clock=lambda: clock[0])
    alarm(state, *range(5))
    assert delivery.push() == 0.0 and slow.got == ["e-0", "e-1"], "after a turn the feed is read on"
    assert next(one.error for one in state.sinks() if one.name == "broken") == "ZeroDivisionError in the sink"
    delivery.push(), delivery.push()
    assert slow.got == [f"e-{n}" for n in range(5)]


def test_wrong_sinks_are_refused(state):
    with pytest.raises(KgrecError, match='sink "mail" is none'):
        open_sink("mail")
    with pytest.raises(KgrecError, match="NO_SUCH is not set"):
        open_sink("https://example.org", "env:NO_SUCH")
    with pytest.raises(KgrecError, match="same name"):
        Delivery(state, [Stdout(), Stdout()])
