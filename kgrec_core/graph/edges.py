"""The edges of one relation, in stretches with an index each: what a delta appends is indexed by itself, not the whole again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, reduce
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph.ragged import Ragged, ranges

T = TypeVar("T")
FEW = 8  # polars copies a column of more pieces than that whenever rows are taken from it


class Relations(Mapping[Any, pl.DataFrame]):
    """The public view of the relations: a table each."""

    def __init__(self, held: Mapping[Any, Edges]) -> None:
        self.held = held

    def __getitem__(self, relation: Any) -> pl.DataFrame:
        return self.held[relation].frame

    def __iter__(self) -> Iterator[Any]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


class Edges:
    """The edges of one relation; immutable, `join` gives another that shares all that is old."""

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self.segments = segments

    @classmethod
    def of(cls, table: pl.DataFrame) -> Edges:
        return cls((Segment(table, 0),))

    def __len__(self) -> int:
        return self.segments[-1].start + len(self.segments[-1])

    @property
    def columns(self) -> list[str]:
        return self.segments[0].frame.columns

    @cached_property
    def frame(self) -> pl.DataFrame:
        return reduce(pl.DataFrame.vstack, (s.frame for s in self.segments))

    def read(self, rows: NDArray[np.int64], before: NDArray[np.int64] | None, inverse: bool, last: int | None) -> Ragged:
        """Every row's other ends, oldest first; see `Graph.adjacent`."""
        parts = [(s.backward if inverse else s.forward).read(rows, before, last) for s in self.segments]
        if len(parts) == 1:
            return parts[0][0]
        owner = np.concatenate([p.owner for p, _ in parts])
        other, edge = (np.concatenate([getattr(p, f) for p, _ in parts]) for f in ("rows", "edges"))
        order = np.lexsort((edge, np.concatenate([t for _, t in parts]), owner))
        ragged = Ragged.of(owner[order], other[order], len(rows), edge[order])
        return ragged if last is None else ragged.last(last)

    def degree(
        self, rows: NDArray[np.int64], before: NDArray[np.int64] | None, since: NDArray[np.int64] | None, inverse: bool
    ) -> NDArray[np.int64]:
        """(n,) see `Graph.degree`."""
        total = np.zeros(rows.shape, np.int64)
        for segment in self.segments:
            starts, ends = (segment.backward if inverse else segment.forward).slices(rows, before, since)
            total += ends - starts
        return total

    def join(self, table: pl.DataFrame, relation: str) -> Edges:
        """With a table behind these. Raises KgrecError where edges with and without a time would meet."""
        segments = self.segments
        if ("time" in self.columns) != ("time" in table.columns):
            raise KgrecError(f"relation {relation}: edges with and without a time cannot be joined; give all of them a time or none")
        if "weight" in table.columns and "weight" not in self.columns:
            segments = tuple(Segment(s.frame.with_columns(weight=pl.lit(1.0)), s.start) for s in segments)
        elif "weight" in self.columns and "weight" not in table.columns:
            table = table.with_columns(weight=pl.lit(1.0))
        if not len(table):
            return Edges(segments)
        new = Segment(widened(table, segments[0].frame.schema), len(self))
        return Edges(grow(segments, new, lambda a, b: Segment(joined(a.frame, b.frame), a.start)))


class Segment:
    """A stretch of a relation's table, indexed when first asked for."""

    def __init__(self, frame: pl.DataFrame, start: int) -> None:
        self.frame, self.start = frame, start

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def forward(self) -> Index:
        return self._index("source", "target")

    @cached_property
    def backward(self) -> Index:
        return self._index("target", "source")

    def _index(self, key: str, other: str) -> Index:
        keys, others = self.frame[key], self.frame[other]
        times = self.frame["time"] if "time" in self.frame.columns else None
        if not keys.null_count() + others.null_count():
            return Index(keys.to_numpy(), others.to_numpy(), None if times is None else times.to_numpy(), self.start)
        whole = np.flatnonzero((keys.is_not_null() & others.is_not_null()).to_numpy())
        keys, others, times = (None if c is None else c.gather(whole).to_numpy() for c in (keys, others, times))
        index = Index(keys, others, times, self.start)
        index.edges = (whole[index.edges - self.start] + self.start).astype(np.uint32)
        return index


