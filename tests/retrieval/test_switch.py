"""Who answers is decided by how much a query has met."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Relation, Task, candidates
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.repeat import Repeat
from kgrec_core.retrieval.switch import Switch

BUYS = Relation("user", "buys", "item")


@pytest.fixture
def graph():
    """User 0 has met nothing, user 1 two things, user 2 six; item 9 is what everybody else buys."""
    met = [(1, 0), (1, 1), *((2, i) for i in range(6)), *((u, 9) for u in range(3, 9))]
    source, target = zip(*met, strict=True)
    table = pl.DataFrame({"source": source, "target": target}, {"source": pl.UInt32, "target": pl.UInt32})
    return Graph(
        {"user": pl.DataFrame({"id": [str(i) for i in range(9)]}), "item": pl.DataFrame({"id": list("abcdefghij")})}, {BUYS: table}
    )


def built(graph, **named):
    task = Task("buys", BUYS, repeats=True)
    switch = Switch(channels={"own": Repeat(half_life=0.0), "all": Popular(days=0.0)}, **named)
    switch.build(graph, task, candidates(graph, task), None)
    return switch, Nodes(graph, "user", np.arange(3), "query")


@pytest.mark.parametrize(("named", "popular"), [({}, []), ({"strangers": "all"}, [0]), ({"strangers": "all", "short": "all"}, [0, 1])])
def test_each_is_answered_by_its_own(graph, named, popular):
    switch, queries = built(graph, default="own", **named)
    hits = switch.search(queries, None, 3)
    for row in range(3):
        expected = switch.channels["all" if row in popular else "own"].search(queries.take(np.array([row])), None, 3)
        np.testing.assert_array_equal(hits.rows[row], expected.rows[0])


def test_saved_and_loaded_it_answers_the_same(graph, tmp_path):
    switch, queries = built(graph, default="own", strangers="all", few=3)
    switch.save(tmp_path)
    other = Switch(channels={"own": Repeat(half_life=0.0), "all": Popular(days=0.0)}, default="own", strangers="all", few=3)
    other.load(tmp_path, graph, switch.task_)
    np.testing.assert_array_equal(other.search(queries, None, 4).rows, switch.search(queries, None, 4).rows)


def test_a_channel_that_is_not_there_is_named(graph):
    with pytest.raises(KgrecError, match="channel"):
        built(graph, default="own", short="some")


def test_a_text_without_a_history_is_answered_by_who_hears_it(graph):
    """Views count as a history, too; without a text whoever answers strangers does."""
    views = Relation("user", "views", "item")
    seen = pl.DataFrame({"source": [0], "target": [3]}, {"source": pl.UInt32, "target": pl.UInt32})
    users = pl.DataFrame({"id": [*map(str, range(9)), "looks", "new"], "text": [None] * 9 + ["a chair", "a chair"]})
    seen = seen.with_columns(source=pl.lit(9, pl.UInt32))
    graph = Graph({**graph.entities, "user": users}, {**graph.relations, views: seen})
    task, channels = Task("buys", BUYS, (views,), repeats=True), {"own": Repeat(half_life=0.0), "all": Popular(days=0.0)}
    switch = Switch(channels=channels, default="own", described="all")
    switch.build(graph, task, candidates(graph, task), None)
    hits = switch.search(Nodes(graph, "user", np.array([0, 1, 9, 10]), "query"), None, 1)
    assert hits.rows[:, 0].tolist() == [-1, 0, -1, 9]
    assert switch._with({"all": channels["all"]}).default == "all"
