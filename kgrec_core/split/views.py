"""Split a dataset into views, so that what is held out is out of reach of everything that learns.

A view's graph has lost the edges it may not know; its queries say what is to be found. Target edges reach a query only as
history, through `Nodes.before` (dated) or `Nodes.hide` (undated).
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Nodes, Queries, Ragged, Relation, Task, View, histories
from kgrec_core.split.parts import TEST, TRAIN, VALIDATION, Parts, Split, check, columns, hold_out, limits, units

__all__ = ["Split", "split"]
log = logging.getLogger("kgrec")


def split(dataset: Dataset, how: Split) -> dict[str, View]:
    """Views "train", "select", "adjust" (the two halves of validation) and "test".

    The graph of the first three knows the training edges, that of test the validation edges too.
    Raises KgrecError where a setting cannot be read or a part would be empty.
    """
    graph, tasks = dataset
    alone = len({task.relation for task in tasks}) == 1
    parts = {task.name: hold_out(graph, task, how, alone) for task in tasks}
    if how.by == "last":
        graph = _with_times(graph, tasks, parts)
    known = {part: _view_graph(graph, tasks, parts, how, part) for part in (VALIDATION, TEST)}
    halves = _halves(graph, tasks, parts, how)
    queries: dict[str, dict[str, Queries]] = {name: {} for name in ("train", "select", "adjust", "test")}
    for task in tasks:
        check(graph, task, parts[task.name], how)
        queries["train"][task.name] = _train_queries(known[VALIDATION], task, parts[task.name], graph, tasks)
        validation = _held_out(known[VALIDATION], graph, task, parts[task.name], how, VALIDATION)
        chosen = halves[task.relation.source][validation.nodes.rows]
        queries["select"][task.name], queries["adjust"][task.name] = validation.take(chosen), validation.take(~chosen)
        queries["test"][task.name] = _held_out(known[TEST], graph, task, parts[task.name], how, TEST)
    return {name: View(known[TEST if name == "test" else VALIDATION], of) for name, of in queries.items()}


def _with_times(graph: Graph, tasks: tuple[Task, ...], parts: dict[str, Parts]) -> Graph:
    """The graph in which every task's relation carries the times its split was made with; where they are row numbers, it says so."""
    relations, ordered = dict(graph.relations), {t.relation for t in tasks if not graph.dated(t.relation)}
    for task in tasks:
        for other in set(task.history) - ordered if task.relation in ordered else ():
            if graph.dated(other):
                log.warning(
                    "task %s: %s has no time, so nothing says what of %s came before; it is not read", task.name, task.relation, other
                )
        relations[task.relation] = relations[task.relation].with_columns(time=pl.Series(parts[task.name].time, dtype=pl.Int64))
    return replace(graph, relations=relations, ordered=graph.ordered | ordered)


def _view_graph(graph: Graph, tasks: tuple[Task, ...], parts: dict[str, Parts], how: Split, limit: int) -> Graph:
    """What may be known when the queries of part `limit` (VALIDATION or TEST) are asked."""
    always = graph.timeless | {task.relation for task in tasks if task.history}
    if how.by == "time":
        cut = min((p.before[limit] for p in parts.values() if p.before[limit] is not None), default=None)
        if cut is None:
            raise KgrecError(f'task {tasks[0].name}: {tasks[0].relation} has no time; give it one or set split.by = "random"')
        for relation in graph.relations:
            if not graph.dated(relation) and relation not in always:
                log.warning(
                    "%s has no time and is not timeless: a split by time leaves it out; set timeless = true if it always holds", relation
                )
    else:
        cut = None
    relations = {}
    for relation, table in graph.relations.items():
        if cut is not None and not graph.dated(relation) and relation not in always:
            continue
        keep = np.ones(len(table), bool) if cut is None or not graph.dated(relation) else table["time"].to_numpy() < cut
        source, target, time = columns(graph, relation)
        for task in tasks:
            of = parts[task.name]
            if task.relation == relation:
                keep &= of.part < limit
            if relation not in graph.timeless:
                keep &= ~_touches(relation, task.relation.target, of.cold[limit], source, target)
            if of.held and relation != task.relation and time is not None:
                keep &= _earlier(relation, task.relation.source, of.held[limit], source, target, time)
        relations[relation] = table.filter(keep)
    return graph.with_edges(relations, as_of=cut)


