"""Situations a ranker rehearses: earlier moments whose outcome is known, and candidates that nobody has chosen yet.

Their graphs keep what is built on them themselves, so that it goes when they go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp

from kgrec_core.graph import DAY, Graph, Memo, Nodes, Queries, Ragged, Task
from kgrec_core.graph.clock import horizon
from kgrec_core.retrieval.boosting import Rows
from kgrec_core.retrieval.ties import Ends


class Window(NamedTuple):
    """The examples of an earlier moment, which candidates they are, and what its queries had met; nothing that holds its graph."""

    rows: Rows
    pool: Ragged
    histories: Mapping[str, sp.csr_matrix]


class Rehearsal(NamedTuple):
    """Windows and the names of their columns; known: the tables of knowledge that these were computed with."""

    windows: Sequence[Window]
    names: Sequence[str]
    known: Sequence[pl.DataFrame]

    def told(self, names: Sequence[str], known: Sequence[pl.DataFrame], ends: Ends) -> list[Rows]:
        """The examples with these columns, as a chain has them that knows these tables: by its own ends where they are others."""
        place = [self.names.index(name) for name in names]
        found = [w.rows if list(self.names) == list(names) else w.rows._replace(x=w.rows.x[:, place]) for w in self.windows]
        if len(known) == len(self.known) and all(one is other for one, other in zip(known, self.known, strict=True)):
            return found
        found = [rows._replace(x=rows.x.copy()) for rows in found]
        for rows, window in zip(found, self.windows, strict=True):
            for name, values in ends.near(window.histories, window.pool).items():
                if name in names:
                    rows.x[:, names.index(name)] = values
        return found


def drawn_anew(graph: Graph, task: Task) -> bool:
    """Whether nothing orders what was met, and no text asks for it: then what is asked for was drawn at random, and so are the windows."""
    relation = task.relation
    free = not task.repeats and not graph.dated(relation) and len(graph.relations[relation]) > 0
    return free and "text" not in graph.columns(relation.source)


def earlier(graph: Graph, task: Task, number: int, days: float) -> tuple[Graph, Queries]:
    """The graph `number` windows of `days` before its end, and what the sources known then chose in the window that followed.

    Nothing where that is before its first edge. The task's relation must have a clock.
    """
    start, step = horizon(graph, task.relation) - number * int(days * DAY), int(days * DAY)
    then, table = _apart(graph.at(start)), graph.relations[task.relation].drop_nulls(["source", "target"])
    time = table["time"].to_numpy()
    came = table.filter((time >= start) & (time < start + step)).select("source", "target").unique(maintain_order=True)
    source, target = (came[end].to_numpy().astype(np.int64) for end in ("source", "target"))
    known = then.degree(task.relation, source) > 0
    rows, owner = np.unique(source[known], return_inverse=True)
    nodes = Nodes(then, task.relation.source, rows, "query", before=np.full(len(rows), start, np.int64))
    return then, Queries(nodes, Ragged.of(owner, target[known], len(rows)))


def hidden(graph: Graph, task: Task, number: int, share: float, seed: int) -> tuple[Graph, Queries]:
    """The graph without a share, drawn anew for each number, of what every source met, at least one of two or more; and who met it.

    For relations that nothing orders: what is hidden at random is what such a split holds out.
    """
    table = graph.relations[task.relation].drop_nulls(["source", "target"]).unique(["source", "target"], maintain_order=True)
    source, target = (table[end].to_numpy().astype(np.int64) for end in ("source", "target"))
    order = np.lexsort((np.random.default_rng([seed, number]).random(len(source)), source))
    counts = np.bincount(source, minlength=1)
    place = np.empty(len(source), np.int64)
    place[order] = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    gone = place < np.where(counts > 1, np.maximum(1, np.round(share * counts)), 0)[source]
    then = _apart(graph.with_edges({**graph.relations, task.relation: table.filter(~gone)}, graph.as_of))
    rows, owner = np.unique(source[gone], return_inverse=True)
    return then, Queries(Nodes(then, task.relation.source, rows, "query"), Ragged.of(owner, target[gone], len(rows)))


def unsold(graph: Graph, task: Task, share: float, seed: int) -> Graph:
    """The graph without what happened to a drawn share of the chosen targets; what is true at all times of them stays.

    So a model over behaviour sees, for known outcomes, what a new candidate looks like (compare DropoutNet, Volkovs et al. 2017).
    """
    chosen = graph.relations[task.relation]["target"].drop_nulls().unique().sort()
    drawn = chosen.sample(fraction=share, seed=seed)
    relations = {}
    for relation, table in graph.relations.items():
        ends = [end for end, kind in (("source", relation.source), ("target", relation.target)) if kind == task.relation.target]
        timeless = relation in graph.timeless
        relations[relation] = (
            table if timeless or not ends else table.filter(~pl.any_horizontal(pl.col(e).is_in(drawn).fill_null(False) for e in ends))
        )
    return _apart(graph.with_edges(relations, graph.as_of))


def _apart(graph: Graph) -> Graph:
    """With a memo of its own. That a relation has no clock was said of the whole graph."""
    memo = Memo()
    for relation in graph.relations:
        memo.get(("no clock", relation), (), lambda: None)
    return replace(graph, memo=memo)
