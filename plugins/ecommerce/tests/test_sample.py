"""The embedded orders are the ones that every reference figure was counted on."""

from pathlib import Path

import kgrec_ecommerce
import polars as pl
import pytest
from kgrec_ecommerce.sample import FOLDER, OnlineRetail

from kgrec_core import KgrecError, Relation, Split
from kgrec_core.domain import Recipe, Registry, resolve, split
from kgrec_core.recipe.binding import tree
from kgrec_core.training.options import Train

BUYS = Relation("user", "buys", "item")
SOURCE = Path(__file__).parents[4] / "shared" / "data" / "online-retail-2009" / "online_retail_2009_2010.parquet"


@pytest.fixture(scope="module")
def dataset():
    return OnlineRetail().load()


def test_counts(dataset):
    graph = dataset.graph
    assert len(graph.relations[BUYS]) == 406_295
    assert (graph.size("item"), graph.size("user")) == (4_006, 4_285)
    assert graph.alive("item").all(), "the whole catalogue is known"
    assert graph.columns("item") == ["id", "text", "price"] and graph.entities["item"].null_count().sum_horizontal().item() == 0
    times = pl.from_epoch(graph.relations[BUYS]["time"], "us")
    assert (str(times.min()), str(times.max())) == ("2009-12-01 07:45:00", "2010-12-09 20:01:00"), "the last day is in"
    (task,) = dataset.tasks
    assert task.repeats and task.relation == BUYS


def test_split_of_the_recipe(dataset):
    how = resolve("kgrec_ecommerce:recipe.toml").section("split", Split)
    views = split(dataset, how)
    test = views["test"].queries["buys"]
    assert len(test.nodes) == 1_460
    assert (dataset.graph.degree(BUYS, test.nodes.rows, before=test.nodes.before) > 0).all()
    assert len(views["train"].graph.relations[BUYS]) < len(views["test"].graph.relations[BUYS]) == 331_726


def test_knowledge(dataset):
    """A product is linked to the words of its name, not to those that nearly all or no other names have."""
    graph, row = dataset.graph, dataset.graph.rows("item", ["22423"])
    assert graph.gather("item", row, "text").item() == "REGENCY CAKESTAND 3 TIER"
    words = graph.gather("keyword", graph.adjacent(Relation("item", "keyword", "keyword"), row).rows, "id")["id"].to_list()
    assert sorted(words) == ["cakestand", "regency", "tier"]
    band = [graph.adjacent(Relation("item", "price_band", "price_band"), graph.rows("item", [id])).rows for id in ("22423", "20727")]
    assert [graph.gather("price_band", rows, "id").item() for rows in band] == ["price band 10 to 20", "price band 1 to 2"]


def test_names_and_prices_are_those_of_the_first_order_line(dataset):
    orders = pl.read_parquet(FOLDER / "orders.parquet").sort("time", maintain_order=True)
    first = orders.group_by("sku").agg(pl.col("price").first()).sort("sku")
    assert first.equals(pl.read_parquet(FOLDER / "products.parquet").select("sku", "price"))


def test_files_are_small_and_attributed():
    assert sum(file.stat().st_size for file in FOLDER.glob("*.parquet")) < 3e6
    text = (FOLDER / "ATTRIBUTION.txt").read_text()
    for word in ("Daqing Chen", "2019", "10.24432/C5CG6D", "CC BY 4.0"):
        assert word in text


@pytest.mark.skipif(not SOURCE.exists(), reason="the public order book is not at ../shared/data")
def test_the_script_makes_the_files(tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("build_sample", Path(__file__).parents[1] / "build_sample.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.build(SOURCE, tmp_path)
    for name in ("orders", "products"):
        assert pl.read_parquet(tmp_path / f"{name}.parquet").equals(pl.read_parquet(FOLDER / f"{name}.parquet"))


def test_where_cuts_orders_and_keeps_the_catalogue():
    graph = OnlineRetail(where="country = 'Germany'").load().graph
    assert len(graph.relations[BUYS]) == 7_376 and graph.size("item") == 4_006 and graph.size("country") == 1
    with pytest.raises(KgrecError, match="did you mean 'country'"):
        OnlineRetail(where="contry = 'Germany'").load()


def test_the_recipe_is_whole():
    recipe = resolve("kgrec_ecommerce:recipe.toml")
    recipe.check(Registry.discover(), {"split": Split, "train": Train})
    assert isinstance(recipe, Recipe) and tree(recipe.tables, Path(), "x")
    assert isinstance(recipe.data(Registry.discover()), OnlineRetail)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'sell'"):
        kgrec_ecommerce.sell  # noqa: B018
