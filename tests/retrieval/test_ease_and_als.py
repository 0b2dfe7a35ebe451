"""EASE and ALS: the closed form and the least of a loss, held against numpy."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, candidates
from kgrec_core.retrieval.als import Als
from kgrec_core.retrieval.ease import Ease
from tests.retrieval.test_channels import BUYS, built


def test_ease_is_the_closed_form_and_keeps_the_largest(board):
    x = np.zeros((40, 20))
    table = board.graph.relations[BUYS]
    x[table["source"], table["target"]] = 1
    inverse = np.linalg.inv(x.T @ x + 3 * np.eye(20))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(built(lambda: Ease(l2=3.0), board).weights_.toarray(), weights, atol=1e-5)
    assert (np.diff(built(lambda: Ease(l2=3.0, keep=4), board).weights_.indptr) == 4).all()


def test_als_is_the_least_of_its_loss_and_a_newcomer_is_solved_like_anybody(board):
    channel = built(lambda: Als(width=6, confidence=4.0, l2=0.1, rounds=3), board)
    x, items = np.zeros((40, 20)), channel.factors_.astype(float)
    table = board.graph.relations[BUYS]
    x[table["source"], table["target"]] = 1
    scores = channel.scores(board.nodes, None)
    for user in range(5):
        confidence = np.diag(1 + 4 * x[user])
        ridge = 0.1 * 4 * (x[user].sum() + 20 / 4) ** 0.25 * np.eye(6)
        vector = np.linalg.solve(items.T @ confidence @ items + ridge, items.T @ confidence @ x[user])
        np.testing.assert_allclose(scores[user], items @ vector, atol=1e-5)
    new = Graph({"user": pl.DataFrame({"id": ["new"]}), "item": board.graph.entities["item"].select("id")}, {BUYS: edges_of(board, 3)})
    joined = board.graph.join(new)
    asked = Nodes(joined, "user", np.array([3, 40]), "query", before=np.full(2, board.now))
    told = channel.extended(joined, candidates(joined, board.task), None).scores(asked, None)
    np.testing.assert_allclose(told[0], told[1], atol=1e-5)
    with pytest.raises(KgrecError, match="above 0"):
        built(lambda: Als(l2=0.0), board)


def edges_of(board, user):
    """A user's edges as the only ones of a graph with one user."""
    return board.graph.relations[BUYS].filter(pl.col("source") == user).with_columns(source=pl.lit(0, pl.UInt32))


def test_ease_beyond_its_limit(board, caplog):
    """The most chosen are as if alone; what a single further one is rebuilt from is exact; several further ones are found, too."""
    x = np.zeros((40, 20))
    table = board.graph.relations[BUYS]
    x[table["source"], table["target"]] = 1
    order = np.argsort(-x.sum(0), kind="stable")
    inverse = np.linalg.inv(x.T @ x + 3 * np.eye(20))
    whole = -inverse / np.diag(inverse)
    caplog.set_level("INFO", "kgrec")
    fresh = board._replace(graph=Graph(board.graph.entities, board.graph.relations, board.graph.timeless))
    near = built(lambda: Ease(l2=3.0, keep=100, limit=19), fresh).weights_.toarray()
    assert caplog.text.count("ease inverts the 19 most chosen of 20 targets together; the others are regressed on these") == 1
    np.testing.assert_allclose(near[order[:19], order[19]], whole[order[:19], order[19]], atol=1e-5)
    np.testing.assert_allclose(near, whole - np.diag(np.diag(whole)), atol=0.05)
    for limit in (1, 5, 12):
        channel = built(lambda limit=limit: Ease(l2=1.0, limit=limit), fresh)
        hits = channel.search(board.nodes, None, 1, exclude=board.history())
        assert (hits.rows[:, 0] == board.lacks).mean() > 0.9, limit
