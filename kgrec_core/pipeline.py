"""From a recipe to a run folder, top to bottom: load, split, floor, before, fine-tune, retrieve, test once, publish."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kgrec_core import folder as run_folder
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation import beyond, floor, ranked, variants
from kgrec_core.evaluation.card import card
from kgrec_core.graph import Dataset, Graph, Relation, Task, View, candidates
from kgrec_core.interfaces import Hits, Retrieval
from kgrec_core.model import Model
from kgrec_core.recipe import Recipe
from kgrec_core.registry import Registry
from kgrec_core.run import Run, open_run
from kgrec_core.split import Split, split
from kgrec_core.training.loop import Progress, finetune
from kgrec_core.training.options import Train

SECTIONS: dict[str, type] = {"split": Split, "train": Train}
LIBRARIES = ("kgrec-core", "torch", "transformers", "sentence-transformers", "faiss-cpu", "faiss-gpu", "polars", "lightgbm", "numpy")


class Chain(NamedTuple):
    """Everything between a query and its answers."""

    model: Model
    retrievals: Mapping[str, Retrieval]


def fit(recipe: Recipe, folder: Path, registry: Registry | None = None, progress: Progress | None = None) -> Run:
    """Turn a recipe into a run folder and open it. Killed at any moment, the same call goes on where it was.

    progress(what, done, total) is told how far a long stage is. Raises KgrecError for every mistake in recipe or data; an
    older run in `folder` stays whole until the new one takes its place.
    """
    registry, progress, folder = registry or Registry.discover(), progress or (lambda what, done, total: None), Path(folder)
    recipe = recipe.check(registry, SECTIONS)
    how, options = recipe.section("split", Split), recipe.section("train", Train)
    with run_folder.workspace(folder) as work:
        progress("loading data", 0, 0)
        dataset = recipe.data(registry).load()
        views = split(dataset, how)
        fingerprint = run_folder.fingerprint(dataset.graph)
        purpose = hashlib.sha256((recipe.dumps() + fingerprint).encode()).hexdigest()

        progress("training-free floor", 0, 0)
        results = {task.name: Results(task, views, how) for task in dataset.tasks}

        progress("pretrained model", 0, 0)
        chain = Chain(build_model(recipe, registry, dataset.tasks, views["train"].graph), build_retrievals(recipe, registry, dataset))
        learn_retrieval(chain, views, how, progress, "before")
        for result in results.values():
            result.add("before", chain, views["test"])

        history = train(chain.model, views, options, work / "checkpoint.pt", purpose, progress)
        if history:
            learn_retrieval(chain, views, how, progress, "after")
        for result in results.values():
            result.add("after", chain, views["test"])
        if knowledge(dataset):
            without = {name: without_knowledge(view, dataset) for name, view in views.items()}
            bare = chain.model
            if bare.encoder.reads_knowledge:
                bare = build_model(recipe, registry, dataset.tasks, without["train"].graph)
                train(bare, without, options, work / "checkpoint-without.pt", purpose, progress)
            compared = Chain(bare, build_retrievals(recipe, registry, dataset))
            learn_retrieval(compared, without, how, progress, "without knowledge")
            for result in results.values():
                result.add("without_knowledge", compared, without["test"], model_too=False)

        progress("building with all known edges", 0, 0)
        chain.model.refresh(dataset.graph)
        build_on(dataset.graph, dataset.tasks, chain)
        metrics = {"tasks": {name: {"test": result.table(how.seed)} for name, result in results.items()}}
        progress("publishing", 0, 0)
        new = write(work / "run", recipe, dataset, chain, metrics, history)
        run_folder.publish(new, folder, manifest(dataset, recipe, fingerprint, options, registry))
        shutil.rmtree(work)
    return open_run(folder, allow=recipe.foreign)


def build_model(recipe: Recipe, registry: Registry, tasks: tuple[Task, ...], graph: Graph) -> Model:
    """The pretrained encoder and the heads, prepared on the training view's graph."""
    if not tasks:
        raise KgrecError("the data part gives no task; add [data.tasks.NAME] with relation = ...")
    heads = {task.name: recipe.head(registry, task.name) for task in tasks}
    return Model(recipe.encoder(registry), heads, tasks).prepare(graph)


