"""Builds are kept by what they were made from, for as long as the graphs that they were made from."""

from __future__ import annotations

import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from kgrec_core.graph import Graph, Relation

BUYS, BRAND = Relation("user", "buys", "item"), Relation("item", "brand", "brand")


def shop() -> Graph:
    kinds = {kind: pl.DataFrame({"id": ["a", "b"]}) for kind in ("user", "item", "brand")}
    ends = {"source": pl.Series([0, 1], dtype=pl.UInt32), "target": pl.Series([1, 0], dtype=pl.UInt32)}
    return Graph(kinds, {BUYS: pl.DataFrame(ends | {"time": [1, 2]}), BRAND: pl.DataFrame(ends)}, frozenset({BRAND}))


class Built:
    """One value per making."""


def test_what_is_asked_for_again_is_not_made_again():
    graph = shop()
    table = graph.relations[BUYS]
    first = graph.memo.get(("ease", 3), (table,), Built)
    assert graph.memo.get(("ease", 3), (table,), Built) is first
    assert graph.memo.get(("ease", 4), (table,), Built) is not first
    assert graph.memo.get(("ease", 3), (table.clone(),), Built) is not first  # equal, but another table
    assert len(graph.memo) == 3


def test_a_view_without_knowledge_finds_the_same_build_and_a_joined_graph_does_not():
    graph = shop()
    whole = graph.memo.get(("ease",), (graph.relations[BUYS],), Built)
    bare = graph.with_edges({BUYS: graph.relations[BUYS]})
    assert bare.memo.get(("ease",), (bare.relations[BUYS],), Built) is whole
    then = graph.at(2)
    assert then.memo.get(("ease",), (then.relations[BUYS],), Built) is not whole
    assert graph.join(Graph({"item": pl.DataFrame({"id": ["c"]})})).memo is not graph.memo


def test_threads_that_ask_at_once_share_one_making_and_a_making_may_ask_itself():
    graph, made = shop(), []

    def slow() -> Built:
        time.sleep(0.05)
        made.append(graph.memo.get(("part",), (), Built))
        return Built()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: graph.memo.get(("whole",), (graph,), slow), range(8)))
    assert len(found) == len(made) == 1


def test_what_raises_is_not_kept():
    graph = shop()
    with pytest.raises(ZeroDivisionError):
        graph.memo.get(("x",), (), lambda: 1 / 0)
    assert graph.memo.get(("x",), (), lambda: 5) == 5


def test_builds_die_with_their_graphs():
    graph = shop()
    built = weakref.ref(graph.memo.get(("ease",), (graph,), Built))
    assert built() is not None
    del graph
    gc.collect()
    assert built() is None
