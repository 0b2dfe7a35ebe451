"""The sources of a recipe applied to a graph: whole before it is split, and to every delta that a run gets later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Relation, Task
from kgrec_core.graph.edges import Relations
from kgrec_core.knowledge.disguise import refuse_disguised
from kgrec_core.knowledge.hierarchy import refuse_cycles
from kgrec_core.knowledge.source import Source
from kgrec_core.recipe.discovery import strict, why
from kgrec_core.stages import Progress


class Built(NamedTuple):
    """A data set with what its sources know. found: source -> what it gave, see `_found`."""

    dataset: Dataset
    found: dict[str, Any]


def build(
    dataset: Dataset, sources: Mapping[str, Source], learn: bool = True, allow_leak: bool = False, progress: Progress | None = None
) -> Built:
    """Apply the sources in their order; each reads what those before it gave.

    learn: False for sources that were loaded. allow_leak: let a relation pass that is a task's target in disguise.
    Raises KgrecError that names source and relation.
    """
    if not sources:
        return Built(dataset, {})
    graph, found = dataset.graph, {}
    for name, source in sources.items():
        if progress:
            progress(f"knowledge {name}", 0, 0)
            source.progress = partial(progress, f"knowledge {name}")
        seen = visible(graph, dataset.tasks)
        with _named(name):
            if learn:
                source.learn(seen)
            more = source.read(seen)
        vars(source).pop("progress", None)
        more, dropped = _sound(name, more, graph, dataset.tasks)
        more = _unknown(more, graph)
        joined = graph.join(more)
        refuse_cycles(name, joined, more.relations)
        if not allow_leak:
            refuse_disguised(name, joined, more.relations, dataset.tasks)
        found[name] = _found(more, graph, dropped, source.notes)
        graph = joined
    whole = Graph(dict(graph.entities), dict(graph.relations), graph.timeless, graph.as_of, graph.ordered, graph.present)
    return Built(dataset._replace(graph=whole), found)


def grown(graph: Graph, delta: Graph, sources: Mapping[str, Source], tasks: Iterable[Task]) -> Graph:
    """The delta with what the sources know of its entities; what the graph knows already is not said again.

    Costs what the delta costs. An entity that only stands there for an edge to point at is not looked at.
    """
    told = {kind: table["id"].to_list() for kind, table in delta.entities.items() if table.width > 1}
    for name, source in sources.items() if told else ():
        joined = graph.join(delta)
        rows = {kind: joined.rows(kind, ids) for kind, ids in told.items()}
        with _named(name):
            more = source.read(visible(joined, tasks), rows)
        more, _ = _sound(name, more, joined, tasks)
        delta = delta.join(_unknown(more, joined))
    return delta


def visible(graph: Graph, tasks: Iterable[Task]) -> Graph:
    """What a source may read: all entities, and timeless relations that no task predicts or reads as history."""
    behaviour = {r for task in tasks for r in (task.relation, *task.history)}
    held = {r: edges for r, edges in graph.relations.held.items() if r in graph.timeless and r not in behaviour}
    return replace(graph, relations=Relations(held), timeless=frozenset(held))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """A source does not know what the recipe calls it: its errors say knowledge.*. What a foreign one raises is one line, guarded or not."""
    try:
        yield
    except KgrecError as error:
        raise KgrecError(str(error).replace("knowledge.*", f"knowledge.{name}")) from error
    except Exception as error:
        if strict() or isinstance(error, OSError | MemoryError):
            raise
        raise KgrecError(f"[knowledge.{name}]: {why(error)}") from error


def _sound(name: str, more: Graph, graph: Graph, tasks: Iterable[Task]) -> tuple[Graph, dict[Relation, int]]:
    """What a source gave, without self-loops; how many of them there were, by relation."""
    predicted = {r: task.name for task in tasks for r in (task.relation, *task.history)}
    kept, dropped = {}, {}
    for relation, table in more.relations.items():
        if relation in predicted:
            raise KgrecError(
                f"[knowledge.{name}] gives {relation}, which task {predicted[relation]} predicts or reads; name the relation otherwise"
            )
        if "time" in table.columns:
            raise KgrecError(f"[knowledge.{name}] gives {relation} with times; knowledge is timeless, dated edges belong to [data]")
        if relation in graph.relations and relation not in graph.timeless:
            raise KgrecError(f"[knowledge.{name}] gives {relation}, which the data have with times or none; name the relation otherwise")
        kept[relation] = table
        if relation.source == relation.target:
            kept[relation] = table.filter(pl.col("source") != pl.col("target"))
            dropped[relation] = len(table) - len(kept[relation])
    return Graph(dict(more.entities), kept, frozenset(kept)), dropped


def _unknown(more: Graph, graph: Graph) -> Graph:
    """Without the edges that the graph has."""
    kept = {}
    for relation, table in more.relations.items():
        if relation in graph.relations and len(table):
            ends = [
                graph.rows(k, more.gather(k, table[e].to_numpy(), "id")["id"])
                for e, k in zip(("source", "target"), relation[::2], strict=True)
            ]
            old = graph.adjacent(relation, np.where(ends[1] < 0, -1, ends[0]))
            there = np.zeros(len(table), bool)
            there[old.owner[old.rows == ends[1][old.owner]]] = True
            table = table.filter(pl.Series(~there))
        kept[relation] = table
    return Graph(dict(more.entities), kept, frozenset(kept))


def _found(more: Graph, graph: Graph, dropped: Mapping[Relation, int], notes: tuple[str, ...]) -> dict[str, Any]:
    """Per relation: edges, how many sources have one, how many targets, mean edges per source, self-loops left out."""
    relations = {}
    for relation, table in more.relations.items():
        sources, size = table["source"].n_unique(), graph.size(relation.source) if relation.source in graph.entities else 0
        relations[str(relation)] = {
            "edges": len(table),
            "sources": sources,
            "coverage": round(sources / size, 4) if size else None,
            "targets": table["target"].n_unique(),
            "per_source": round(len(table) / sources, 3) if sources else 0.0,
            "self_loops": dropped.get(relation, 0),
        }
    return {"relations": relations, "notes": list(notes)}
