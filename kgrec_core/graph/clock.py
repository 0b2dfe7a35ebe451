"""The time of a graph: its present, whether days can be counted, the moment a query is asked at, and how much what is old counts."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph.graph import DAY, Graph, Nodes, Relation

log = logging.getLogger("kgrec")


def horizon(graph: Graph, relation: Relation) -> int:
    """The present of a graph: `as_of`, or just after the relation's latest edge. 0 where there is no common clock.

    The clock would do as well for a live shop, but turn every "bought last week" of an older data set into years.
    """
    if graph.as_of is not None:
        return graph.as_of
    latest = graph.relations[relation]["time"].max() if graph.clocked(relation) else None
    return 0 if latest is None else int(latest) + 1


def clocked(graph: Graph, relation: Relation) -> bool:
    """Whether days can be counted: its sources share a clock. Said once for a data set where they do not."""
    found = relation in graph.relations and graph.clocked(relation)
    if not found:
        graph.memo.get(
            ("no clock", relation), (), lambda: log.info("%s has no clock: its windows, half-lives and ages in days step aside", relation)
        )
    return found


def moments(queries: Nodes, now: int) -> NDArray[np.int64]:
    """(n,) the time each query is asked at: its `before`, else `now`."""
    return np.full(len(queries), now, np.int64) if queries.before is None else queries.before


def fading(age: NDArray, half_life: float) -> NDArray[np.float32]:
    """Halves every `half_life` days of `age` (microseconds); 0 = no fading. Stops after 100 halvings: float32 ends there."""
    if not half_life:
        return np.ones(len(age), np.float32)
    return (0.5 ** np.clip(age / (DAY * half_life), 0, 100)).astype(np.float32)
