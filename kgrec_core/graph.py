"""The data contract: a text-attributed, time-stamped graph in columns, and the one door through which it is read.

Strings live only at the border (`Graph.rows` translates ids); inside, an entity is its row number. Row numbers and edge
numbers never change, so whatever was learned about row 17 stays true after `join`.
"""

from __future__ import annotations

import time as _clock
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kgrec_core.errors import KgrecError, choices


class Relation(NamedTuple):
    """A directed, named relation between two kinds of entity, e.g. ("user", "buys", "item")."""

    source: str
    name: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.name}->{self.target}"


class Ragged(NamedTuple):
    """Lists of different length, end to end: list i is `rows[indptr[i]:indptr[i + 1]]`. All int64.

    `edges` holds the numbers of the edges in their relation's table, where time and weight are found.
    """

    indptr: NDArray[np.int64]
    rows: NDArray[np.int64]
    edges: NDArray[np.int64]

    @classmethod
    def empty(cls, n: int) -> Ragged:
        none = np.zeros(0, np.int64)
        return cls(np.zeros(n + 1, np.int64), none, none)

    @classmethod
    def of(cls, owner: NDArray[np.int64], rows: NDArray[np.int64], n: int, edges: NDArray | None = None) -> Ragged:
        """From parallel columns: `owner[j]` in [0, n) is the list that `rows[j]` belongs to; order within a list is kept."""
        order = np.argsort(owner, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)
        edges = np.full(len(rows), -1, np.int64) if edges is None else edges
        return cls(indptr, rows[order].astype(np.int64), edges[order].astype(np.int64))

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.diff(self.indptr)

    @property
    def owner(self) -> NDArray[np.int64]:
        """For every row, the number of the list it is in."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.counts)

    def keep(self, mask: NDArray[np.bool_]) -> Ragged:
        """Only the rows for which `mask` holds."""
        total = np.concatenate([[0], np.cumsum(mask)])
        return Ragged(total[self.indptr], self.rows[mask], self.edges[mask])

    def last(self, n: int) -> Ragged:
        """At most the last n of every list."""
        starts = np.maximum(self.indptr[:-1], self.indptr[1:] - n)
        return self.keep(np.arange(len(self.rows)) >= np.repeat(starts, self.counts))

    def take(self, index: NDArray[np.int64]) -> Ragged:
        """The lists numbered by `index`, in that order."""
        flat, indptr = _ranges(self.indptr[:-1][index], self.indptr[1:][index])
        return Ragged(indptr, self.rows[flat], self.edges[flat])


class _Index:
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


class _Segment:
    """A stretch of a relation's table, indexed when first asked for."""

    def __init__(self, frame: pl.DataFrame, start: int) -> None:
        self.frame, self.start = frame.drop("weight", strict=False), start

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def forward(self) -> _Index:
        return self._index("source", "target")

    @cached_property
    def backward(self) -> _Index:
        return self._index("target", "source")

    def _index(self, key: str, other: str) -> _Index:
        whole = self.frame.with_row_index("edge").filter(pl.col("source").is_not_null() & pl.col("target").is_not_null())
        times = whole["time"].to_numpy() if "time" in whole.columns else None
        index = _Index(whole[key].to_numpy(), whole[other].to_numpy(), times, self.start)
        if len(whole) < len(self.frame):
            index.edges = whole["edge"].to_numpy().astype(np.int64)[index.edges - self.start] + self.start
        return index


