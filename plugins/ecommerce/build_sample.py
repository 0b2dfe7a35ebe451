"""Writes the embedded sample from the public order book (see kgrec_ecommerce/sample/ATTRIBUTION.txt).

python plugins/ecommerce/build_sample.py ../shared/data/online-retail-2009/online_retail_2009_2010.parquet

Kept are order lines of a known customer with Quantity > 0, Price > 0 and a stock code that starts with five digits, in time
order. A product's name and price are those of its first order line: nothing of it was written later.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

SAMPLE = Path(__file__).parent / "kgrec_ecommerce" / "sample"


def build(source: Path, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write orders.parquet and products.parquet into `folder`; gives both tables."""
    lines = (
        pl.read_parquet(source)
        .filter(
            pl.col("Customer ID").is_not_null(), pl.col("Quantity") > 0, pl.col("Price") > 0, pl.col("StockCode").str.contains(r"^\d{5}")
        )
        .select(
            customer=pl.col("Customer ID").cast(pl.UInt16),
            invoice="Invoice",
            sku="StockCode",
            quantity=pl.col("Quantity").cast(pl.UInt32),
            time=pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms"),
            price=pl.col("Price").cast(pl.Float32),
            country="Country",
            name=pl.col("Description").str.replace_all(r"\s+", " ").str.strip_chars(),
        )
        .sort("time", maintain_order=True)
    )
    products = lines.group_by("sku").agg(pl.col("name").drop_nulls().first(), pl.col("price").first()).sort("sku")
    orders = lines.drop("name")
    for name, table in (("orders", orders), ("products", products)):
        table.write_parquet(folder / f"{name}.parquet", compression="zstd", compression_level=19, statistics=False)
    return orders, products


if __name__ == "__main__":
    for table in build(Path(sys.argv[1]), SAMPLE):
        print(table)
