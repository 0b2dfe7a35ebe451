"""Are explanations faithful? Deleting the edges that one names must lower the answer's score more than deleting random ones.

    python examples/benchmarks/fidelity.py [--set beauty|order_book] [--run RUN] [--answers 500] [--seed 0] [--small]

Amazon Beauty (in KGREC_DATA, default ../shared/data; left out where it is not) and the order book, each by its benchmark's own chain with
the encoder as it was pretrained, fitted once; of the order book also with what a customer met out of the ranking. Of each of 500 test
queries the first answer is explained; its named edges are deleted, beside as many random edges of the same items and of the same history.
Scores in units of their spread over the answers. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
from arguments import DATA
from beauty import RECIPE as BEAUTY
from order_book import SMALL

from kgrec_core import Nodes, open_run
from kgrec_core.domain import Recipe, Registry, Split, fidelity, fitted_chain, loaded, resolve, split


def measured(recipe: Recipe, answers: int, seed: int, new: bool = False) -> dict[str, dict]:
    """Of one recipe, whose chain is fitted on the adjust queries."""
    registry = Registry.discover()
    dataset, how = loaded(recipe, registry).dataset, recipe.section("split", Split)
    (task,), views = dataset.tasks, split(dataset, how)
    model, retrievals = fitted_chain(recipe, registry, dataset, views)
    queries = views["test"].queries[task.name].nodes
    met, found = queries.read(task.relation), {}
    model.refresh(queries.graph)
    for name, gone in {"all": None if task.repeats else met, **({"new": met} if new else {})}.items():
        found[name] = fidelity(model, retrievals[task.name], task, queries, gone, answers, seed)
    return found


def of_run(folder: Path, answers: int, seed: int) -> dict[str, dict]:
    """Of a published run, asked by those it knows."""
    run = open_run(folder)
    snapshot, task = run.snapshot, run.tasks[0]
    known = np.flatnonzero(run.graph.degree(task.relation, np.arange(run.graph.size(task.relation.source))) > 1)
    queries = Nodes(run.graph, task.relation.source, known, "query")
    gone = None if task.repeats else queries.read(task.relation)
    return fidelity(snapshot.model, snapshot.retrievals[task.name], task, queries, gone, answers, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=("beauty", "order_book"))
    parser.add_argument("--run", type=Path, help="of a published run instead, whatever its domain")
    parser.add_argument("--answers", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="12 answers of a few customers")
    asked = parser.parse_args()
    folder = DATA / "amazon_beauty"
    asked.run = asked.run and asked.run.absolute()
    os.chdir(Path(__file__).parent)  # where `beauty:Beauty` is found
    answers, began = 12 if asked.small else asked.answers, time.monotonic()
    small = ["data.users=150", "retrieval.buys.trees=10"] if asked.small else ["retrieval.buys.queries=4000"]
    found: dict = {"benchmark": "fidelity", "seed": asked.seed, "answers": answers}
    if asked.run:
        found["run"] = of_run(asked.run, answers, asked.seed)
        print(json.dumps(found))
        return
    if asked.set != "order_book" and folder.is_dir():
        found["beauty"] = measured(resolve(BEAUTY, [f"data.folder={folder}", *small]), answers, asked.seed)["all"]
        print("beauty", json.dumps(found["beauty"]), flush=True)
    if asked.set != "beauty":
        settings = ["train.epochs=0", "retrieval.buys.windows=0", *(SMALL if asked.small else [])]
        of = measured(resolve("kgrec_ecommerce:recipe.toml", settings), answers, asked.seed, new=True)
        found |= {"order_book": of["all"], "order_book_new": of["new"]}
    found["seconds"] = round(time.monotonic() - began)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
