"""Whether explanations are faithful: without the edges that one names, the answer must lose more of its score than without others.

Of each answer the named edges are deleted, and, for comparison, as many edges of the same items and the same query drawn at random, of
its history as many as were named of its history. The trained models stay, everything counted from the graph is counted again (the
deletion test of Samek et al. 2017, on edges).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.evaluation.interval import interval
from kgrec_core.explain.explanation import Edge, Explanation
from kgrec_core.explain.why import DEPTH, explanations, without
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task, candidates
from kgrec_core.interfaces import Retrieval
from kgrec_core.model import Model

TOGETHER = 25  # answers whose edges go at once: their items are others', so that they hardly touch each other


class Cut(NamedTuple):
    """What is taken from one answer: rows of its query's history, and edges of knowledge as (relation, source row, target row)."""

    history: list[int]
    knowledge: list[tuple[Relation, int, int]]


def fidelity(
    model: Model, retrieval: Retrieval, task: Task, queries: Nodes, exclude: Ragged | None = None, answers: int = 500, seed: int = 0
) -> dict[str, Any]:
    """How much the first answer to each query loses: "named", "random", and "difference", each an interval in units of the scores' spread.

    Queries whose answer has no path, or that have no other edge to be drawn, are left out. `retrieval` is built anew on graphs without some edges, and must be built again by who wants to ask it further.
    """
    draw, graph = np.random.default_rng(seed), queries.graph
    retrieval.build(graph, task, candidates(graph, task), model.encode(task))  # as it is built again without some edges
    order = draw.permutation(len(queries))
    named, drawn, kept, lists = [], [], [], []
    for start in range(0, len(order), 100):
        if len(kept) >= answers:
            break
        part = np.sort(order[start : start + 100])
        asked, gone = queries.take(part), None if exclude is None else exclude.take(part)
        for place, why in zip(part, explanations(model, retrieval, task, asked, 1, None, gone), strict=True):
            if why and why[0].paths and (cuts := _cuts(graph, task, queries.take([place]), why[0], draw)):
                named.append(cuts[0])
                drawn.append(cuts[1])
                kept.append(place)
                lists.append(why[0])
    kept, named, drawn, lists = (list(of[:answers]) for of in (kept, named, drawn, lists))
    asked, gone = queries.take(kept), None if exclude is None else exclude.take(np.array(kept))
    rows, before = graph.rows(task.relation.target, [why.item.id for why in lists]), np.array([why.score for why in lists])
    after = [_after(model, retrieval, task, asked, gone, rows, cuts) for cuts in (named, drawn)]
    lost = [(before - scores) / max(1e-12, float(before.std())) for scores in after]
    edges = [len(cut.history) + len(cut.knowledge) for cut in named]
    figures = {"named": lost[0], "random": lost[1], "difference": lost[0] - lost[1]}
    knowledge = float(np.mean([len(cut.knowledge) > 0 for cut in named]))
    return {name: interval(values, seed) for name, values in figures.items()} | {
        "edges": float(np.mean(edges)),
        "with_knowledge": knowledge,
    }


def _cuts(graph: Graph, task: Task, query: Nodes, why: Explanation, draw: np.random.Generator) -> tuple[Cut, Cut] | None:
    """What the explanation names, and as much at random: of the query's history, and of the knowledge of the same items and the query."""
    kind, behaviour = task.relation.target, {task.relation, *task.history}
    own = [edge for edge in why.edges if edge.relation in behaviour]
    knowledge = [edge for edge in why.edges if edge.relation not in behaviour]
    named = Cut(graph.rows(kind, [edge.target for edge in own]).tolist(), [_rows(graph, edge) for edge in knowledge])
    met = np.unique(np.concatenate([query.read(r).rows for r in behaviour if r.target == kind and r in graph.relations]))
    kinds = dict.fromkeys((kind, task.relation.source))
    things = {of: np.unique([row for edge in knowledge for row in _things(graph, of, edge)]).astype(np.int64) for of in kinds}
    every = list(dict.fromkeys(edge for of, rows in things.items() for edge in _of_things(graph, of, rows, behaviour)))
    if len(met) <= len(named.history) and len(every) <= len(named.knowledge):
        return None  # there is nothing else to take
    history = draw.permutation(met)[: len(named.history)].tolist()
    others = [every[i] for i in draw.permutation(len(every))[: len(named.knowledge)]]
    return named, Cut(history, others)