class _Kind:
    """The entities of one kind: appended tables, the rows that later deltas replaced, and id -> row dictionaries."""

    def __init__(
        self, frame: pl.DataFrame, patches: Mapping[int, dict[str, Any]] | None = None, ids: tuple[dict[str, int], ...] | None = None
    ):
        self.base, self.patches, self._ids = frame, patches or {}, ids

    @cached_property
    def ids(self) -> tuple[dict[str, int], ...]:
        return self._ids if self._ids is not None else (dict(zip(self.base["id"].to_list(), range(len(self.base)), strict=True)),)

    @cached_property
    def frame(self) -> pl.DataFrame:
        return self.gather(np.arange(len(self.base)), self.base.columns) if self.patches else self.base

    def gather(self, rows: NDArray[np.int64], columns: list[str]) -> pl.DataFrame:
        table = self.base.select(columns)[rows]
        stale = [i for i, row in enumerate(rows.tolist()) if row in self.patches] if self.patches else []
        if not stale:
            return table
        fresh = pl.DataFrame([{c: self.patches[int(rows[i])][c] for c in columns} for i in stale], schema=table.schema)
        order = np.arange(len(rows))
        order[stale] = len(rows) + np.arange(len(stale))
        return pl.concat([table, fresh])[order]

    def find(self, id: str) -> int:
        for ids in reversed(self.ids):
            if (row := ids.get(id)) is not None:
                return row
        return -1

    def join(self, delta: pl.DataFrame) -> tuple[_Kind, NDArray[np.int64]]:
        """This kind with the delta's rows, and the row number each of them got."""
        rows = np.array([self.find(id) for id in delta["id"].to_list()], np.int64)
        known, new = rows >= 0, np.flatnonzero(rows < 0)
        base = self.base
        missing = [c for c in delta.columns if c not in base.columns]
        if missing:
            base = base.with_columns(pl.lit(None, delta.schema[c]).alias(c) for c in missing)
        delta = delta.cast({c: base.schema[c] for c in delta.columns})
        rows[new] = len(base) + np.arange(len(new))
        patches = self.patches
        if missing and patches:
            patches = {r: {**dict.fromkeys(missing), **d} for r, d in patches.items()}
        if known.any():
            old = self.gather(rows[known], self.base.columns).to_dicts()
            blank = dict.fromkeys(base.columns)
            patches = {
                **patches,
                **{int(r): {**blank, **o, **d} for r, o, d in zip(rows[known], old, delta.filter(known).to_dicts(), strict=True)},
            }
        ids = self.ids
        if len(new):
            added = delta[new]
            base = pl.concat([base, added], how="diagonal", rechunk=False)
            base = base.rechunk() if max(s.n_chunks() for s in base.get_columns()) > 32 else base
            ids = _grow(ids, dict(zip(added["id"].to_list(), rows[new].tolist(), strict=True)), lambda a, b: {**a, **b})
        return _Kind(base, patches, ids), rows


