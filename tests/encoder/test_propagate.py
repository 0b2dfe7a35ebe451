"""Texts spread along who met what, without the batch's own edges and what is later."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.encoder.propagate import Propagate
from kgrec_core.graph import DAY, Nodes, Ragged, candidates
from kgrec_core.interfaces import Encoder
from kgrec_core.testing import BUYS
from tests.encoder.test_fusions import of


class Own(Encoder):
    """A dimension for every user and every item."""

    dim = 36

    def prepare(self, graph, tasks):
        """Nothing to learn."""

    def forward(self, nodes):
        return torch.eye(36)[torch.from_numpy(nodes.rows + 24 * (nodes.kind == "item"))]


def reached(encoder, nodes, steps):
    return [set(np.flatnonzero(row).tolist()) for row in encoder._spread(nodes, steps).numpy()]


def bought(graph, before=None):
    table = graph.relations[BUYS] if before is None else graph.relations[BUYS].filter(pl.col("time") < before)
    return set(zip(table["source"].to_list(), table["target"].to_list(), strict=True))


def spread(edges, item, without=()):
    """Who bought it, and what these bought."""
    people = {u for u, i in edges if i == item} - set(without)
    return people, {24 + i for u, i in edges if u in people}


@pytest.mark.parametrize("hidden", [0, 8])
def test_a_batchs_own_edges_are_dropped_first(hidden):
    encoder, graph, _ = of(lambda: Propagate(text=Own()))
    items = Nodes(graph, "item", np.arange(12), "candidate", hide={BUYS: Ragged.of(np.array([0]), np.array([hidden]), 12)})
    for item in range(12):
        people, things = spread(bought(graph), item, [hidden] if item == 0 else [])
        assert reached(encoder, items, 1)[item] == people and reached(encoder, items, 2)[item] == things
    assert hidden not in reached(encoder, items, 1)[0] and hidden in reached(encoder, items, 1)[{0: 2, 8: 8}[hidden]]
    moment = 2 * DAY + 5
    early = Nodes(graph, "item", np.arange(12), "candidate", np.full(12, moment))
    assert reached(encoder, early, 2) == [spread(bought(graph, moment), item)[1] for item in range(12)]


def test_what_the_same_people_choose_lies_together():
    encoder, graph, tasks = of(lambda: Propagate(text=Own()))
    with torch.no_grad():
        encoder.shares_.copy_(torch.tensor([0.0, 1.0]))
        vectors = encoder(candidates(graph, tasks[0])).numpy()
    alike = vectors @ vectors.T
    assert alike[0, 2] > 0.2 and abs(alike[::2, 1::2]).max() == 0
    torch.testing.assert_close(torch.from_numpy(vectors).norm(dim=1), torch.ones(12))
    assert encoder.reads_edges and not encoder.reads_knowledge
