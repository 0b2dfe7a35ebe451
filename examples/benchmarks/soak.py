"""A service at half its capacity for a long while, with an edit every two seconds: does its memory stay, does nothing fail?

    python examples/benchmarks/soak.py [--small] [--run FOLDER] [--minutes 20]

Capacity is measured first, with 16 clients. Then `recommend` by ever new texts is asked at fixed moments, half as often, whatever the answers
take, and products are renamed one after the other. Memory (PSS) is looked at every two seconds; the medians of the second fifth of the
time and of its last one are compared: in the first one caches fill. Prints one JSON line last; exits with 1 where a request failed, and at full size
where memory moved by more than 3 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
from serving import fitted, load, memory, server, text, told

import kgrec_core
from kgrec_core.domain import Registry

EVERY = 2.0  # seconds between two edits


def renaming(run: Path) -> list[dict]:
    """Rows for add-items, each of a known product with another name."""
    opened = kgrec_core.open_run(run)
    part = opened.recipe.data(Registry.discover())
    spec = getattr(part, "tables", part).entities["item"]
    table = opened.graph.entities["item"].head(200)
    return [
        {spec.id: row["id"], spec.text[0]: f"{row['text']} (new)", **{name: row[name] for name in spec.attributes}}
        for row in table.select("id", "text", *spec.attributes).to_dicts()
    ]


async def held(url: str, process, rate: float, seconds: float, edits: list[dict]) -> tuple[list, list, list[float]]:
    """(status, seconds) of asks and of edits, and memory in MiB at each look."""
    asks: list[tuple[int, float]] = []
    edited: list[tuple[int, float]] = []
    seen: list[float] = []
    begin = time.perf_counter()

    async def one(into: list, path: str, body: dict) -> None:
        began, status = time.perf_counter(), 0
        with suppress(httpx.TransportError):
            status = (await http.post(path, json=body)).status_code
        into.append((status, time.perf_counter() - began))

    async def beside() -> None:
        number = 0
        while time.perf_counter() - begin < seconds:
            await one(edited, "/v1/ecommerce/add-items", {"file": [edits[number % len(edits)]]})
            seen.append(await asyncio.to_thread(memory, process))
            number += 1
            await asyncio.sleep(max(0.0, begin + EVERY * number - time.perf_counter()))

    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=256)) as http, asyncio.TaskGroup() as tasks:
        tasks.create_task(beside())
        number = 0
        while (now := time.perf_counter() - begin) < seconds:
            if now >= number / rate:
                tasks.create_task(one(asks, "/v1/ecommerce/recommend", {"text": f"{text(number)} {number}", "k": 10}))
                number += 1
            else:
                await asyncio.sleep(number / rate - now)
    return asks, edited, seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    given = parser.parse_args()
    seconds = 12.0 if given.small else 60 * given.minutes
    with tempfile.TemporaryDirectory() as name:
        run = Path(shutil.copytree(given.run, Path(name) / given.run.name)) if given.run else fitted(Path(name))
        edits = renaming(run)
        with server(run, 1) as (process, url):
            measured = min(10.0, seconds / 4)
            asyncio.run(load(url, 16, measured / 2))
            capacity = told(asyncio.run(load(url, 16, measured)), measured)["per second"]
            asks, edited, seen = asyncio.run(held(url, process, capacity / 2, seconds, edits))
    fifth = max(1, len(seen) // 5)
    before, after = statistics.median(seen[fifth : 2 * fifth]), statistics.median(seen[-fifth:])
    failed = sum(status != 200 for status, _ in asks + edited)
    found = {"seconds": seconds, "capacity per second": capacity, "asks": told(asks, seconds), "edits": told(edited, seconds)}
    found |= {"failed": failed, "MiB": [round(before, 1), round(after, 1)], "memory": round(after / before, 4)}
    print(json.dumps({"benchmark": "soak", "small": given.small, **found}))
    return 1 if failed or (not given.small and abs(after / before - 1) > 0.03) else 0


if __name__ == "__main__":
    sys.exit(main())
