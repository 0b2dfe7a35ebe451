"""`tables`: a shop's own CSV, TSV, Parquet or JSONL files, mapped to entities, relations and tasks by the recipe.

[data]
use = "tables"
[data.entities.item]
file = "products.csv"
id = "sku"
text = ["name", "description"]
attributes = ["price"]
[data.entities.item.links.brand]            # item -brand-> brand
column = "brand"
[data.relations.buys]                       # user -buys-> item
file = "orders.csv"
source = { kind = "user", column = "customer" }
target = { kind = "item", column = "sku" }
time = "date"
unknown = "add"
[data.tasks.buys]
relation = "buys"
repeats = true
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_core.data.links import targets
from kgrec_core.data.mapping import Edges, End, Entity, Goal
from kgrec_core.data.numbering import Numbering
from kgrec_core.data.reading import read
from kgrec_core.data.table import Table, numeric, written
from kgrec_core.data.times import micros
from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Dataset, Graph, Relation, Task


class Tables:
    """Files mapped to a graph. entities: kind -> file; relations: name -> file; tasks: name -> what to predict."""

    def __init__(
        self,
        *,
        entities: Mapping[str, Entity] | None = None,
        relations: Mapping[str, Edges] | None = None,
        tasks: Mapping[str, Goal] | None = None,
    ):
        self.entities, self.relations, self.tasks = entities or {}, relations or {}, tasks or {}

    def load(self) -> Dataset:
        """Read all files. Raises KgrecError that names file, row, column and remedy."""
        kinds, columns = {}, {}
        for kind, spec in self.entities.items():
            kinds[kind], columns[kind] = _entity(kind, spec)
        numbering = {
            kind: Numbering(spec.file.name, table["id"]) for (kind, table), spec in zip(kinds.items(), self.entities.values(), strict=True)
        }
        graph = {}
        for name, edges in self.relations.items():
            graph[Relation(edges.source.kind, name, edges.target.kind)] = _edges(name, edges, numbering)
        timeless = {r for r in graph if self.relations[r.name].timeless}
        for kind, spec in self.entities.items():
            for name, link in spec.links.items():
                relation, setting = Relation(kind, name, link.kind or name), f"data.entities.{kind}.links.{name}"
                if relation in graph:
                    raise KgrecError(f"{setting}: there is a relation {relation} already; rename one of them")
                pairs = targets(columns[kind][link.column], link, name, setting)
                known = numbering.setdefault(relation.target, Numbering(spec.file.name))
                known.add(pairs["id"], named=True)
                graph[relation] = pairs.select("source", target=known.rows(pairs["id"]))
                timeless.add(relation)
        tasks = tuple(self._task(name, goal, graph) for name, goal in self.tasks.items())
        timeless -= {task.relation for task in tasks}  # what is to be predicted is not known at all times
        entities = {kind: known.extend(kinds.get(kind)) for kind, known in numbering.items()}
        return Dataset(Graph(entities, graph, frozenset(timeless)), tasks)

    def labelled(self, relation: str, file: Path) -> pl.DataFrame:
        """The rows of another file with the relation's columns: ids `source`, `target` (null = none) and, where dated, `time`."""
        if relation not in self.relations:
            raise choices("relation with a file", relation, self.relations)
        spec, numbering = replace(self.relations[relation], file=Path(file), unknown="add", weight=None, part=None, parts={}), {}
        edges = _edges(relation, spec, numbering)
        ends = (("source", spec.source.kind), ("target", spec.target.kind))
        return edges.with_columns(numbering[kind].ids.gather(edges[end]).alias(end) for end, kind in ends)

    def _task(self, name: str, goal: Goal, graph: Mapping[Relation, pl.DataFrame]) -> Task:
        found = {r.name: r for r in reversed(graph)}  # a relation comes before a link of the same name
        for key, relation in (("relation", goal.relation), *(("history", h) for h in goal.history)):
            if relation not in found:
                raise choices("relation", relation, found, f"correct data.tasks.{name}.{key}")
        return Task(name, found[goal.relation], tuple(found[h] for h in goal.history), goal.repeats)


