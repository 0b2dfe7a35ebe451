"""One small shop, cut from the embedded orders into CSV files, fitted once by the command that a user types."""

from __future__ import annotations

import shutil
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple

import command
import once
import polars as pl
import pytest
from command import Done
from kgrec_ecommerce.__main__ import main
from kgrec_ecommerce.sample import FOLDER

HOSTILE = "<script>alert(1)</script> & \"CLOCK\" <img src=x onerror='alert(2)'>"
LAYER = """
[split]
test = "2010-11-01"
validation = "31d"

[retrieval.buys]
use = "lambdarank"
windows = 0
trees = 10
folds = 2
[retrieval.buys.ease]
use = "none"
[retrieval.buys.ease_recent]
use = "none"
[retrieval.buys.basket]
use = "none"
[retrieval.buys.next]
use = "none"
[retrieval.buys.sequence]
use = "none"
[retrieval.buys.neighbours_recent]
use = "none"

[encoder.items.meaning]
model = "MODEL"

[fit]
publish = "chain"

[train]
epochs = 1.0
steps = 4
validations = 2
batch = 16
"""
DATA = """
[data]
use = "tables"
[data.entities.item]
file = "products.csv"
id = "sku"
text = ["name"]
attributes = ["price"]
[data.entities.item.links.keyword]
column = "name"
words = true
min_count = 2
max_share = 0.2
[data.entities.item.links.price_band]
column = "price"
buckets = 4
[data.relations.buys]
file = "orders.csv"
source = { kind = "user", column = "customer" }
target = { kind = "item", column = "sku" }
time = "time"
weight = "quantity"
unknown = "add"
[data.tasks.buys]
relation = "buys"
repeats = true
"""


process = partial(command.process, "kgrec_ecommerce")


class Shop(NamedTuple):
    """folder: with shop.toml and the files; run: the fitted run; user: a customer; hostile: a product with a hostile name."""

    HOSTILE = HOSTILE

    folder: Path
    run: Path
    user: str
    hostile: str

    def process(self, *words: str | Path) -> Done:
        return process(*words, cwd=self.folder, run=self.run)

    def ask(self, *words: str | Path) -> Done:
        """The same in this process."""
        return command.invoked(main, "kgrec-ecommerce", *words, cwd=self.folder, run=self.run)


def slice_of_orders() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The 200 products and the 120 customers that occur most often among the first thousand customers."""
    orders = pl.read_parquet(FOLDER / "orders.parquet").filter(pl.col("customer") < 13500, pl.col("country") == "United Kingdom")
    products = pl.read_parquet(FOLDER / "products.parquet")
    for column, n in (("sku", 200), ("customer", 120)):
        kept = orders.group_by(column).agg(pl.len()).sort("len", column, descending=True)[column].head(n)
        orders = orders.filter(pl.col(column).is_in(kept.implode()))
    return orders, products.filter(pl.col("sku").is_in(orders["sku"].unique().implode()))


@pytest.fixture(scope="session")
def kgrec():
    """`kgrec(*words, cwd=, run=) -> Done`"""
    return process


@pytest.fixture(scope="session")
def layer(tmp_path_factory) -> str:
    """A recipe layer that makes a fit take seconds."""
    return LAYER.replace("MODEL", once.minilm(tmp_path_factory))


@pytest.fixture(scope="session")
def shop(tmp_path_factory, layer) -> Shop:
    folder = tmp_path_factory.mktemp("shop") / "shop"
    orders, products = slice_of_orders()
    hostile = orders["sku"].value_counts(sort=True)["sku"].head(30)

    def make(place: Path) -> None:
        marked = pl.concat_str("name", pl.lit(f" {escape(HOSTILE)}"))
        orders.write_csv(place / "orders.csv")
        named = pl.when(pl.col("sku").is_in(hostile.implode())).then(marked).otherwise("name")
        products.with_columns(name=named).write_csv(place / "products.csv")
        (place / "shop.toml").write_text(DATA + layer)
        done = process("fit", "--recipe", "shop.toml", "--run", "runs/shop", cwd=place)
        assert done.code == 0, done.err

    shutil.copytree(once.once(tmp_path_factory, "ecommerce", make), folder)  # its tests edit it
    return Shop(folder, folder / "runs" / "shop", str(orders["customer"].mode().sort()[0]), hostile[0])
