"""From what a caller asks to rows of the graph: known ids, and queries that are described instead of known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.data.condition import condition
from kgrec_core.data.ids import identifier
from kgrec_core.data.plain import plain
from kgrec_core.errors import QUOTED, KgrecError, choices
from kgrec_core.graph import Graph, Relation, Task
from kgrec_core.interfaces import Filter
from kgrec_core.run.groups import related as related_rows

Query = str | int | Mapping[str, Any]
CONDITIONS = 64  # whose candidates are remembered


def names(ids: Iterable[Any], what: str) -> list[str]:
    """Ids as text, of which a number's is what it is written like. Raises KgrecError for one id where a list belongs, and for what is none."""
    if isinstance(ids, str | bytes | Mapping) or not isinstance(ids, Iterable):
        raise KgrecError(f"{what} = {ids!r}: it takes a list of ids, such as [{str(ids)!r}]")
    found = [id if type(id) is str else identifier(id) for id in ids]
    for given, name in zip(ids, found, strict=True):
        if given is None or isinstance(given, bool | bytes | Mapping | list | tuple) or name == "nan":
            raise KgrecError(f"{what}: {given!r} is no id; write it as text")
    return found


def known(graph: Graph, kind: str, ids: Iterable[Any]) -> NDArray[np.int64]:
    """(n,) rows of ids, as they are written or else as ids are read. Raises KgrecError with a few that resemble the first unknown one."""
    ids = names(ids, kind)
    rows = graph.rows(kind, ids)
    if (rows < 0).any():
        lost = np.flatnonzero(rows < 0)
        rows[lost] = graph.rows(kind, [identifier(ids[i]) for i in lost])
    if (rows < 0).any():
        given = ids[int(np.argmax(rows < 0))]
        raise choices(f"{kind} of this run ({graph.size(kind):,} known)", given, near(graph, kind, given))
    return rows


def near(graph: Graph, kind: str, given: str) -> list[str]:
    """A few ids that resemble the given one; a catalogue is too long to list."""
    from rapidfuzz.process import extract

    return [found for found, *_ in extract(given[:QUOTED], graph.entities[kind]["id"].to_list(), limit=5)]


def allowed(graph: Graph, task: Task, where: str | None = None, exclude: Sequence[str] = (), related: Sequence[str] = ()) -> Filter:
    """The living candidates that meet an SQL condition on their columns and that the graph relates as said, less some ids; what a
    condition leaves is found once a graph.

    Raises KgrecError for a bad condition, an unknown id, relation or value, and where nothing is left.
    """
    kind = task.relation.target
    mask = graph.alive(kind)
    if where:
        met, text = meeting(graph, kind, where)
        mask = mask & met
    if related:
        mask = mask & related_rows(graph, task, related)
    if exclude:
        mask = mask.copy()
        mask[known(graph, kind, exclude)] = False
    if not mask.any():
        asked = f"where = {where!r}" + (f", related = {', '.join(related)}" if related else "")
        raise KgrecError(f"no {kind} is left to choose from: {asked} and exclude leave none of {len(mask)}")
    return Filter(mask, text if where else None)


def meeting(graph: Graph, kind: str, where: str) -> tuple[NDArray[np.bool_], str]:
    """By row whether it meets the condition, and the condition as a database takes it; kept as long as the graph is."""
    kept = graph.memo.get(("where", kind), (), dict)
    found = kept.get(where)
    if found is None:
        if len(kept) >= CONDITIONS:
            kept.clear()
        found = kept[where] = table_meets(graph.entities[kind], kind, where)
    return found


def table_meets(table: pl.DataFrame, kind: str, where: str) -> tuple[NDArray[np.bool_], str]:
    """As `meeting`, of some rows of a kind."""
    met = condition(where, table.schema, "where", kind)
    if met.numbers:
        raise KgrecError(
            f"where = {where!r}: {met.numbers[0]} of {kind} holds text, and is compared with a number; write it in single quotes"
        )
    return met.meets(table), met.text


def met_by(task: Task) -> Relation:
    """What a query's `history` is of: the task's own relation, or, where the first that it is read through is about another kind, that
    one: products, of whose buyer the segment is asked."""
    return next((read for read in task.history[:1] if read.target != task.relation.target), task.relation)


def with_queries(graph: Graph, task: Task, queries: Sequence[Query]) -> tuple[Graph, NDArray[np.int64]]:
    """The graph joined with the queries that are described instead of known, and the row of every query."""
    relation = met_by(task)
    kind, target = relation.source, relation.target
    if isinstance(queries, str | bytes | Mapping) or not isinstance(queries, Iterable):
        raise KgrecError(f"{queries!r} is one query where a list belongs; write [{queries!r}]")
    described = {place: query for place, query in enumerate(queries) if isinstance(query, Mapping)}
    reads = any("text" in graph.columns(end) for end in (kind, target, task.relation.target))
    for query in described.values():
        _check(query, reads)
    ids = [f"\x00query {place}" for place in range(len(queries))]
    named = [place for place in range(len(queries)) if place not in described or described[place].get("id") not in (None, "")]
    rows = known(graph, kind, [described[place]["id"] if place in described else queries[place] for place in named])
    for place, id in zip(named, graph.gather(kind, rows, "id")["id"].to_list() if named else (), strict=True):
        ids[place] = id
    if described:
        texts = [plain(query.get("text") or "") or None for query in described.values()]
        source = {"id": [ids[place] for place in described], **({"text": texts} if any(texts) else {})}
        met = [(place, item) for place, q in enumerate(described.values()) for item in names(q.get("history") or (), "history")]
        items = graph.gather(target, known(graph, target, [item for _, item in met]), "id")["id"].to_list() if met else []
        pairs = [(place, item) for (place, _), item in zip(met, items, strict=True)]
        items = list(dict.fromkeys(items))
        number = {item: i for i, item in enumerate(items)}
        kinds = {kind: pl.DataFrame(source, schema={c: pl.String for c in source})}
        if kind != target and items:
            kinds[target] = pl.DataFrame({"id": items}, schema={"id": pl.String})
        edges = {
            "source": pl.Series([s for s, _ in pairs], dtype=pl.UInt32),
            "target": pl.Series([number[t] for _, t in pairs], dtype=pl.UInt32),
        }
        if graph.dated(relation):
            now = int(time.time() * 1e6) - len(pairs)
            edges["time"] = pl.Series([now + i for i in range(len(pairs))], dtype=pl.Int64)
        graph = graph.join(Graph(kinds, {relation: pl.DataFrame(edges)} if pairs else {}))
    return graph, graph.rows(kind, ids)


def _check(query: Mapping[str, Any], reads: bool) -> None:
    """reads: whether the run has texts at all, with which one could be compared."""
    if stray := set(query) - {"id", "text", "history"}:
        raise choices("key of a query", sorted(map(str, stray))[0], ("id", "text", "history"))
    if not query:
        raise KgrecError("an empty query asks for nothing; give an id, a text or a history")
    if not isinstance(query.get("text", ""), str | None):
        raise KgrecError(f"text = {query['text']!r}: it takes words")
    if query.get("text") and not reads:
        raise KgrecError("text: nothing in this run has a text that it could be compared with; ask by id or by history")
    if query.get("text") and not plain(query["text"]) and not (query.get("id") or query.get("history")):
        raise KgrecError(f"text = {query['text']!r}: there is nothing in it to read")
