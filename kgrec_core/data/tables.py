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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_core.data.edges import read_edges
from kgrec_core.data.entities import read_entities
from kgrec_core.data.links import Link, targets
from kgrec_core.data.mapping import PROFILE, Edges, Entity, Goal
from kgrec_core.data.numbering import Numbering
from kgrec_core.data.rows import header
from kgrec_core.data.summary import Summary
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
                kinds[kind], columns[kind] = read_entities(kind, spec, summary)
                numbering[kind] = Numbering(spec.file.name, kinds[kind]["id"])
        broken, graph = self.entities.keys() - kinds.keys(), {}
        for name, edges in self.relations.items():
            with faults:
                graph[Relation(edges.source.kind, name, edges.target.kind)] = read_edges(name, edges, numbering, summary, broken)
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
        edges = read_edges(relation, spec, numbering, Summary())
        ends = (("source", spec.source.kind), ("target", spec.target.kind))
        found, entity = edges.with_columns(numbering[kind].ids.gather(edges[end]).alias(end) for end, kind in ends), spec.source.kind
        of = self.entities.get(entity, Entity(file=Path(file), id=""))
        if not of.text or not {of.id, *of.text} <= set(header(Path(file), f"data.entities.{entity}")):
            return found
        of = replace(of, file=Path(file), attributes=(), links={}, profile=None, where=None, since=None, until=None, duplicates="first")
        told = read_entities(entity, of, Summary())[0].select("text", source="id")
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
