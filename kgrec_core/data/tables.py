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
source = { kind = "user", column = "customer", unknown = "add" }
target = { kind = "item", column = "sku" }
time = "date"
[data.tasks.buys]
relation = "buys"
repeats = true
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_core.data.ids import identifiers, nobody
from kgrec_core.data.links import Link, targets
from kgrec_core.data.mapping import PROFILE, Edges, End, Entity, Goal
from kgrec_core.data.numbering import Numbering
from kgrec_core.data.numeric import numbers
from kgrec_core.data.plain import plain_texts
from kgrec_core.data.reading import read
from kgrec_core.data.rows import header
from kgrec_core.data.summary import Summary
from kgrec_core.data.table import Table, quoted, shown, written
from kgrec_core.data.times import micros
from kgrec_core.errors import Faults, KgrecError, choices
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
        """Read all files. Raises KgrecError that names file, row, column and remedy; every mistake that can be found is."""
        kinds, columns, numbering, faults = {}, {}, {}, Faults()
        summary = self.summary_ = Summary()
        for kind, spec in self.entities.items():
            numbering[kind] = Numbering(spec.file.name)
            with faults:
                kinds[kind], columns[kind] = _entity(kind, spec, summary)
                numbering[kind] = Numbering(spec.file.name, kinds[kind]["id"])
        broken, graph = self.entities.keys() - kinds.keys(), {}
        for name, edges in self.relations.items():
            with faults:
                graph[Relation(edges.source.kind, name, edges.target.kind)] = _edges(name, edges, numbering, summary, broken)
        timeless = {r for r in graph if self.relations[r.name].timeless}
        for kind in kinds:
            for name, (setting, link) in self.entities[kind].columns.items():
                with faults:
                    relation = Relation(kind, name, link.kind or name)
                    setting = f"data.entities.{kind}.{setting}"
                    graph[relation] = self._link(relation, link, setting, columns[kind][link.column], graph, numbering)
                    timeless.add(relation)
        tasks = []
        for name, goal in self.tasks.items():
            with faults:
                tasks.append(
                    self._task(name, goal, {Relation(e.source.kind, n, e.target.kind): () for n, e in self.relations.items()} | graph)
                )
        for kind in kinds:
            with faults:
                tasks += self._profile(kind, tasks)
        faults.refuse()
        timeless -= {task.relation for task in tasks}  # what is to be predicted is not known at all times
        entities = {kind: known.extend(kinds.get(kind)) for kind, known in numbering.items()}
        return Dataset(Graph(entities, graph, frozenset(timeless)), tuple(tasks))

    def _link(
        self,
        relation: Relation,
        link: Link,
        setting: str,
        values: pl.Series,
        graph: Mapping[Relation, pl.DataFrame],
        numbering: dict[str, Numbering],
    ) -> pl.DataFrame:
        spec = self.entities[relation.source]
        if relation in graph:
            raise KgrecError(f"{setting}: there is a relation {relation} already; rename one of them")
        pairs = targets(values, link, relation.name, setting, spec.decimal)
        known = numbering.setdefault(relation.target, Numbering(spec.file.name))
        known.add(pairs["id"], named=True)
        return pairs.select("source", target=known.rows(pairs["id"]))

    def labelled(self, relation: str, file: Path) -> pl.DataFrame:
        """The rows of another file with the relation's columns: ids `source`, `target` (null = none) and, where dated, `time`; also the
        sources' `text`, where the file has its columns."""
        if relation not in self.relations:
            raise choices("relation with a file", relation, self.relations)
        spec = self.relations[relation]
        ends = {end: replace(getattr(spec, end), unknown="add") for end in ("source", "target")}
        spec, numbering = replace(spec, **ends, file=Path(file), weight=None, part=None, parts={}), {}
        edges = _edges(relation, spec, numbering, Summary())
        ends = (("source", spec.source.kind), ("target", spec.target.kind))
        found, entity = edges.with_columns(numbering[kind].ids.gather(edges[end]).alias(end) for end, kind in ends), spec.source.kind
        of = self.entities.get(entity, Entity(file=Path(file), id=""))
        if not of.text or not {of.id, *of.text} <= set(header(Path(file), f"data.entities.{entity}")):
            return found
        of = replace(of, file=Path(file), attributes=(), links={}, profile=None, where=None, since=None, until=None, duplicates="first")
        told = _entity(entity, of, Summary())[0].select("text", source="id")
        return found.join(told, on="source", how="left", maintain_order="left")

    def _task(self, name: str, goal: Goal, graph: Mapping[Relation, pl.DataFrame]) -> Task:
        found = {r.name: r for r in reversed(graph)}  # a relation comes before a link of the same name
        for key, relation in (("relation", goal.relation), *(("history", h) for h in goal.history)):
            if relation not in found:
                raise choices("relation", relation, found, f"correct data.tasks.{name}.{key}")
        return Task(name, found[goal.relation], tuple(found[h] for h in goal.history), goal.repeats)

    def _profile(self, kind: str, tasks: Sequence[Task]) -> list[Task]:
        """The task that a kind's `profile` asks for: told from what the other tasks of that kind are about."""
        if not (link := self.entities[kind].profile):
            return []
        history = tuple(dict.fromkeys(task.relation for task in tasks if task.relation.source == kind))
        if not history or any(task.name == PROFILE for task in tasks):
            why = (
                f"there is a task {PROFILE} already"
                if history
                else f"no task of [data.tasks] starts at a {kind}, so it has no history to be told from"
            )
            raise KgrecError(f"data.entities.{kind}.{PROFILE}: {why}; leave it out, or write it as a link and a task of its own")
        return [Task(PROFILE, Relation(kind, PROFILE, link.kind or PROFILE), history)]


