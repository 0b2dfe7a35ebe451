"""The table of a classification: its shape, its names, and its gains."""

import json

import numpy as np
import polars as pl
import pytest

from kgrec_core.evaluation.class_tables import table
from kgrec_core.graph import Graph, Ragged, Relation, Task

TASK = Task("sentiment", Relation("article", "expresses", "sentiment"))
GRAPH = Graph(
    {"article": pl.DataFrame({"id": [str(i) for i in range(200)]}), "sentiment": pl.DataFrame({"id": ["bad", "even", "good"]})},
    {TASK.relation: pl.DataFrame({"source": [0], "target": [0]}, {"source": pl.UInt32, "target": pl.UInt32})},
)


def test_all_systems_side_by_side():
    draw = np.random.default_rng(0)
    true = draw.integers(0, 3, 200)
    systems = {
        name: np.where(draw.random(200) < share, true, 1) for name, share in (("before", 0.3), ("after", 0.9), ("without_knowledge", 0.85))
    }
    systems["after"][:3] = -1
    floors = {"majority": np.ones(200, np.int64), "tfidf_lr": np.where(draw.random(200) < 0.6, true, 0)}
    found = json.loads(json.dumps(table(systems, floors, Ragged.of(np.arange(200), true, 200), GRAPH, TASK)))
    assert set(found) == {"floor", "gain", "before", "after", "without_knowledge", "best_floor", "classes", "confusions"}
    assert found["best_floor"] == "tfidf_lr" and set(found["floor"]) == set(floors)
    assert set(found["gain"]) == {"after-before", "after-floor", "after-without_knowledge"}
    for values in (found["before"], found["after"], *found["floor"].values(), *found["gain"].values()):
        assert set(values) == {"macro_f1", "accuracy"}
        assert all(set(v) == {"mean", "low", "high", "n"} and v["n"] == 200 for v in values.values())
    assert found["gain"]["after-before"]["macro_f1"]["low"] > 0 and found["gain"]["after-floor"]["accuracy"]["low"] > 0
    assert found["gain"]["after-floor"]["accuracy"]["mean"] == pytest.approx(
        found["after"]["accuracy"]["mean"] - found["floor"]["tfidf_lr"]["accuracy"]["mean"]
    )
    assert set(found["classes"]) == {"bad", "even", "good"} and found["classes"]["bad"]["precision"] == 1
    assert sum(of["support"] for of in found["classes"].values()) == 200
    assert {(c["true"], c["predicted"]) for c in found["confusions"]} >= {("bad", "even"), ("good", "even")}
    assert sum(c["n"] for c in found["confusions"] if c["predicted"] is None) == 3


def test_without_after_there_is_no_gain():
    true = np.arange(200) % 3
    found = table({"before": true}, {}, Ragged.of(np.arange(200), true, 200), GRAPH, TASK)
    assert found["gain"] == {} and found["before"]["accuracy"]["mean"] == 1 and "best_floor" not in found