def train(model: Model, views: Mapping[str, View], options: Train, file: Path, purpose: str, progress: Progress) -> list[dict[str, Any]]:
    """Fine-tune on the training view; the best weights on the select queries stay."""

    def validate() -> dict[str, float]:
        model.refresh(views["select"].graph, only_new=True)
        return {task.name: _select(model, views["select"], task, options) for task in model.tasks}

    history = finetune(model.encoder, model.heads, model.tasks, views["train"], options, validate, file, purpose, progress)
    model.refresh(views["train"].graph)
    return history


def build_retrievals(recipe: Recipe, registry: Registry, dataset: Dataset) -> dict[str, Retrieval]:
    return {task.name: recipe.retrieval(registry, task.name) for task in dataset.tasks}


def learn_retrieval(chain: Chain, views: Mapping[str, View], how: Split, progress: Progress, name: str) -> None:
    """Retrieval built on the training view, its ranker fitted on the adjust queries, then built again on the test view."""
    model = chain.model
    progress(f"retrieval ({name})", 0, 0)
    model.refresh(views["train"].graph)
    build_on(views["train"].graph, model.tasks, chain)
    for task in model.tasks:
        retrieval, queries = chain.retrievals[task.name], views["adjust"].queries[task.name]
        if hasattr(retrieval, "fit") and len(queries.nodes):
            retrieval.fit(queries, model.vectors(task, queries.nodes))
    if how.rebuild:
        model.refresh(views["test"].graph)
        build_on(views["test"].graph, model.tasks, chain)


def build_on(graph: Graph, tasks: tuple[Task, ...], chain: Chain) -> None:
    for task in tasks:
        chain.retrievals[task.name].build(graph, task, candidates(graph, task), chain.model.encode(task))


def knowledge(dataset: Dataset) -> list[Relation]:
    """The relations that are neither asked for nor a query's history: brand, category, keyword."""
    behaviour = {r for task in dataset.tasks for r in (task.relation, *task.history)}
    return [r for r in dataset.graph.relations if r not in behaviour]


def without_knowledge(view: View, dataset: Dataset) -> View:
    gone = set(knowledge(dataset))
    graph = view.graph.with_edges({r: t for r, t in view.graph.relations.items() if r not in gone}, view.graph.as_of)
    return View(graph, {name: queries.on(graph) for name, queries in view.queries.items()})


