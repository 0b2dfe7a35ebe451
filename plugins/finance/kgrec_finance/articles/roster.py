"""Who is watched: the companies of a table, or those that a run knows, with what links them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from kgrec_core import Graph
from kgrec_finance.articles.companies import ALIAS, COMPANY, IN_SECTOR, SUPPLIED_BY, graph_of, open_companies
from kgrec_finance.articles.linking import Linker

if TYPE_CHECKING:
    from kgrec_core.domain import Run, Snapshot


class Roster(NamedTuple):
    """linker, graph: None where nobody is known; then the companies are those that the feed names."""

    linker: Linker | None
    graph: Graph | None


def roster(companies: Path | None, run: Run | Snapshot | None = None) -> Roster:
    """A table's companies before a run's. Raises KgrecError as `open_companies` does."""
    if companies is not None:
        table = open_companies(companies)
        return Roster(Linker(table), graph_of(table)) if len(table) else Roster(None, None)
    graph = None if run is None else run.graph
    if graph is None or "company" not in graph.entities or not graph.size("company"):
        return Roster(None, None)
    tables = (graph.entities["company"], *(graph.relations[of] for of in (ALIAS, IN_SECTOR, SUPPLIED_BY) if of in graph.relations))
    return Roster(graph.memo.get(("linker",), tables, lambda: Linker(listed(graph))), graph)


def listed(graph: Graph) -> pl.DataFrame:
    """COMPANY rows of a graph's companies."""
    table = graph.entities["company"]
    names = {"name": pl.col("text") if "text" in table.columns else pl.col("id")}
    names["ticker"] = pl.col("ticker") if "ticker" in table.columns else pl.lit(None, pl.String)
    rows = table.select("id", **names).with_row_index("row")
    for relation, column in ((ALIAS, "aliases"), (IN_SECTOR, "sector"), (SUPPLIED_BY, "suppliers")):
        if relation not in graph.relations:
            rows = rows.with_columns(pl.lit(None, COMPANY[column]).alias(column))
            continue
        ends = graph.relations[relation].drop_nulls("target")
        ids = graph.gather(relation.target, ends["target"].to_numpy(), "id")["id"]
        pairs = pl.DataFrame({"row": ends["source"].cast(pl.UInt32), column: ids})
        found = pairs.group_by("row", maintain_order=True).agg(pl.col(column).first() if column == "sector" else pl.col(column))
        rows = rows.join(found, on="row", how="left", maintain_order="left")
    return rows.with_columns(pl.col("name").fill_null(pl.col("id"))).select(*COMPANY).cast(COMPANY)
