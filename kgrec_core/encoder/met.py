"""What queries met, through all relations, in the order of time: how long ago, and how many steps back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Nodes, Relation
from kgrec_core.graph.clock import horizon, moments


class Met(NamedTuple):
    """What n nodes met, oldest first. owner: the node; kind: its place among the kinds; rows; days: since, 0 without a clock; place: steps back."""

    owner: NDArray[np.int64]
    kind: NDArray[np.int64]
    rows: NDArray[np.int64]
    days: NDArray[np.float64]
    place: NDArray[np.int64]

    def where(self, keep: NDArray[np.bool_]) -> Met:
        return Met(*(column[keep] for column in self))


def read(nodes: Nodes, relations: Sequence[Relation], kinds: Sequence[str]) -> Met:
    """What the nodes may know that they met, through all relations, whose targets are of these kinds."""
    parts, stamps = [], []
    for relation in relations:
        found = nodes.read(relation)
        days, time = np.zeros(len(found.rows)), np.arange(len(found.rows))
        if nodes.graph.dated(relation):
            time = nodes.graph.values(relation, "time", found.edges)
        if nodes.graph.clocked(relation):
            days = np.maximum(moments(nodes, horizon(nodes.graph, relation))[found.owner] - time, 0) / DAY
        parts.append((found.owner, np.full(len(found.rows), kinds.index(relation.target)), found.rows, days))
        stamps.append(time)
    if not parts:
        return Met(*(np.zeros(0, np.int64) for _ in Met._fields))
    owner, kind, rows, days = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((np.concatenate(stamps), owner)) if len(parts) > 1 else np.arange(len(owner))
    ends = np.cumsum(np.bincount(owner, minlength=len(nodes)))
    return Met(owner[order], kind[order], rows[order], days[order], ends[owner[order]] - 1 - np.arange(len(owner)))


def bucket(values: NDArray, fine: float, most: int) -> NDArray[np.int64]:
    """(n,) equal steps of the logarithm, `fine` to a doubling."""
    return np.minimum(fine * np.log2(np.maximum(values, 0) + 1), most - 1).astype(np.int64)