class Index:
    """Edges of one segment sorted by (key, time, edge), so that a key's edges before a time are one slice.

    Every process that opens a run keeps these, so row numbers take four bytes, and a time is what its rank in `codes` says.
    """

    def __init__(self, keys: NDArray, others: NDArray, times: NDArray | None, start: int) -> None:
        order, rank, self.stamps = np.arange(len(keys)), np.zeros(len(keys), np.int64), np.zeros(0, np.int64)
        if times is not None:
            if (times[1:] < times[:-1]).any():
                order = np.argsort(times, kind="stable")
            sorted_, turn = times[order], np.ones(len(times), bool)
            turn[1:] = sorted_[1:] != sorted_[:-1]
            rank, self.stamps = np.cumsum(turn) - 1, sorted_[turn]
        by_key = _stable(keys[order])
        order = order[by_key]
        self.others, self.edges = others[order].astype(np.uint32), (order + start).astype(np.uint32)
        # One sorted integer per edge, key and rank of time together: a vectorised binary search answers `before`.
        self.width = len(self.stamps) + 1
        self.codes = keys[order].astype(np.int64) * self.width + rank[by_key]

    def slices(self, rows: NDArray, before: NDArray | None, since: NDArray | None) -> tuple[NDArray, NDArray]:
        """Start and end of every row's edges with since <= time < before."""
        rows = rows.astype(np.int64)
        low, high = rows * self.width, (rows + 1) * self.width
        if len(self.stamps) and since is not None:
            low = low + np.searchsorted(self.stamps, since)
        if len(self.stamps) and before is not None:
            high = rows * self.width + np.searchsorted(self.stamps, before)
        starts = np.searchsorted(self.codes, low)
        return starts, np.maximum(starts, np.searchsorted(self.codes, high))

    def read(self, rows: NDArray, before: NDArray | None, last: int | None) -> tuple[Ragged, NDArray]:
        """Every row's edges before a time, the latest `last` of them, and their times (0 where undated)."""
        starts, ends = self.slices(rows, before, None)
        if last is not None:
            starts = np.maximum(starts, ends - last)
        flat, indptr = ranges(starts, ends)
        times = self.stamps[self.codes[flat] % self.width] if len(self.stamps) else np.zeros(len(flat))
        return Ragged(indptr, self.others[flat].astype(np.int64), self.edges[flat].astype(np.int64)), times


def _stable(keys: NDArray) -> NDArray[np.int64]:
    """The order that sorts whole numbers and keeps equal ones as they are; many are counted, which takes linear time."""
    n = len(keys)
    highest = int(keys.max()) if n else 0
    if highest > n:
        return np.argsort(keys, kind="stable")
    cells = np.ones(n, np.int8), (keys, np.arange(n))
    return sp.csr_matrix(cells, shape=(highest + 1, n)).indices.astype(np.int64)


def grow(pieces: tuple[T, ...], new: T, merge: Callable[[T, T], T]) -> tuple[T, ...]:
    """Append, merging what is not FEW times as large: the first piece stays, and few others are behind it however much is appended."""
    while len(pieces) > 1 and len(pieces[-1]) <= FEW * len(new):
        *pieces, previous = pieces
        new = merge(previous, new)
    return (*pieces, new)


def renumbered(tables: Sequence[pl.DataFrame], ends: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Iterator[pl.DataFrame]:
    """Tables end to end, as few as their columns let it be, with other row numbers.

    ends: "source" and "target" -> for every table where its entities begin among all that came, and the row that each of those got.
    """
    for _, numbers in groupby(range(len(tables)), lambda i: (tables[i].columns, tables[i].dtypes)):
        of = list(numbers)
        whole = {c: pl.concat([tables[i].get_column(c) for i in of], rechunk=True) for c in tables[of[0]].columns}
        for end, (starts, rows) in ends.items():
            own = whole[end] + pl.Series(np.repeat(starts[of], [len(tables[i]) for i in of]).astype(np.uint32))
            whole[end] = pl.Series(end, rows.astype(np.uint32))[own]
        yield pl.DataFrame(whole)


def joined(one: pl.DataFrame, two: pl.DataFrame) -> pl.DataFrame:
    """In one piece; column by column, as polars' own threads are not there after a fork."""
    return pl.DataFrame([column.rechunk() for column in one.vstack(two).get_columns()])


def taken(column: pl.Series, rows: NDArray[np.int64]) -> pl.Series:
    """The values at rows; not by `gather`, which begins a query of its own for every column."""
    return column[pl.Series(rows.astype(np.uint32))]


def widened(table: pl.DataFrame, held: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """With all columns held, null where there were none, in these types and this order."""
    if list(table.schema.items()) == list(held.items()):
        return table
    none = (pl.Series(c, [None], t).new_from_index(0, len(table)) if c not in table.columns else table[c] for c, t in held.items())
    return pl.DataFrame([column if column.dtype == t else column.cast(t) for column, t in zip(none, held.values(), strict=True)])


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