def _touches(relation: Relation, kind: str, rows: NDArray, source: NDArray, target: NDArray) -> NDArray[np.bool_]:
    hit = np.zeros(len(source), bool)
    for end_kind, end in ((relation.source, source), (relation.target, target)):
        if end_kind == kind and len(rows):
            hit |= np.isin(end, rows)
    return hit


def _earlier(relation: Relation, kind: str, limit: NDArray, source: NDArray, target: NDArray, time: NDArray) -> NDArray[np.bool_]:
    """Edges that a source of the task has before its held-out edge; its views of that day would give the purchase away."""
    ok = np.ones(len(time), bool)
    for end_kind, end in ((relation.source, source), (relation.target, target)):
        if end_kind == kind:
            ok &= (end < 0) | (time < limit[end])
    return ok


def _train_queries(graph: Graph, task: Task, parts: Parts, whole: Graph, tasks: tuple[Task, ...]) -> Queries:
    """Dated: one query per source and time (a basket). Undated: one per edge, its target hidden from it.

    Undated, what other tasks say of the source is hidden too: a question's answer would tell its intent.
    """
    source, target, time = columns(whole, task.relation)
    edges = np.flatnonzero((parts.part == TRAIN) & (source >= 0))
    if time is None:
        targets = _targets(np.arange(len(edges)), target[edges], len(edges))
        told = {r for r in histories(tasks, task.relation.source) if r not in task.history}
        hide = {**{r: graph.adjacent(r, source[edges]) for r in told}, task.relation: targets}
        return Queries(Nodes(graph, task.relation.source, source[edges], "query", hide=hide), targets)
    edges = edges[np.lexsort((edges, time[edges], source[edges]))]
    first = np.flatnonzero((np.diff(source[edges], prepend=-2) != 0) | (np.diff(time[edges], prepend=-1) != 0))
    owner = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(edges))))
    nodes = Nodes(graph, task.relation.source, source[edges[first]], "query", before=time[edges[first]])
    return Queries(nodes, _targets(owner, target[edges], len(first)))


def _held_out(graph: Graph, whole: Graph, task: Task, parts: Parts, how: Split, number: int) -> Queries:
    """One query per source with edges in this part, knowing what the view's graph knows before the part begins."""
    source, target, time = columns(whole, task.relation)
    edges = np.flatnonzero((parts.part == number) & (source >= 0))
    if how.known_only:
        known = (task.relation,) if graph.dated(task.relation) or not task.history else task.history
        edges = edges[np.any([graph.degree(relation, source[edges]) > 0 for relation in known], axis=0)]
        if not len(edges):
            part = "validation" if number == VALIDATION else "test"
            raise KgrecError(
                f"split: no {task.relation.source} of task {task.name}'s {part} part has an earlier edge (split.known_only); widen split.{part}, "
                "or split.known_only=false asks of newcomers, too"
            )
    rows, owner = np.unique(source[edges], return_inverse=True)
    limit = parts.before[number]
    if how.by == "column" and time is not None:
        limit = limits(source[edges], time[edges], np.ones(len(edges), bool), whole.size(task.relation.source))
        known = (parts.part < number) & (source >= 0)  # a published split need not follow the clock: what it says is known is known
        np.maximum.at(limit, source[known], time[known] + 1)
    before = None if limit is None else np.broadcast_to(limit if isinstance(limit, int) else limit[rows], rows.shape).astype(np.int64)
    return Queries(Nodes(graph, task.relation.source, rows, "query", before), _targets(owner, target[edges], len(rows)))


def _targets(owner: NDArray, target: NDArray, n: int) -> Ragged:
    """Distinct targets per query; a null target is none."""
    pairs = pl.DataFrame({"owner": owner, "target": target}).filter(pl.col("target") >= 0).unique(maintain_order=True)
    return Ragged.of(pairs["owner"].to_numpy(), pairs["target"].to_numpy(), n)


def _halves(graph: Graph, tasks: tuple[Task, ...], parts: dict[str, Parts], how: Split) -> dict[str, NDArray[np.bool_]]:
    """kind -> (size,) whether a validation source is in `select`; the same for all tasks, groups stay together."""
    halves = {}
    for kind in {t.relation.source for t in tasks}:
        unit = units(graph, kind, how) if how.group else np.random.default_rng([how.seed, 2]).random(graph.size(kind))
        asked = [columns(graph, t.relation)[0][parts[t.name].part == VALIDATION] for t in tasks if t.relation.source == kind]
        values = np.unique(unit[np.unique(np.concatenate(asked))])
        halves[kind] = unit < (values[len(values) // 2] if len(values) else 0.0)
    return halves
