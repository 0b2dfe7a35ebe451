"""The ranker's columns: known values on one small history, and nothing from after the query's moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.graph import DAY, Graph, Nodes, Ragged, Relation, Task
from kgrec_core.retrieval.features import Features

BUYS, BRAND = Relation("user", "buys", "item"), Relation("item", "brand", "brand")
SCHEMA = {"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64, "weight": pl.Float64}


def shop(rows) -> Graph:
    """rows: (user, item, day, quantity)."""
    source, target, day, weight = zip(*rows, strict=True)
    buys = pl.DataFrame({"source": source, "target": target, "time": [int(d * DAY) for d in day], "weight": weight}, schema=SCHEMA)
    brand = pl.DataFrame({"source": [0, 1, 2, 3], "target": [0, 0, 1, 1]}, schema={"source": pl.UInt32, "target": pl.UInt32})
    entities = {
        "user": pl.DataFrame({"id": ["a", "b", "c"]}),
        "item": pl.DataFrame({"id": list("wxyz"), "price": [1.0, 2.0, 4.0, None], "stock": [0, 5, 9, 1]}),
        "brand": pl.DataFrame({"id": ["p", "q"]}),
    }
    return Graph(entities, {BUYS: buys, BRAND: brand}, frozenset([BRAND]))


# User 0 buys item 0 on days 10, 20 and 40, item 1 on day 20 (twice in one basket); user 1 buys item 0 on day 39, 2 on day 41.
ROWS = [(0, 0, 10, 1), (0, 0, 20, 3), (0, 1, 20, 1), (0, 1, 20, 1), (0, 0, 40, 1), (1, 0, 39, 1), (1, 2, 41, 1)]


@pytest.fixture
def columns():
    graph = shop(ROWS)
    nodes = Nodes(graph, "user", np.array([0, 1, 2]), "query", before=np.array([45, 40, 45]) * DAY)
    pool = Ragged.of(np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3), 3)
    found = Features(graph, Task("buys", BUYS, repeats=True))(nodes, pool)
    return {name: values.reshape(3, 4) for name, values in found.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("events in 7 days", [[2, 0, 1, 0], [1, 0, 0, 0], [2, 0, 1, 0]]),
        ("events in 30 days", [[3, 1, 1, 0], [3, 1, 0, 0], [3, 1, 1, 0]]),
        ("events", [[4, 1, 1, 0], [3, 1, 0, 0], [4, 1, 1, 0]]),
        ("sources", [[2, 1, 1, 0], [2, 1, 0, 0], [2, 1, 1, 0]]),
        ("share that returns", [[2 / 7, 1 / 6, 1 / 6, 1 / 5], [2 / 7, 1 / 6, 1 / 5, 1 / 5], [2 / 7, 1 / 6, 1 / 6, 1 / 5]]),
        ("age", [[35, 25, 4, np.nan], [30, 20, np.nan, np.nan], [35, 25, 4, np.nan]]),
        ("since last seen", [[5, 25, 4, np.nan], [1, 20, np.nan, np.nan], [5, 25, 4, np.nan]]),
        ("own events", [[4] * 4, [1] * 4, [0] * 4]),
        ("own baskets", [[3] * 4, [1] * 4, [0] * 4]),
        ("own breadth", [[2] * 4, [1] * 4, [0] * 4]),
        ("own last", [[5] * 4, [1] * 4, [np.nan] * 4]),
        ("own gap", [[15] * 4, [0] * 4, [0] * 4]),
        ("own last basket size", [[1] * 4, [1] * 4, [0] * 4]),
        ("met", [[3, 1, 0, 0], [1, 0, 0, 0], [0] * 4]),
        ("met baskets ago", [[0, 1, np.nan, np.nan], [0, np.nan, np.nan, np.nan], [np.nan] * 4]),
        ("met share", [[1, 1 / 3, 0, 0], [1, 0, 0, 0], [0] * 4]),
        ("met share since first", [[1, 1 / 2, 0, 0], [1, 0, 0, 0], [0] * 4]),
        ("met last", [[5, 25, np.nan, np.nan], [1, np.nan, np.nan, np.nan], [np.nan] * 4]),
        ("met gap", [[15] + [np.nan] * 3, [np.nan] * 4, [np.nan] * 4]),
        ("met due", [[1 / 3] + [np.nan] * 3, [np.nan] * 4, [np.nan] * 4]),
        ("met faded 10", [[0.5**0.5 + 0.5**2.5 + 0.5**3.5, 0.5**2.5, 0, 0], [0.5**0.1, 0, 0, 0], [0] * 4]),
        ("met weight", [[2 * np.log(2) + np.log(4), np.log(2), 0, 0], [np.log(2), 0, 0, 0], [0] * 4]),
        (
            "mean weight",
            [
                [(3 * np.log(2) + np.log(4)) / 4, np.log(3), np.log(2), np.nan],
                [(2 * np.log(2) + np.log(4)) / 3, np.log(3), np.nan, np.nan],
                [(3 * np.log(2) + np.log(4)) / 4, np.log(3), np.log(2), np.nan],
            ],
        ),
        ("own median events", [[np.log(5)] * 4, [np.log(4)] * 4, [np.nan] * 4]),
        ("price above own", [[0, np.log(2), np.log(4), np.nan], [0, np.log(2), np.log(4), np.nan], [np.nan] * 4]),
        ("stock apart", [[0, 5, 9, 1], [0, 5, 9, 1], [np.nan] * 4]),
        ("near by brand", [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4]),
        ("near by brand lately", [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4]),
    ],
)
def test_known_values(columns, name, expected):
    np.testing.assert_allclose(columns[name], expected, rtol=1e-5, atol=1e-7)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(45, 60), st.integers(1, 9)), max_size=20))
def test_edges_from_the_moment_on_change_nothing(later):
    task, pool = Task("buys", BUYS), Ragged.of(np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3), 3)
    seen = []
    for rows in (ROWS, ROWS + later):
        graph = shop(rows)
        nodes = Nodes(graph, "user", np.arange(3), "query", before=np.array([45, 42, 45]) * DAY)
        seen.append(Features(graph, task)(nodes, pool))
    for name, values in seen[0].items():
        np.testing.assert_array_equal(values, seen[1][name], err_msg=name)


def test_further_history_relations_are_counted_under_their_name():
    views = Relation("user", "views", "item")
    graph = shop(ROWS)
    table = pl.DataFrame(
        {"source": [0, 0, 0], "target": [3, 3, 2], "time": [DAY, 2 * DAY, 50 * DAY]}, schema=dict(list(SCHEMA.items())[:3])
    )
    graph = Graph(graph.entities, {**graph.relations, views: table}, graph.timeless)
    nodes = Nodes(graph, "user", np.array([0]), "query", before=np.array([45 * DAY]))
    columns = Features(graph, Task("buys", BUYS, (views,)))(nodes, Ragged.of(np.zeros(4, int), np.arange(4), 1))
    np.testing.assert_array_equal(columns["views met"], [0, 0, 0, 2])
    np.testing.assert_array_equal(columns["met"], [3, 1, 0, 0])


def test_undated_edges_and_hidden_targets():
    graph = shop(ROWS)
    graph = graph.with_edges({r: t.drop("time") if r == BUYS else t for r, t in graph.relations.items()})
    nodes = Nodes(graph, "user", np.array([0, 1]), "query", hide={BUYS: Ragged.of(np.array([0]), np.array([0]), 2)})
    columns = Features(graph, Task("buys", BUYS))(nodes, Ragged.of(np.repeat([0, 1], 4), np.tile(np.arange(4), 2), 2))
    np.testing.assert_array_equal(columns["met"], [0, 2, 0, 0, 1, 0, 1, 0])
    assert not any("last" in name and "met" in name for name in columns)


def test_no_pairs():
    graph = shop(ROWS)
    nodes = Nodes(graph, "user", np.arange(2), "query", before=np.array([0, 0]))
    columns = Features(graph, Task("buys", BUYS))(nodes, Ragged.empty(2))
    assert all(values.shape == (0,) and values.dtype == np.float32 for values in columns.values())
    one = Features(graph, Task("buys", BUYS))(replace(nodes, before=None), Ragged.of(np.array([0]), np.array([3]), 2))
    assert one["own events"] == 4


def test_what_came_later_has_the_columns_of_a_fresh_start():
    """Two items are added, a brand among their ties; one known item gets a price; then an order comes, too."""
    graph, task = shop(ROWS), Task("buys", BUYS, repeats=True)
    ids = pl.DataFrame({"id": ["new", "odd", "z"], "price": [3.0, None, 8.0], "stock": [2, 3, 4]})
    ends = {"source": [0, 1], "target": [0, 1]}
    brand = pl.DataFrame(ends, schema={"source": pl.UInt32, "target": pl.UInt32})
    brands = pl.DataFrame({"id": ["q", "r"]})
    grown = graph.join(Graph({"item": ids, "brand": brands}, {BRAND: brand}, frozenset([BRAND])))
    order = pl.DataFrame({"source": [0], "target": [0], "time": [44 * DAY], "weight": [2.0]}, schema=SCHEMA)
    ordered = grown.join(Graph({"user": pl.DataFrame({"id": ["b"]}), "item": pl.DataFrame({"id": ["new"]})}, {BUYS: order}))
    first = Features(graph, task)
    second = first.extended(grown, grown.rows("item", ["new", "odd", "z"]))
    third = second.extended(ordered, np.zeros(0, np.int64))
    pool = Ragged.of(np.repeat(np.arange(3), 6), np.tile(np.arange(6), 3), 3)
    for features, on in ((second, grown), (third, ordered)):
        nodes = Nodes(on, "user", np.arange(3), "query", before=np.full(3, 45 * DAY))
        for name, values in Features(on, task)(nodes, pool).items():
            np.testing.assert_allclose(features(nodes, pool)[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    assert second.trail is first.trail
