"""Slices of queries, curves of what variety costs, and lists made less alike."""

from __future__ import annotations

import numpy as np
import polars as pl

from kgrec_core.evaluation.curves import curves
from kgrec_core.evaluation.diversity import diverse
from kgrec_core.evaluation.slices import masked, slices
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Relation, Task
from kgrec_core.interfaces import Hits

ASKS = Relation("query", "answered_by", "answer")


def world() -> tuple[Queries, Task]:
    answers = ["we send it by post", "pay by card", "our shop is in town"]
    asked = ["when is it sent by post", "credit", "card payment", "where"]
    edges = pl.DataFrame({"source": [0, 0, 1], "target": [1, 2, 0]}, {"source": pl.UInt32, "target": pl.UInt32})
    entities = {
        "query": pl.DataFrame({"id": [f"q{i}" for i in range(4)], "text": asked}),
        "answer": pl.DataFrame({"id": ["a", "b", "c"], "text": answers}),
    }
    nodes = Nodes(Graph(entities, {ASKS: edges}), "query", np.arange(4), "query")
    return Queries(nodes, Ragged.of(np.arange(3), np.array([0, 1, 1]), 4)), Task("answer", ASKS)


def test_slices_are_those_who_met_little_and_those_who_ask_in_other_words():
    found = slices(*world())
    assert found["short_history"].tolist() == [False, True, True, False]  # the fourth has nothing that is right
    assert found["other_words"].tolist() == [False, True, False, False]


def test_a_slice_that_holds_all_or_none_is_left_out():
    queries, task = world()
    assert set(slices(queries.take([1, 2]), task)) == {"other_words"}
    assert slices(queries.take([0, 3]), task) == {}


def test_a_slices_values_are_the_whole_rankings():
    values = {"after": {"ndcg@10": np.array([1.0, 0.5, 0.0])}}
    got = masked(values, np.array([True, False, True]))["after"]["ndcg@10"]
    assert got[[0, 2]].tolist() == [1.0, 0.0] and np.isnan(got[1])


def lists() -> tuple[Hits, np.ndarray, np.ndarray]:
    """Two lists of four: the first three of one direction, the last of another."""
    rows = np.array([[5, 6, 7, 8], [6, 5, 8, -1]])
    scores = np.array([[4.0, 3.9, 3.8, 3.0], [4.0, 3.9, 3.0, -np.inf]], np.float32)
    return Hits(rows, scores, {"c": scores}), np.array([5, 6, 7, 8]), np.array([[1, 0], [1, 0.01], [1, 0.02], [0, 1]], np.float32)


def test_less_alike_lists_keep_their_best_and_bring_the_other_forward():
    hits, rows, vectors = lists()
    got = diverse(hits, rows, vectors, 0.7, 3)
    assert got.rows[:, :2].tolist() == [[5, 8], [6, 8]] and got.scores[0, 1] == got.columns["c"][0, 1] == 3.0
    assert diverse(hits, rows, vectors, 0.0, 3) is hits
    assert sorted(diverse(hits, rows, vectors, 1.0, 4).rows[0].tolist()) == [5, 6, 7, 8]


def test_curves_begin_with_the_list_as_it_is_and_their_price_shows():
    hits, rows, vectors = lists()
    found = curves(hits, Ragged.of(np.arange(2), np.array([5, 6]), 2), rows, vectors, np.array([False, False, False, True]))
    assert found["diversity"][0]["ndcg@10"] == found["new"][0]["ndcg@10"] == 1.0
    assert found["new"][-1]["ndcg@10"] < 1.0 and found["diversity"][-1]["mmr"] == 0.7
    assert "new" not in curves(hits, Ragged.of(np.arange(2), np.array([5, 6]), 2), rows, vectors, np.zeros(4, bool))
