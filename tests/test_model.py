"""Vectors are computed once per nodes and weights, and are those of the nodes asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kgrec_core.encoder.history import History
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.errors import KgrecError
from kgrec_core.graph import DAY, Graph, Nodes, Ragged, candidates
from kgrec_core.head.rank import Rank
from kgrec_core.interfaces import Encoder
from kgrec_core.model import ALIVE, BLOCK, Model
from kgrec_core.testing import BUYS, checkerboard


class Counting(Encoder):
    """How many items a node has to read, times a weight; counts the nodes encoded."""

    dim = 2

    def prepare(self, graph, tasks):
        self.weight, self.encoded = nn.Parameter(torch.ones(1)), 0

    def forward(self, nodes):
        self.encoded += len(nodes)
        read = torch.from_numpy(nodes.read(BUYS).counts).float()
        return torch.stack([read, torch.from_numpy(nodes.rows).float()], 1) * self.weight


def model() -> tuple[Model, Nodes]:
    graph, tasks = checkerboard()
    return Model(Counting(), {"buys": Rank()}, tasks).prepare(graph), Nodes(graph, "user", np.arange(24), "query")


def test_the_same_nodes_are_encoded_once_until_the_weights_change():
    whole, users = model()
    encode = whole.encode(whole.tasks[0])
    first = encode(users)
    assert encode(Nodes(users.graph, "user", users.rows.copy(), "query")) is first and whole.encoder.encoded == 24
    assert first.dtype == np.float32 and (first == np.stack([np.full(24, 4), np.arange(24)], 1)).all()
    whole.encoder.weight.data.mul_(2)
    whole.refresh(users.graph)
    assert (encode(users) == 2 * first).all()


def test_what_a_node_may_not_know_makes_other_vectors():
    whole, users = model()
    encode, graph, rows = whole.encode(whole.tasks[0]), users.graph, users.rows
    hide = {BUYS: graph.adjacent(BUYS, rows).last(1)}
    for nodes, read in (
        (users, 4),
        (Nodes(graph, "user", rows, "query", before=np.full(24, 2 * DAY)), 2),
        (Nodes(graph, "user", rows, "query", before=np.full(24, DAY)), 1),
        (Nodes(graph, "user", rows, "query", hide=hide), 3),
        (Nodes(graph, "user", rows, "query", hide={BUYS: Ragged.empty(24)}), 4),
        (Nodes(graph.at(3 * DAY), "user", rows, "query"), 3),
        (candidates(graph, whole.tasks[0]), 8),
    ):
        for _ in range(2):
            assert encode(nodes)[:, 0].mean() == read, nodes


def test_blocks_are_put_together_in_order():
    whole, users = model()
    encode = whole.encode(whole.tasks[0])
    rows = np.random.default_rng(0).integers(0, 24, 2 * BLOCK + 3)
    assert (encode(users.take(rows))[:, 1] == rows).all()
    assert encode(users.take(slice(0, 0))).shape == (0, 2)


def test_few_sets_are_kept_and_those_asked_for_last(monkeypatch):
    whole, users = model()
    encode = whole.encode(whole.tasks[0])
    monkeypatch.setattr("kgrec_core.model.KEPT", 4 * (ALIVE + 24 * 2 * 4))
    first = encode(users)
    for n in range(1, 9):
        encode(users.take(slice(0, n)))
        assert encode(users) is first
    assert len(whole._kept) == 4
    monkeypatch.setattr("kgrec_core.model.KEPT", 1)
    big = encode(users.take(slice(0, 12)))
    assert len(whole._kept) == 1 and encode(users.take(slice(0, 12))) is big


def test_a_head_with_dropout_is_asked_without_it_before_anything_was_trained():
    graph, tasks = checkerboard()
    whole = Model(Counting(), {"buys": Rank(adapter=True, dropout=0.9)}, tasks).prepare(graph)
    users = Nodes(graph, "user", np.arange(24), "query")
    read = np.stack([np.full(24, 4), np.arange(24)], 1)
    np.testing.assert_allclose(whole.vectors(tasks[0], users), read / np.linalg.norm(read, axis=1, keepdims=True), rtol=1e-6)


def test_an_encoder_that_makes_nothing_of_the_queries_is_refused_with_what_reads_them():
    board, tasks = checkerboard()
    silent = Graph({**board.entities, "user": board.entities["user"].drop("text")}, dict(board.relations), board.timeless)
    with pytest.raises(KgrecError, match=r'task buys: a user has no text.*\[encoder\] use = "history", and what stood in \[encoder\] as'):
        Model(Tfidf(width=4), {"buys": Rank()}, tasks).prepare(silent)
    Model(History(items=Tfidf(width=4)), {"buys": Rank()}, tasks).prepare(silent)
    Model(Tfidf(width=4), {"buys": Rank()}, tasks).prepare(board)