class Results:
    """All systems' figures for one task on the test view, and on parts of it."""

    CASES = ("whole", "new_only", "repeat_only", "cold")

    def __init__(self, task: Task, views: Mapping[str, View], how: Split) -> None:
        self.task, self.views, self.hits = task, views, {}
        make: dict[str, Any] = {"whole": variants.whole, "cold": partial(variants.cold, known=views["train"].graph)}
        if task.repeats:
            make |= {"new_only": variants.new_only, "repeat_only": variants.repeat_only}
        asked = views["test"].queries[task.name]
        self.make = {name: f for name, f in make.items() if name == "whole" or len(f(asked, task).queries.targets.rows)}
        self.values: dict[str, dict[str, ranked.Values]] = {name: {} for name in self.make}
        self.floors = {
            name: floor.rank_floor(views["select"], views["test"], task, case=f, rebuild=how.rebuild, seed=how.seed)
            for name, f in self.make.items()
            if name != "repeat_only" and (name != "cold" or how.cold)
        }

    def add(self, system: str, chain: Chain, view: View, model_too: bool = True) -> None:
        """Ask the chain (and with model_too the encoder alone) the test queries: done once per system."""
        found: dict[bool, Hits] = {}  # cases with the same rows out of the ranking share one search
        for name, make in self.make.items():
            case = make(view.queries[self.task.name], self.task)
            hits = found.get(case.exclude is None)
            if hits is None:
                hits = found[case.exclude is None] = ranked.chain_hits(chain.model, chain.retrievals[self.task.name], self.task, case)
            self.values[name][system] = ranked.chain_values(hits, case)
            if name == "whole":
                self.hits[system] = hits
            if model_too:
                self.values[name][f"encoder_{system}"] = ranked.model_values(chain.model, view.graph, self.task, case)
        if model_too:
            self.vectors = chain.model.vectors(self.task, candidates(view.graph, self.task))

    def table(self, seed: int) -> dict[str, Any]:
        """What metrics.json holds for the task: the whole ranking, beyond accuracy, and the variants."""
        tables = {}
        for name, values in self.values.items():
            floors = self.floors.get(name)
            tables[name] = ranked.table(values, floors.values if floors else {}, "ndcg@10", seed)
            if floors:
                tables[name]["floor_settings"] = floors.settings
        beyond_accuracy = {system: self._beyond(hits) for system, hits in self.hits.items()}
        return {**tables.pop("whole"), "beyond": beyond_accuracy, "variants": tables}

    def _beyond(self, hits: Hits, k: int = 10) -> dict[str, Any]:
        graph = self.views["test"].graph
        rows = candidates(graph, self.task).rows
        popularity = graph.degree(self.task.relation, rows, inverse=True)
        each = {
            f"novelty@{k}": beyond.novelty(hits, rows, popularity, k),
            f"popularity_bias@{k}": beyond.popularity_bias(hits, rows, popularity, k),
            f"intra_list_diversity@{k}": beyond.intra_list_diversity(hits, rows, self.vectors, k),
        }
        return {f"coverage@{k}": beyond.coverage(hits, rows, k), **ranked.intervals(each)}


def write(new: Path, recipe: Recipe, dataset: Dataset, chain: Chain, metrics: dict[str, Any], history: list[dict[str, Any]]) -> Path:
    """All files of a run, in a working folder."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    (new / "recipe.toml").write_text(recipe.dumps())
    for use, file in recipe.foreign.items():  # so that the run opens elsewhere too
        beside = new / f"{use.partition(':')[0]}.py"
        beside.parent.mkdir(parents=True, exist_ok=True)
        if not beside.exists():
            shutil.copyfile(file, beside)
    for place in ("encoder", *(f"{kind}/{task.name}" for kind in ("head", "retrieval") for task in dataset.tasks)):
        (new / place).mkdir(parents=True)
    chain.model.encoder.save(new / "encoder")
    for task in dataset.tasks:
        chain.model.heads[task.name].save(new / "head" / task.name)
        chain.retrievals[task.name].save(new / "retrieval" / task.name)
    run_folder.save_graph(dataset.graph, new / "knowledge")
    (new / "metrics.json").write_text(json.dumps(metrics, indent=1))
    (new / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history))
    (new / "README.md").write_text(card(recipe.tables, metrics, dataset))
    return new


def manifest(dataset: Dataset, recipe: Recipe, fingerprint: str, options: Train, registry: Registry) -> dict[str, Any]:
    """What the run was made from and with."""
    return {
        "tasks": [
            {"name": t.name, "relation": list(t.relation), "history": [list(r) for r in t.history], "repeats": t.repeats}
            for t in dataset.tasks
        ],
        "data": fingerprint,
        "seed": options.seed,
        "foreign": {use: run_folder.checksum(path) for use, path in recipe.foreign.items()},
        "plugins": {plugin.name: str(plugin.version) for plugin in registry.plugins if plugin.state == "active"},
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
        "python": platform.python_version(),
    }


def _select(model: Model, view: View, task: Task, options: Train) -> float:
    metric = options.metric or model.heads[task.name].metric
    case = variants.whole(view.queries[task.name], task)
    return float(np.nanmean(ranked.model_values(model, view.graph, task, case, (metric,))[metric]))


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
