"""What a shop asks of a run, in its own words: recommend, similar, add_items. The commands parse and call these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kgrec_core.errors import KgrecError, choices

if TYPE_CHECKING:
    from kgrec_core.data.mapping import Entity
    from kgrec_core.graph import Graph
    from kgrec_core.run.run import Answer, Run


class Added(NamedTuple):
    """Ids of products that are new, and of known ones whose columns were replaced."""

    new: list[str]
    changed: list[str]


def recommend(
    run: Run,
    user: str | None = None,
    history: Sequence[str] = (),
    text: str | None = None,
    k: int = 10,
    where: str | None = None,
    exclude: Sequence[str] = (),
    new: bool = False,
) -> list[Answer]:
    """The k best products for a known customer, for what a visitor chose so far, for words, or any of these together.

    history: product ids, oldest first; they come after what is known of `user`. where: an SQL condition on the products' columns,
    e.g. "price < 5". exclude: product ids left out. new: only products that nobody has bought yet; among all others they come late,
    since what a shopper knows is more probable. Raises KgrecError for unknown ids, a bad condition, k < 1 or nothing to go by.
    """
    query: dict[str, Any] = {"id": user, "history": list(history), "text": text}
    query = {key: value for key, value in query.items() if value}
    if not query:
        raise KgrecError("recommend needs something to go by: a customer (--user), products chosen so far (--history) or words (--text)")
    return run.answer([query], k=k, where=where, exclude=[*exclude, *(_sold(run) if new else ())])[0]


def _sold(run: Run) -> list[str]:
    import numpy as np

    graph, relation = run.graph, run.tasks[0].relation
    sold = graph.degree(relation, np.arange(graph.size(relation.target)), inverse=True) > 0
    if not (graph.alive(relation.target) & ~sold).any():
        raise KgrecError("recommend: every product has been bought by somebody; leave --new out, or add products with add-items")
    return graph.gather(relation.target, np.flatnonzero(sold), "id")["id"].to_list()


def similar(run: Run, item: str, k: int = 10, where: str | None = None) -> list[Answer]:
    """The k products most like one product, by their vectors; itself left out."""
    return run.similar([item], k=k, where=where)[0]


def add_items(run: Run, file: Path | str) -> Added:
    """Add the products of a CSV, TSV, Parquet or JSONL file, or replace known ones: durable, and recommendable at once.

    The file has the columns that the run's recipe names for its products (id, texts, attributes, links), and no others. Words and
    buckets connect a new product only to those the run knows; quantile buckets are made anew by the next fit. Raises KgrecError
    for missing, unknown or faulty columns, or where the run's data part maps no files.
    """
    from kgrec_core.data.reading import column_names
    from kgrec_core.data.tables import Tables

    kind, file = run.tasks[0].relation.target, Path(file)
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


def _mapping(run: Run, kind: str) -> Entity:
    from kgrec_core.recipe.registry import Registry

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
