"""How soon an added entry is found in an open run of 10,000 entries, and what is left of edits whose process is killed.

    python examples/benchmarks/edits.py [--small] [--adds 200] [--kills 1000]

Speed: the domain's own encoder and channels; in one process with the run open, the time from the call of `add` until `ask` has given the
new entry for its question, which includes making it durable. Kills: a child process adds entries one after another and says so when
a call has returned; it is killed (SIGKILL) at a random moment. Then every entry that it spoke of must be found, and the one it was at must
be there whole, or not at all. The children's encoder is `tfidf`, which opens fast; what is killed is the same. Prints one JSON
line last; exits with 1 when the p95 is 100 ms or more at full size, or when anything is lost or half-visible.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from ask import published, sentence

AT_ONCE = 20  # rounds of kills between which the log of edits is put back: every child replays it


def entry(number: int) -> tuple[str, str, str]:
    """Question, answer, id; none of the FAQ's."""
    return sentence(number, f"Where is {{verb}}-{{thing}} {{a}}{{b}} number {number}?"), f"It is in drawer {number}.", f"new{number}"


def speed(entries: int, adds: int) -> dict[str, float]:
    from kgrec_support import add, ask

    from kgrec_core import open_run

    with tempfile.TemporaryDirectory() as name:
        run = published(Path(name), entries)
        took, durable = [], []
        for number in range(adds + 5):
            question, answer, id = entry(number)
            start = time.perf_counter()
            add(run, question, answer, id=id)
            durable.append(1_000 * (time.perf_counter() - start))
            found = ask(run, question, log=False)
            took.append(1_000 * (time.perf_counter() - start))
            if found.answers[0].id != id:
                raise SystemExit(f"{id} was added and is not found")
        start = time.perf_counter()
        open_run(run.folder).graph  # noqa: B018
        reopened = time.perf_counter() - start
    figures = {
        f"{what}_{q}_ms": round(float(np.quantile(t[5:], p)), 2)
        for what, t in (("add", durable), ("findable", took))
        for q, p in (("median", 0.5), ("p95", 0.95))
    }
    return {"entries": entries, "adds": adds, **figures, "reopened_s": round(reopened, 2)}


def child(folder: Path, first: int, said: Connection) -> None:
    """Adds entries until it is killed."""
    from kgrec_support import add

    from kgrec_core import open_run

    run = open_run(folder)
    said.send(first - 1)
    for number in range(first, first + 10_000):
        question, answer, id = entry(number)
        add(run, question, answer, id=id)
        said.send(number)


def kills(rounds: int) -> dict[str, int]:
    """Counts over all rounds; acknowledged: additions that had returned; begun: found whole though the call had not returned."""
    from kgrec_support import ask
    from kgrec_support.desk import answering

    from kgrec_core import open_run

    processes, rng = multiprocessing.get_context("forkserver"), random.Random(0)
    processes.set_forkserver_preload(
        ["kgrec_core.run.run", "kgrec_core.encoder.tfidf", "kgrec_support.entries", "faiss", "bm25s", "sklearn.feature_extraction.text"]
    )
    counts = dict.fromkeys(("acknowledged", "begun", "lost", "half"), 0)
    with tempfile.TemporaryDirectory() as name:
        folder = published(Path(name), 200, {"use": "tfidf"}).folder
        log, first = folder.with_name(f"{folder.name}.live.sqlite"), 0
        for number in range(rounds):
            if number % AT_ONCE == 0:
                for file in log.parent.glob(f"{log.name}*"):
                    file.unlink()
                reader, first = open_run(folder), 0
            mine, theirs = processes.Pipe(duplex=False)
            process = processes.Process(target=child, args=(folder, first, theirs))
            process.start()
            theirs.close()
            last = mine.recv()
            time.sleep(rng.random() * 0.15)
            os.kill(process.pid, signal.SIGKILL)
            try:
                while True:
                    last = mine.recv()
            except EOFError:
                process.join()
            counts["acknowledged"] += last - first + 1
            for place in range(first, last + 2):
                graph, task, (question, answer, id) = reader.graph, answering(reader), entry(place)
                row = graph.rows("answer", [id])
                there = row[0] >= 0
                whole = (
                    there
                    and graph.gather("answer", row, "text").item() == answer
                    and graph.degree(task.relation, row, inverse=True)[0] == 1
                )
                if place > last:
                    counts["begun"] += whole
                    counts["half"] += there and not whole
                    first = place + int(there)
                else:
                    counts["lost"] += not whole or ask(reader, question, log=False).answers[0].id != id
    return {"kills": rounds, **{key: int(value) for key, value in counts.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="300 entries, 10 additions, 3 kills")
    parser.add_argument("--adds", type=int, default=200, help="additions that are timed")
    parser.add_argument("--kills", type=int, default=1_000, help="processes that are killed")
    options = parser.parse_args()
    timed = speed(300 if options.small else 10_000, 10 if options.small else options.adds)
    print(json.dumps(timed), flush=True)
    killed = kills(3 if options.small else options.kills) if options.kills else {"kills": 0, "lost": 0, "half": 0}
    print(json.dumps({"benchmark": "edits", **timed, **killed}))
    return int(bool(killed["lost"] or killed["half"]) or (not options.small and timed["findable_p95_ms"] >= 100))


if __name__ == "__main__":
    sys.exit(main())
