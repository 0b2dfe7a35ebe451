"""A chain with something taken from it, to be fitted anew: the graph, or the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kgrec_core.comparison.chains import Chain
from kgrec_core.encoder import facts
from kgrec_core.graph import Dataset, Graph, Relation, View
from kgrec_core.limits import Budget
from kgrec_core.model import Model, Silent
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry


def knowledge(dataset: Dataset) -> list[Relation]:
    """The relations that are neither asked for nor a query's history: brand, category, keyword."""
    return facts.knowledge(dataset.graph, dataset.tasks)


def without_knowledge(views: Mapping[str, View], dataset: Dataset) -> dict[str, View]:
    """The views with the same relations, those of knowledge empty: no part has to do without one that it was told of."""
    gone = knowledge(dataset)
    return changed(views, lambda graph: emptied(graph, gone))


def emptied(graph: Graph, gone: Sequence[Relation]) -> Graph:
    """The graph with no edge of some relations."""
    return graph.with_edges({r: t.clear() if r in gone else t for r, t in graph.relations.items()}, graph.as_of)


def changed(views: Mapping[str, View], change: Callable[[Graph], Graph]) -> dict[str, View]:
    """The views on changed graphs; those that share a graph share the changed one."""
    graphs: dict[int, Graph] = {}
    found = {}
    for name, view in views.items():
        if id(view.graph) not in graphs:
            graphs[id(view.graph)] = change(view.graph)
        graph = graphs[id(view.graph)]
        found[name] = View(graph, {task: queries.on(graph) for task, queries in view.queries.items()})
    return found


def without_language_model(recipe: Recipe, registry: Registry, dataset: Dataset, graph: Graph, budget: Budget) -> Chain | None:
    """What is left of the chain without any language model, to be fitted anew; None where it has none to lose, or nothing is left.

    An encoder that is left keeps its vectors as they are: it serves who ranks, not a head that would have to learn its classes.
    """
    encoder, heads = recipe.encoder(registry), {task.name: recipe.head(registry, task.name) for task in dataset.tasks}
    every, rest = {task.name: recipe.retrieval(registry, task.name) for task in dataset.tasks}, encoder.without_language_model()
    ranks = {name for name, head in heads.items() if head.encodes_candidates and rest is not None}
    left = {name: retrieval.without_language_model(vectors=name in ranks) for name, retrieval in every.items()}
    if rest is encoder and all(left[name] is retrieval for name, retrieval in every.items()):
        return None
    for name in [name for name, retrieval in left.items() if retrieval is None]:
        budget.drop(f"{name}: without a language model nothing of the chain is left to compare with, but the floor")
        del left[name]
    tasks = tuple(task for task in dataset.tasks if task.name in left)
    model = Model(rest, {t.name: heads[t.name] for t in tasks}, tasks) if ranks & left.keys() else Silent(tasks)
    return Chain(model.prepare(graph), left) if tasks else None
