"""Publishing while others open, and writing while others are killed: nothing mixed, nothing lost, nothing half.

    python examples/benchmarks/publishes.py [--small] [--publishes 1000] [--readers 8] [--seconds 60]

Publishes: two runs that answer differently take turns in one place while other processes open it as fast as they can; every opened
run must be one of the two from its recipe to its graph. Kills: two processes add products to one run, each saying what it begins and what
had returned, and are killed (SIGKILL) between the start of a commit and its end, or at a random moment, and started again; a reader
that has the run open all the while, and one that opens it at the end, must find whatever had returned, and of the rest all or nothing.
Prints one JSON line last; exits with 1 when any count of faults is not 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

PROCESSES = get_context("forkserver")
RECIPE = """
[data]
use = "tables"
[encoder]
use = "tfidf"
width = 16
[head.buys]
use = "rank"
[retrieval.buys]
use = "exact"
[train]
seed = 0
"""


def published(place: Path, folder: Path, products: int) -> None:
    """A run of so many products, whose recipe tells their number as its seed."""
    from kgrec_core import finetuning
    from kgrec_core.comparison.chains import Chain
    from kgrec_core.graph import Dataset, Graph, Relation, Task
    from kgrec_core.publishing import Finished, write
    from kgrec_core.recipe.recipe import resolve
    from kgrec_core.recipe.registry import Registry
    from kgrec_core.run import folder as run_folder
    from kgrec_core.run.origin import manifest

    place.mkdir(exist_ok=True)
    (place / "recipe.toml").write_text(RECIPE.replace("seed = 0", f"seed = {products}"))
    buys = Relation("question", "buys", "item")
    kinds = {
        "item": pl.DataFrame({"id": [f"p{i}" for i in range(products)], "text": [f"thing {i} of {i % 7}" for i in range(products)]}),
        "question": pl.DataFrame({"id": ["q"], "text": ["thing"]}),
    }
    ends = {end: pl.Series([0], dtype=pl.UInt32) for end in ("source", "target")}
    dataset = Dataset(Graph(kinds, {buys: pl.DataFrame(ends)}), (Task("buys", buys),))
    registry, recipe = Registry.discover(), resolve(place / "recipe.toml")
    model = finetuning.build_model(recipe, registry, dataset.tasks, dataset.graph)
    chain = Chain(model, finetuning.build_retrievals(recipe, registry, dataset))
    chain.build(dataset.graph)
    new = write(Finished(recipe, dataset, chain, {"tasks": {}}), place / "new")
    run_folder.publish(new, folder, manifest(dataset, recipe, "", 0, registry))


def opening(folder: Path, stop: Path, said: Connection) -> None:
    """Opens the run until it is told to stop; says how often, how often what it opened was mixed, and what else went wrong."""
    from kgrec_core.run.run import open_run

    opens, mixed, errors = 0, 0, []
    while not stop.exists():
        try:
            run = open_run(folder)
            found = {run.snapshot.recipe.tables["train"]["seed"], run.graph.size("item"), len(run.answer(["q"], k=999)[0]) + 1}
        except Exception as error:  # whatever it is, it is what this looks for
            errors.append(repr(error))
        else:
            opens, mixed = opens + 1, mixed + (len(found) > 1)
    said.send((opens, mixed, errors))


def publishes(count: int, readers: int) -> dict[str, int]:
    from kgrec_core.run import folder as run_folder
    from kgrec_core.run.origin import manifest

    with tempfile.TemporaryDirectory() as name:
        place, folder, stop = Path(name), Path(name) / "run", Path(name) / "stop"
        runs = []
        for products in (30, 50):
            published(place / f"{products}", place / f"{products}" / "run", products)
            runs.append(place / f"{products}" / "run")
        shutil.copytree(runs[0], folder)
        pipes = [PROCESSES.Pipe(duplex=False) for _ in range(readers)]
        processes = [PROCESSES.Process(target=opening, args=(folder, stop, theirs)) for _, theirs in pipes]
        for process in processes:
            process.start()
        failed = 0
        for number in range(count):
            new = Path(shutil.copytree(runs[number % 2], place / "new"))
            manifest = json.loads((new / run_folder.MANIFEST).read_text())
            try:
                run_folder.publish(new, folder, {key: value for key, value in manifest.items() if key not in ("format", "files")})
            except Exception as error:
                print(repr(error), file=sys.stderr)
                failed += 1
        stop.touch()
        told = [mine.recv() for mine, _ in pipes]
        for process in processes:
            process.join()
        left = [path.name for path in place.iterdir() if path.name not in ("30", "50", "run", "stop")]
        for error in sorted({error for _, _, errors in told for error in errors}):
            print(error, file=sys.stderr)
    return {
        "publishes": count, "failed": failed, "opens": sum(t[0] for t in told), "mixed": sum(t[1] for t in told),
        "raw_errors": sum(len(t[2]) for t in told), "left_over": len(left),
    }  # fmt: skip


def writing(folder: Path, name: str, first: int, kill: bool, said: Connection) -> None:
    """Adds products until it is killed; with `kill` it kills itself when a commit has begun and has not ended."""
    from kgrec_core.graph import Graph
    from kgrec_core.run.log import Live
    from kgrec_core.run.run import open_run

    if kill:
        ready, moment = Live._writing, random.randrange(1, 6)

        def killed(self: Live, told: str):
            nonlocal moment
            moment -= 1
            written = ready(self, told)
            if not moment:
                db = written.__enter__()
                db.set_trace_callback(lambda sql: "COMMIT" in sql and os.kill(os.getpid(), signal.SIGKILL))
                db.execute("INSERT INTO part VALUES (?, 0, randomblob(?))", (10**9 + random.randrange(10**9), random.choice([10, 10**7])))
                db.execute("COMMIT")
            return written

        Live._writing = killed
    run = open_run(folder)
    for number in range(first, 10**6):
        said.send(number)
        ids = [f"{name}-{number}-{part}" for part in "ab"]
        run.add(Graph({"item": pl.DataFrame({"id": ids, "text": [f"{id} thing" for id in ids]})}))
        said.send(-number)


def kills(seconds: float) -> dict[str, int]:
    from kgrec_core.run.run import open_run

    counts = dict.fromkeys(("kills", "returned", "lost", "half", "reader_errors"), 0)
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        published(Path(place) / "made", folder, 30)
        reader, end = open_run(folder), time.monotonic() + seconds
        begun, returned = {"x": 0, "y": 0}, {"x": set(), "y": set()}
        writers = {}
        while time.monotonic() < end or writers:
            for name in begun:
                if name not in writers and time.monotonic() < end:
                    mine, theirs = PROCESSES.Pipe(duplex=False)
                    process = PROCESSES.Process(target=writing, args=(folder, name, begun[name] + 1, rng.random() < 0.5, theirs))
                    process.start()
                    theirs.close()
                    writers[name] = process, mine, time.monotonic() + 1 + rng.random() * 2
            for name, (process, mine, when) in list(writers.items()):
                if time.monotonic() > min(when, end + 1):
                    process.kill()
                try:
                    while mine.poll(0.01):
                        number = mine.recv()
                        begun[name] = max(begun[name], number)
                        returned[name] |= {-number} if number < 0 else set()
                except EOFError:
                    process.join()
                    counts["kills"] += 1
                    del writers[name]
            try:
                reader.answer(["q"], k=3)
            except Exception as error:
                print(repr(error), file=sys.stderr)
                counts["reader_errors"] += 1
        for run in (reader, open_run(folder)):
            counts["lost"], counts["half"] = (
                a + b for a, b in zip((counts["lost"], counts["half"]), missing(run, begun, returned), strict=True)
            )
        counts["returned"] = sum(map(len, returned.values()))
    return counts


def missing(run: Run, begun: dict[str, int], returned: dict[str, set[int]]) -> tuple[int, int]:
    """How many additions had returned and are not there, and how many are there by half."""
    lost = half = 0
    for name, last in begun.items():
        for number in range(1, last + 1):
            there = run.graph.rows("item", [f"{name}-{number}-{part}" for part in "ab"]) >= 0
            lost += number in returned[name] and not there.all()
            half += there.any() and not there.all()
    return int(lost), int(half)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="30 publishes, 2 readers, 6 seconds")
    parser.add_argument("--publishes", type=int, default=1_000)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    sizes = (30, 2, 6.0) if options.small else (options.publishes, options.readers, options.seconds)
    PROCESSES.set_forkserver_preload(
        ["kgrec_core.run.run", "kgrec_core.encoder.tfidf", "kgrec_core.retrieval.exact", "sklearn.feature_extraction.text"]
    )
    found = {**publishes(*sizes[:2]), **kills(sizes[2])}
    print(json.dumps({"benchmark": "publishes", **found}))
    return int(any(found[name] for name in ("failed", "mixed", "raw_errors", "left_over", "lost", "half", "reader_errors")))


if __name__ == "__main__":
    sys.exit(main())
