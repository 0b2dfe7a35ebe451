"""Triples by id -> a delta of a graph, in columns: strings are numbered once per kind, so ten million triples take a minute."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from kgrec_core.graph import Graph, Relation


def delta(
    edges: Mapping[Relation, pl.DataFrame],
    texts: Mapping[str, pl.DataFrame] | None = None,
    known: Graph | None = None,
    progress: Callable[[int], None] | None = None,
) -> Graph:
    """A graph with these edges as timeless relations, and the entities they name.

    edges: relation -> `source` and `target` (String ids, null = no edge), optionally `weight`. texts: kind -> `id`, `text` of entities
        that may be new; where `known` has an id already, it is named only and keeps its columns.
    progress: told how many edges are done, each counted twice: when its ends are collected, and when they are numbered.
    Of edges that are given twice, the one with the highest weight stays.
    """
    named: dict[str, list[pl.Series]] = {}
    done, told = 0, progress or (lambda done: None)
    for relation, table in edges.items():
        for end, kind in (("source", relation.source), ("target", relation.target)):
            named.setdefault(kind, []).append(table[end].drop_nulls().unique().alias("id"))
        told(done := done + len(table))
    entities, numbers = {}, {}
    for kind, ids in named.items():
        every = pl.concat(ids).unique(maintain_order=True).sort()
        numbers[kind] = pl.DataFrame({"id": every}).with_row_index("row")
        entities[kind] = _entities(kind, every, (texts or {}).get(kind), known)
    relations = {}
    for relation, table in edges.items():
        done += len(table)
        if "weight" in table.columns:
            table = table.sort("weight", descending=True, nulls_last=True, maintain_order=True)
        table = table.drop_nulls(["source", "target"]).unique(["source", "target"], keep="first", maintain_order=True)
        ends = [_row(table[end], numbers[kind]).alias(end) for end, kind in (("source", relation.source), ("target", relation.target))]
        relations[relation] = pl.DataFrame([*ends, *([table["weight"].cast(pl.Float64)] if "weight" in table.columns else [])])
        told(done)
    return Graph(entities, relations, frozenset(relations))


def _entities(kind: str, ids: pl.Series, text: pl.DataFrame | None, known: Graph | None) -> pl.DataFrame:
    """A kind's table: bare ids where all of them are known."""
    table = pl.DataFrame({"id": ids})
    if text is None:
        return table
    told = table.join(text.unique("id", keep="first"), on="id", how="left", maintain_order="left")
    if known is None or kind not in known.entities or not known.size(kind):
        return told.with_columns(pl.col("text").fill_null(pl.col("id")))
    rows = known.rows(kind, ids.to_list())
    if (rows >= 0).all() or "text" not in known.columns(kind):
        return table
    mine = pl.Series(known.gather(kind, rows.clip(0), "text")["text"]).set(pl.Series(rows < 0), None)
    return told.with_columns(pl.coalesce(mine, "text", "id").alias("text"))


def _row(ids: pl.Series, numbers: pl.DataFrame) -> pl.Series:
    """UInt32 row numbers; both sides are joined as they are, which needs no dictionary of strings."""
    return pl.DataFrame({"id": ids}).join(numbers, on="id", how="left", maintain_order="left")["row"].cast(pl.UInt32)
