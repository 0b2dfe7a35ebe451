"""All systems' figures for one task, gathered while the pipeline goes: what metrics.json holds for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_core.comparison import contenders
from kgrec_core.comparison.class_floor import class_floor
from kgrec_core.comparison.floor import Floor
from kgrec_core.evaluation import beyond, class_metrics, class_tables, curves, rank_tables, slices, variants
from kgrec_core.evaluation.metrics import measure
from kgrec_core.graph import Graph, Queries, Task, View, candidates
from kgrec_core.interfaces import Head, Hits, Retrieval, Vectors
from kgrec_core.model import Model
from kgrec_core.split import Split

TUNED = "floor: "  # what the names begin with of contenders whose settings were chosen by the adjust queries


def results_of(task: Task, head: Head, views: Mapping[str, View], how: Split) -> Results:
    """Measures the floor at once; a head with vectors of its own for the candidates makes the task a classification."""
    return (Ranking if head.encodes_candidates else Classification)(task, views, how)


def select_value(model: Model, view: View, task: Task, metric: str | None) -> float:
    """What early stopping watches: the model alone on the select queries, by the head's own metric or another."""
    head, case = model.heads[task.name], variants.whole(view.queries[task.name], task)
    metric = metric or head.metric
    if metric in class_metrics.METRICS:
        return class_metrics.value(class_tables.model_classes(model, view.graph, task, case), case.queries.targets, metric)
    ranks = rank_tables.model_ranks(model, view.graph, task, case)
    return float(np.nanmean(measure(ranks, case.queries.targets, (metric,))[metric]))


def ranked_values(task: Task, model: Model, retrieval: Retrieval, queries: Queries) -> NDArray[np.float64]:
    """(n,) NDCG@10 of a chain for every query, NaN without a target."""
    case = variants.whole(queries, task)
    return rank_tables.chain_values(rank_tables.chain_hits(model, retrieval, task, case), case)[Ranking.metric]


def right_values(task: Task, model: Model, retrieval: Retrieval, queries: Queries) -> NDArray[np.float64]:
    """(n,) whether a chain's first class is right, NaN without a target."""
    case = variants.whole(queries, task)
    return class_metrics.right(class_metrics.predicted(rank_tables.chain_hits(model, retrieval, task, case)), case.queries.targets)


def asked_values(task: Task, model: Model, retrieval: Retrieval, queries: Queries) -> NDArray[np.float64]:
    """By what the task's head makes of it: a ranking or a classification."""
    return (ranked_values if model.heads[task.name].encodes_candidates else right_values)(task, model, retrieval, queries)


