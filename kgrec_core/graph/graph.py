"""The data contract: a text-attributed, time-stamped graph in columns, and the one door through which it is read.

Strings live only at the border (`Graph.rows` translates ids); inside, an entity is its row number. Row numbers and edge
numbers never change, so whatever was learned about row 17 stays true after `join`.
"""

from __future__ import annotations

import time as _clock
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph.edges import Segment, check_edges, grow
from kgrec_core.graph.entities import Kind, Kinds, check_entities
from kgrec_core.graph.memo import Memo
from kgrec_core.graph.ragged import Ragged

DAY = 86_400_000_000  # microseconds, the unit of all times


class Relation(NamedTuple):
    """A directed, named relation between two kinds of entity, e.g. ("user", "buys", "item")."""

    source: str
    name: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.name}->{self.target}"


@dataclass(frozen=True, eq=False)
class Graph:
    """Entities and relations in columns; immutable. Times are int64 microseconds UTC.

    entities: kind -> table with `id` (String, unique) and optionally `text`, attribute columns, `since`, `until` (int64).
    relations: Relation -> table with `source`, `target` (UInt32 row numbers, null = no edge) and optionally `time` (Int64)
        and `weight` (Float64).
    timeless: undated relations that are true at all times (a product's brand).
    as_of: what is later is not in this graph; set by `at`. None = the present.
    ordered: relations whose times are an order within each source, no clock that sources share; see `clocked`.
    memo: what was learnt from it; the views `at` and `with_edges` share it, a `join` begins another.

    Raises KgrecError when a table breaks this contract.
    """

    entities: Mapping[str, pl.DataFrame]
    relations: Mapping[Relation, pl.DataFrame] = field(default_factory=dict)
    timeless: frozenset[Relation] = frozenset()
    as_of: int | None = None
    ordered: frozenset[Relation] = frozenset()
    memo: Memo = field(default_factory=Memo, repr=False)
    _segments: Mapping[Relation, tuple[Segment, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.entities, Kinds):
            for kind, table in self.entities.items():
                check_entities(kind, table)
            object.__setattr__(self, "entities", Kinds({k: Kind(t) for k, t in self.entities.items()}))
        if not self._segments:
            for relation, table in self.relations.items():
                ends = {end: (kind, self.size(kind)) for end, kind in (("source", relation.source), ("target", relation.target))}
                check_edges(str(relation), table, ends)
            object.__setattr__(self, "_segments", {r: (Segment(t, 0),) for r, t in self.relations.items()})

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
            if column in table.base.columns and table.frame[column].null_count() < len(mask):
                mask &= ok(table.frame[column]).fill_null(True).to_numpy()
        return mask

    def _kind(self, kind: str) -> Kind:
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
        parts = [(s.backward if inverse else s.forward).read(rows, before, last) for s in self._edges(relation)]
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

    def clocked(self, relation: Relation) -> bool:
        """Whether its times can be compared between sources: popularity of a week, age in days, moments before."""
        return self.dated(relation) and relation not in self.ordered

    def _edges(self, relation: Relation) -> tuple[Segment, ...]:
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
                kinds[kind], mapped[kind] = kinds[kind].join(table, kind)
            else:
                kinds[kind], mapped[kind] = Kind(table), np.arange(len(table))
        relations, segments = dict(self.relations), dict(self._segments)
        for relation, table in delta.relations.items():
            table = table.with_columns(
                pl.Series(mapped[kind], dtype=pl.UInt32).gather(table[end]).alias(end)
                for end, kind in (("source", relation.source), ("target", relation.target))
            )
            if relation not in relations:
                relations[relation], segments[relation] = table, (Segment(table, 0),)
                continue
            old = relations[relation]
            if ("time" in old.columns) != ("time" in table.columns):
                raise KgrecError(f"relation {relation}: edges with and without a time cannot be joined; give all of them a time or none")
            if ("weight" in old.columns) != ("weight" in table.columns):
                old, table = (t if "weight" in t.columns else t.with_columns(weight=pl.lit(1.0)) for t in (old, table))
            table = table.with_columns(pl.lit(None).alias(c) for c in old.columns if c not in table.columns)
            table = table.select(old.columns).cast(dict(old.schema))
            relations[relation] = pl.concat([old, table], rechunk=False)
            new = Segment(table, len(old))
            segments[relation] = grow(segments[relation], new, lambda a, b: Segment(pl.concat([a.frame, b.frame]), a.start))
        return replace(
            self, entities=Kinds(kinds), relations=relations, timeless=self.timeless | delta.timeless, memo=Memo(), _segments=segments
        )


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

    def on(self, graph: Graph) -> Queries:
        """The same queries, asked of another graph."""
        return Queries(replace(self.nodes, graph=graph), self.targets)


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
