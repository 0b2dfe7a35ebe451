"""Merging channels, and what the re-rankers promise on k."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, candidates
from kgrec_core.interfaces import Filter, Hits, Retrieval
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.lambdarank import Lambdarank
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.pool import lookup, places, places_of_each, relative, union
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.repeat import Repeat


class Says(Retrieval):
    """A channel that always finds the same rows."""

    def __init__(self, *rows: int) -> None:
        self.rows = np.array(rows)

    def learn(self, graph, task, candidates, encode) -> None:
        pass

    def search(self, queries, vectors, k, allowed=None, exclude=None) -> Hits:
        rows = np.full((len(queries), k), -1)
        rows[:, : len(self.rows)] = self.rows[:k]
        return Hits(rows, np.where(rows >= 0, 10.0 - np.arange(k), -np.inf).astype(np.float32))


def merged(board, k=4, **parameters):
    merge = Merge(**parameters)
    merge.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    return merge.search(board.nodes, board.encode(board.nodes), k)


def test_reciprocal_rank_fusion(board):
    hits = merged(board, channels={"a": Says(1, 2, 3), "b": Says(2, 9)})
    np.testing.assert_array_equal(hits.rows[0], [2, 1, 9, 3])
    np.testing.assert_allclose(hits.scores[0], [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63], rtol=1e-6)
    np.testing.assert_array_equal(hits.columns["b"][0], np.array([10, np.nan, 9, np.nan], np.float32))


def test_of_merges_within_a_merge_each_channel_speaks_for_itself(board):
    """Two methods that are published together: who was never met before is not said to be "chosen before", whatever else weighs most."""
    one = Merge(channels={"a": Says(1, 2), "b": Says(2, 9)}, by="score", weights={"a": 3.0})
    merge = Merge(channels={"one": one, "two": Merge(channels={"b": Says(5)}, by="score")}, by="score")
    merge.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    hits, parts = merge.explain(board.nodes, board.encode(board.nodes), 4)
    place = {row: i for i, row in enumerate(hits.rows[0].tolist())}
    assert set(place) == {1, 2, 5, 9} and set(parts) >= {"a", "b"}
    whole = 3 * 0.9 + 1  # what the best one of `one` has, which is row 2
    for row, a, b in ((1, 3 / whole, 0), (2, 2.7 / whole, 1 / whole), (9, 0, 0.9 / whole), (5, 0, 1)):
        assert (parts["a"][0, place[row]], parts["b"][0, place[row]]) == pytest.approx((a, b), abs=1e-6)
    assert not parts["one"].any() and not parts["two"].any()
    thought = {name: hits.columns[name][0] for name in ("a", "b")}
    assert np.isnan(thought["a"][[place[9], place[5]]]).all() and thought["b"][place[5]] == 10


def test_weighted_scores_are_relative_to_the_best(board):
    hits = merged(board, channels={"a": Says(1, 2), "b": Says(2)}, by="score", weights={"a": 0.5}, k=2)
    np.testing.assert_array_equal(hits.rows[0], [2, 1])
    np.testing.assert_allclose(hits.scores[0], [1 + 0.45, 0.5], rtol=1e-6)


class Values(Says):
    """A channel that says given values of the rows from 0 on."""

    def __init__(self, *values: float) -> None:
        self.values = np.array(values, np.float32)

    def search(self, queries, vectors, k, allowed=None, exclude=None) -> Hits:
        order = np.argsort(-self.values, kind="stable")[:k]
        return Hits(np.tile(order, (len(queries), 1)), np.tile(self.values[order], (len(queries), 1)))


def test_answers_to_one_question_stand_together(board):
    channels = {"questions": Values(0.8, 0.8, 0.7, 0.0, 0.0), "answers": Values(1.0, 0.2, 0.9, 0.3, 0.1)}
    apart = merged(board, channels=channels, by="score", weights={"answers": 0.5}, k=5)
    assert apart.rows[0].tolist() == [0, 2, 1, 3, 4]
    together = merged(board, channels=channels, by="score", weights={"answers": 0.5}, k=5, together="questions")
    assert together.rows[0].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(together.scores[0], [1.5005, 1.5001, 0.875 + 0.45045, 0.15015, 0.05005], rtol=1e-6)
    merge = Merge(channels=channels, together="questions")
    assert merge._with({"answers": channels["answers"]}).together == "none"


def test_mistakes(board):
    with pytest.raises(KgrecError, match="together names channels"):
        merged(board, channels={"a": Says(1)}, together="b")
    with pytest.raises(KgrecError, match="no channel is called 'aa'; did you mean 'a'"):
        merged(board, channels={"a": Says(1)}, weights={"aa": 1.0})
    with pytest.raises(KgrecError, match="no channel to rank"):
        merged(board, channels={})


@pytest.mark.parametrize("make", [Merge, Lambdarank])
@pytest.mark.parametrize("k", [1, 12, 50])
def test_exactly_k_where_a_channel_guarantees_it(make, k, board):
    part = make(channels={"repeat": Repeat(), "alike": Cooccurrence(), "semantic": Exact(device="cpu")}, pool=3)
    part.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    allowed = np.arange(20) != 4
    exclude = board.history().last(5)
    hits = part.search(board.nodes, board.encode(board.nodes), k, Filter(allowed), exclude)
    for query, row in enumerate(hits.rows):
        gone = {4, *exclude.take(np.array([query])).rows.tolist()}
        found = row[row >= 0].tolist()
        assert len(found) == min(k, 20 - len(gone)) == len(set(found))
        assert not gone & set(found)
        assert (row[len(found) :] == -1).all()
    assert (hits.scores[:, :-1] >= hits.scores[:, 1:]).all()


@pytest.mark.parametrize("make", [Merge, Lambdarank])
def test_extended_finds_the_new_candidate_and_the_original_does_not(make, board):
    import polars as pl

    part = make(channels={"popular": Popular(days=0), "semantic": Exact(device="cpu")}, pool=30)
    part.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    more = board.graph.join(Graph({"item": pl.DataFrame({"id": ["new"]})}))
    other = part.extended(more, Nodes(more, "item", np.array([20]), "candidate"), board.encode)
    vectors = board.encode(board.nodes)
    assert (other.search(board.nodes, vectors, 25).rows == 20).any(1).all()
    assert not (part.search(board.nodes, vectors, 25).rows == 20).any()


def test_pools():
    a = Hits(np.array([[5, 2], [1, -1]]), np.array([[4, 2], [3, -np.inf]], np.float32))
    b = Hits(np.array([[2], [7]]), np.array([[1], [8]], np.float32))
    pool = union([a, b], 2)
    assert (pool.owner.tolist(), pool.rows.tolist()) == ([0, 0, 1, 1], [2, 5, 1, 7])
    np.testing.assert_array_equal(lookup(a, pool), np.array([2, 4, 3, np.nan], np.float32))
    np.testing.assert_array_equal(places(pool, np.array([1, 9, 0, 0])), [1, 0, 0, 1])
    np.testing.assert_array_equal(relative(pool, np.array([2, 4, -3, -1], np.float32)), [0.5, 1, 0, 0])
    assert len(union([], 3).indptr) == 4
    assert isinstance(pool, Ragged)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_places_are_the_same_for_floats_of_both_widths(seed):
    rng = np.random.default_rng(seed)
    owner = np.sort(rng.integers(0, 5, 60))
    scores = rng.choice([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5, -2.5, 1e-30, *rng.normal(size=4)], 60).astype(np.float32)
    pool = Ragged.of(owner, np.arange(60), 5)
    np.testing.assert_array_equal(places(pool, scores), places(pool, scores.astype(np.float64)))


def test_several_channels_at_once_and_a_single_query_are_as_each_of_many():
    rng = np.random.default_rng(0)
    pool = Ragged.of(np.repeat(np.arange(4), [5, 0, 9, 6]), np.arange(20), 4)
    scores = np.where(rng.random((3, 20)) < 0.2, np.nan, rng.integers(-2, 3, (3, 20)) / 7).astype(np.float32)
    for of, way in ((places_of_each, places), (relative, relative)):
        found = of(pool, scores)
        for mine, said in zip(found, scores, strict=True):
            np.testing.assert_array_equal(mine, way(pool, said))
        for query in range(4):
            inside = slice(pool.indptr[query], pool.indptr[query + 1])
            np.testing.assert_array_equal(of(pool.take(np.array([query])), scores[:, inside]), found[:, inside])
    none = Ragged.empty(2)
    assert relative(none, np.zeros((3, 0), np.float32)).shape == places_of_each(none, np.zeros((3, 0), np.float32)).shape == (3, 0)