class Ranking:
    """Of a task whose candidates are ranked: on the whole test view, and on parts of it.

    The floor is chosen on the adjust queries, as a ranker is: the select queries then tell which of all is published.
    """

    metric = "ndcg@10"

    def __init__(self, task: Task, views: Mapping[str, View], how: Split) -> None:
        self.task, self.views, self.hits = task, views, {}
        self.vectors: dict[str, Vectors] = {}  # of the candidates, by whose model
        make: dict[str, Any] = {"whole": variants.whole, "cold": partial(variants.cold, known=views["train"].graph)}
        make |= {"cold_alone": variants.cold_alone}
        if task.repeats:
            make |= {"new_only": variants.new_only, "repeat_only": variants.repeat_only}
        asked = views["test"].queries[task.name]
        self.make = {name: f for name, f in make.items() if name == "whole" or len(f(asked, task).queries.targets.rows)}
        self.values: dict[str, dict[str, rank_tables.Values]] = {name: {} for name in self.make}
        self.slices = slices.slices(asked, task)
        chooses = views["adjust" if len(views["adjust"].queries[task.name].targets.rows) else "select"]
        floor = Floor(chooses, views["test"], task, rebuild=how.rebuild, seed=how.seed)
        self.floors = {"whole": floor.measure()}
        for name in [name for name in self.make if name not in ("whole", "repeat_only") and (name != "cold" or how.cold)]:
            # of what nobody has chosen yet, and in small shops of what is new to a customer, the queries that choose have next to none
            few = name == "cold_alone" or not floor.chooses_by(self.make[name])
            self.floors[name] = floor.measure(self.make[name], settings=self.floors["whole"].settings if few else None)

    def add(self, system: str, model: Model, retrieval: Retrieval, view: View, model_too: bool = True) -> None:
        """Ask the chain (and with model_too the encoder alone) the test queries: done once per system."""
        cases = {name: make(view.queries[self.task.name], self.task) for name, make in self.make.items()}
        found: dict[tuple[bool, bool], Hits] = {}  # cases with the same rows in the ranking share one search
        for name, case in cases.items():
            hits = found.get(case.key)
            if hits is None:
                hits = found[case.key] = rank_tables.chain_hits(model, retrieval, self.task, case)
            self.values[name][system] = rank_tables.chain_values(hits, case)
            if name == "whole":
                self.hits[system] = hits
        if model_too:
            ranks = variants.ranked_once(cases, partial(rank_tables.model_ranks, model, view.graph, self.task))
            for name, case in cases.items():
                self.values[name][f"encoder_{system}"] = measure(ranks[name], case.queries.targets)
        if model_too or system == "published":
            self.vectors[system] = model.vectors(self.task, candidates(view.graph, self.task))

    def again(self, system: str, as_before: str) -> None:
        """A system that is another one."""
        self.hits[system], self.vectors[system] = self.hits[as_before], self.vectors[as_before]
        for values in self.values.values():
            values |= {n: values[o] for n, o in ((system, as_before), (f"encoder_{system}", f"encoder_{as_before}")) if o in values}

    def asked(self, model: Model, retrieval: Retrieval, view: View) -> NDArray[np.float64]:
        """(n,) the metric of a chain for every query of a view, NaN without a target."""
        return ranked_values(self.task, model, retrieval, view.queries[self.task.name])

    def tested(self, system: str) -> NDArray[np.float64]:
        """(n,) the metric of a system for every test query, NaN without a target."""
        return self.values["whole"][system][self.metric]

    def simple(self, graph: Graph, recipe: contenders.Table) -> dict[str, contenders.Table]:
        """What could be published in place of the recipe's retrieval, as tables: what goes with the history, and what is asked always."""
        # What `references` asks finds a question that was added, too, and at once; the floor's words do not.
        floors = {} if "text" in graph.columns(self.task.relation.source) else self.floors["whole"].settings
        floor = {name: Floor.table(of["settings"], of["weights"]) for name, of in floors.items()}
        alone = contenders.beside(recipe, contenders.references(graph, self.task, ranks=True))
        return {TUNED + n: t for n, t in floor.items()} | {name: contenders.alone(name, table) for name, table in alone.items()}

    def table(self, seed: int) -> dict[str, Any]:
        """The whole ranking, beyond accuracy, and the variants."""
        tables = {}
        for name, values in self.values.items():
            floors = self.floors.get(name)
            tables[name] = rank_tables.table(values, floors.values if floors else {}, "ndcg@10", seed)
            if floors:
                tables[name]["floor_settings"] = floors.settings
        for name, mask in self.slices.items():
            floors, systems = (slices.masked(of, mask) for of in (self.floors["whole"].values, self.values["whole"]))
            tables[name] = rank_tables.table(systems, floors, "ndcg@10", seed)
        last = [name for name in self.vectors if name != "published"] or ["published"]  # what is published is seen by its own vectors
        own = {system: self.vectors[system if system == "published" else last[-1]] for system in self.hits}
        beyond_accuracy = {system: self._beyond(hits, own[system]) for system, hits in self.hits.items()}
        shown = "published" if "published" in self.hits else "after"
        drawn = {"curves": self._curves(self.hits[shown], own[shown], seed)} if shown in self.hits else {}
        return {**tables.pop("whole"), "beyond": beyond_accuracy, **drawn, "variants": tables}

    def _curves(self, hits: Hits, vectors: Vectors, seed: int) -> dict[str, curves.Curve]:
        graph, asked = self.views["test"].graph, self.views["test"].queries[self.task.name]
        rows = candidates(graph, self.task).rows
        new = graph.degree(self.task.relation, rows, inverse=True) == 0
        return curves.curves(hits, asked.targets, rows, vectors, new, seed)

    def _beyond(self, hits: Hits, vectors: Vectors, k: int = 10) -> dict[str, Any]:
        graph = self.views["test"].graph
        rows = candidates(graph, self.task).rows
        popularity = graph.degree(self.task.relation, rows, inverse=True)
        each = {
            f"novelty@{k}": beyond.novelty(hits, rows, popularity, k),
            f"popularity_bias@{k}": beyond.popularity_bias(hits, rows, popularity, k),
            f"intra_list_diversity@{k}": beyond.intra_list_diversity(hits, rows, vectors, k),
        }
        return {f"coverage@{k}": beyond.coverage(hits, rows, k), **rank_tables.intervals(each)}


