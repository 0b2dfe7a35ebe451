"""A checkerboard: even users buy even items, odd users odd ones, and every user has yet to buy one item of its colour."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from kgrec_core.graph import DAY, Graph, Nodes, Queries, Ragged, Relation, Task

BUYS = Relation("user", "buys", "item")
BRAND = Relation("item", "brand", "brand")
USERS, ITEMS = 40, 20


class Board(NamedTuple):
    """A dated graph, its task, a query per user at `now`, and the item each user lacks."""

    graph: Graph
    task: Task
    nodes: Nodes
    lacks: np.ndarray
    now: int

    def queries(self) -> Queries:
        n = len(self.nodes)
        return Queries(self.nodes, Ragged.of(np.arange(n), self.lacks, n))

    def history(self) -> Ragged:
        return self.nodes.read(self.task.relation)

    def encode(self, nodes: Nodes) -> np.ndarray:
        """Two-dimensional vectors that know the colour and, a little, the row."""
        tilt = 0.01 * nodes.rows / ITEMS
        return np.stack([1 - nodes.rows % 2 + tilt, nodes.rows % 2 + tilt], 1).astype(np.float32)


def edges(source, target, time) -> pl.DataFrame:
    return pl.DataFrame(
        {"source": source, "target": target, "time": time}, schema={"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}
    )


def ids(prefix: str, n: int) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"{prefix}{i}" for i in range(n)]})


@pytest.fixture(scope="session")
def board() -> Board:
    source, target, time, lacks = [], [], [], []
    for user in range(USERS):
        own = list(range(user % 2, ITEMS, 2))
        lacks.append(own.pop((user // 2) % len(own)))
        source += [user] * len(own)
        target += own
        time += [DAY * (1 + place) for place in range(len(own))]
    items = ids("i", ITEMS).with_columns(price=pl.Series([1.0 + i for i in range(ITEMS)]))
    brand = pl.DataFrame(
        {"source": range(ITEMS), "target": [i % 2 for i in range(ITEMS)]}, schema={"source": pl.UInt32, "target": pl.UInt32}
    )
    graph = Graph(
        {"user": ids("u", USERS), "item": items, "brand": ids("b", 2)},
        {BUYS: edges(source, target, time), BRAND: brand},
        frozenset([BRAND]),
    )
    now = 20 * DAY
    nodes = Nodes(graph, "user", np.arange(USERS), "query", before=np.full(USERS, now))
    return Board(graph, Task("buys", BUYS), nodes, np.array(lacks), now)