def _entity(kind: str, spec: Entity, summary: Summary) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The kind's table, and the columns of the file for its links, row by row."""
    setting, faults = f"data.entities.{kind}", Faults()
    taken = {"id", *(n for n in ("text", "since", "until") if getattr(spec, n))} & set(spec.attributes)
    if taken:
        raise KgrecError(
            f"{setting}.attributes: '{min(taken)}' is a column that kgrec writes itself; rename it in {spec.file.name} or leave it out"
        )
    asked = {"id": spec.id, "since": spec.since, "until": spec.until}
    asked |= {f"text[{i}]": c for i, c in enumerate(spec.text)} | {f"attributes[{i}]": c for i, c in enumerate(spec.attributes)}
    asked |= {f"{setting}.column": link.column for setting, link in spec.columns.values()}
    table = summary.read(read(spec.file, {k: c for k, c in asked.items() if c is not None}, setting, spec.where))
    ids, times = identifiers(table.frame[spec.id]), {}
    with faults:
        table.refuse_empty(ids, spec.id, setting)
    for end in ("since", "until"):
        if (column := getattr(spec, end)) is not None:
            with faults:
                times[end] = micros(table.frame[column], table.place, setting, spec.time_zone, spec.time_format)
    if spec.duplicates == "reject":
        with faults:
            table.refuse_duplicates(ids, spec.id, f'remove one, or set {setting}.duplicates = "first" or "last"')
    faults.refuse()
    frame = table.frame.select(list(dict.fromkeys([*spec.text, *spec.attributes, *(k.column for _, k in spec.columns.values())])))
    read_as = {}
    for column in spec.attributes:
        read_as[column] = numbers(frame[column], spec.decimal)
        if read_as[column].doubt:
            at, told = read_as[column].at, read_as[column].doubt.replace("decimal =", f"{setting}.decimal =")
            summary.doubt(f'{table.place(at)}: {column} "{shown(frame[column][at])}" {told}')
    as_numbers = [of.values.alias(f"__{column}__") for column, of in read_as.items() if of.values is not None]
    frame = frame.hstack(as_numbers)
    if spec.duplicates != "reject":
        ids, frame, times = _merged(ids, frame, times, spec.duplicates)
        summary.left_out(spec.file.name, f"rows of a {kind} that other rows tell of", len(table.frame) - len(ids))
    out = {"id": ids.alias("id")}
    if spec.text:
        parts = [plain_texts(written(frame[c])).alias(str(i)) for i, c in enumerate(spec.text)]
        out["text"] = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=spec.joiner, ignore_nulls=True)).to_series()
    for column in spec.attributes:
        out[column] = frame[f"__{column}__" if f"__{column}__" in frame.columns else column].alias(column)
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


