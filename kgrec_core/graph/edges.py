"""The edges of one relation, indexed in stretches: what a delta appends gets a small index of its own, not the whole a new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph.ragged import Ragged, ranges


class Segment:
    """A stretch of a relation's table, indexed when first asked for."""

    def __init__(self, frame: pl.DataFrame, start: int) -> None:
        self.frame, self.start = frame.drop("weight", strict=False), start

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def forward(self) -> Index:
        return self._index("source", "target")

    @cached_property
    def backward(self) -> Index:
        return self._index("target", "source")

    def _index(self, key: str, other: str) -> Index:
        whole = self.frame.with_row_index("edge").filter(pl.col("source").is_not_null() & pl.col("target").is_not_null())
        times = whole["time"].to_numpy() if "time" in whole.columns else None
        index = Index(whole[key].to_numpy(), whole[other].to_numpy(), times, self.start)
        if len(whole) < len(self.frame):
            index.edges = whole["edge"].to_numpy().astype(np.int64)[index.edges - self.start] + self.start
        return index


class Index:
    """Edges of one segment sorted by (key, time, edge), so that a key's edges before a time are one slice."""

    def __init__(self, keys: NDArray, others: NDArray, times: NDArray | None, start: int) -> None:
        order = np.arange(len(keys)) if times is None else np.argsort(times, kind="stable")
        order = order[np.argsort(keys[order], kind="stable")]
        self.others, self.edges = others[order].astype(np.int64), order + start
        keys = keys[order].astype(np.int64)
        self.times = None if times is None else times[order]
        self.stamps = np.zeros(0, np.int64) if times is None else np.unique(times)
        # One sorted integer per edge, key and rank of time together: a vectorised binary search answers `before`.
        self.width = len(self.stamps) + 1
        self.codes = keys * self.width
        if self.times is not None:
            self.codes = self.codes + np.searchsorted(self.stamps, self.times)

    def slices(self, rows: NDArray, before: NDArray | None, since: NDArray | None) -> tuple[NDArray, NDArray]:
        """Start and end of every row's edges with since <= time < before."""
        rows = rows.astype(np.int64)
        low, high = rows * self.width, (rows + 1) * self.width
        if self.times is not None and since is not None:
            low = low + np.searchsorted(self.stamps, since)
        if self.times is not None and before is not None:
            high = rows * self.width + np.searchsorted(self.stamps, before)
        starts = np.searchsorted(self.codes, low)
        return starts, np.maximum(starts, np.searchsorted(self.codes, high))

    def read(self, rows: NDArray, before: NDArray | None, last: int | None) -> tuple[Ragged, NDArray]:
        """Every row's edges before a time, the latest `last` of them, and their times (0 where undated)."""
        starts, ends = self.slices(rows, before, None)
        if last is not None:
            starts = np.maximum(starts, ends - last)
        flat, indptr = ranges(starts, ends)
        return Ragged(indptr, self.others[flat], self.edges[flat]), np.zeros(len(flat)) if self.times is None else self.times[flat]


def grow(segments: tuple, new: Any, merge: Callable) -> tuple:
    """Append, merging neighbours of like size: at most log(n) segments, each element moved log(n) times at most."""
    while len(segments) > 1 and len(segments[-1]) <= len(new):
        *segments, previous = segments
        new = merge(previous, new)
    return (*segments, new)


def check_edges(relation: str, table: pl.DataFrame, ends: Mapping[str, tuple[str, int]]) -> None:
    """Raise KgrecError unless the table is a relation's. ends: "source" and "target" -> the kind there and how many rows it has."""
    for end, (kind, size) in ends.items():
        if end not in table.columns or table.schema[end] != pl.UInt32:
            raise KgrecError(f"relation {relation}: the table needs a UInt32 column '{end}' of row numbers")
        highest = table[end].max()
        if highest is not None and highest >= size:
            raise KgrecError(f"relation {relation}: {end} row {highest} is not among the {size} entities of kind {kind}")
    if "time" in table.columns and (table.schema["time"] != pl.Int64 or table["time"].null_count()):
        raise KgrecError(f"relation {relation}: 'time' must be Int64 microseconds without nulls; drop undated rows or the column")
