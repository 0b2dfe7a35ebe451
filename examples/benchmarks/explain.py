"""What an explanation costs: ten answers to one query with their reasons, against the same ten without, CPU seconds.

    python examples/benchmarks/explain.py [--run runs/demo] [--queries 40] [--seed 0] [--small]

The run that `make demo` leaves, or another. Queries are drawn among the sources with two edges or more, asked one at a time, by id; the
first is asked before and not counted. Asked: <= .05 CPU seconds. Answers without a path are counted, since their reasons say little.
--small: 3 queries of a run of a few customers, fitted for it. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from order_book import SMALL

from kgrec_core import fit, open_run
from kgrec_core.domain import Run, resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="3 queries of a small run")
    asked = parser.parse_args()
    if asked.small:
        with tempfile.TemporaryDirectory() as folder:
            found = timed(fit(resolve("kgrec_ecommerce:recipe.toml", SMALL), Path(folder) / "run"), 3, asked.seed)
    else:
        found = timed(open_run(asked.run), asked.queries, asked.seed)
    print(json.dumps({"benchmark": "explain", **found}))


def timed(run: Run, queries: int, seed: int) -> dict[str, Any]:
    """CPU seconds of ten answers, and of the same ten with their reasons."""
    task, graph = run.tasks[0], run.graph
    kind = task.relation.source
    known = np.flatnonzero(graph.degree(task.relation, np.arange(graph.size(kind))) > 1)
    seconds: dict[str, list[float]] = {"answer": [], "explain": []}
    paths = []
    for row in np.random.default_rng(seed).choice(known, 1 + queries, replace=False).tolist():
        query, began = [graph.entities[kind]["id"][row]], time.process_time()
        run.answer(query, task.name, 10)
        between = time.process_time()
        (reasons,) = run.explain(query, task.name, 10)
        seconds["answer"].append(between - began)
        seconds["explain"].append(time.process_time() - between)
        paths += [len(reason.paths) for reason in reasons]
    cpu = {f"{name}_{q}": round(float(np.quantile(of[1:], q)), 4) for name, of in seconds.items() for q in (0.5, 0.95)}
    return {"queries": queries, "answers": len(paths), "without_path": paths.count(0), "cpu_s": cpu}


if __name__ == "__main__":
    main()
