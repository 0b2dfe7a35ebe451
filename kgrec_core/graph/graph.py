"""The data contract: a text-attributed, time-stamped graph in columns, and the one door through which it is read.

Strings live only at the border (`Graph.rows` translates ids); inside, an entity is its row number. Row numbers and edge
numbers never change, so whatever was learned about row 17 stays true after `join`.
"""

from __future__ import annotations

import time as _clock
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph.edges import Edges, Relations, check_edges, renumbered
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
    present: with `as_of` None, the clock or this, whichever is later: what an edit ended stays so when the clock steps back.
    memo: what was learnt from it; the views `at` and `with_edges` share it, a `join` begins another.

    Raises KgrecError when a table breaks this contract.
    """

    entities: Mapping[str, pl.DataFrame]
    relations: Mapping[Relation, pl.DataFrame] = field(default_factory=dict)
    timeless: frozenset[Relation] = frozenset()
    as_of: int | None = None
    ordered: frozenset[Relation] = frozenset()
    present: int = 0
    memo: Memo = field(default_factory=Memo, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.entities, Kinds):
            for kind, table in self.entities.items():
                check_entities(kind, table)
            object.__setattr__(self, "entities", Kinds({k: Kind((t,)) for k, t in self.entities.items()}))
        if not isinstance(self.relations, Relations):
            held = {r: t if isinstance(t, Edges) else self._edges_of(r, t) for r, t in self.relations.items()}
            object.__setattr__(self, "relations", Relations(held))

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes go the tables; what was learnt from them each learns for itself."""
        return Graph, (dict(self.entities), dict(self.relations), self.timeless, self.as_of, self.ordered, self.present)

    # --- entities ---------------------------------------------------------------------------------------------------
    def size(self, kind: str) -> int:
        """How many rows the kind has, removed ones included."""
        return len(self._kind(kind))

    def rows(self, kind: str, ids: Iterable[str]) -> NDArray[np.int64]:
        """Row numbers of ids; -1 where an id is unknown."""
        return self._kind(kind).rows(ids)

    def gather(self, kind: str, rows: ArrayLike, *columns: str) -> pl.DataFrame:
        """The named columns (all when none is named) of the given rows, in their order."""
        table = self._kind(kind)
        return table.gather(np.asarray(rows, np.int64), list(columns) or list(table.schema))

    def columns(self, kind: str) -> list[str]:
        return list(self._kind(kind).schema)

    def alive(self, kind: str) -> NDArray[np.bool_]:
        """(size,) which rows exist at `as_of`: since < as_of < until, where the kind has such columns. Not to be written to."""
        return self._kind(kind).alive(max(int(_clock.time() * 1e6), self.present) if self.as_of is None else self.as_of)

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
        return self._edges(relation).read(rows, before, inverse, last)

    def degree(
        self, relation: Relation, rows: ArrayLike, before: ArrayLike | None = None, since: ArrayLike | None = None, inverse: bool = False
    ) -> NDArray[np.int64]:
        """(n,) number of edges with since <= time < before: popularity in a window, without a scan."""
        rows = np.asarray(rows, np.int64)
        limits = [None if t is None else np.broadcast_to(np.asarray(t, np.int64), rows.shape) for t in (before, since)]
        return self._edges(relation).degree(rows, *limits, inverse)

    def values(self, relation: Relation, column: str, edges: NDArray[np.int64]) -> NDArray:
        """`time` or `weight` of edges by number; weight is 1 where the relation has none."""
        if column == "weight" and column not in self._edges(relation).columns:
            return np.ones(len(edges))
        return self.relations[relation][column].gather(edges).to_numpy()

    def dated(self, relation: Relation) -> bool:
        return "time" in self._edges(relation).columns

    def clocked(self, relation: Relation) -> bool:
        """Whether its times can be compared between sources: popularity of a week, age in days, moments before."""
        return self.dated(relation) and relation not in self.ordered

    def _edges(self, relation: Relation) -> Edges:
        try:
            return self.relations.held[relation]
        except KeyError:
            raise choices("relation", str(relation), map(str, self.relations)) from None

    def _edges_of(self, relation: Relation, table: pl.DataFrame) -> Edges:
        check_edges(str(relation), table, {e: (k, self.size(k)) for e, k in (("source", relation.source), ("target", relation.target))})
        return Edges.of(table)

    # --- versions ---------------------------------------------------------------------------------------------------
    def at(self, time: int) -> Graph:
        """The graph as it was known just before `time`: later edges and undated, not timeless relations are gone."""
        kept = {
            relation: table.filter(pl.col("time") < time) if "time" in table.columns else table
            for relation, table in self.relations.items()
            if "time" in table.columns or relation in self.timeless
        }
        return self.with_edges(kept, time)

    def with_edges(self, relations: Mapping[Relation, pl.DataFrame], as_of: int | None = None) -> Graph:
        """The same entities with these relations instead; tables of this graph's are not indexed again."""
        held = self.relations.held
        shared = {r: held[r] if r in held and held[r].frame is table else table for r, table in relations.items()}
        return replace(self, relations=shared, timeless=frozenset(r for r in self.timeless if r in relations), as_of=as_of)

    def join(self, *deltas: Graph) -> Graph:
        """This graph with deltas, each of which numbers its own tables and is mapped by id; cost grows with the deltas only.

        Several, oldest first, come to the same as one after the other, and cost little more than one. A known id takes over the columns that the delta's table has; other columns of that row stay. New ids get new rows at
        the end; edges are appended. Raises KgrecError when a relation is dated on one side only.
        """
        kinds, mapped = dict(self.entities.kinds), {}
        present = max([self.present, *(delta.present for delta in deltas)])
        for kind in dict.fromkeys(kind for delta in deltas for kind in delta.entities):
            tables = [delta.entities[kind] for delta in deltas if kind in delta.entities]
            before = kinds.get(kind) or Kind((tables[0].clear(),))
            kinds[kind], mapped[kind] = before.join(tables, kind, present)
        starts = {kind: np.cumsum([0, *(len(d.entities.get(kind, ())) for d in deltas)]) for kind in mapped}
        held = dict(self.relations.held)
        for relation in dict.fromkeys(relation for delta in deltas for relation in delta.relations):
            of = [i for i, delta in enumerate(deltas) if relation in delta.relations]
            ends = {e: (starts[k][of], mapped[k]) for e, k in (("source", relation.source), ("target", relation.target))}
            for table in renumbered([deltas[i].relations[relation] for i in of], ends):
                held[relation] = held[relation].join(table, str(relation)) if relation in held else Edges.of(table)
        return replace(
            self,
            entities=Kinds(kinds),
            relations=Relations(held),
            timeless=self.timeless.union(*(delta.timeless for delta in deltas)),
            present=present,
            memo=Memo(),
        )


