"""What a shrunk run loses on its adjust queries, and how much faster one question or one list is.

    python examples/benchmarks/shrink.py [--to int8|bf16|layers=3|static] [--set banking77|order_book] [--run FOLDER] [--loss 0.005] [--rounds 100] [--small] [section.key=value ...]

The set's recipe is fitted (banking77 as pretrained, the order book whole), or FOLDER is a run of it; then `kgrec shrink --to FORM`. Asked in turn, one thread: support.ask
by a new question, or ecommerce.recommend by new words. Prints figures with intervals, milliseconds (median) and their ratio as one JSON line last; exits with 1
where the gate refuses. --small learns from few questions, allows any loss and asks less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import kgrec_core
from kgrec_core import KgrecError
from kgrec_core.domain import resolve
from kgrec_core.lifecycle.shrink import shrink

WORDS = ("card", "payment", "red", "kitchen", "lost", "refund", "clock", "transfer", "heart", "limit", "garden", "fee")
SETS = {
    "banking77": ("kgrec_support:recipe.toml", ["train.epochs=0.0", "train.contrastive=0"]),
    "order_book": ("kgrec_ecommerce:recipe.toml", []),
}
SMALL = ["data.per_class=20", "data.intents=6"]


def asking(which: str):
    """(run, number) -> a new question asked."""
    if which == "banking77":
        from kgrec_support import ask

        return lambda run, words: ask(run, f"what about my {words}", log=False)
    from kgrec_ecommerce import recommend

    return lambda run, words: recommend(run, text=words)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS, default="banking77")
    parser.add_argument("--to", default="int8")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--loss", type=float, default=0.005)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("settings", nargs="*", metavar="section.key=value")
    asked = parser.parse_args()
    import torch

    recipe, settings = SETS[asked.set]
    with tempfile.TemporaryDirectory() as name:
        if asked.run:
            run = kgrec_core.open_run(asked.run)
        else:
            run = kgrec_core.fit(resolve(recipe, settings + (SMALL if asked.small else []) + asked.settings), Path(name) / "run")
        found: dict = {"benchmark": "shrink", "to": asked.to, "set": asked.set, "small": asked.small}
        try:
            shrunk = shrink(run, asked.to, Path(name) / "small", 1.0 if asked.small else asked.loss)
        except KgrecError as refused:
            print(json.dumps({**found, "refused": str(refused)}))
            return 1
        found |= {"figures": shrunk.figures, "one text ms": shrunk.ms}
        torch.set_num_threads(1)
        runs, act, n = {"before": run, "after": kgrec_core.open_run(shrunk.folder)}, asking(asked.set), len(WORDS)
        took: dict[str, list[float]] = {which: [] for which in runs}
        for number in range(5 + (10 if asked.small else asked.rounds)):
            words = f"{WORDS[number % n]} {WORDS[number // n % n]} {WORDS[(number * 7 + 3) % n]} {number}"
            for which, of in runs.items():
                began = time.perf_counter()
                act(of, words)
                took[which].append(1e3 * (time.perf_counter() - began))
        medians = {which: statistics.median(of[5:]) for which, of in took.items()}
        found["end to end ms"] = {which: round(value, 2) for which, value in medians.items()}
        print(json.dumps({**found, "times as fast": round(medians["before"] / medians["after"], 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
