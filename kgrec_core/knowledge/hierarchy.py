"""Hierarchies have no cycles: a category that is its own ancestor has no level, and whoever climbs would not come to an end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation

NAMES = frozenset({"parent", "parent_of", "kind_of", "is_a", "part_of", "broader", "narrower", "subclassof", "child_of", "within"})


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


def _cycle(up: sp.csr_matrix, part: np.ndarray) -> list[int]:
    """The entities of one cycle, in its order."""
    inside = part == np.flatnonzero(np.bincount(part) > 1)[0]
    at, met = int(np.flatnonzero(inside)[0]), []
    while at not in met:
        met.append(at)
        others = up.indices[up.indptr[at] : up.indptr[at + 1]]
        at = int(others[inside[others]][0])
    return met[met.index(at) :]
