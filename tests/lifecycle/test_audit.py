"""The audit: a graph that tells everything pays and a shuffled one does not; what leaks ends the command with 3."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from kgrec_core.cli.audit import told
from kgrec_core.cli.main import main
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Relation, Task
from kgrec_core.knowledge.shuffled import shuffled
from kgrec_core.lifecycle.audit import audit, audited, beside
from kgrec_core.recipe.recipe import Recipe, resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.run import open_run
from tests import tiny

BUYS, COLOUR, NOISE = Relation("user", "buys", "item"), Relation("item", "has_colour", "colour"), Relation("item", "has_shelf", "shelf")
USERS, ITEMS, LENGTH, KINDS = 60, 80, 6, 8


def table(pairs, times=None) -> pl.DataFrame:
    found = pl.DataFrame(pairs, {"source": pl.UInt32, "target": pl.UInt32}, orient="row")
    return found if times is None else found.with_columns(time=pl.Series(times, dtype=pl.Int64))


def named(prefix: str, n: int) -> pl.DataFrame:
    return pl.DataFrame({"id": [f"{prefix}{i}" for i in range(n)]})


@pytest.fixture(scope="module")
def world() -> Dataset:
    """Every shopper buys things of one colour, at random among them; the shelf says nothing."""
    draw = np.random.default_rng(0)
    bought = [(u, int(i) * KINDS + u % KINDS) for u in range(USERS) for i in draw.permutation(ITEMS // KINDS)[:LENGTH]]
    graph = Graph(
        {"user": named("u", USERS), "item": named("i", ITEMS), "colour": named("c", KINDS), "shelf": named("s", 5)},
        {
            BUYS: table(bought, [1 + j % LENGTH for j in range(len(bought))]),
            COLOUR: table([(i, i % KINDS) for i in range(ITEMS)]),
            NOISE: table([(i, int(draw.integers(5))) for i in range(ITEMS)]),
        },
        frozenset([COLOUR, NOISE]),
    )
    return Dataset(graph, (Task("buys", BUYS),))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    channels = {"graph": {"use": "content", "by": "relations"}, "popular": {"use": "popular", "days": 0.0}}
    return resolve(
        {
            "data": {"use": "tables"},
            "encoder": {"use": "tfidf"},
            "head": {"buys": {"use": "rank"}},
            "retrieval": {"buys": {"use": "merge", "by": "score", "weights": {"graph": 1.0, "popular": 0.01}, **channels}},
            "split": {"by": "last"},
        }
    )


def test_what_tells_pays_what_does_not_does_not_and_shuffled_less_than_half(world, recipe):
    found = audited(recipe, Registry.discover(), world)
    pays = {name: of["all"] for name, of in found.pays["buys"].items()}
    assert set(pays) == {"graph", "more than shuffled", "shuffled", "has_colour", "has_shelf"} and not found.leaky
    assert pays["graph"]["low"] > 0.1 and pays["has_colour"]["low"] > 0.1 and pays["more than shuffled"]["low"] > 0
    assert pays["shuffled"]["mean"] < pays["graph"]["mean"] / 2 and abs(pays["has_shelf"]["mean"]) < pays["has_colour"]["mean"] / 2
    means = {system: of["all"]["mean"] for system, of in found.systems["buys"].items()}
    assert pays["graph"]["mean"] == pytest.approx(means["full"] - means["without the graph"])
    said = told(found)
    assert (
        "has_colour pays" in said
        and "no leak was found" in said
        and json.loads(json.dumps(found.to_json()))["metric"] == {"buys": "ndcg@10"}
    )


def test_a_language_model_beside_the_graph_is_audited_with_it(world, recipe, tmp_path):
    tables = recipe.tables
    tables["encoder"] = {"use": "history", "items": {"use": "text", "model": str(tiny.model(tmp_path / "bert"))}}
    tables["retrieval"]["buys"] |= {"semantic": {"use": "exact"}}
    items = world.graph.entities["item"].with_columns(text=pl.lit("red chair"))
    graph = Graph({**world.graph.entities, "item": items}, world.graph.relations, world.graph.timeless)
    found = audited(resolve(tables), Registry.discover(), Dataset(graph, world.tasks), relations=["has_colour"])
    both, graph = (found.pays["buys"][name]["all"] for name in ("graph and language model", "graph"))
    means = {system: of["all"]["mean"] for system, of in found.systems["buys"].items()}
    assert both["low"] > 0.1 and graph["low"] > 0.1 and "together pay" in told(found)
    assert both["mean"] == pytest.approx(means["full"] - means["without graph and language model"])


def test_only_the_relations_asked_for_are_dropped_and_an_unknown_one_is_refused(world, recipe):
    found = audited(recipe, Registry.discover(), world, relations=["has_colour"])
    assert "has_colour" in found.pays["buys"] and "has_shelf" not in found.pays["buys"]
    with pytest.raises(KgrecError, match="no relation of knowledge is called 'has_color'; did you mean 'has_colour'"):
        audited(recipe, Registry.discover(), world, relations=["has_color"])


def test_a_shuffled_graph_keeps_degrees_and_says_each_thing_once(world):
    other = shuffled(world.graph, [COLOUR, NOISE], seed=1)
    for relation in (COLOUR, NOISE):
        before, after = world.graph.relations[relation], other.relations[relation]
        for end in ("source", "target"):
            assert before[end].value_counts().sort(end).equals(after[end].value_counts().sort(end))
        assert len(after.unique()) == len(after) and (before["target"] != after["target"]).any()
    assert other.relations[BUYS] is world.graph.relations[BUYS]


def test_the_command_tells_the_leak_ends_with_three_and_keeps_the_audit_beside_the_run(copy, monkeypatch):
    run = open_run(copy)
    found = audit(run)
    kept = {"graph", "more than shuffled", "shuffled", "graph and language model"}
    assert not found.leaky and json.loads(beside(copy).read_text())["pays"]["buys"].keys() == kept
    from kgrec_core.knowledge.leaks import Leak

    monkeypatch.setattr("kgrec_core.lifecycle.audit.audited", lambda *given: found._replace(leaks=[Leak("mirror", "a-b->c", "it tells")]))
    done = CliRunner().invoke(main, ["graph", "audit", str(copy)])
    assert done.exit_code == 3 and "leak: a-b->c: it tells" in done.output
