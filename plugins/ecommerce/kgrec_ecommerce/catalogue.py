"""Products that come after the fit: a file of them, added to an open run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kgrec_core.domain import KgrecError, choices, each

if TYPE_CHECKING:
    from kgrec_core import Graph
    from kgrec_core.domain import Run
    from kgrec_core.parts import Entity


@dataclass(frozen=True)
class AddItems:
    """Add the products of a file, or replace known ones: durable, and recommendable at once, without training.

    file: CSV, TSV, Parquet or JSONL with the columns that the run's recipe names for its products, and no others.

    Words and buckets connect a new product only to those the run knows; quantile buckets are made anew by the next fit.

    Example: kgrec ecommerce add-items new.csv --run runs/demo
    """

    file: Path = field(metadata={"argument": True})


class Added(NamedTuple):
    """Ids of products that are new, and of known ones whose columns were replaced."""

    new: list[str]
    changed: list[str]


@each
def add_items(run: Run, request: AddItems) -> Added:
    """Raises KgrecError for missing, unknown or faulty columns, or where the run's data part maps no files."""
    from kgrec_core.domain import column_names
    from kgrec_core.parts import Tables

    kind, file = run.tasks[0].relation.target, request.file
    if not file.is_file():
        raise KgrecError(f"add-items: there is no file {file}; name a CSV, TSV, Parquet or JSONL file")
    spec = replace(_mapping(run, kind), file=file, where=None)
    links = {name: replace(link, min_count=1, max_share=1.0) for name, link in spec.links.items() if not link.buckets}
    columns = {spec.id, spec.since, spec.until, *spec.text, *spec.attributes, *(link.column for link in spec.links.values())} - {None}
    if strange := [column for column in column_names(file, "add-items") if column not in columns]:
        raise choices(f"column of {kind} in this run's recipe", strange[0], columns, f"rename or remove it in {file.name}")
    delta = Tables(entities={kind: replace(spec, links=links)}).load().graph
    table, graph = delta.entities[kind], run.graph
    for column in spec.attributes:
        if graph.entities[kind].schema[column].is_numeric() and not table.schema[column].is_numeric():
            raise KgrecError(f"{file.name}: {column} must hold numbers only, as it does in this run; correct the values")
    ids = table["id"].to_list()
    known_before = (graph.rows(kind, ids) >= 0).tolist()
    run.add(_known_words(delta, graph, spec))
    return Added(*([id for id, known in zip(ids, known_before, strict=True) if known == changed] for changed in (False, True)))


def told(added: Added, request: AddItems) -> str:
    return f"{len(added.new)} added, {len(added.changed)} changed; recommended from now on"


def _mapping(run: Run, kind: str) -> Entity:
    from kgrec_core.domain import Registry

    part = run.recipe.data(Registry.discover())
    entities: Mapping[str, Entity] = getattr(getattr(part, "tables", part), "entities", {})
    if kind not in entities:
        raise KgrecError(
            f"add-items: the run's data part '{run.recipe.tables['data'].get('use')}' maps no file to {kind}; "
            f"fit with data.entities.{kind}, or add a Graph with run.add"
        )
    return entities[kind]


def _known_words(delta: Graph, graph: Graph, spec: Entity) -> Graph:
    """The delta without edges to words and values that the run left out as too rare or too frequent."""
    import polars as pl

    kept = {}
    for relation, table in delta.relations.items():
        link = spec.links[relation.name]
        if link.words or link.min_count > 1 or link.max_share < 1:
            found = graph.rows(relation.target, delta.entities[relation.target]["id"].to_list()) >= 0
            table = table.filter(pl.Series(found).gather(table["target"]))
        kept[relation] = table
    return delta.with_edges(kept)
