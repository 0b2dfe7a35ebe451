"""A relation that is the target in disguise: a column or a file that says what a task is to predict, under another name.

Held-out edges are hidden from a view by their relation; the same edges under another relation would stay in it, and every figure would
be too good. Two forms are found: edges between the same kinds that are the target's edges, and values that tell a query's class.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation, Task

SHARE = 0.9  # of either's edges that are the other's
SURE, OFTEN, LIFT = 0.99, 5, 0.05  # values tell the class of so many; seen so often each; so much more than the commonest class does


def refuse_disguised(name: str, graph: Graph, relations: Iterable[Relation], tasks: Iterable[Task]) -> None:
    """Raise KgrecError for the first relation of source `name` that tells what a task predicts."""
    for task in tasks:
        for relation in relations:
            told = _same_edges(graph, relation, task.relation) or _tells_class(graph, relation, task.relation)
            if told:
                raise KgrecError(
                    f"[knowledge.{name}]: {relation} is the target of task {task.name} in disguise: {told}; leave it out, or allow it by"
                    " fit.allow_leak = true (--allow-leak)"
                )


def _ends(graph: Graph, relation: Relation) -> tuple[np.ndarray, np.ndarray]:
    table = graph.relations[relation].drop_nulls(["source", "target"]).unique(["source", "target"])
    return table["source"].to_numpy().astype(np.int64), table["target"].to_numpy().astype(np.int64)


def _same_edges(graph: Graph, relation: Relation, target: Relation) -> str:
    """Between the kinds of the target, either way round."""
    if {relation.source, relation.target} != {target.source, target.target}:
        return ""
    (a, b), (source, wanted) = _ends(graph, relation), _ends(graph, target)
    if not len(a) or not len(source):
        return ""
    width = graph.size(target.target)
    known = source * width + wanted
    ways = [(a, b)] if relation.source == target.source else []
    ways += [(b, a)] if relation.target == target.source else []
    for one, other in ways:
        both = np.isin(one * width + other, known).sum()
        if both >= SHARE * len(a) or (both >= SHARE * len(known) and len(a) <= 10 * len(known)):
            return f"{both:,} of its {len(a):,} edges are among the {len(known):,} of {target}"
    return ""


def _tells_class(graph: Graph, relation: Relation, target: Relation) -> str:
    """Few values, each met often, that go with one class each."""
    if relation.source != target.source or relation.target == target.target:
        return ""
    (a, value), (source, wanted) = _ends(graph, relation), _ends(graph, target)
    if not len(a) or not len(source) or len(np.unique(source)) < len(source):
        return ""  # a query with several targets has no class
    classes = np.full(graph.size(target.source), -1)
    classes[source] = wanted
    value, kind = value[classes[a] >= 0], classes[a[classes[a] >= 0]]
    if len(value) < SHARE * len(source) or len(value) < OFTEN * len(np.unique(value)):
        return ""
    pairs, counts = np.unique(value * (kind.max() + 1) + kind, return_counts=True)
    best = np.zeros(value.max() + 1, np.int64)
    np.maximum.at(best, pairs // (kind.max() + 1), counts)
    right, common = best.sum() / len(value), np.bincount(kind).max() / len(kind)
    if right >= SURE and right >= common + LIFT:
        return f"its values tell the {target.target} of {right:.1%} of the {target.source}s, the commonest alone {common:.1%}"
    return ""