def _rows(graph: Graph, edge: Edge) -> tuple[Relation, int, int]:
    relation = edge.relation
    ends = (graph.rows(relation.source, [edge.source])[0], graph.rows(relation.target, [edge.target])[0])
    return relation, int(ends[0]), int(ends[1])


def _things(graph: Graph, kind: str, edge: Edge) -> Iterator[int]:
    for end, of in ((edge.source, edge.relation.source), (edge.target, edge.relation.target)):
        if of == kind:
            yield int(graph.rows(kind, [end])[0])


def _of_things(graph: Graph, kind: str, rows: NDArray[np.int64], behaviour: set[Relation]) -> Iterator[tuple[Relation, int, int]]:
    """The edges of knowledge that touch the rows, each once."""
    found: dict[tuple[Relation, int, int], None] = {}
    for relation in sorted(graph.timeless - behaviour):
        for inverse in [False] * (relation.source == kind) + [True] * (relation.target == kind):
            of = graph.adjacent(relation, rows, inverse=inverse)
            for one, other in zip(rows[of.owner].tolist(), of.rows.tolist(), strict=True):
                found[(relation, other, one) if inverse else (relation, one, other)] = None
    yield from found


def _after(
    model: Model, retrieval: Retrieval, task: Task, queries: Nodes, exclude: Ragged | None, rows: NDArray[np.int64], cuts: Sequence[Cut]
) -> NDArray[np.float64]:
    """(n,) the score of each query's row where its cut is made; of what is no longer found, the least that is."""
    out = np.empty(len(queries))
    for start in range(0, len(queries), TOGETHER):
        block = np.arange(start, min(start + TOGETHER, len(queries)))
        graph = pruned(queries.graph, [edge for i in block for edge in cuts[i].knowledge])
        if model.encoder.reads_edges:
            model.refresh(graph)
        retrieval.build(graph, task, candidates(graph, task), model.encode(task))
        owner = np.repeat(np.arange(len(block)), [len(cuts[i].history) for i in block])
        hidden = np.array([row for i in block for row in cuts[i].history], np.int64)
        nodes = without(replace(queries.take(block), graph=graph), task, Ragged.of(owner, hidden, len(block)))
        hits = retrieval.search(nodes, model.vectors(task, nodes), DEPTH, None, None if exclude is None else exclude.take(block))
        for j, i in enumerate(block):
            there = np.flatnonzero(hits.rows[j] == rows[i])
            least = hits.scores[j][hits.rows[j] >= 0].min(initial=0.0) if (hits.rows[j] >= 0).any() else 0.0
            out[i] = hits.scores[j, there[0]] if len(there) else least
    if model.encoder.reads_edges:
        model.refresh(queries.graph)
    return out


def pruned(graph: Graph, edges: Sequence[tuple[Relation, int, int]]) -> Graph:
    """The graph without these edges; the tables of relations that lose none are the same objects."""
    gone: dict[Relation, list[tuple[int, int]]] = {}
    for relation, source, target in edges:
        gone.setdefault(relation, []).append((source, target))
    tables = dict(graph.relations)
    for relation, pairs in gone.items():
        ends = {"source": pl.UInt32, "target": pl.UInt32}
        tables[relation] = tables[relation].join(
            pl.DataFrame(pairs, ends, orient="row"), on=["source", "target"], how="anti", maintain_order="left"
        )
    return graph.with_edges(tables, graph.as_of)
