"""What goes together: in a basket, next, near or later, as the cosine of counts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task, candidates
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from tests.retrieval.test_channels import BUYS, ask, built, small


def test_is_the_cosine_of_counts_weighted_by_place(board):
    channel = built(lambda: Cooccurrence(decay=0.5), board)
    x = np.zeros((40, 20))
    table = board.graph.relations[BUYS]
    x[table["source"], table["target"]] = 1
    cosine = (x.T @ x) / np.sqrt(np.outer(x.sum(0), x.sum(0)))
    np.fill_diagonal(cosine, 0)
    expected = sum(0.5**place * cosine[item] for place, item in enumerate(board.history().take(np.array([7])).rows[::-1]))
    np.testing.assert_allclose(channel.scores(board.nodes.take([7]), None)[0], expected, rtol=1e-5)


def test_by_basket_sees_only_one_time():
    graph, task = small([0, 1, 2, 3], [1, 1, 2, 2])
    np.testing.assert_array_equal(ask(Cooccurrence(per="event", decay=0.0), graph, task).rows, [[2, -1, -1]])


def test_follows_to_the_next_basket_only():
    graph, task = small([0, 1, 2, 1], [1, 2, 2, 3])
    channel = Cooccurrence(per="next", decay=0.0)
    channel.build(graph, task, candidates(graph, task), None)
    half = 0.5**0.5
    expected = np.zeros((6, 6))
    expected[0, 1], expected[0, 2] = half / 2**0.5, half  # 0 in one basket, 1 in two, 2 in one
    expected[1, 1], expected[2, 1] = half / 2, half / 2**0.5
    np.testing.assert_allclose(channel.similar_.toarray(), expected, atol=1e-6)


@pytest.mark.parametrize(("reach", "met"), [(1, {(0, 1), (1, 2), (2, 3)}), (2, {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)})])
def test_near_looks_both_ways_as_far_as_it_reaches(reach, met):
    graph, task = small([3, 0, 1, 2], [9, 1, 2, 3])  # by time: 0 1 2 3
    channel = Cooccurrence(per="near", reach=reach)
    channel.build(graph, task, candidates(graph, task), None)
    assert set(zip(*channel.similar_.nonzero(), strict=True)) == met | {(j, i) for i, j in met}


def test_near_is_the_cosine_of_counts_over_sources():
    table = pl.DataFrame({"source": [0, 0, 1, 1, 2], "target": [0, 1, 1, 0, 0], "time": [0, 1, 0, 1, 0]})
    graph, task = small([])
    graph = graph.with_edges({BUYS: table.cast({"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64})})
    channel = Cooccurrence(per="near", reach=1)
    channel.build(graph, task, candidates(graph, task), None)
    np.testing.assert_allclose(channel.similar_[0, 1], 2 / 6**0.5, rtol=1e-6)
    np.testing.assert_allclose(channel.similar_[1, 0], 2 / 6**0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("reach", "apart", "met"),
    [(0, 2.0, {(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)}), (1, 2.0, {(0, 1), (2, 3)}), (0, 9.5, {(0, 3), (1, 3), (2, 3)}), (1, 12.0, set())],
)
def test_later_leaves_out_the_same_day_and_looks_one_way(reach, apart, met):
    graph, task = small([0, 1, 2, 3], [2, 4, 5, 15])
    channel = Cooccurrence(per="later", reach=reach, apart=apart)
    channel.build(graph, task, candidates(graph, task), None)
    assert set(zip(*channel.similar_.nonzero(), strict=True)) == met


@pytest.mark.parametrize("per", ["near", "later"])
def test_by_order_needs_times(per):
    graph, task = small([0, 1])
    with pytest.raises(KgrecError, match="needs edges with a time"):
        Cooccurrence(per=per).build(graph, task, candidates(graph, task), None)


def test_reads_further_relations():
    views = Relation("user", "views", "page")
    graph, _ = small([5], [1])
    pages = pl.DataFrame({"source": [0, 1, 1], "target": [0, 0, 1]}, schema={"source": pl.UInt32, "target": pl.UInt32})
    graph = Graph({**graph.entities, "page": pl.DataFrame({"id": ["a", "b"]})}, {**graph.relations, views: pages})
    task, other = Task("buys", BUYS, (views,)), Nodes(graph, "user", np.array([1]), "query")
    for relations, expected in (((), -1), (("views",), 5)):
        channel = Cooccurrence(relations=relations)
        channel.build(graph, task, candidates(graph, task), None)
        assert channel.search(other, None, 1).rows[0, 0] == expected
    with pytest.raises(KgrecError, match="did you mean 'views'"):
        Cooccurrence(relations=["view"]).build(graph, task, candidates(graph, task), None)