class _Entities(Mapping[str, pl.DataFrame]):
    """The public view of the kinds: a table each, with replaced rows in place."""

    def __init__(self, kinds: Mapping[str, _Kind]) -> None:
        self.kinds = kinds

    def __getitem__(self, kind: str) -> pl.DataFrame:
        return self.kinds[kind].frame

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass(frozen=True, eq=False)
class Graph:
    """Entities and relations in columns; immutable. Times are int64 microseconds UTC.

    entities: kind -> table with `id` (String, unique) and optionally `text`, attribute columns, `since`, `until` (int64).
    relations: Relation -> table with `source`, `target` (UInt32 row numbers, null = no edge) and optionally `time` (Int64)
        and `weight` (Float64).
    timeless: undated relations that are true at all times (a product's brand).
    as_of: what is later is not in this graph; set by `at`. None = the present.

    Raises KgrecError when a table breaks this contract.
    """

    entities: Mapping[str, pl.DataFrame]
    relations: Mapping[Relation, pl.DataFrame] = field(default_factory=dict)
    timeless: frozenset[Relation] = frozenset()
    as_of: int | None = None
    _segments: Mapping[Relation, tuple[_Segment, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.entities, _Entities):
            for kind, table in self.entities.items():
                _check_entities(kind, table)
            object.__setattr__(self, "entities", _Entities({k: _Kind(t) for k, t in self.entities.items()}))
        if not self._segments:
            for relation, table in self.relations.items():
                _check_relation(self, relation, table)
            object.__setattr__(self, "_segments", {r: (_Segment(t, 0),) for r, t in self.relations.items()})

    # --- entities ---------------------------------------------------------------------------------------------------
    def size(self, kind: str) -> int:
        """How many rows the kind has, removed ones included."""
        return len(self._kind(kind).base)

    def rows(self, kind: str, ids: Iterable[str]) -> NDArray[np.int64]:
        """Row numbers of ids; -1 where an id is unknown."""
        table = self._kind(kind)
        return np.fromiter((table.find(id) for id in ids), np.int64)

    def gather(self, kind: str, rows: ArrayLike, *columns: str) -> pl.DataFrame:
        """The named columns (all when none is named) of the given rows, in their order."""
        table = self._kind(kind)
        return table.gather(np.asarray(rows, np.int64), list(columns) or table.base.columns)

    def columns(self, kind: str) -> list[str]:
        return self._kind(kind).base.columns

    def alive(self, kind: str) -> NDArray[np.bool_]:
        """(size,) which rows exist at `as_of`: since <= as_of < until, where the kind has such columns."""
        table, mask = self._kind(kind), np.ones(self.size(kind), bool)
        now = int(_clock.time() * 1e6) if self.as_of is None else self.as_of
        for column, ok in (("since", lambda c: c < now), ("until", lambda c: c > now)):
            if column in table.base.columns:
                mask &= table.frame.select(ok(pl.col(column)).fill_null(True)).to_series().to_numpy()
        return mask

    def _kind(self, kind: str) -> _Kind:
        try:
            return self.entities.kinds[kind]
        except KeyError:
            raise choices("kind of entity", kind, self.entities) from None

    # --- edges ------------------------------------------------------------------------------------------------------
    def adjacent(
        self, relation: Relation, rows: ArrayLike, before: ArrayLike | None = None, inverse: bool = False, last: int | None = None
    ) -> Ragged:
        """The other ends of the rows' edges, oldest first (ties: table order).

        rows: (n,) rows of the source kind (of the target kind when `inverse`); -1 has no edges.
        before: (n,) or one time: only edges with time < before. Undated relations ignore it.
        last: at most that many of the latest per row.
        """
        rows = np.asarray(rows, np.int64)
        before = None if before is None else np.broadcast_to(np.asarray(before, np.int64), rows.shape)
        parts = [_read(s.backward if inverse else s.forward, rows, before, last) for s in self._edges(relation)]
        if not parts:
            return Ragged.empty(len(rows))
        if len(parts) == 1:
            return parts[0][0]
        owner = np.concatenate([p.owner for p, _ in parts])
        other, edge = (np.concatenate([getattr(p, f) for p, _ in parts]) for f in ("rows", "edges"))
        order = np.lexsort((edge, np.concatenate([t for _, t in parts]), owner))
        ragged = Ragged.of(owner[order], other[order], len(rows), edge[order])
        return ragged if last is None else ragged.last(last)

    def degree(
        self, relation: Relation, rows: ArrayLike, before: ArrayLike | None = None, since: ArrayLike | None = None, inverse: bool = False
    ) -> NDArray[np.int64]:
        """(n,) number of edges with since <= time < before: popularity in a window, without a scan."""
        rows, total = np.asarray(rows, np.int64), np.zeros(np.shape(rows), np.int64)
        limits = [None if t is None else np.broadcast_to(np.asarray(t, np.int64), rows.shape) for t in (before, since)]
        for segment in self._edges(relation):
            starts, ends = (segment.backward if inverse else segment.forward).slices(rows, *limits)
            total += ends - starts
        return total

    def values(self, relation: Relation, column: str, edges: NDArray[np.int64]) -> NDArray:
        """`time` or `weight` of edges by number; weight is 1 where the relation has none."""
        table = self.relations[relation]
        if column == "weight" and column not in table.columns:
            return np.ones(len(edges))
        return table[column].gather(edges).to_numpy()

    def dated(self, relation: Relation) -> bool:
        return "time" in self.relations[relation].columns

    def _edges(self, relation: Relation) -> tuple[_Segment, ...]:
        try:
            return self._segments[relation]
        except KeyError:
            raise choices("relation", str(relation), map(str, self.relations)) from None

    # --- versions ---------------------------------------------------------------------------------------------------
    def at(self, time: int) -> Graph:
        """The graph as it was known just before `time`: later edges and undated, not timeless relations are gone."""
        kept = {
            relation: table.filter(pl.col("time") < time) if "time" in table.columns else table
            for relation, table in self.relations.items()
            if "time" in table.columns or relation in self.timeless
        }
        return replace(self, relations=kept, as_of=time, _segments={})

    def with_edges(self, relations: Mapping[Relation, pl.DataFrame], as_of: int | None = None) -> Graph:
        """The same entities with these relations instead."""
        kept = frozenset(r for r in self.timeless if r in relations)
        return replace(self, relations=dict(relations), timeless=kept, as_of=as_of, _segments={})

    def join(self, delta: Graph) -> Graph:
        """This graph with a delta, which numbers its own tables and is mapped by id; cost grows with the delta only.

        A known id takes over the columns that the delta's table has; other columns of that row stay. New ids get new rows at
        the end; edges are appended. Raises KgrecError when a relation is dated on one side only.
        """
        kinds, mapped = dict(self.entities.kinds), {}
        for kind, table in delta.entities.items():
            if kind in kinds:
                kinds[kind], mapped[kind] = kinds[kind].join(table)
            else:
                kinds[kind], mapped[kind] = _Kind(table), np.arange(len(table))
        relations, segments = dict(self.relations), dict(self._segments)
        for relation, table in delta.relations.items():
            table = table.with_columns(
                pl.Series(end, _renumber(table[end], mapped[kind]), pl.UInt32)
                for end, kind in (("source", relation.source), ("target", relation.target))
            )
            if relation not in relations:
                relations[relation], segments[relation] = table, (_Segment(table, 0),)
                continue
            old = relations[relation]
            if ("time" in old.columns) != ("time" in table.columns):
                raise KgrecError(f"relation {relation}: edges with and without a time cannot be joined; give all of them a time or none")
            if ("weight" in old.columns) != ("weight" in table.columns):
                old, table = (t if "weight" in t.columns else t.with_columns(weight=pl.lit(1.0)) for t in (old, table))
            table = table.select(old.columns).cast(dict(old.schema))
            relations[relation] = pl.concat([old, table], rechunk=False)
            new = _Segment(table, len(old))
            segments[relation] = _grow(segments[relation], new, lambda a, b: _Segment(pl.concat([a.frame, b.frame]), a.start))
        return replace(self, entities=_Entities(kinds), relations=relations, timeless=self.timeless | delta.timeless, _segments=segments)


@dataclass(frozen=True, eq=False)
class Nodes:
    """What an encoder encodes: which rows, in which role, knowing what.

    rows: (n,) rows of `kind`. side: "query" or "candidate" (prefixes; follower and followed where both ends are one kind).
    before: (n,) only edges with time < before are read: a basket never sees itself. None = all of the graph.
    hide: relation -> for every node the other ends that are not read: how an undated target stays out of its own query.
    """

    graph: Graph
    kind: str
    rows: NDArray[np.int64]
    side: Literal["query", "candidate"]
    before: NDArray[np.int64] | None = None
    hide: Mapping[Relation, Ragged] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, relation: Relation, last: int | None = None) -> Ragged:
        """The one door to edges: the other ends of the nodes' edges, oldest first, without what the nodes may not know.

        Raises KgrecError when the relation does not touch the nodes' kind.
        """
        if self.kind not in (relation.source, relation.target):
            raise KgrecError(f"{relation} does not touch {self.kind}; a relation is read from one of its ends")
        inverse = relation.target == self.kind and (relation.source != self.kind or self.side == "candidate")
        hidden = (self.hide or {}).get(relation)
        found = self.graph.adjacent(relation, self.rows, self.before, inverse, last if hidden is None else None)
        if hidden is None or not len(hidden.rows):
            return found if hidden is None or last is None else found.last(last)
        width = max(found.rows.max(initial=0), hidden.rows.max()) + 1
        found = found.keep(~np.isin(found.owner * width + found.rows, hidden.owner * width + hidden.rows))
        return found if last is None else found.last(last)

    def take(self, index: ArrayLike) -> Nodes:
        """The nodes numbered by `index` (integers, a slice or a mask)."""
        index = np.arange(len(self.rows))[index]
        before = None if self.before is None else self.before[index]
        hide = None if self.hide is None else {r: h.take(index) for r, h in self.hide.items()}
        return replace(self, rows=self.rows[index], before=before, hide=hide)


