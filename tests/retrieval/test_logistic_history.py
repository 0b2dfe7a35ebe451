"""Logistic regression of what was met: who a user is, told by histories."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task, candidates
from kgrec_core.retrieval.logistic import Logistic

LIKES = Relation("user", "likes", "item")
SEGMENT = Task("segment", Relation("user", "segment", "segment"), (LIKES,))


def shoppers(told: int, new: int = 4, rare: int = 3) -> Graph:
    """Everybody likes item 0; gardeners, of whom every `rare`-th one is, like 1 to 4, all others 5 to 8. The last `new` have no segment."""
    n, draw = told + new, np.random.default_rng(0)
    kinds = np.arange(n) % rare > 0
    pairs = [(user, item) for user in range(n) for item in (0, *(1 + 4 * kinds[user] + draw.choice(4, 2, replace=False)))]
    likes = pl.DataFrame(pairs, schema={"source": pl.UInt32, "target": pl.UInt32}, orient="row")
    segments = pl.DataFrame({"source": range(told), "target": kinds[:told].astype(int)}, {"source": pl.UInt32, "target": pl.UInt32})
    entities = {"user": n, "item": 9, "segment": 2}
    return Graph(
        {kind: pl.DataFrame({"id": [str(i) for i in range(m)]}) for kind, m in entities.items()}, {LIKES: likes, SEGMENT.relation: segments}
    )


def profiled(graph: Graph, **settings) -> Logistic:
    part = Logistic(by="history", **settings)
    part.build(graph, SEGMENT, candidates(graph, SEGMENT), lambda nodes: np.zeros((len(nodes), 1), np.float32))
    return part


def test_by_history_is_told_by_what_was_met(tmp_path):
    graph = shoppers(60)
    part = profiled(graph)
    assert part.reads == "history" and part.without_language_model(vectors=False) is part
    asked = Nodes(graph, "user", np.arange(60, 64), "query")
    assert part.search(asked, None, 1).rows[:, 0].tolist() == [0, 1, 1, 0]
    known = Nodes(graph, "user", np.arange(6), "query")
    assert part.search(known, None, 1).rows[:, 0].tolist() == [0, 1, 1, 0, 1, 1]
    hidden = Nodes(graph, "user", np.array([60]), "query", hide={LIKES: Ragged.of(np.zeros(9, int), np.arange(9), 1)})
    assert np.exp(part.search(hidden, None, 2).scores[0]).min() * 1e-9 > 0.01, "of whom nothing is known nothing is told"
    part.save(tmp_path)
    again = Logistic(by="history")
    again.load(tmp_path, graph, SEGMENT)
    for nodes in (asked, known):
        np.testing.assert_array_equal(again.search(nodes, None, 2).scores, part.search(nodes, None, 2).scores)


def test_balanced_takes_the_shares_of_the_targets_out():
    """6 of 60 are gardeners: as if they were as many as the others, each is nine times as probable against them."""
    graph, pairs = shoppers(60, rare=10), Ragged.of(np.array([0, 0]), np.arange(2), 1)
    asked = Nodes(graph, "user", np.array([61]), "query", hide={LIKES: Ragged.of(np.zeros(8, int), np.arange(1, 9), 1)})
    plain, balanced = (profiled(graph, balanced=b).score(asked, None, pairs).astype(float) for b in (False, True))
    assert (balanced[0] - balanced[1]) - (plain[0] - plain[1]) == pytest.approx(np.log(9), abs=1e-4)
