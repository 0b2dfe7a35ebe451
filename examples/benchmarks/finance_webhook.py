"""A webhook that answers garbage, drips, hangs, redirects or closes, 1,000 times: the monitor goes on, no alert is lost or there twice.

    python examples/benchmarks/finance_webhook.py [--answers 1000] [--small]

Alerts wait in a monitor's state; a webhook of this script meets every request with one of its bad manners, in turn, and in half of them
has already taken the alert; every second request it behaves, but takes what it took under a key once. Time between tries is skipped. Every
request may last .3 seconds in all. Elsewhere: requests that reached the address to which it redirects. One JSON line last; asked: 0 lost,
0 doubled by key, 0 elsewhere, no request beyond its time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import socketserver
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from kgrec_finance.monitoring.sinks import Delivery, Webhook
from kgrec_finance.monitoring.state import State

SECONDS = 0.3  # of a request
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
MANNERS = {  # what is sent, in parts with a pause between; an empty part at the end: the connection stays open
    "garbage": [b"\x00\xff\x13not http at all\r\n\r\n"],
    "no status": [b"HTTP/1.1 abc\r\n\r\n"],
    "drips": [b"HTTP/1.1 200 OK\r\n", *[b"X"] * 200],
    "hangs": [b""],
    "redirects": [b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n"],
    "closes": [],
    "no end of headers": [b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(300))],
    "long line": [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000],
    "continues": [b"HTTP/1.1 100 Continue\r\n\r\n"] * 200,
    "no length": [b"HTTP/1.1 500 Oops\r\nContent-Length: -7x\r\n\r\nwhat"],
    "bad chunks": [b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx"],
    "endless": [b"HTTP/1.1 500 Oops\r\n\r\n", *[b"y" * 65536] * 50],
}


class Hook(socketserver.ThreadingTCPServer):
    """Counts keys; a request of an odd number meets bad manners."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, answers: int, elsewhere: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.elsewhere, self.asked, self.lock = answers, elsewhere, 0, threading.Lock()
        self.got: dict[str, bytes] = {}
        self.manners: Counter[str] = Counter()
        self.other = self.again = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self, key: str, body: bytes) -> None:
        self.again += key in self.got
        self.other += self.got.setdefault(key, body) != body

    def handle_error(self, *_) -> None:
        """A client that has had enough hangs up."""


class Handler(socketserver.StreamRequestHandler):
    server: Hook

    def handle(self) -> None:
        self.rfile.readline()
        headers = dict(line.decode().strip().split(": ", 1) for line in iter(self.rfile.readline, b"\r\n") if line)
        body = self.rfile.read(int(headers["Content-Length"]))
        hook, manners = self.server, list(MANNERS)
        with hook.lock:
            turn = hook.asked
            hook.asked += 1
            bad = turn % 2 == 0 and turn // 2 < hook.answers
            name = manners[turn // 2 % len(manners)]
            hook.manners[name] += bad
            if not bad or turn // 2 // len(manners) % 2:
                hook.take(headers["Idempotency-Key"], body)
        with contextlib.suppress(OSError):
            for part in MANNERS[name] if bad else [OK]:
                self.request.sendall(part % hook.elsewhere if b"%d" in part else part)
                time.sleep(0.02 if bad and len(MANNERS[name]) > 1 else 0)
                if not part:
                    time.sleep(2 * SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--small", action="store_true", help="24 bad answers, two of each kind")
    asked = parser.parse_args()
    answers, began = 24 if asked.small else asked.answers, time.perf_counter()
    elsewhere = socket.create_server(("127.0.0.1", 0))
    elsewhere.settimeout(0)
    hook, clock, longest = Hook(answers, elsewhere.getsockname()[1]), [0.0], 0.0
    with tempfile.TemporaryDirectory() as name, State(Path(name) / "state.sqlite", write=True) as state:
        sink = Webhook(f"http://127.0.0.1:{hook.server_address[1]}/hook?token=x", b"secret", timeout=SECONDS)
        delivery = Delivery(state, [sink], clock=lambda: clock[0])
        with state.transaction():
            for n in range(answers):
                state.alarm(f"alert-{n}", {"key": f"alert-{n}", "episode": "e", "series": "company:A", "what": "open", "at": n})
        wait: float | None = 0.0
        while wait is not None:
            start = time.perf_counter()
            wait = delivery.push()
            longest = max(longest, (time.perf_counter() - start) if wait else 0.0)
            clock[0] += wait or 0.0
        state_says = state.sinks()[0]
    try:
        elsewhere.accept()
        reached = 1
    except OSError:
        reached = 0
    result = {
        "benchmark": "finance_webhook", "alerts": answers, "bad_answers": sum(hook.manners.values()), "kinds": len(hook.manners),
        "lost": answers - len(hook.got), "doubled": hook.other, "sent_again": hook.again, "elsewhere": reached,
        "waiting": answers - state_says.sent, "longest_push_seconds": round(longest, 2), "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
