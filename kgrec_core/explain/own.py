"""Paths that begin with what the graph says of the query itself: a customer's occupation, the company that a headline is about.

What a score loses when the query is asked again without its own edges of a relation is shared among their ends, by how many of those who
have an end chose the answer, for how many there are of either; an end that itself is tied to the answer counts as much as it is rare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kgrec_core.explain.explanation import Edge, Node, Path
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task
from kgrec_core.interfaces import Filter, Retrieval
from kgrec_core.model import Model

MOST, HUB = 8, 5_000  # relations that are asked about; of those who have an end, the latest that are looked at


def relations_of(task: Task, queries: Nodes) -> list[Relation]:
    """The timeless relations that lead from a query to something else than what is asked for, those that most queries have first."""
    behaviour = {task.relation, *task.history}
    found = [r for r in sorted(queries.graph.timeless - behaviour) if r.source == task.relation.source and len(queries.graph.relations[r])]
    have = {r: int(np.count_nonzero(queries.read(r, last=1).counts)) for r in found}
    return sorted((r for r in found if have[r]), key=lambda r: -have[r])[:MOST]


def lost_without(
    model: Model,
    retrieval: Retrieval,
    task: Task,
    nodes: Nodes,
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    allowed: Filter | None,
    exclude: Ragged | None,
) -> dict[Relation, NDArray[np.float64]]:
    """Relation -> (n, k) what the score of each answer loses when the query does not know its own edges; 0 where it gains."""
    pairs, found = Ragged.of(*np.nonzero(rows >= 0), len(rows))._replace(rows=rows[rows >= 0]), {}
    for relation in relations_of(task, nodes):
        asked = replace(nodes, hide={**(nodes.hide or {}), relation: nodes.graph.adjacent(relation, nodes.rows)})
        now = retrieval.again(asked, model.vectors(task, asked), pairs, allowed, exclude)
        lost = np.zeros(rows.shape)
        lost[rows >= 0] = np.maximum(0, scores[rows >= 0] - np.nan_to_num(now, nan=np.nanmin(now, initial=np.inf)))
        found[relation] = np.where(np.isfinite(lost), lost, 0.0)
    return found


def paths_from(task: Task, query: Nodes, source: Node, relation: Relation, item: Node, answer: int, lost: float) -> Iterator[Path]:
    """The ways from a single query over its ends to the answer; their weights sum to what was lost, where there is any way."""
    if lost <= 0:
        return
    graph, before = query.graph, None if query.before is None else int(query.before[0])
    ends = np.unique(query.read(relation).rows)
    having = np.unique(graph.adjacent(task.relation, [answer], before, inverse=True).rows)
    found = []
    for row, end in zip(ends.tolist(), _nodes(graph, relation.target, ends), strict=True):
        first = (Edge(relation, source.id, end.id),)
        alike = np.unique(graph.adjacent(relation, [row], inverse=True, last=HUB).rows)
        both = len(np.setdiff1d(np.intersect1d(alike, having, True), query.rows, True))
        if both:
            nodes, steps = (source, end, Node(relation.source, ""), item), (relation.name, relation.name, task.relation.name)
            found.append((both / np.sqrt(len(alike) * len(having)), Path("own", nodes, steps, 0.0, both, (), first)))
        for tie in sorted(graph.timeless):
            for inverse in (False, True):
                ways = (tie.target, tie.source) if inverse else (tie.source, tie.target)
                if ways == (relation.target, task.relation.target) and answer in graph.adjacent(tie, [row], inverse=inverse).rows:
                    rare = 1 / np.sqrt(max(1, int(graph.degree(tie, [row], inverse=inverse)[0])))
                    edge = Edge(tie, *((item.id, end.id) if inverse else (end.id, item.id)))
                    found.append((rare, Path("own", (source, end, item), (relation.name, tie.name), 0.0, 1, (), (*first, edge))))
    total = sum(share for share, _ in found)
    yield from (replace(path, weight=float(lost * share / total)) for share, path in found)


def _nodes(graph: Graph, kind: str, rows: NDArray[np.int64]) -> list[Node]:
    columns = [column for column in ("id", "text") if column in graph.columns(kind)]
    return [Node(kind, row["id"], row.get("text")) for row in graph.gather(kind, rows, *columns).to_dicts()]