def _entity(kind: str, spec: Entity) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The kind's table, and the columns of the file for its links, row by row."""
    setting = f"data.entities.{kind}"
    taken = {"id", *(n for n in ("text", "since", "until") if getattr(spec, n))} & set(spec.attributes)
    if taken:
        raise KgrecError(
            f"{setting}.attributes: '{min(taken)}' is a column that kgrec writes itself; rename it in {spec.file.name} or leave it out"
        )
    asked = {"id": spec.id, "since": spec.since, "until": spec.until}
    asked |= {f"text[{i}]": c for i, c in enumerate(spec.text)} | {f"attributes[{i}]": c for i, c in enumerate(spec.attributes)}
    asked |= {f"links.{name}.column": link.column for name, link in spec.links.items()}
    table = read(spec.file, {k: c for k, c in asked.items() if c is not None}, setting, spec.where)
    ids = written(table.frame[spec.id])
    table.refuse_empty(ids, spec.id, setting)
    times = {
        n: micros(table.frame[c], table.place, setting, spec.time_zone, spec.time_format)
        for n in ("since", "until")
        if (c := getattr(spec, n)) is not None
    }
    frame = table.frame.select(list(dict.fromkeys([*spec.text, *spec.attributes, *(k.column for k in spec.links.values())])))
    if spec.duplicates == "reject":
        table.refuse_duplicates(ids, spec.id, f'remove one, or set {setting}.duplicates = "first" or "last"')
    else:
        ids, frame, times = _merged(ids, frame, times, spec.duplicates)
    out = {"id": ids.alias("id")}
    if spec.text:
        parts = [written(frame[c]).str.strip_chars() for c in spec.text]
        parts = [part.set(part == "", None).alias(str(i)) for i, part in enumerate(parts)]
        out["text"] = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=spec.joiner, ignore_nulls=True)).to_series()
    for column in spec.attributes:
        numbers = numeric(frame[column])
        out[column] = frame[column] if numbers is None else numbers
    return pl.DataFrame(out | times), frame


def _merged(
    ids: pl.Series, frame: pl.DataFrame, times: dict[str, pl.Series], which: str
) -> tuple[pl.Series, pl.DataFrame, dict[str, pl.Series]]:
    """One row per id, by first appearance: its first or last value that is not empty, earliest `since`, latest `until`."""
    key, stamps = "__id__", [s.alias(f"__{n}__") for n, s in times.items()]
    whole = pl.DataFrame([ids.alias(key), *stamps, *frame.get_columns()])
    if "since" in times:
        whole = whole.sort("__since__", maintain_order=True, nulls_last=True)
    present = [pl.col(column).drop_nulls() for column in frame.columns]
    whole = whole.group_by(key, maintain_order=True).agg(
        *(column.first() if which == "first" else column.last() for column in present),
        *(pl.col(s.name).min() if s.name == "__since__" else pl.col(s.name).max() for s in stamps),
    )
    return whole[key], whole.select(frame.columns), {n: whole[f"__{n}__"].alias(n) for n in times}


def _edges(name: str, spec: Edges, numbering: dict[str, Numbering]) -> pl.DataFrame:
    setting = f"data.relations.{name}"
    if spec.parts:
        if spec.file or spec.part:
            raise KgrecError(f"{setting}: parts exclude file and part; keep the files by part, or the one file")
        one = {part: replace(spec, file=Path(file), parts={}) for part, file in spec.parts.items()}
        return pl.concat([_edges(name, each, numbering).with_columns(part=pl.lit(part)) for part, each in one.items()])
    if spec.file is None:
        raise KgrecError(f'{setting}: file is missing; write file = "orders.csv", or parts with a file each')
    if spec.timeless and spec.time:
        raise KgrecError(f'{setting}: timeless = true and time = "{spec.time}" exclude each other; keep one')
    asked = {"source.column": spec.source.column, "target.column": spec.target.column, "time": spec.time}
    asked |= {"weight": spec.weight, "part": spec.part}
    table = read(spec.file, {k: c for k, c in asked.items() if c is not None}, setting, spec.where)
    out = {}
    for end, at in (("source", spec.source), ("target", spec.target)):
        out[end] = _rows(end, at, spec, table, numbering, setting).alias(end)
    if spec.time:
        out["time"] = micros(table.frame[spec.time], table.place, setting, spec.time_zone, spec.time_format).alias("time")
        table.refuse_empty(out["time"], spec.time, setting)
    if spec.weight:
        out["weight"] = table.weights(spec.weight, setting)
    if spec.part:
        out["part"] = written(table.frame[spec.part])
    return pl.DataFrame(out)


def _rows(end: str, at: End, spec: Edges, table: Table, numbering: dict[str, Numbering], setting: str) -> pl.Series:
    if at.kind not in numbering:
        if spec.unknown == "reject":
            raise choices(
                "kind of entity",
                at.kind,
                numbering,
                f'add [data.entities.{at.kind}], or set {setting}.unknown = "add" to make its entities from {spec.file.name}',
            )
        numbering[at.kind] = Numbering(spec.file.name)
    ids, known = written(table.frame[at.column]), numbering[at.kind]
    if end == "source":
        table.refuse_empty(ids, at.column, setting)
    elif spec.empty == "reject":
        table.refuse_empty(ids, at.column, setting, f', or set {setting}.empty = "keep": nothing is right for that {spec.source.kind}')
    if spec.unknown == "add":
        known.add(ids, named=False)
    rows = known.rows(ids)
    strange = rows.is_null() & ids.is_not_null()
    if strange.any():
        first, missing = strange.arg_max(), ids.filter(strange).n_unique()
        others = f" ({missing:,} such ids in {strange.sum():,} rows)" if strange.sum() > 1 else ""
        raise KgrecError(
            f'{table.place(first)}: {at.column} "{ids[first]}" is no {at.kind}{others}; {known.file} has {len(known.ids):,} ids; '
            f'fix the rows or set {setting}.unknown = "add"'
        )
    return rows