class Task(NamedTuple):
    """What to predict: the target ends of `relation`.

    history: further relations of the source kind that tell about a query (views beside buys).
    repeats: whether a query may be answered with something it is linked to already.
    """

    name: str
    relation: Relation
    history: tuple[Relation, ...] = ()
    repeats: bool = False


class Dataset(NamedTuple):
    """What a data part returns."""

    graph: Graph
    tasks: tuple[Task, ...]


class Queries(NamedTuple):
    """Query nodes and the rows that are right for each; no target = nothing is right (out of scope)."""

    nodes: Nodes
    targets: Ragged

    def take(self, index: ArrayLike) -> Queries:
        index = np.arange(len(self.nodes))[index]
        return Queries(self.nodes.take(index), self.targets.take(index))


class View(NamedTuple):
    """A graph that has lost what it may not know, and the queries to ask it, by task."""

    graph: Graph
    queries: Mapping[str, Queries]


def histories(tasks: Iterable[Task], kind: str) -> tuple[Relation, ...]:
    """The relations a query of this kind is read through: the union over the kind's tasks, in their order."""
    return tuple(dict.fromkeys(r for t in tasks if t.relation.source == kind for r in (t.relation, *t.history)))


def candidates(graph: Graph, task: Task) -> Nodes:
    """All living rows of the task's target kind, as candidate nodes."""
    kind = task.relation.target
    return Nodes(graph, kind, np.flatnonzero(graph.alive(kind)), "candidate")


