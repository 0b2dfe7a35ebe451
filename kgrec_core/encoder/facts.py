"""What a graph says of nodes beside what they met: the edges that fusions read, through the one door to edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Relation, Task


class Facts(NamedTuple):
    """m facts, grouped by nothing: owner (m,) which node; relation (m,) its number; onward (m,) bool, whether the node is the source;
    rows (m,) of the kind at the other end; weight (m,) of an edge of knowledge, 1 where its relation has none, and of behaviour.
    """

    owner: NDArray[np.int64]
    relation: NDArray[np.int64]
    onward: NDArray[np.bool_]
    rows: NDArray[np.int64]
    weight: NDArray[np.float64]

    def take(self, index: NDArray) -> Facts:
        return Facts(*(column[index] for column in self))


def knowledge(graph: Graph, tasks: Sequence[Task]) -> list[Relation]:
    """The relations that are neither asked for nor a query's history."""
    behaviour = behaviours(tasks)
    return [r for r in graph.relations if r not in behaviour]


def behaviours(tasks: Sequence[Task]) -> list[Relation]:
    """The relations that are asked for, and those that are a query's history."""
    return list(dict.fromkeys(r for task in tasks for r in (task.relation, *task.history)))


def facts(nodes: Nodes, relations: Iterable[Relation], last: int, inverse: bool = True) -> Facts:
    """What the nodes may know of these relations, in their order, of a relation the `last` at most. inverse: also as its target."""
    found = [Facts(*(np.zeros(0, kind) for kind in (np.int64, np.int64, bool, np.int64, np.float64)))]
    for number, relation in enumerate(relations):
        for onward in (True, False) if inverse else (True,):
            if nodes.kind != (relation.source if onward else relation.target) or relation not in nodes.graph.relations:
                continue
            # Of a relation within one kind the side of the nodes says which end is theirs.
            asked = replace(nodes, side="query" if onward else "candidate") if relation.source == relation.target else nodes
            met = asked.read(relation, last)
            told = relation in nodes.graph.timeless  # a confidence; of behaviour it is how much was bought
            weight = np.nan_to_num(nodes.graph.values(relation, "weight", met.edges), nan=1.0) if told else np.ones(len(met.rows))
            found.append(Facts(met.owner, np.full(len(met.rows), number), np.full(len(met.rows), onward), met.rows, weight))
    return Facts(*(np.concatenate(columns) for columns in zip(*found, strict=True)))
