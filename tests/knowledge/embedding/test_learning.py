"""What is learned from triples: held-out ends are found, the same seed gives the same, a text places who is in no triple."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.graph import Relation
from kgrec_core.knowledge.embedding import learning
from kgrec_core.knowledge.embedding.learning import Embedding, How, learned
from kgrec_core.knowledge.embedding.links import held_out, measures, ranks
from kgrec_core.knowledge.embedding.scorers import SCORERS
from kgrec_core.knowledge.embedding.triples import Triples, triples
from kgrec_core.testing import BUYS, HAS, checkerboard

HOW = How("complex", 16, epochs=40, batch=36, lr=0.05)


def families(members: int = 12) -> Triples:
    """Three families of things, `members` each; a thing has its family's colour and its family's shape: one tells the other."""
    thing = np.arange(3 * members)
    source, target = np.tile(thing, 2), np.concatenate([3 * members + thing % 3, 3 * members + 3 + thing % 3])
    relation = np.repeat([0, 1], len(thing))
    return Triples(
        source, relation, target, {"thing": 0}, 3 * members + 6, (Relation("thing", "colour", "thing"), Relation("thing", "shape", "thing"))
    )


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("how", ["all", "drawn", "sparse"])
def test_held_out_ends_are_found(scorer, how, monkeypatch):
    """All entities are rivals, some are drawn, and of these alone vectors change."""
    if how != "all":
        monkeypatch.setattr(learning, "FULL", 0)
    if how == "sparse":
        monkeypatch.setattr(learning, "SPARSE", 0)
    kept, asked = held_out(families(), 0.1, seed=3)
    found = learned(kept, HOW._replace(scorer=scorer))
    assert measures(ranks(found, asked, kept)[:1])["hits@3"] >= 0.85  # of 42; a guess has .07
    again = learned(kept, HOW._replace(scorer=scorer))
    assert torch.equal(found.entities, again.entities)


def test_ranks_are_filtered_and_ties_shared():
    entities = torch.tensor([[1.0], [3.0], [2.0], [2.0]])
    found = Embedding(entities, torch.ones(1, 1), None, SCORERS["distmult"])
    at = lambda s, t: Triples(np.array(s, int), np.zeros(len(s), int), np.array(t, int), {"a": 0}, 4, (Relation("a", "r", "a"),))  # noqa: E731
    asked = at([0], [2])
    assert ranks(found, asked, at([], [])).tolist() == [[2.5], [4.0]]  # 3 before it, its equal beside it
    assert ranks(found, asked, at([0], [1])).tolist() == [[1.5], [4.0]]
    assert measures(np.array([[1.0, 4.0]])) == {"mrr": 0.625, "hits@1": 0.5, "hits@3": 0.5, "hits@10": 1.0}


def test_a_text_finds_what_was_in_no_triple():
    whole = families()
    kept = whole.take(whole.source >= 3)  # things 0, 1, 2, one a family, are in none
    texts = np.zeros((whole.size, 3), np.float32)
    texts[np.arange(36), np.arange(36) % 3] = 1
    asked = whole.take(whole.source < 3)
    how = HOW._replace(scorer="rotate")
    with_text = measures(ranks(learned(kept, how, texts), asked, kept)[:1])["hits@1"]
    assert with_text == 1.0 and measures(ranks(learned(kept, how), asked, kept)[:1])["hits@1"] < 0.7


def test_the_triples_of_a_graph():
    graph, _ = checkerboard()
    found = triples(graph, [HAS, BUYS])
    assert found.starts == {"colour": 0, "item": 2, "user": 14} and found.size == 38 and len(found) == 12 + 96
    assert found.source[0] == 2 and found.target[:2].tolist() == [0, 1] and found.relations == (HAS, BUYS)
    assert triples(graph, [HAS]).seen.all() and len(triples(graph, [])) == 0


def test_a_doubtful_triple_hardly_counts():
    """Every thing has a second colour, that of another family; where that is hardly sure, things are of their own."""
    whole, doubt = families(), np.full(72 + 36, 1.0, np.float32)
    thing = np.arange(36)
    both = Triples(
        np.concatenate([whole.source, thing]), np.concatenate([whole.relation, np.zeros(36, int)]),
        np.concatenate([whole.target, 36 + (thing // 3) % 3]), whole.starts, whole.size, whole.relations,
    )  # fmt: skip
    doubt[72:] = 0.01
    asked = whole.take(np.arange(36))
    sure, alike = (
        measures(ranks(learned(of, HOW), asked, of.take(np.zeros(0, int)))[:1])["hits@1"] for of in (replace(both, weight=doubt), both)
    )
    assert sure > 0.9 and alike < 0.8
    graph, _ = checkerboard()
    table = graph.relations[HAS].with_columns(weight=pl.Series(np.linspace(0, 1, 12)))
    graph = graph.with_edges({**graph.relations, HAS: pl.concat([table, table.with_columns(weight=pl.lit(0.01))])}, graph.as_of)
    np.testing.assert_allclose(np.sort(triples(graph, [HAS]).weight), np.sort(np.maximum(np.linspace(0, 1, 12), 0.01)), rtol=1e-6)
    assert triples(checkerboard()[0], [HAS, BUYS]).weight is None


def test_batches_grow_and_updates_end(monkeypatch):
    monkeypatch.setattr(learning, "GROWS", 2)
    monkeypatch.setattr(learning, "UPDATES", 5)
    done = []
    learned(families(), HOW, told=lambda now, total: done.append((now, total)))
    assert done == [(n, 5) for n in range(1, 6)]
