"""kill -9 at any moment of a replay into a webhook: no alert is lost, none is there twice by its key.

    python examples/benchmarks/finance_kill.py [--kills 500] [--small]

Stock tweets of half a year with stored scores go through `kgrec_finance.replay` into a webhook of this script, which answers after 5 ms, with 503 to
one request in 50, and hangs up without an answer on another. Once undisturbed; then killed 500 times: somewhere in its start, or when it
has read another random part of what is left, plus 0 to 70 ms; each time the same command goes on, and where all is read, another state
begins anew. The webhook keeps what comes first
under a key. Lost: in the first run only. Doubled: under a key of the second run only, or the same key with another body. Sent again:
what came once more under a known key, which the webhook need not take. One JSON line last; asked: 0 lost, 0 doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from arguments import stored

SETTINGS = {"window": "12h", "lateness": "2h", "cooldown": "1d", "warmup": "14d", "learn": "28d", "rate": 25.0, "leap": "12h"}

PARENT = """
import json, os, sys, traceback
from kgrec_finance import replay
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        try:
            replay(None, **json.loads(line))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def write(path: Path, until: str) -> int:
    """The tweets in the order of their ids, each with scores made of a hash of its text; how many."""
    found: dict[str, dict] = {}
    with gzip.open(stored("stocknet_tweets") / "tweets.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["date"] <= until:
                found.setdefault(row["id"], row | {"tickers": []})["tickers"].append(row["ticker"])
    with path.open("w", encoding="utf-8") as file:
        for row in sorted(found.values(), key=lambda row: (row["created_at"], row["id"])):
            draw = random.Random(blake2b(row["text"].encode(), digest_size=8).digest())
            negative = round(draw.random(), 3)
            scores = [negative, round(1 - negative, 3), 0.0]
            event = {"id": row["id"], "time": row["created_at"], "text": row["text"]}
            file.write(json.dumps(event | {"scores": {"companies": dict.fromkeys(row["tickers"], scores)}}) + "\n")
    return len(found)


class Hook(ThreadingHTTPServer):
    """A webhook that honours the key."""

    def __init__(self) -> None:
        self.got: dict[str, dict] = {}
        self.again, self.other, self.asked, self.lock = 0, 0, 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_) -> None:
        """A killed client hangs up."""


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        key, body = self.headers["Idempotency-Key"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked += 1
            turn = self.server.asked % 50
            if turn != 0:
                self.server.again += key in self.server.got
                self.server.other += self.server.got.setdefault(key, body) != body
        time.sleep(0.005)
        if turn == 25:
            return
        self.send_response(503 if turn == 0 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


class Replays:
    """Processes that replay, forked from one that has imported what they need: so many starts would cost an hour otherwise."""

    def __init__(self, feed: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.feed, pipe = feed, subprocess.PIPE
        self._parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def start(self, state: Path, hook: Hook) -> None:
        sink = f"http://127.0.0.1:{hook.server_address[1]}/"
        asked = {"file": str(self.feed), "state": str(state), "sinks": [sink], "batch": 64, **SETTINGS}
        self._parent.stdin.write(json.dumps(asked) + "\n")
        self.pid = int(self._parent.stdout.readline())

    def over(self, wait: bool = False) -> bool:
        """Whether it has ended. Raises SystemExit where it failed."""
        if not wait and not select.select([self._parent.stdout], [], [], 0)[0]:
            return False
        code = int(self._parent.stdout.readline())
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"the replay ended with {code}")
        return True

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self.pid, signal.SIGKILL)
        self.over(wait=True)


def read(state: Path) -> int:
    """Bytes of the feed that are counted."""
    try:
        with sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=1) as db:
            return json.loads(db.execute("SELECT after FROM source").fetchone()[0])["at"]
    except (sqlite3.Error, TypeError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="4 kills, tweets until 2014-02-28")
    asked = parser.parse_args()
    kills, draw, began = 4 if asked.small else asked.kills, random.Random(asked.seed), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = write(folder / "feed.jsonl", "2014-02-28" if asked.small else "2014-06-30")
        size, replays = (folder / "feed.jsonl").stat().st_size, Replays(folder / "feed.jsonl")
        calm, done, early, seconds = Hook(), 0, 0, time.perf_counter()
        replays.start(folder / "calm.sqlite", calm)
        replays.over(wait=True)
        seconds, rounds, lost, doubled, again = time.perf_counter() - seconds, 0, 0, 0, 0
        while done < kills:
            rough, state, rounds = Hook(), folder / f"rough{rounds}.sqlite", rounds + 1
            replays.start(state, rough)
            while done < kills:
                if draw.random() < 0.1:
                    time.sleep(draw.random() * 0.5)
                    early += 1
                else:
                    at = read(state)
                    goal = at + draw.random() * 2 * (size - at) / (kills - done + 1)
                    while not (over := replays.over()) and read(state) <= goal:
                        time.sleep(0.02)
                    if over:
                        break
                    time.sleep(draw.random() * 0.05)
                replays.kill()
                done += 1
                replays.start(state, rough)
                if done % 50 == 0:
                    print(f"{done} kills, {read(state) / size:.0%} of round {rounds}, {len(rough.got)} alerts", flush=True)
            else:
                replays.over(wait=True)
            common = calm.got.keys() & rough.got.keys()
            lost += len(calm.got) - len(common)
            doubled += len(rough.got) - len(common) + rough.other + sum(calm.got[key] != rough.got[key] for key in common)
            again += rough.again
        result = {
            "benchmark": "finance_kill",
            "events": events,
            "kills": done,
            "in_its_start": early,
            "rounds": rounds,
            "alerts": len(calm.got),
        }
        result |= {"lost": lost, "doubled": doubled, "sent_again": again}
        result |= {"undisturbed_seconds": round(seconds, 1), "seconds": round(time.perf_counter() - began, 1)}
        print(json.dumps(result))


if __name__ == "__main__":
    main()
