"""`online-retail`: a year of a gift shop's real orders, carried in the package, so that the domain runs before any file is mapped.

See ATTRIBUTION.txt for source and licence. Heavy imports wait until the part is built.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from kgrec_core import Dataset
    from kgrec_core.parts import Tables

FOLDER = Path(__file__).parent


class OnlineRetail:
    """406,295 order lines of 4,285 customers and 4,006 products, 2009-12-01 to 2010-12-09 (Online Retail II, CC BY 4.0).

    where: only the order lines for which this SQL condition holds, e.g. "customer < 13000" or "country = 'Germany'"; columns are
        customer, invoice, sku, quantity, time, price, country. All products stay candidates: the catalogue is known.

    Times are the shop's local ones, read as UTC.
    """

    def __init__(self, *, where: str | None = None) -> None:
        self.where = where

    @property
    def tables(self) -> Tables:
        """The files' mapping, as a shop would write it for its own in a recipe."""
        from kgrec_core.parts import Edges, End, Entity, Goal, Link, Tables

        orders = FOLDER / "orders.parquet"
        item = Entity(
            file=FOLDER / "products.parquet",
            id="sku",
            text=("name",),
            attributes=("price",),
            links={
                "keyword": Link(column="name", words=True, min_count=2, max_share=0.2),
                "price_band": Link(column="price", edges=(0.5, 1, 2, 3, 5, 10, 20)),
            },
        )
        user = Entity(file=orders, id="customer", where=self.where, duplicates="first", links={"country": Link(column="country")})
        buys = Edges(
            file=orders,
            source=End(kind="user", column="customer"),
            target=End(kind="item", column="sku"),
            time="time",
            weight="quantity",
            where=self.where,
        )
        return Tables(entities={"item": item, "user": user}, relations={"buys": buys}, tasks={"buys": Goal(relation="buys", repeats=True)})

    def load(self) -> Dataset:
        tables = self.tables
        dataset = tables.load()
        self.summary_ = tables.summary_
        return dataset

    def labelled(self, relation: str, file: Path) -> pl.DataFrame:
        """Orders of another file with the sample's columns, to score a run on: see `Tables.labelled`."""
        return self.tables.labelled(relation, file)
