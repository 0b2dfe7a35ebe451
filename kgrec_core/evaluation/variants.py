"""Which targets count and which candidates compete: the whole ranking, or one question of it at a time.

Each function gives a Case of the same queries in the same order, so values of different cases stay comparable per query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Queries, Ragged, Task, candidates


class Case(NamedTuple):
    """Queries with the targets that count, the rows that are out of the ranking (None = none), and those that alone compete (None = all)."""

    queries: Queries
    exclude: Ragged | None
    within: NDArray[np.int64] | None = None

    @property
    def key(self) -> tuple[bool, bool]:
        """Equal for cases whose queries get the same lists."""
        return self.exclude is None, self.within is None

    def drawn(self, most: int, seed: int) -> Case:
        """Of the queries with a target at most so many, drawn by a seed where there are more."""
        index = np.flatnonzero(self.queries.targets.counts)
        if len(index) > most:
            index = np.sort(np.random.default_rng(seed).choice(index, most, replace=False))
        return Case(self.queries.take(index), None if self.exclude is None else self.exclude.take(index))


def whole(queries: Queries, task: Task) -> Case:
    """All targets; the history is out of the ranking unless the task allows repeats."""
    return Case(queries, None if task.repeats else history(queries, task))


def new_only(queries: Queries, task: Task) -> Case:
    """Only targets that are not in the query's history, which is out of the ranking."""
    known = history(queries, task)
    return Case(_only(queries, ~queries.targets.among(known)), known)


def repeat_only(queries: Queries, task: Task) -> Case:
    """Only targets that are in the query's history; everything is ranked."""
    return Case(_only(queries, queries.targets.among(history(queries, task))), None)


def cold(queries: Queries, task: Task, known: Graph) -> Case:
    """Only targets without an edge of the task in `known`, the training view's graph; ranked as in `whole`."""
    edges = known.degree(task.relation, queries.targets.rows, inverse=True)
    return Case(_only(queries, edges == 0), whole(queries, task).exclude)


def cold_alone(queries: Queries, task: Task) -> Case:
    """Only targets that nobody has an edge to yet, among all such: what a shop asks for with a filter for what is new."""
    graph = queries.nodes.graph
    rows = candidates(graph, task).rows
    rows = rows[graph.degree(task.relation, rows, inverse=True) == 0]
    return Case(_only(queries, np.isin(queries.targets.rows, rows)), None, rows)


def ranked_once(cases: Mapping[str, Case], ranks: Callable[[Case], NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The ranks of every case's targets; cases with the same rows out of the ranking are ranked once, by the one with all the targets."""
    whole: dict[tuple[bool, bool], tuple[Ragged, NDArray[np.float64]]] = {}
    found = {}
    for name, case in sorted(cases.items(), key=lambda item: -len(item[1].queries.targets.rows)):
        targets = case.queries.targets
        if case.key not in whole:
            whole[case.key] = targets, ranks(case)
        every, ranked = whole[case.key]
        found[name] = ranked[every.among(targets)]
    return found


def history(queries: Queries, task: Task) -> Ragged:
    """What each query is linked to already by the task's own relation, as far as it may know."""
    return queries.nodes.read(task.relation)


def _only(queries: Queries, mask: NDArray[np.bool_]) -> Queries:
    return Queries(queries.nodes, queries.targets.keep(mask))
