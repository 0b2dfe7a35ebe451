"""How much each relation counts: what tells which things are chosen together counts most, and only what training knows is read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from kgrec_core.errors import KgrecError
from kgrec_core.explain.paths import Paths, met_by
from kgrec_core.explain.ties import Ties as ExplainTies
from kgrec_core.graph import DAY, Graph, Memo, Nodes, Queries, Ragged, Relation, Task, candidates
from kgrec_core.retrieval.content import Content
from kgrec_core.retrieval.lambdarank import Lambdarank
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.relation_weights import relation_weights
from kgrec_core.retrieval.ties import Ends

BUYS, BRAND, COLOUR = Relation("user", "buys", "item"), Relation("item", "brand", "brand"), Relation("item", "colour", "colour")
USERS, ITEMS, TASK = 60, 24, Task("buys", BUYS)


def pairs(source, target, **more) -> pl.DataFrame:
    ends = {"source": pl.Series(source, dtype=pl.UInt32), "target": pl.Series(target, dtype=pl.UInt32)}
    return pl.DataFrame({**ends, **more})


def world(loyal: bool = True, users: int = USERS) -> Graph:
    """Users buy five things, of one of four brands where they are loyal; colours tell nothing."""
    draw = np.random.default_rng(0)
    brand, colour = np.arange(ITEMS) % 4, np.arange(ITEMS) // 4 % 3
    met = [draw.choice(np.flatnonzero(brand == u % 4) if loyal else ITEMS, 5, replace=False) for u in range(users)]
    time = np.tile(np.arange(5), users) * DAY
    entities = {kind: pl.DataFrame({"id": [f"{kind}{i}" for i in range(n)]}) for kind, n in (("user", users), ("item", ITEMS))}
    entities |= {kind: pl.DataFrame({"id": [f"{kind}{i}" for i in range(4)]}) for kind in ("brand", "colour")}
    relations = {BUYS: pairs(np.repeat(np.arange(users), 5), np.concatenate(met), time=pl.Series(time, dtype=pl.Int64))}
    relations |= {BRAND: pairs(range(ITEMS), brand), COLOUR: pairs(range(ITEMS), colour)}
    return Graph(entities, relations, frozenset([BRAND, COLOUR]))


def test_what_tells_counts_and_what_does_not_hardly():
    weights = relation_weights(world(), BUYS)
    assert sum(weights.values()) == pytest.approx(2) and min(weights.values()) >= 0 and weights["brand"] > 1.5
    assert weights == relation_weights(world(), BUYS), "the same data give the same"


def test_an_edge_counts_as_much_as_it_weighs_and_two_that_are_joined_are_near():
    items = pl.DataFrame({"id": list("abcd")})
    brand, alike = Relation("item", "brand", "brand"), Relation("item", "alike", "item")
    tables = {
        brand: pairs([0, 0, 1, 2], [0, 1, 0, 1], weight=[1.0, 0.1, 1.0, 1.0]),
        alike: pairs([0, 2, 2], [1, 3, 3], weight=[0.9, 0.2, 0.5]),
    }
    graph = Graph({"item": items, "brand": pl.DataFrame({"id": ["x", "y"]})}, tables, frozenset(tables))
    ends = Ends(graph, "item").direct
    near = {name: (rows @ rows.T).toarray() for name, rows in ends.items()}
    assert near["brand"][0, 1] > 0.9 and 0.05 < near["brand"][0, 2] < 0.2, "the doubtful brand hardly counts"
    assert near["alike"][0, 1] > 0.9 and near["alike"][1, 0] > 0.9 and near["alike"][0, 2] == 0
    assert near["alike"][0, 1] > near["alike"][2, 3] > 0.4, "of an edge that is told twice the higher weight"
    without = Graph(dict(graph.entities), {r: t.drop("weight") for r, t in tables.items()}, frozenset(tables))
    plain = Ends(without, "item").direct["brand"]
    assert (plain @ plain.T).toarray()[0, 2] > 0.5
    other = Ends(graph, "item").extended(graph, np.array([0, 3]))
    np.testing.assert_allclose(other.ties["alike"].own.toarray(), ends["alike"][[0, 3]].toarray(), rtol=1e-6)
    ties = ExplainTies(graph, brand, "item", np.array([0, 1, 2]))
    assert ties.pull(0, 1) == pytest.approx(0.1 * ties.pull(2, 1))


def test_few_pairs_or_nothing_told_leave_all_alike():
    assert relation_weights(world(users=9), BUYS) == {"brand": 1.0, "colour": 1.0}
    one = world()
    one = one.with_edges({r: t for r, t in one.relations.items() if r != COLOUR})
    assert relation_weights(one, BUYS) == {"brand": 1.0}
    turned = world()  # who buys a thing buys nothing of its brand: no relation speaks for anything
    apart = {BRAND: turned.relations[BRAND], COLOUR: turned.relations[BRAND]}
    table = pairs(np.repeat(np.arange(USERS), 4), np.concatenate([np.arange(4) + 4 * (u % 6) for u in range(USERS)]))
    assert relation_weights(turned.with_edges({BUYS: table, **apart}), BUYS) == {"brand": 1.0, "colour": 1.0}


def test_what_is_held_out_is_not_read():
    whole, cut = world(), 3 * DAY
    known = whole.relations[BUYS].filter(pl.col("time") < cut)
    only = replace(whole.with_edges({**whole.relations, BUYS: known}), memo=Memo())
    assert relation_weights(whole.at(cut), BUYS) == relation_weights(only, BUYS) != relation_weights(whole, BUYS)


def test_all_together_is_the_weighted_sum_of_each():
    graph, weights = world(), {"brand": 1.5, "colour": 0.5}
    ends = Ends(graph, "item", weights)
    pool, read = Ragged.of(np.zeros(ITEMS, np.int64), np.arange(ITEMS), 1), Ends(graph, "item").ties
    history = np.zeros((1, ITEMS), np.float32)
    history[0, 3] = 1
    of = {name: ties.near(sp.csr_matrix(history), pool) for name, ties in read.items()}
    expected = (1.5 * of["brand"] + 0.5 * of["colour"]) / np.sqrt(2)
    np.testing.assert_allclose(ends.near({"": sp.csr_matrix(history)}, pool)["near by all"], expected, rtol=1e-5)


def ranker(graph: Graph) -> Lambdarank:
    part = Lambdarank(channels={"popular": Popular(days=0)}, pool=ITEMS, trees=2, smallest=1, threads=1, folds=0)
    part.build(graph, TASK, candidates(graph, TASK), None)
    return part


def test_a_ranker_keeps_the_weights_that_it_was_fitted_with(tmp_path):
    graph, later = world(), world(loyal=False)
    part, nodes = ranker(graph), Nodes(graph, "user", np.arange(USERS), "query", before=np.full(USERS, 4 * DAY))
    targets = graph.relations[BUYS].filter(pl.col("time") == 4 * DAY).sort("source")["target"].to_numpy().astype(np.int64)
    before = dict(part.relation_weights)
    part.fit(Queries(nodes, Ragged.of(np.arange(USERS), targets, USERS)), None)
    part.build(later, TASK, candidates(later, TASK), None)
    assert part.relation_weights == before != relation_weights(later, BUYS)
    part.save(tmp_path / "r")
    other = Lambdarank(channels={"popular": Popular(days=0)}, threads=1)
    other.load(tmp_path / "r", later, TASK)
    assert other.relation_weights == before and other._stage.features.ends.weights == before
    file = tmp_path / "r" / "ranker.json"
    for weights in ({"brand": -1}, {"brand": "NaN"}, {"brand": None}, 3, "x"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"relation_weights": weights}))
        with pytest.raises(KgrecError, match="fit again"):
            other.load(tmp_path / "r", later, TASK)


def test_content_finds_what_is_tied_by_what_tells(tmp_path):
    graph = world()
    part = Content(by="relations")
    part.build(graph, TASK, candidates(graph, TASK), None)
    nodes = Nodes(graph, "user", np.array([2]), "query", before=np.array([DAY]))
    met = nodes.read(BUYS).rows
    hits = part.search(nodes, None, 6, exclude=nodes.read(BUYS)).rows[0]
    assert (hits[:5] % 4 == met[0] % 4).all(), "all of its brand before any of its colour"
    part.save(tmp_path / "c")
    other = Content(by="relations")
    other.load(tmp_path / "c", graph, TASK)
    assert other.relation_weights == part.relation_weights == relation_weights(graph, BUYS)
    np.testing.assert_array_equal(other.search(nodes, None, 6, exclude=nodes.read(BUYS)).rows[0], hits)


def test_a_path_weighs_what_its_relation_counts():
    graph = world()
    query = Nodes(graph, "user", np.array([0]), "query", before=np.array([5 * DAY]))
    met = met_by(TASK, query)
    answer = int(np.setdiff1d(np.arange(0, ITEMS, 4), met.rows)[0])

    def by(counts) -> dict[str, float]:
        paths = Paths(TASK, query, met, np.ones((len(met.rows), 1)), counts=counts).to(answer, 0, {("graph", None): 1.0}, 50)
        return {name: sum(path.weight for path in paths if path.relations[0] == name) for name in ("brand", "colour")}

    alike, told = by({}), by({"brand": 1.9, "colour": 0.1})
    assert sum(alike.values()) == pytest.approx(1) and sum(told.values()) == pytest.approx(1)
    assert told["brand"] > alike["brand"] > 0 and 0 < told["colour"] < alike["colour"]