def _ranges(starts: NDArray, ends: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All positions of the ranges [start, end), end to end, and their indptr."""
    counts = ends - starts
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts), indptr


def _read(index: _Index, rows: NDArray, before: NDArray | None, last: int | None) -> tuple[Ragged, NDArray]:
    starts, ends = index.slices(rows, before, None)
    if last is not None:
        starts = np.maximum(starts, ends - last)
    flat, indptr = _ranges(starts, ends)
    return Ragged(indptr, index.others[flat], index.edges[flat]), np.zeros(len(flat)) if index.times is None else index.times[flat]


def _grow(segments: tuple, new: Any, merge: Callable) -> tuple:
    """Append, merging neighbours of like size: at most log(n) segments, each element moved log(n) times at most."""
    while len(segments) > 1 and len(segments[-1]) <= len(new):
        *segments, previous = segments
        new = merge(previous, new)
    return (*segments, new)


def _renumber(rows: pl.Series, mapped: NDArray[np.int64]) -> pl.Series:
    return pl.Series(mapped, dtype=pl.UInt32).gather(rows)


def _check_entities(kind: str, table: pl.DataFrame) -> None:
    if "id" not in table.columns or table.schema["id"] != pl.String:
        raise KgrecError(f"entities {kind}: the table needs a column 'id' of strings; it has {dict(table.schema)}")
    if table["id"].null_count():
        raise KgrecError(f"entities {kind} row {table['id'].is_null().arg_max() + 1}: the id is null; give every entity an id")
    twice = table["id"].is_duplicated()
    if twice.any():
        where = twice.arg_true()[:2].to_list()
        raise KgrecError(
            f"entities {kind}: id {table['id'][where[0]]!r} stands in rows {where[0] + 1} and {where[1] + 1}; ids must be unique"
        )


def _check_relation(graph: Graph, relation: Relation, table: pl.DataFrame) -> None:
    for end, kind in (("source", relation.source), ("target", relation.target)):
        if end not in table.columns or table.schema[end] != pl.UInt32:
            raise KgrecError(f"relation {relation}: the table needs a UInt32 column '{end}' of row numbers")
        highest, size = table[end].max(), graph.size(kind)
        if highest is not None and highest >= size:
            raise KgrecError(f"relation {relation}: {end} row {highest} is not among the {size} entities of kind {kind}")
    if "time" in table.columns and (table.schema["time"] != pl.Int64 or table["time"].null_count()):
        raise KgrecError(f"relation {relation}: 'time' must be Int64 microseconds without nulls; drop undated rows or the column")
