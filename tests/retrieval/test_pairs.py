"""What channels say without vectors is asked for once by all chains that are compared, and is what it would be without that."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from kgrec_core.graph import Graph, Queries, Ragged, candidates
from kgrec_core.interfaces import Filter
from kgrec_core.retrieval import pairs
from kgrec_core.retrieval.boosting import Rows, learn
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.lambdarank import Lambdarank
from kgrec_core.retrieval.popular import Popular


def fresh(board):
    """The board with nothing remembered."""
    graph = Graph(dict(board.graph.entities), dict(board.graph.relations), board.graph.timeless)
    return board._replace(graph=graph, nodes=Queries(board.nodes, Ragged.empty(len(board.nodes))).on(graph).nodes)


def ranker(board, encode=None, **parameters):
    channels = {"alike": Cooccurrence(), "popular": Popular(days=0), "semantic": Exact(device="cpu")}
    part = Lambdarank(channels=channels, pool=5, trees=10, smallest=2, threads=1, windows=1, days=3.0, cold=0.2, **parameters)
    part.build(board.graph, board.task, candidates(board.graph, board.task), encode or board.encode)
    return part


def without_brands(board):
    graph = board.graph.with_edges({board.task.relation: board.graph.relations[board.task.relation]}, board.graph.as_of)
    return board._replace(graph=graph, nodes=board.queries().on(graph).nodes)


def outcome(board, encode):
    part = ranker(board, encode)
    part.fit(board.queries(), encode(board.nodes))
    return part, part.search(board.nodes, encode(board.nodes), 10, exclude=board.history())


@pytest.mark.parametrize("room", [2**28, 0])
def test_a_second_chain_asks_only_what_its_vectors_change(board, monkeypatch, room):
    monkeypatch.setattr(pairs, "KEPT", room)

    def other(nodes):
        return board.encode(nodes)[:, ::-1].copy()

    shared, calls, scores = fresh(board), [], Cooccurrence.scores
    monkeypatch.setattr(Cooccurrence, "scores", lambda self, *rest: calls.append(1) or scores(self, *rest))
    found = []
    for where, encode in ((shared, board.encode), (shared, other), (without_brands(shared), other)):
        before = len(calls)
        part, hits = outcome(where, encode)
        found.append((len(calls) - before, part.trees_.names, hits))
    assert found[0][0] > 0
    assert [calls for calls, *_ in found[1:]] == [0, 0] if room else min(calls for calls, *_ in found) > 0
    assert set(found[2][1]) == {name for name in found[0][1] if "brand" not in name}
    for (_, _, hits), (where, encode) in zip(found[1:], ((fresh(board), other), (without_brands(fresh(board)), other)), strict=True):
        alone = outcome(where, encode)[1]
        np.testing.assert_array_equal(hits.rows, alone.rows)
        np.testing.assert_array_equal(hits.scores, alone.scores)


def test_a_pair_that_only_vectors_found_has_no_other_scores(board):
    part = ranker(fresh(board))
    _, said = part._stage.pool(board.nodes, board.encode(board.nodes), 5)
    assert np.isfinite(said["semantic: score"]).all()
    silent = np.isnan(said["alike: score"])
    assert silent.any() and (silent == np.isnan(said["popular: rank"])).all()
    assert (said["semantic: rank"][silent] < 5).all()


def test_no_more_queries_are_learned_from_than_asked_for(board, caplog):
    part = ranker(fresh(board), queries=10)
    seen, train = [], part._train
    part._train = lambda examples, names: seen.append([len(rows.counts) for rows in examples]) or train(examples, names)
    with caplog.at_level(logging.INFO, "kgrec"):
        hits = part.fit(board.queries(), board.encode(board.nodes))
    assert seen[-1] == [10, 10, 10] and (hits.rows[:, 0] >= 0).all()
    assert "lambdarank learns from 10 of 40 queries" in caplog.text


def test_the_first_trees_leave_only_what_cannot_be_among_the_best(board):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3)).astype(np.float32)
    right = (x[:, 0] + 0.1 * rng.normal(size=4000) > 1.5).astype(np.int8)
    trees = learn(
        [Rows(x, right, np.full(40, 100))],
        ["a", "b", "c"],
        ("lambdarank",),
        0,
        40,
        {"num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1},
    )
    pool = Ragged.of(np.repeat(np.arange(40), 100), np.tile(np.arange(100), 40), 40)
    columns = dict(zip("abc", x.T, strict=True))
    whole, some = trees(columns, pool, 100, 1), trees(columns, pool, 30, 1)
    assert np.isfinite(whole).all() and (np.isfinite(some).reshape(40, 100).sum(1) == 30).all()
    np.testing.assert_array_equal(some[np.isfinite(some)], whole[np.isfinite(some)])
    best = np.argsort(-whole.reshape(40, 100), axis=1)[:, :5]
    assert np.isfinite(np.take_along_axis(some.reshape(40, 100), best, 1)).mean() > 0.95


def test_where_a_filter_leaves_few_every_channel_says_something_of_each(board):
    """Found by vectors alone, a candidate would be a stranger to the others, and to trees that learned what these say."""
    part, open_ = ranker(board), np.isin(np.arange(20), [1, 4, 5, 18])
    pool, said = part._stage.pool(board.nodes, board.encode(board.nodes), 5, Filter(open_))
    assert pool.rows.reshape(40, 4).tolist() == [[1, 4, 5, 18]] * 40
    assert not np.isnan(said["alike: score"]).any() and not np.isnan(said["popular: score"]).any()
    met = board.history()
    left, _ = part._stage.pool(board.nodes, board.encode(board.nodes), 5, Filter(open_), met)
    assert not left.among(met).any() and len(left.rows) == len(pool.rows) - pool.among(met).sum()
    many, _ = part._stage.pool(board.nodes, board.encode(board.nodes), 5, Filter(np.ones(20, bool)))
    assert many.counts.max() == 20, "twenty are no more than four times five"
    assert part._stage.pool(board.nodes, board.encode(board.nodes), 4, Filter(np.ones(20, bool)))[0].counts.max() < 20
