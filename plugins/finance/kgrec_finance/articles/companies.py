"""The table of companies: who is known, by which names, in which sector, supplied by whom. Linking and the graph both start here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from kgrec_core import Graph, KgrecError, Relation
from kgrec_core.domain import column_names, lacking
from kgrec_finance.articles.columns import open_columns

IN_SECTOR = Relation("company", "in", "sector")
SUPPLIED_BY = Relation("company", "supplied_by", "company")
ALIAS = Relation("company", "alias", "alias")
COMPANY = {
    "id": pl.String,
    "name": pl.String,
    "ticker": pl.String,
    "aliases": pl.List(pl.String),
    "sector": pl.String,
    "suppliers": pl.List(pl.String),
}


def open_companies(path: Path, columns: Mapping[str, str] | None = None) -> pl.DataFrame:
    """COMPANY rows of a file: id, or else the ticker, or else the name; "a|b" in aliases and suppliers; suppliers are ids.

    columns: our column -> the file's, where it is not a common one: companies_name = "Firma".
    Raises KgrecError with file and row: neither id nor name, an id twice, a supplier that is no id.
    """
    file = open_columns(path, "companies", columns or {})
    if not {"id", "name", "ticker"} & file.names.keys():
        raise lacking(path, "name", column_names(path, "data.companies"))
    words = pl.DataFrame([file.line(name) for name in ("id", "name", "ticker", "sector")])
    rows = words.with_columns(file.listed("aliases"), file.listed("suppliers"), id=pl.coalesce("id", "ticker", "name"))
    rows = rows.with_columns(name=pl.coalesce("name", "id")).select(*COMPANY).cast(COMPANY)
    file.table.refuse_empty(rows["id"], "id or name", None)
    file.table.refuse_duplicates(rows["id"], "id", "give each company one row, with its names in aliases")
    pairs = rows.with_row_index("row").select("row", "suppliers").explode("suppliers").drop_nulls()
    odd = pairs.filter(~pl.col("suppliers").is_in(rows["id"].implode()))
    if len(odd):
        raise KgrecError(
            f'{file.table.place(odd["row"][0])}: supplier "{odd["suppliers"][0]}" is no company of this file ({len(rows):,} ids); '
            "give it a row or correct the id"
        )
    return rows


def knowledge(companies: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], dict[Relation, pl.DataFrame]]:
    """(entities company, sector, alias; timeless relations in, supplied_by, alias) of COMPANY rows; kinds without a row are left out."""
    entities = {"company": companies.select("id", pl.col("name").alias("text"), "ticker")}
    relations = {}
    sectors = companies["sector"].drop_nulls().unique(maintain_order=True)
    names = companies["aliases"].explode().drop_nulls().unique(maintain_order=True)
    for kind, ids in (("sector", sectors), ("alias", names)):
        if len(ids):
            entities[kind] = pl.DataFrame({"id": ids, "text": ids})
    for relation, column, ids in ((IN_SECTOR, "sector", sectors), (SUPPLIED_BY, "suppliers", companies["id"]), (ALIAS, "aliases", names)):
        pairs = companies.select(source=pl.int_range(pl.len(), dtype=pl.UInt32), target=column)
        pairs = (pairs.explode("target") if pairs.schema["target"] == pl.List else pairs).drop_nulls()
        if len(pairs):
            relations[relation] = pairs.with_columns(pl.col("target").cast(pl.Enum(ids)).to_physical().cast(pl.UInt32))
    return entities, relations


def spread(graph: Graph, company: str, decay: float = 0.5, hops: int = 2) -> dict[tuple[str, str], float]:
    """(kind, id) -> weight in (0, 1] of what an event at a company touches: itself 1, its sector and suppliers `decay`, theirs
    `decay` squared, ... up to `hops` steps; of several ways the shortest counts.

    An event goes from a company up its supply chain and into sectors, and never from a sector on to all its companies.
    A company that the graph does not know touches itself alone. Raises KgrecError for a decay outside (0, 1) or hops < 0.
    """
    if not 0 < decay < 1 or hops < 0:
        raise KgrecError(f"decay = {decay}, hops = {hops}: a decay lies between 0 and 1, and hops are 0 or more")
    weights = {("company", company): 1.0}
    rows = graph.rows("company", [company])
    rows = rows[rows >= 0]
    for hop in range(1, hops + 1):
        for relation in (IN_SECTOR, SUPPLIED_BY):
            if relation not in graph.relations:
                continue
            found = graph.adjacent(relation, rows).rows
            for id in graph.gather(relation.target, found, "id")["id"]:
                weights.setdefault((relation.target, id), decay**hop)
        rows = graph.adjacent(SUPPLIED_BY, rows).rows if SUPPLIED_BY in graph.relations else rows[:0]
    return weights


def graph_of(companies: pl.DataFrame) -> Graph:
    """The graph of a table of companies (COMPANY rows) alone; what it says is true at all times."""
    entities, relations = knowledge(companies)
    return Graph(entities, relations, frozenset(relations))
