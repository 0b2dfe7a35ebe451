"""sentfin (Sinha et al. 2022): macro F1 of the sentiment towards each company, out of fold, against a classifier of whole articles.

    python examples/benchmarks/finance_companies.py [--folds 5] [--only 0] [--jobs 1] [--seed 0] [--validate] [--small] [section.key=value ...]

Headlines are dealt into five folds; each is asked of a model that learned from the others, of which a tenth are validation. One encoder
learns both tasks. `mention` is what it says towards the company; `article` is what it says of the headline, taken for each of its
companies: the reference. Figures are over all mentions and over those of the 1,233 headlines whose companies have different labels, each
with the ratio of the two. --only asks one fold; --jobs trains so many at a time, best with OMP_NUM_THREADS=1. --validate
asks the validation headlines. --small learns from 150 headlines for a few steps, in two folds. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from arguments import Clock, about, asked_of
from kgrec_finance.articles.assembly import IN_ARTICLE, TOWARDS
from kgrec_finance.articles.sample import Sentfin
from sklearn.metrics import accuracy_score, f1_score

from kgrec_core import Dataset, Graph, Nodes, candidates, fit
from kgrec_core.domain import Run, resolve

SETTINGS = ["encoder.max_length=64", "train.batch=64", "train.lr=1e-4", "train.epochs=3", "train.contrastive=0.5", "train.validations=3"]
TASKS = ("sentiment", "entity_sentiment")
SMALL = ["data.headlines=150", "train.steps=2", "train.validations=1"]


class Folds(Sentfin):
    """The headlines with a column `split`: which are asked, which are validation. fold: of `folds`."""

    def __init__(self, *, fold: int = 0, folds: int = 5, headlines: int | None = None, seed: int = 0) -> None:
        super().__init__(headlines=headlines, seed=seed)
        self.fold, self.folds = fold, folds

    def load(self) -> Dataset:
        graph, tasks = super().load()
        rng = np.random.default_rng(self.seed)
        size = graph.size("article")
        fold, validation = rng.permutation(size) % self.folds, rng.random(size) < 0.1
        part = pl.Series("split", np.where(fold == self.fold, "test", np.where(validation, "validation", "train")))
        of = graph.relations[IN_ARTICLE].sort("source")["target"]
        entities = {
            **graph.entities,
            "article": graph.entities["article"].with_columns(part),
            "mention": graph.entities["mention"].with_columns(part.gather(of)),
        }
        return Dataset(Graph(entities, graph.relations, graph.timeless), tasks)


def predictions(run: Run, asked: str) -> pl.DataFrame:
    """mention, true, towards (what the model says of the company), whole (of its headline): rows of the label kind."""
    graph = run.graph
    of = graph.relations[IN_ARTICLE].sort("source")["target"].to_numpy()
    rows = np.flatnonzero((graph.entities["mention"]["split"] == asked).to_numpy())
    true = graph.adjacent(TOWARDS, rows).rows
    found = {}
    for name, kind, which in (("entity_sentiment", "mention", rows), ("sentiment", "article", of[rows].astype(np.int64))):
        model, task = run.snapshot.model, run.task(name)
        classes = model.vectors(task, candidates(graph, task))
        distinct, place = np.unique(which, return_inverse=True)
        said = (model.vectors(task, Nodes(graph, kind, distinct, "query")) @ classes.T).argmax(1)
        found[name] = said[place]
    labels = pl.DataFrame({"article": of[rows], "true": true})
    conflict = labels.select(pl.col("true").n_unique().over("article") > 1).to_series()
    return labels.with_columns(conflict.alias("conflict"), towards=found["entity_sentiment"], whole=found["sentiment"])


def figures(table: pl.DataFrame) -> dict[str, float]:
    true, towards, whole = (table[name].to_numpy() for name in ("true", "towards", "whole"))
    mine, reference = f1_score(true, towards, average="macro"), f1_score(true, whole, average="macro")
    accuracy = {"accuracy": accuracy_score(true, towards), "reference_accuracy": accuracy_score(true, whole)}
    return {"f1": mine, "reference_f1": reference, "ratio": mine / max(reference, 1e-9), **accuracy, "n": len(true)}


def tested(asked: argparse.Namespace, fold: int, folds: int) -> tuple[pl.DataFrame, float]:
    """The predictions of one fold, and the seconds of its training."""
    os.chdir(Path(__file__).parent)  # where `finance_companies:Folds` is found
    own = {"data": {"use": "finance_companies:Folds", "fold": fold, "folds": folds, "seed": asked.seed}}
    own |= {"split": {"by": "column", "column": "split"}, "retrieval": {task: {"use": "exact"} for task in TASKS}}
    settings = [*SETTINGS, f"train.seed={asked.seed}", *(SMALL if asked.small else []), *asked.settings]
    with tempfile.TemporaryDirectory() as folder:
        run = fit(resolve("kgrec_finance:recipe.toml", own, settings), Path(folder) / "run", progress=Clock(50, f"fold {fold} "))
        table = predictions(run, "validation" if asked.validate else "test")
        print({"fold": fold, "all": figures(table), "select": [record["select"] for record in run.history]}, flush=True)
        return table, run.history[-1]["seconds"] if run.history else 0.0


def main() -> None:
    parser = about(__doc__)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--validate", action="store_true")
    asked = asked_of(parser)
    clock, folds = Clock(), 2 if asked.small else asked.folds
    with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as processes:
        done = processes.map(partial(tested, asked, folds=folds), range(folds) if asked.only is None else [asked.only])
        tables, trained = zip(*done, strict=True)
    table = pl.concat(tables)
    found = {"benchmark": "finance_companies", "seed": asked.seed, "asked": "validation" if asked.validate else "test"}
    found |= {"all": figures(table), "conflicting": figures(table.filter("conflict"))}
    print(json.dumps(found | {"training_seconds": round(sum(trained)), "seconds": clock.seconds}))


if __name__ == "__main__":
    main()
