"""Hierarchies have no cycles: a category that is its own ancestor has no level, and whoever climbs would not come to an end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Ragged, Relation

UP, DOWN = {"parent", "kind_of", "is_a", "part_of", "broader", "subclassof", "child_of", "within"}, {"parent_of", "narrower"}
NAMES = frozenset(UP | DOWN)
DEPTH = 12  # levels that are climbed; a graph whose cycles nobody refused has no top


def refuse_cycles(name: str, graph: Graph, relations: Iterable[Relation]) -> None:
    """Raise KgrecError where a relation of source `name` that is called as hierarchies are leads from an entity back to it."""
    for relation in relations:
        if relation.source != relation.target or relation.name.casefold() not in NAMES:
            continue
        table = graph.relations[relation].drop_nulls(["source", "target"])
        ends = table["source"].to_numpy().astype(np.int64), table["target"].to_numpy().astype(np.int64)
        size = graph.size(relation.source)
        up = sp.csr_matrix((np.ones(len(table), np.int8), ends), shape=(size, size))
        count, part = connected_components(up, directed=True, connection="strong")
        if count < size:
            ids = graph.gather(relation.source, _cycle(up, part), "id")["id"].to_list()
            shown = " > ".join([*ids[:5], *(["..."] if len(ids) > 5 else []), ids[0]])
            raise KgrecError(f"[knowledge.{name}]: {relation} goes round in a circle: {shown}; correct one of these edges")


def ways_up(graph: Graph, kind: str) -> list[Relation]:
    """The relations that make a hierarchy of a kind."""
    return [r for r in sorted(graph.timeless) if r.source == r.target == kind and r.name.casefold() in NAMES and len(graph.relations[r])]


def climbed(graph: Graph, kind: str, rows: NDArray[np.int64]) -> Ragged:
    """Of every row itself and all that is above it in the kind's hierarchy, each once; costs what these have above them."""
    ways, size = ways_up(graph, kind), graph.size(kind)
    known = new = np.arange(len(rows)) * size + rows
    for _ in range(DEPTH):
        met = [graph.adjacent(way, new % size, inverse=way.name.casefold() in DOWN) for way in ways]
        found = np.unique(np.concatenate([new[of.owner] // size * size + of.rows for of in met])) if ways else new[:0]
        new = np.setdiff1d(found, known, assume_unique=True)
        if not len(new):
            break
        known = np.union1d(known, new)
    return Ragged.of(known // size, known % size, len(rows))


def _cycle(up: sp.csr_matrix, part: np.ndarray) -> list[int]:
    """The entities of one cycle, in its order."""
    inside = part == np.flatnonzero(np.bincount(part) > 1)[0]
    at, met = int(np.flatnonzero(inside)[0]), []
    while at not in met:
        met.append(at)
        others = up.indices[up.indptr[at] : up.indptr[at + 1]]
        at = int(others[inside[others]][0])
    return met[met.index(at) :]
