"""A graph that says as much and means nothing: every entity keeps as many edges of each relation, to others than before."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from kgrec_core.graph import Graph, Relation

ROUNDS = 20  # of swapping what stands twice


def shuffled(graph: Graph, relations: Iterable[Relation], seed: int = 0) -> Graph:
    """The graph with the targets of these relations' edges dealt anew; both ends' degrees stay, and times and weights with their edges.

    Edges are swapped pairwise until none stands twice (Maslov & Sneppen 2002), as far as their number lets that be.
    """
    tables = dict(graph.relations)
    for number, relation in enumerate(sorted(relations)):
        tables[relation] = _dealt(tables[relation], np.random.default_rng([seed, number]))
    return graph.with_edges(tables, graph.as_of)


def _dealt(table: pl.DataFrame, draw: np.random.Generator) -> pl.DataFrame:
    whole = (table["source"].is_not_null() & table["target"].is_not_null()).to_numpy()
    source, target = (table[end].to_numpy().astype(np.float64) for end in ("source", "target"))
    s, t = source[whole].astype(np.int64), draw.permutation(target[whole].astype(np.int64))
    width = int(t.max(initial=0)) + 1
    for _ in range(ROUNDS):
        _, first = np.unique(s * width + t, return_index=True)
        twice = np.setdiff1d(np.arange(len(s)), first)
        if not len(twice):
            break
        other = draw.permutation(len(s))[: len(twice)]
        both = np.concatenate([twice, other])
        both = both[np.sort(np.unique(both, return_index=True)[1])]
        t[both] = t[draw.permutation(both)]
    dealt = table["target"].to_numpy().astype(np.float64).copy()
    dealt[whole] = t
    return table.with_columns(target=pl.Series(dealt).fill_nan(None).cast(pl.UInt32))
