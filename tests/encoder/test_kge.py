"""Where an entity stands in the graph, learned from its triples."""

from __future__ import annotations

import numpy as np
import polars as pl

from kgrec_core.encoder.kge import Kge
from kgrec_core.graph import Graph, Nodes, candidates
from kgrec_core.testing import BUYS, HAS, checkerboard
from tests.encoder.test_fusions import of, text


def test_entities_of_one_colour_lie_together_and_a_newcomer_with_them():
    encoder, graph, tasks = of(lambda: Kge(width=8, epochs=60, scorer="rotate"))
    delta = Graph(
        {"item": pl.DataFrame({"id": ["new", "bare"]}), "colour": pl.DataFrame({"id": ["red"]})},
        {HAS: pl.DataFrame({"source": [0], "target": [0]}).cast(pl.UInt32)},
    )
    joined = graph.join(delta)
    vectors = encoder(candidates(joined, tasks[0])).numpy()
    alike = vectors @ vectors.T
    assert alike[0, 2:12:2].min() > alike[0, 1:12:2].max()
    assert alike[12, 0:12:2].min() > alike[12, 1:12:2].max() and not vectors[13].any()


def test_behaviours_are_relations_where_that_is_asked_for():
    graph, _ = checkerboard()
    for wanted in (False, True):
        encoder, _, _ = of(lambda wanted=wanted: Kge(width=8, epochs=1, behaviours=wanted))
        users = Nodes(graph, "user", np.arange(8), "query", before=np.zeros(8, np.int64))
        assert bool(encoder(users).any()) == wanted and (BUYS in encoder.relations_) == wanted


def test_a_text_places_who_has_no_edge():
    encoder, graph, tasks = of(lambda: Kge(width=8, epochs=60, scorer="rotate", text=text()))
    joined = graph.join(Graph({"item": pl.DataFrame({"id": ["new"], "text": ["red chair"]})}))
    vectors = encoder(candidates(joined, tasks[0])).numpy()
    assert (vectors[12] @ vectors[0:12:2].T).mean() > (vectors[12] @ vectors[1:12:2].T).mean()