def _edges(name: str, spec: Edges, numbering: dict[str, Numbering], summary: Summary, broken: Collection[str] = ()) -> pl.DataFrame:
    """broken: kinds whose file has mistakes of its own, so that no id is missed there."""
    setting, faults = f"data.relations.{name}", Faults()
    if spec.parts:
        if spec.file or spec.part:
            raise KgrecError(f"{setting}: parts exclude file and part; keep the files by part, or the one file")
        one = {part: replace(spec, file=Path(file), parts={}) for part, file in spec.parts.items()}
        return pl.concat([_edges(name, each, numbering, summary, broken).with_columns(part=pl.lit(part)) for part, each in one.items()])
    if spec.file is None:
        raise KgrecError(f'{setting}: file is missing; write file = "orders.csv", or parts with a file each')
    if spec.timeless and spec.time:
        raise KgrecError(f'{setting}: timeless = true and time = "{spec.time}" exclude each other; keep one')
    asked = {"source.column": spec.source.column, "target.column": spec.target.column, "time": spec.time}
    asked |= {"weight": spec.weight, "part": spec.part}
    table = summary.read(read(spec.file, {k: c for k, c in asked.items() if c is not None}, setting, spec.where))
    out, dropped = {}, pl.repeat(False, len(table.frame), dtype=pl.Boolean, eager=True)
    for end in ("source", "target"):
        with faults:
            out[end], strange = _rows(end, spec, table, numbering, setting, summary, broken)
            dropped |= strange
    if spec.time:
        with faults:
            out["time"] = micros(table.frame[spec.time], table.place, setting, spec.time_zone, spec.time_format).alias("time")
            table.refuse_empty(out["time"], spec.time, setting)
    if spec.weight:
        with faults:
            out["weight"] = table.weights(spec.weight, setting, spec.decimal)
    if spec.part:
        out["part"] = written(table.frame[spec.part])
    faults.refuse()
    if dropped.all():
        raise KgrecError(f'{table.path.name}: {setting}.unknown = "drop" leaves none of {len(dropped):,} rows; correct the ids or the file')
    return pl.DataFrame(out).filter(~dropped)


def _rows(
    end: str, spec: Edges, table: Table, numbering: dict[str, Numbering], setting: str, summary: Summary, broken: Collection[str]
) -> tuple[pl.Series, pl.Series]:
    """Row numbers of an end's ids, null where there is none, and which rows are left out."""
    at: End = getattr(spec, end)
    unknown = at.unknown or spec.unknown
    if at.kind not in numbering:
        if unknown != "add":
            raise choices(
                "kind of entity",
                at.kind,
                numbering,
                f'add [data.entities.{at.kind}], or set {setting}.{end}.unknown = "add" to make its entities from {spec.file.name}',
            )
        numbering[at.kind] = Numbering(spec.file.name)
    given, known, file = identifiers(table.frame[at.column]), numbering[at.kind], table.path.name
    catalogued = known.count  # ids of the kind's own file
    ids = known.as_known(given)
    if (other := (ids != given).fill_null(False)).any() and catalogued:
        first = other.arg_max()
        summary.note(
            f'{table.place(first)}: {at.column} "{shown(given[first])}" is "{shown(ids[first])}" of {known.file} ({other.sum():,} such rows)'
        )
    nothing = nobody(ids) & known.rows(ids).is_null()
    if nothing.any() and (end == "source" or spec.empty == "reject"):
        words = ", ".join(f"'{word}'" for word in table.frame[at.column].filter(nothing).unique().sort())
        raise KgrecError(
            f'{table.place(nothing.arg_max())}: {at.column} "{shown(ids[nothing.arg_max()])}" is no id but a word for none ({nothing.sum():,} such '
            f'rows); fill it, or leave them out: {setting}.where = "{quoted(at.column)} NOT IN ({words})"'
        )
    ids = ids.set(nothing, None)
    if end == "source":
        table.refuse_empty(ids, at.column, setting)
    elif spec.empty == "reject":
        table.refuse_empty(ids, at.column, setting, f', or set {setting}.empty = "keep": nothing is right for that {spec.source.kind}')
    strange = known.rows(ids).is_null() & ids.is_not_null()
    if strange.any() and catalogued:
        first, missing = strange.arg_max(), ids.filter(strange).n_unique()
        said = f'{table.place(first)}: {at.column} "{shown(ids[first])}" is no {at.kind} of {known.file}'
        if unknown == "add":
            summary.doubt(f"{said}; {missing:,} such ids in {strange.sum():,} of {len(ids):,} rows are added without text or attributes")
        elif unknown == "drop":
            summary.note(f"{said}; {strange.sum():,} such rows are left out")
    if unknown == "add" or at.kind in broken:
        known.add(ids, named=False)
    elif unknown == "drop":
        summary.left_out(file, f"{at.column} is no {at.kind}", int(strange.sum()))
        return known.rows(ids).alias(end), strange
    elif strange.any():
        first, missing = strange.arg_max(), ids.filter(strange).n_unique()
        others = f" ({missing:,} such ids in {strange.sum():,} rows)" if strange.sum() > 1 else ""
        raise KgrecError(
            f'{table.place(first)}: {at.column} "{shown(ids[first])}" is no {at.kind}{others}; {known.file} has {len(known.ids):,} ids; '
            f'fix the rows or set {setting}.{end}.unknown = "add" or "drop"'
        )
    return known.rows(ids).alias(end), pl.repeat(False, len(ids), dtype=pl.Boolean, eager=True)
