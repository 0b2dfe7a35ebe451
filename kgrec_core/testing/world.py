"""The world that the checks are made in, whose right answers are known, and how two results are held against each other."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Dataset, Graph, Relation, Task

COLOURS = ("red", "blue")
BUYS, HAS = Relation("user", "buys", "item"), Relation("item", "has", "colour")


def checkerboard(users: int = 24, items: int = 12, bought: int = 4) -> Dataset:
    """A world whose right answer is known: even users buy red items only, odd users blue ones, one a day."""
    row = np.arange(users)
    item = (2 * (row[:, None] // 2 + np.arange(bought)) + row[:, None] % 2) % items
    colour = [COLOURS[i % 2] for i in range(items)]
    entities = {
        "user": pl.DataFrame({"id": [f"u{i}" for i in row], "text": [f"a friend of {COLOURS[i % 2]}" for i in row]}),
        "item": pl.DataFrame({"id": [f"i{i}" for i in range(items)], "text": [f"{c} chair number {i}" for i, c in enumerate(colour)]}),
        "colour": pl.DataFrame({"id": list(COLOURS), "text": list(COLOURS)}),
    }
    time = np.tile(np.arange(bought), users) * DAY + np.repeat(row, bought)
    ends = {"source": pl.Series(np.repeat(row, bought), dtype=pl.UInt32), "target": pl.Series(item.ravel(), dtype=pl.UInt32)}
    has = {"source": pl.Series(np.arange(items), dtype=pl.UInt32), "target": pl.Series(np.arange(items) % 2, dtype=pl.UInt32)}
    graph = Graph(entities, {BUYS: pl.DataFrame({**ends, "time": time}), HAS: pl.DataFrame(has)}, frozenset({HAS}))
    return Dataset(graph, (Task("buys", BUYS),))


def same(one: NDArray, other: NDArray, promise: str) -> None:
    assert one.shape == other.shape and np.allclose(one, other, atol=1e-4), promise
