"""`tables`: small shops whose graph is known beforehand, and real orders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_core.data.links import Link
from kgrec_core.data.mapping import Edges, End, Entity, Goal
from kgrec_core.data.tables import Tables
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Relation, Task
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.split import Split, split
from tests.data.conftest import ORDERS

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("KGREC_DATA", ROOT.parent / "shared" / "data"))
BUYS = Relation("user", "buys", "item")


def items(folder: Path, **changes) -> Entity:
    return replace(Entity(file=folder / "products.csv", id="sku", text=("name", "description")), **changes)


def orders(folder: Path, **changes) -> Edges:
    spec = Edges(file=folder / "orders.csv", source=End(kind="user", column="customer"), target=End(kind="item", column="sku"), time="date")
    return replace(spec, unknown="add", **changes) if "unknown" not in changes else replace(spec, **changes)


def load(folder: Path, item: dict | None = None, buys: dict | None = None) -> Graph:
    return Tables(entities={"item": items(folder, **item or {})}, relations={"buys": orders(folder, **buys or {})}).load().graph


def load_items(file: Path, **spec) -> Graph:
    return Tables(entities={"item": Entity(file=file, id="sku", **spec)}).load().graph


def stamp(text: str) -> int:
    return int(np.datetime64(text, "us").astype(np.int64))


def named(graph: Graph, relation: Relation) -> list[tuple[str, str]]:
    ids = [graph.entities[k]["id"] for k in (relation.source, relation.target)]
    return [(ids[0][s], ids[1][t]) for s, t in graph.relations[relation].select("source", "target").rows()]


def test_a_shop_becomes_the_graph_it_describes(shop):
    links = {
        "brand": Link(column="brand"),
        "colour": Link(column="colours", separator="|"),
        "price_band": Link(column="price", edges=(6, 20)),
    }
    graph = load(shop, {"attributes": ("price", "colours"), "since": "listed_on", "links": links}, {"weight": "quantity"})
    assert graph.entities["item"].rows() == [
        ("0071", "Red mug. holds tea", 4.5, "red | white", stamp("2024-01-01")),
        ("0072", "Blue mug", 6.0, "blue", stamp("2024-02-01")),
        ("0073", "Lamp. warm light", 25.0, "white", None),
    ]
    assert graph.entities["user"].to_dict(as_series=False) == {"id": ["9", "8"]}
    assert named(graph, BUYS) == [("9", "0072"), ("8", "0071"), ("9", "0071")]  # equal times keep the file's order
    assert graph.relations[BUYS]["time"].to_list() == [stamp("2024-03-02"), stamp("2024-03-01T10"), stamp("2024-03-02")]
    assert graph.relations[BUYS]["weight"].to_list() == [2.0, 1.0, 1.0]
    brand, colour, band = (Relation("item", name, name) for name in links)
    assert named(graph, brand) == [("0071", "Acme"), ("0072", "Acme")]
    assert named(graph, colour) == [("0071", "red"), ("0071", "white"), ("0072", "blue"), ("0073", "white")]
    assert named(graph, band) == [("0071", "price band under 6"), ("0072", "price band 6 to 20"), ("0073", "price band from 20")]
    assert graph.entities["brand"].rows() == [("Acme", "Acme")]
    assert graph.timeless == {brand, colour, band}


def test_the_recipe_gives_the_same(shop):
    (shop / "recipe.toml").write_text(
        """
        [data]
        use = "tables"
        [data.entities.item]
        file = "products.csv"
        id = "sku"
        text = ["name", "description"]
        [data.entities.item.links.price_band]
        column = "price"
        edges = [5, 20]
        [data.relations.buys]
        file = "orders.csv"
        source = { kind = "user", column = "customer" }
        target = { kind = "item", column = "sku" }
        time = "date"
        unknown = "add"
        [data.relations.likes]
        file = "orders.csv"
        source = { kind = "user", column = "customer" }
        target = { kind = "item", column = "sku" }
        timeless = true
        where = "quantity > 1"
        [data.tasks.buys]
        relation = "buys"
        history = ["likes"]
        repeats = true
        """
    )
    dataset = resolve(shop / "recipe.toml").data(Registry.discover()).load()
    assert isinstance(dataset, Dataset)
    likes = Relation("user", "likes", "item")
    assert dataset.tasks == (Task("buys", BUYS, (likes,), True),)
    assert named(dataset.graph, likes) == [("9", "0072")]
    assert dataset.graph.timeless == {likes, Relation("item", "price_band", "price_band")}
    assert dataset.graph.relations[BUYS].equals(load(shop).relations[BUYS])


def test_numbers_in_attributes_are_numbers_and_codes_stay_codes(tmp_path):
    (tmp_path / "products.csv").write_text("sku,name,zip,size,grade\n1,a,00713,2,1\n2,b,91210,,x\n")
    graph = load_items(tmp_path / "products.csv", attributes=("zip", "size", "grade"))
    assert graph.entities["item"].rows() == [("1", "00713", 2.0, "1"), ("2", "91210", None, "x")]


def test_float_ids_with_holes_and_nan_are_whole_numbers_or_empty(tmp_path):
    table = pl.DataFrame({"sku": [13085.0, float("nan"), None, 7.0], "stock": [1.0, 1.0, 1.0, float("nan")]})
    table.write_parquet(tmp_path / "products.parquet")
    with pytest.raises(KgrecError, match=r"products.parquet row 2: sku is empty \(2 such rows\)"):
        load_items(tmp_path / "products.parquet")
    kept = load_items(tmp_path / "products.parquet", where="sku IS NOT NULL")  # the remedy of that error works
    assert kept.entities["item"]["id"].to_list() == ["13085", "7"]
    assert load_items(tmp_path / "products.parquet", where="stock >= 1 AND sku >= 0").entities["item"]["id"].to_list() == ["13085"]


def test_quoted_emptiness_is_empty_for_a_condition(tmp_path):
    (tmp_path / "products.csv").write_text('sku,name\n1,a\n"",b\n')
    assert load_items(tmp_path / "products.csv", where="sku IS NOT NULL").entities["item"]["id"].to_list() == ["1"]


@pytest.mark.parametrize("form", ["tsv", "semicolon", "csv.gz", "parquet", "jsonl"])
def test_every_format_gives_the_same_graph(shop, form):
    want, orders_file = load(shop), shop / "orders.csv"
    table = pl.read_csv(orders_file, infer_schema=False)
    path = shop / f"orders.{'txt' if form == 'semicolon' else form}"
    if form == "parquet":
        table.with_columns(pl.col("customer").cast(pl.Float64)).write_parquet(path)  # 9.0 is customer "9"
    elif form == "jsonl":
        table.with_columns(pl.col("customer").cast(pl.Int64)).write_ndjson(path)
    elif form == "csv.gz":
        import gzip

        path.write_bytes(gzip.compress(orders_file.read_bytes()))
    else:
        path.write_text(ORDERS.replace(",", "\t" if form == "tsv" else ";"))
    graph = load(shop, buys={"file": path})
    assert graph.relations[BUYS].equals(want.relations[BUYS])
    assert graph.entities["user"].equals(want.entities["user"])


def test_order_lines_name_their_products(tmp_path):
    (tmp_path / "products.csv").write_text(
        "sku,name,description,price,date\n1,,x,3,2024-05-02\n1,New,y,2,2024-05-03\n2,Two,,9,2024-05-01\n1,Old,,,2024-05-01\n"
    )

    def table(which: str, since: str | None) -> list[tuple]:
        spec = Entity(file=tmp_path / "products.csv", id="sku", text=("name",), attributes=("price",), since=since, duplicates=which)
        return Tables(entities={"item": spec}).load().graph.entities["item"].rows()

    first = stamp("2024-05-01")
    assert table("first", "date") == [("2", "Two", 9.0, first), ("1", "Old", 3.0, first)]
    assert table("last", "date") == [("2", "Two", 9.0, first), ("1", "New", 2.0, first)]
    assert table("first", None) == [("1", "New", 3.0), ("2", "Two", 9.0)]


def test_an_empty_target_can_mean_that_nothing_is_right(shop):
    (shop / "orders.csv").write_text(ORDERS + "7,,2024-03-05,1\n")
    graph = load(shop, buys={"empty": "keep"})
    assert graph.relations[BUYS]["target"].to_list() == [1, 0, 0, None]


def test_added_items_have_an_empty_text(shop):
    (shop / "orders.csv").write_text(ORDERS + "7,99,2024-03-05,1\n")
    assert load(shop).entities["item"].rows()[-1] == ("99", "")


def test_blank_lines_are_no_rows_and_keep_the_numbering(shop):
    (shop / "orders.csv").write_text(ORDERS + "\n\n7,0071,soon,1\n")
    with pytest.raises(KgrecError, match=r'orders.csv row 7: date "soon" is no time'):
        load(shop)
    (shop / "orders.csv").write_text(ORDERS + "\n\n")
    assert len(load(shop).relations[BUYS]) == 3


@pytest.mark.skipif(not (DATA / "online-retail-2009").is_dir(), reason="the set online-retail-2009 is not in KGREC_DATA")
def test_real_orders_give_the_published_counts():
    file = DATA / "online-retail-2009" / "online_retail_2009_2010.parquet"
    where = "\"Customer ID\" IS NOT NULL AND Quantity > 0 AND Price > 0 AND StockCode ~ '^[0-9]{5}'"
    item_links = {
        "price_band": Link(column="Price", buckets=8),
        "word": Link(column="Description", words=True, min_count=3, max_share=0.1),
    }
    item = Entity(
        file=file, id="StockCode", text=("Description",), attributes=("Price",), where=where, duplicates="first", links=item_links
    )
    user = Entity(file=file, id="Customer ID", where=where, duplicates="last", links={"country": Link(column="Country")})
    ends = {"source": End(kind="user", column="Customer ID"), "target": End(kind="item", column="StockCode")}
    buys = Edges(file=file, time="InvoiceDate", weight="Quantity", where=where, **ends)
    dataset = Tables(
        entities={"item": item, "user": user}, relations={"buys": buys}, tasks={"buys": Goal(relation="buys", repeats=True)}
    ).load()
    graph, table = dataset.graph, dataset.graph.relations[BUYS]
    assert graph.size("item") == 4006
    assert graph.rows("user", ["13085", "13085.0"]).tolist() == [0, -1]
    assert (graph.entities["item"]["text"] != "").all()
    cut = stamp("2010-11-01")
    known, later = table.filter(pl.col("time") < cut), table.filter(pl.col("time") >= cut)
    asked = later.join(known.select("source").unique(), on="source", how="semi")
    assert asked["source"].n_unique() == 1460
    new = asked.join(known.select("source", "target").unique(), on=["source", "target"], how="anti")
    assert new["source"].n_unique() == 1367
    bands = graph.degree(Relation("item", "price_band", "price_band"), np.arange(graph.size("price_band")), inverse=True)
    assert len(bands) >= 6 and bands.sum() == 4006
    assert 500 < graph.size("word") < 2000


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_load_benchmark_runs(form):
    script = ROOT / "examples" / "benchmarks" / "load.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script, "--small", "--format", form], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == 200_000 and found["items"] == 5_000 and found["peak_gb"] < 1


def test_entities_may_be_nothing_but_ids(tmp_path):
    (tmp_path / "orders.csv").write_text("customer,sku\na,x\nb,x\na,y\n")
    users = Entity(file=tmp_path / "orders.csv", id="customer", duplicates="first")
    assert Tables(entities={"user": users}).load().graph.entities["user"]["id"].to_list() == ["a", "b"]


PUBLISHED = {"train": "9,0072\n8,0071\n9,0071\n8,0072\n7,0071\n7,0073\n", "test": "9,0073\n8,0073\n"}


@pytest.mark.parametrize("files", [1, 2])
def test_a_published_split_in_one_file_or_two(shop, files):
    """The recipe's words, its paths beside the recipe; the parts are what the files say."""
    head = "customer,sku,fold\n" if files == 1 else "customer,sku\n"
    if files == 1:
        lines = [f"{line},{part}\n" for part, text in PUBLISHED.items() for line in text.split()]
        (shop / "all.csv").write_text(head + "".join(lines))
    for part, text in PUBLISHED.items():
        (shop / f"{part}.csv").write_text("customer,sku\n" + text)
    where = 'file = "all.csv"\npart = "fold"' if files == 1 else 'parts = { train = "train.csv", test = "test.csv" }'
    (shop / "shop.toml").write_text(
        f"""
[data]
use = "tables"
[data.entities.item]
file = "products.csv"
id = "sku"
[data.relations.buys]
{where}
source = {{ kind = "user", column = "customer" }}
target = {{ kind = "item", column = "sku" }}
unknown = "add"
[data.tasks.buys]
relation = "buys"
[split]
by = "column"
validation = 0.4
"""
    )
    recipe = resolve(shop / "shop.toml")
    dataset = recipe.data(Registry.discover()).load()
    views = split(dataset, recipe.section("split", Split))
    test = views["test"].queries["buys"]
    ids = [dataset.graph.gather(k, rows, "id")["id"].to_list() for k, rows in (("user", test.nodes.rows), ("item", test.targets.rows))]
    assert sorted(zip(*ids, strict=True)) == [("8", "0073"), ("9", "0073")]
    assert len(views["test"].graph.relations[BUYS]) == 6 and len(views["train"].graph.relations[BUYS]) < 6


def test_later_rows_bring_the_texts_of_sources_that_nobody_knew(tmp_path):
    (tmp_path / "news.csv").write_text("id,title,lead,mood\na,Up,more,good\n")
    (tmp_path / "week.csv").write_text("id,title,lead,mood\nb,Down,,bad\nc,Flat,as ever,good\n")
    (tmp_path / "bare.csv").write_text("id,mood\nb,bad\n")
    entity = Entity(file=tmp_path / "news.csv", id="id", text=("title", "lead"), attributes=("mood",))
    edges = Edges(file=tmp_path / "news.csv", source=End(kind="story", column="id"), target=End(kind="mood", column="mood", unknown="add"))
    data = Tables(entities={"story": entity}, relations={"has": edges}, tasks={"mood": Goal(relation="has")})
    assert data.labelled("has", tmp_path / "week.csv").rows(named=True) == [
        {"source": "b", "target": "bad", "text": "Down"},
        {"source": "c", "target": "good", "text": "Flat. as ever"},
    ]
    assert data.labelled("has", tmp_path / "bare.csv").columns == ["source", "target"]
