"""What the monitor costs around the model, and whether it stays as large as it is.

    python examples/benchmarks/finance_stream.py [--run runs/news] [--events 1000000] [--texts 3000] [--small]

Speed: stock tweets go through the monitor with a run's model (fitted here on few headlines where --run is not given), end to end: read,
parse, link, merge stories, score article and mentions of what is new, windows, detectors, commit. Bare: the texts of all these articles
and mentions through the run's encoder alone, in one call, in passes of the shape that scores need to be the same to the bit; beside it,
not in the ratio, in whatever passes are fastest. Rounds alternate; the median of their ratios counts.
Memory: generated events with stored scores, one a minute and a tenth of them copies, 60 companies; resident memory at every
percent after the first tenth. One JSON line last; asked: ratio >= 0.8; memory within 5 % of its median.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from kgrec_finance.articles.reading import lead, towards
from kgrec_finance.articles.roster import roster
from kgrec_finance.articles.sample import TWEETS, TWEETS_COMPANIES
from kgrec_finance.feeds.batches import batches
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.model import SentimentModel
from kgrec_finance.monitoring.monitor import Monitor
from kgrec_finance.monitoring.scores import named
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import State

import kgrec_core
from kgrec_core import Nodes, fit
from kgrec_core.domain import TOGETHER, Run, resolve, with_queries
from kgrec_core.parts import fixed_shape

MINUTE = 60_000_000
BEGIN = 1_600_000_000_000_000
WORDS = [
    "profit", "loss", "order", "plant", "court", "union", "merger", "bond", "price", "export", "market", "share", "chief", "strike",
    "recall", "growth", "debt", "yield", "fire", "deal",
]  # fmt: skip


def fitted(folder: Path) -> Run:
    layer = {"data": {"headlines": 300}, "train": {"steps": 2, "contrastive": 0.0}}
    fit(resolve("kgrec_finance:recipe.toml", layer), folder)
    return kgrec_core.open_run(folder)


def speed(run: Run, feed: Path, folder: Path, number: int) -> tuple[float, float, float, int]:
    """Seconds end to end, of the encoder alone, of it in its fastest passes; texts that were scored."""
    known = roster(TWEETS_COMPANIES)
    scoring = SentimentModel(run, known.linker)
    with State(folder / f"{number}.sqlite", write=True) as state:
        monitor = Monitor(state, Settings(), score=scoring, linker=known.linker, graph=known.graph)
        start = time.perf_counter()
        for batch in batches(feed, None, size=256, wait=False, columns={"time": "created_at"}):
            monitor.take("feed", batch)
        whole = time.perf_counter() - start
    texts: dict[str, list[str]] = {"sentiment": [], "entity_sentiment": []}
    for batch in batches(feed, None, size=256, wait=False, columns={"time": "created_at"}):
        for event, _ in batch:
            texts["sentiment"] += [text for text, _ in lead(event.text)]
            texts["entity_sentiment"] += [t for of in towards(event.text, named(event, known.linker), known.linker) for t, _ in of]
    asked = [name for name in texts if name in {task.name for task in run.tasks}]
    with fixed_shape(TOGETHER):
        bare = sum(encoding(run, name, texts[name], f"{number} ") for name in asked)
    fastest = sum(encoding(run, name, texts[name], f"{number}, ") for name in asked)
    return whole, bare, fastest, sum(map(len, texts.values()))


def encoding(run: Run, task: str, texts: list[str], new: str) -> float:
    """Seconds of the encoder alone. new: before each text, which then was never encoded."""
    snapshot = run.snapshot
    graph, rows = with_queries(snapshot.graph, snapshot.task(task), [{"text": f"{new}{text}"} for text in texts])
    start = time.perf_counter()
    snapshot.model.vectors(snapshot.task(task), Nodes(graph, snapshot.task(task).relation.source, rows, "query"))
    return time.perf_counter() - start


def generated(count: int) -> Iterator[Event]:
    draw, text = random.Random(0), ""
    for n in range(count):
        company = f"C{draw.randrange(60)}"
        text = text if n % 10 == 9 else f"{company} {' '.join(draw.choices(WORDS, k=9))} {n}"
        negative = draw.random()
        raw = {"scores": {"companies": {company: [negative, 1 - negative, 0.0]}}}
        yield Event(str(n), BEGIN + n * MINUTE, text, None, raw)


def memory(count: int, folder: Path) -> dict:
    """Resident memory (MiB) and events a second."""
    process, seen = psutil.Process(), []
    with State(folder / "memory.sqlite", write=True) as state:
        monitor = Monitor(state, Settings(warmup=14 * 1440 * MINUTE, learn=35 * 1440 * MINUTE, keep=60 * 1440 * MINUTE))
        start, batch = time.perf_counter(), []
        for n, event in enumerate(generated(count), 1):
            batch.append((event, json.dumps({"at": n})))
            if len(batch) == 256 or n == count:
                monitor.take("feed", batch)
                batch = []
            if n % max(count // 100, 1) == 0 and n > count // 10:
                seen.append(process.memory_info().rss / 2**20)
                if n % max(count // 10, 1) == 0:
                    print(f"{n:,} events, {seen[-1]:.0f} MiB, {n / (time.perf_counter() - start):.0f}/s", flush=True)
        rate, alerts = count / (time.perf_counter() - start), state.counted()["alert"]
    middle = statistics.median(seen)
    return {"mib": round(middle, 1), "lowest": round(min(seen) / middle - 1, 4), "highest": round(max(seen) / middle - 1, 4)} | {
        "events_a_second": round(rate), "last_alerts": alerts
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=1000, help="tweets in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="one round of 100 tweets; 3,000 events")
    asked = parser.parse_args()
    tweets, rounds, events = (100, 1, 3_000) if asked.small else (asked.texts, asked.rounds, asked.events)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = kgrec_core.open_run(asked.run) if asked.run else fitted(folder / "run")
        feed = folder / "feed.jsonl"
        with gzip.open(TWEETS, "rt", encoding="utf-8") as lines:
            feed.write_text("".join(line for line, _ in zip(lines, range(tweets), strict=False)), encoding="utf-8")
        each = [speed(run, feed, folder, number) for number in range(rounds)]
        ratios = [bare / whole for whole, bare, *_ in each]
        result = {"benchmark": "finance_stream", "tweets": tweets, "texts": each[0][3], "ratio": round(statistics.median(ratios), 3)}
        names = ("texts_a_second", "bare_texts_a_second", "fastest_texts_a_second")
        result |= {name: round(statistics.median(of[3] / of[at] for of in each), 1) for at, name in enumerate(names)}
        print(json.dumps(result), flush=True)
        print(json.dumps(result | {"events": events, "memory": memory(events, folder)}))


if __name__ == "__main__":
    main()
