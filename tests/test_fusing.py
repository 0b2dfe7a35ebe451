"""`auto` is written out by what pays on the select queries; what does not pay is left out, and the table says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_core import fusing
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.run import open_run

TEXT = {"use": "tfidf", "width": 8}
AUTO = {"encoder": {"use": "history", "items": {"use": "auto", "text": TEXT}}}


def choose(monkeypatch, values, **settings):
    """What is chosen where each choice's queries come to these values, and the recipes that were tried."""
    tried = {}

    def fitted(recipe, steps, name):
        tried[name] = (recipe, steps)
        return name

    monkeypatch.setattr(fusing, "_values", lambda model, view, task: np.asarray(values[model], float))
    layer = {"encoder": {**AUTO["encoder"], "items": {**AUTO["encoder"]["items"], "choices": list(values), **settings}}}
    recipe, rows = fusing.chosen(resolve(layer), lambda recipe: recipe, ["buys"], None, fitted, 0)
    return recipe.tables["encoder"]["items"], rows, tried


def test_the_best_is_taken_where_it_gains_more_than_noise(monkeypatch):
    table, rows, tried = choose(
        monkeypatch, {"verbalize": [0.2, 0.4, 0.3, 0.5], "gate": [0.1, 0.4, 0.2, 0.4], "none": [0.1, 0.3, 0.2, 0.3]}, steps=7
    )
    assert table == {"use": "core/verbalize", "text": TEXT}
    assert [(row["name"], row["chosen"]) for row in rows] == [("none", False), ("verbalize", True), ("gate", False)]
    assert rows[1]["gain"]["mean"] == pytest.approx(0.125) and {steps for _, steps in tried.values()} == {7}
    assert tried["gate"][0].tables["encoder"]["items"] == {"use": "core/gate", "text": TEXT, "entity": {"use": "core/kge"}}


def test_within_noise_the_text_stays(monkeypatch):
    table, rows, _ = choose(monkeypatch, {"none": [0.1, 0.3, 0.2, 0.3], "propagate": [0.9, 0.0, 0.2, np.nan]})
    assert table == TEXT and rows[0]["chosen"]


def test_when_the_minutes_are_used_up_the_rest_is_not_tried(monkeypatch, caplog):
    clock = iter([0.0, 0.0, 0.0, 70.0, 71.0])
    monkeypatch.setattr(fusing.time, "monotonic", lambda: next(clock))
    table, rows, _ = choose(monkeypatch, {"none": [0.1, 0.2], "gate": [0.5, 0.6]}, minutes=1.0)
    assert table == TEXT and not rows[1]["tried"] and "gate: not tried" in caplog.text


def test_language_models_are_frozen_while_choosing_and_heads_learn_instead():
    layer = {"encoder": {"use": "auto", "text": {"use": "concat", "meaning": {"use": "text", "model": "m", "train_layers": 2}}}}
    layer["head"] = {"buys": {"use": "rank", "logq": False}, "mood": {"use": "classify"}}
    tables = fusing._frozen(resolve(layer)).tables
    assert tables["encoder"]["text"]["meaning"] == {"use": "text", "model": "m", "train_layers": 0}
    assert tables["head"] == {"buys": {"use": "rank", "logq": False, "adapter": True}, "mood": {"use": "classify"}}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ({"use": "auto", "text": TEXT, "choices": ["none", "gat"]}, "did you mean 'gate'"),
        ({"use": "auto", "text": TEXT, "choices": ["gate"]}, 'needs "none"'),
        ({"use": "auto", "text": TEXT, "minutes": 0.0}, "must be above 0"),
        ({"use": "concat", "a": {"use": "auto", "text": TEXT}, "b": {"use": "auto", "text": TEXT}}, "one `auto`"),
    ],
)
def test_what_cannot_be_tried_is_told(items, said):
    with pytest.raises(KgrecError, match=said):
        fusing.chosen(resolve({"encoder": {"use": "history", "items": items}}), lambda recipe: recipe, [], None, None, 0)


def test_a_fit_chooses_and_publishes_a_plain_recipe(shop: Path, tmp_path):
    items = {**AUTO["encoder"]["items"], "choices": ["none", "verbalize", "propagate"], "steps": 2}
    retrieval = {"buys": {"use": "exact"}}
    layer = {"encoder": {"use": "history", "items": items}, "retrieval": retrieval, "train": {"steps": 2, "batch": 8}}
    run = fit(resolve(shop / "shop.toml", layer), tmp_path / "run")
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text())["fusions"]
    assert [row["name"] for row in rows] == ["none", "verbalize", "propagate"] and sum(row["chosen"] for row in rows) == 1
    assert "auto" not in (tmp_path / "run" / "recipe.toml").read_text() and run.answer(["ruser0"], k=3)[0]


def test_a_run_of_fusions_within_fusions_serves_what_is_added_at_once(shop: Path, tmp_path):
    """A gadget that only the graph knows to be red: no word of its text is known."""
    around = {"use": "attention", "hops": 2, "text": {"use": "verbalize", "text": TEXT}}
    items = {"use": "gate", "text": around, "entity": {"use": "kge", "width": 8, "epochs": 5}}
    layer = {"encoder": {"use": "history", "items": items}, "retrieval": {"buys": {"use": "exact"}}, "train": {"steps": 2, "batch": 8}}
    run = fit(resolve(shop / "shop.toml", layer), tmp_path / "run")
    (relation,) = [r for r in run.graph.relations if r.name != "buys"]
    entities = {"item": pl.DataFrame({"id": ["new"], "text": ["gizmo"]}), relation.target: pl.DataFrame({"id": ["red"]})}
    run.add(Graph(entities, {relation: pl.DataFrame({"source": [0], "target": [0]}).cast(pl.UInt32)}))
    for opened in (run, open_run(tmp_path / "run")):
        (found,) = opened.similar(["new"], k=8)
        assert {answer.id[0] for answer in found} == {"r"}
        assert "new" in {answer.id for answer in opened.similar(["r0"], k=16)[0]}
