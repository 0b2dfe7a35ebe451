"""A shop whose orders carry no dates, held out last by last: there is an order within each shopper, and no clock they share."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import pytest

from kgrec_core.graph import Dataset, Graph, Relation, Task, View, candidates
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.retrieval.popular import Popular
from kgrec_core.split import Split, split

BUYS = Relation("user", "buys", "item")
USERS, ITEMS = 60, 30


@pytest.fixture(scope="module")
def views() -> dict[str, View]:
    """Even shoppers buy even items in growing order, odd ones odd items; the file holds one shopper after the other."""
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(USERS), 8)
    target = np.concatenate([np.sort(rng.choice(np.arange(user % 2, ITEMS, 2), 8, replace=False)) for user in range(USERS)])
    words = ["red", "blue", "green", "old", "new"]
    items = pl.DataFrame(
        {"id": [f"i{i}" for i in range(ITEMS)], "text": [f"{'even' if i % 2 == 0 else 'odd'} {words[i % 5]}" for i in range(ITEMS)]}
    )
    table = pl.DataFrame({"source": source, "target": target}, schema={"source": pl.UInt32, "target": pl.UInt32})
    graph = Graph({"user": pl.DataFrame({"id": [f"u{i}" for i in range(USERS)]}), "item": items}, {BUYS: table})
    return split(Dataset(graph, (Task("buys", BUYS, repeats=True),)), Split(by="last"))


def test_the_whole_recipe_of_the_shop_learns_and_ranks(views, caplog):
    registry = Registry.discover()
    recipe = resolve("kgrec_ecommerce:recipe.toml", ["encoder.items.use=tfidf", "retrieval.buys.trees=20", "retrieval.buys.smallest=5"])
    task, graph = Task("buys", BUYS, repeats=True), views["train"].graph
    model = Model(recipe.encoder(registry), {"buys": recipe.head(registry, "buys")}, (task,)).prepare(graph)
    part = recipe.retrieval(registry, "buys")
    with caplog.at_level(logging.INFO, "kgrec"):
        part.build(graph, task, candidates(graph, task), model.encode(task))
        part.fit(views["adjust"].queries["buys"], model.vectors(task, views["adjust"].queries["buys"].nodes))
    assert sum("no clock" in record.message for record in caplog.records) == 1
    assert not [name for name in part.trees_.names if "days" in name or "age" in name or "lately" in name]
    asked = views["select"].queries["buys"]
    hits = part.search(asked.nodes, model.vectors(task, asked.nodes), 10)
    assert (hits.rows % 2 == asked.nodes.rows[:, None] % 2).mean() > 0.7  # chance: .5


def test_popular_counts_the_same_for_everybody(views):
    graph, task, nodes = views["train"].graph, Task("buys", BUYS), views["adjust"].queries["buys"].nodes
    for days in (7.0, 30.0, 0.0):
        part = Popular(days=days)
        part.build(graph, task, candidates(graph, task), None)
        counts = part.scores(nodes, None)
        expected = np.bincount(graph.relations[BUYS]["target"].to_numpy(), minlength=ITEMS)
        np.testing.assert_array_equal(counts, np.tile(expected, (len(nodes), 1)))