class Classification:
    """Of a task whose head chooses among classes: accuracy, macro F1, every class, the largest confusions."""

    metric = "accuracy"

    def __init__(self, task: Task, views: Mapping[str, View], how: Split) -> None:
        self.task, self.graph = task, views["test"].graph
        self.targets = views["test"].queries[task.name].targets
        self.slices = {n: m for n, m in slices.slices(views["test"].queries[task.name], task).items() if n != "short_history"}
        self.floor = class_floor(views, task, rebuild=how.rebuild, seed=how.seed)
        self.found: dict[str, class_metrics.Rows] = {}

    def add(self, system: str, model: Model, retrieval: Retrieval, view: View, model_too: bool = True) -> None:
        """Ask the chain (and with model_too the head alone) the test queries: done once per system."""
        case = variants.whole(view.queries[self.task.name], self.task)
        self.found[system] = class_metrics.predicted(rank_tables.chain_hits(model, retrieval, self.task, case))
        if model_too:
            self.found[f"encoder_{system}"] = class_tables.model_classes(model, view.graph, self.task, case)

    def again(self, system: str, as_before: str) -> None:
        """See `Ranking.again`."""
        pairs = (system, as_before), (f"encoder_{system}", f"encoder_{as_before}")
        self.found |= {name: self.found[other] for name, other in pairs if other in self.found}

    def asked(self, model: Model, retrieval: Retrieval, view: View) -> NDArray[np.float64]:
        """See `Ranking.asked`."""
        return right_values(self.task, model, retrieval, view.queries[self.task.name])

    def tested(self, system: str) -> NDArray[np.float64]:
        """See `Ranking.tested`."""
        return class_metrics.right(self.found[system], self.targets)

    def simple(self, graph: Graph, recipe: contenders.Table) -> dict[str, contenders.Table]:
        """See `Ranking.simple`."""
        return contenders.beside(recipe, contenders.references(graph, self.task, ranks=False))

    def table(self, seed: int) -> dict[str, Any]:
        """See `class_tables.table`; with what select chose for the floor."""
        found = class_tables.table(self.found, self.floor.predicted, self.targets, self.graph, self.task, seed)
        return {**found, "floor_settings": self.floor.settings, "variants": {n: self._part(m, seed) for n, m in self.slices.items()}}

    def _part(self, mask: NDArray[np.bool_], seed: int) -> dict[str, Any]:
        """The figures of a slice's queries; classes and confusions are told of all."""
        systems, floors = ({name: rows[mask] for name, rows in of.items()} for of in (self.found, self.floor.predicted))
        part = class_tables.table(systems, floors, slices.taken(self.targets, mask), self.graph, self.task, seed)
        return {name: value for name, value in part.items() if name not in ("classes", "confusions")}


Results = Ranking | Classification