@dataclass(frozen=True, eq=False)
class Nodes:
    """What an encoder encodes: which rows, in which role, knowing what.

    rows: (n,) rows of `kind`. side: "query" or "candidate" (prefixes; follower and followed where both ends are one kind).
    before: (n,) only edges with time < before are read: a basket never sees itself. None = all of the graph.
    hide: relation -> for every node the other ends that are not read: how an undated target stays out of its own query.
    memo: what several parts find out about these very nodes; other nodes made of them begin anew.
    """

    graph: Graph
    kind: str
    rows: NDArray[np.int64]
    side: Literal["query", "candidate"]
    before: NDArray[np.int64] | None = None
    hide: Mapping[Relation, Ragged] | None = None
    memo: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False, repr=False)

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

    @property
    def texts(self) -> list[str]:
        """The nodes' own, "" where there is none; looked up once, not to be written to."""
        if ("texts",) not in self.memo:
            has = "text" in self.graph.columns(self.kind)
            found = self.graph.gather(self.kind, self.rows, "text")["text"].to_list() if has else [None] * len(self)
            self.memo[("texts",)] = [text or "" for text in found]
        return self.memo[("texts",)]

    def take(self, index: ArrayLike) -> Nodes:
        """The nodes numbered by `index` (integers, a slice or a mask)."""
        index = np.arange(len(self.rows))[index]
        before = None if self.before is None else self.before[index]
        hide = None if self.hide is None else {r: h.take(index) for r, h in self.hide.items()}
        return replace(self, rows=self.rows[index], before=before, hide=hide)

    def blocks(self, size: int) -> Iterator[Nodes]:
        """All of them in this order, at most `size` at once, themselves where they are no more; one block without any where there are none."""
        return iter((self,)) if len(self) <= size else (self.take(slice(i, i + size)) for i in range(0, len(self), size))


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
