"""Before a run is published it is opened again; on opening, whose parts it needs is compared with whose are there."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_core import Graph
from kgrec_core.errors import KgrecError
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import folder as run_folder
from kgrec_core.run.run import open_run
from kgrec_core.run.stored_graph import fingerprint, ipc

MINE = """
import json
from pathlib import Path
import numpy as np, torch
from kgrec_core import Encoder
from kgrec_core.parts import Popular, Merge

class Forgets(Popular):
    def load(self, folder, graph, task):
        super().load(folder, graph, task)
        self.mask_ = np.roll(self.mask_ & (np.arange(len(self.mask_)) < 4), 8)

class Colour(Encoder):
    "Letters of a text, turned by a number that is kept or not."
    dim = 8
    def __init__(self, *, forget: bool = False, missing: str = ""):
        super().__init__()
        self.forget, self.turned, self.told = forget, 1, []
        if missing:
            open(missing)
    def prepare(self, graph, tasks):
        self.turned = 3
        assert all(r in graph.relations for r in self.needs(graph)), "a relation is gone"
    def needs(self, graph):
        return [r for r in graph.relations if r.name == "colour"] or 1 / 0
    @property
    def reads_knowledge(self):
        return True
    def refresh(self, graph, new=None):
        self.told.append("whole" if new is None else sorted(new))
    def forward(self, nodes):
        texts = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"] if "text" in nodes.graph.columns(nodes.kind) else [None] * len(nodes)
        x = [[(t or "").count(c) for c in "abdeklru"] for t in texts]
        return torch.tensor(x, dtype=torch.float32).reshape(-1, 8).roll(self.turned, 1)
    def save(self, folder):
        (folder / "turned.json").write_text(json.dumps(1 if self.forget else self.turned))
    def load(self, folder):
        self.turned = json.loads((folder / "turned.json").read_text())
"""


@pytest.fixture
def recipe(shop: Path, tmp_path: Path):
    """Layers over the shop with parts of its own, which cost nothing."""
    shutil.copytree(shop, tmp_path / "shop")
    (tmp_path / "shop" / "mine.py").write_text(MINE)
    (tmp_path / "shop" / "cheap.toml").write_text(
        '[encoder]\nuse = "history"\n[encoder.items]\nuse = "mine:Colour"\n[retrieval.buys]\nuse = "merge"\n'
        '[retrieval.buys.semantic]\nuse = "exact"\n[retrieval.buys.popular]\nuse = "popular"\n[train]\nepochs = 0.0\n'
        '[fit]\npublish = "chain"\n'
    )
    return lambda *words: resolve(tmp_path / "shop" / "shop.toml", tmp_path / "shop" / "cheap.toml", words)


def test_the_same_relations_without_knowledge_and_refreshed_after_opening(recipe, tmp_path):
    """A part that demands its relation lives through the comparison without knowledge: there it is empty."""
    run = fit(recipe(), tmp_path / "run")
    assert "without_knowledge" in run.metrics["tasks"]["buys"]["test"]
    assert run.snapshot.model.encoder.items.told == [[]], "refresh(graph, {}) once, after opening"
    tables = run.recipe.tables
    assert tables["encoder"]["use"] == "core/history" and tables["retrieval"]["buys"]["popular"]["use"] == "core/popular"
    assert tables["encoder"]["items"]["use"] == "mine:Colour" and tables["data"]["use"] == "core/tables"
    core = {"distribution": "kgrec-core", "version": "0.1.0"}
    assert run.manifest["parts"]["core/history"] == core and "mine:Colour" not in run.manifest["parts"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["encoder.items.forget=true"], r"encoder 'core/history' \(kgrec-core 0.1.0\) or head .*opened again it gives other vectors"),
        (
            ["retrieval.buys.popular.use={shop}/mine:Forgets"],
            r"retrieval '.*mine:Forgets' \(.*mine.py\): opened again it finds other candidates",
        ),
        (["encoder.items.missing=absent"], r"encoder 'mine:Colour' \(.*mine.py\): \[encoder.items\]: FileNotFoundError: .*'absent'"),
    ],
)
def test_what_save_forgets_is_not_published(recipe, tmp_path, words, told):
    with pytest.raises(KgrecError, match=told) as caught:
        fit(recipe(*(word.format(shop=tmp_path / "shop") for word in words)), tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def changed(folder: Path, **of: str) -> Path:
    """A run whose manifest says that its exact channel is of somebody else."""
    path = folder / run_folder.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["parts"] = {of.pop("use"): of} if of else [1]
    path.write_text(json.dumps(manifest))
    return folder


def test_owners_are_compared_on_opening(recipe, tmp_path, caplog):
    fit(recipe(), tmp_path / "run")
    allow = ["mine:Colour"]
    for use, distribution, told in (
        (
            "gone/loud",
            "loud-plugin",
            r"with gone/loud of loud-plugin 1.4; the plugin 'gone' is not installed; pip install 'loud-plugin==1.4'",
        ),
        ("core/exact", "other-core", r"the plugin 'core' is kgrec-core's here; pip uninstall kgrec-core, pip install 'other-core==1.4'"),
    ):
        with pytest.raises(KgrecError, match=told):
            open_run(changed(tmp_path / "run", use=use, distribution=distribution, version="1.4"), allow)
    with pytest.raises(KgrecError, match="its manifest does not say whose its parts are"):
        open_run(changed(tmp_path / "run"), allow)
    caplog.set_level(logging.WARNING, "kgrec")
    open_run(changed(tmp_path / "run", use="core/exact", distribution="kgrec-core", version="0.0.9"), allow)
    assert "core/exact of kgrec-core 0.0.9, here it is of version 0.1.0" in caplog.text


def test_a_layer_over_a_written_out_recipe_keeps_its_settings():
    below = {"encoder": {"use": "core/tfidf", "width": 8}}
    for use, kept in (("tfidf", True), ("core/tfidf", True), ("good/tfidf", False), ("text", False)):
        assert ("width" in resolve(below, {"encoder": {"use": use}}).tables["encoder"]) == kept
    assert Registry.discover().full("encoder", "tfidf") == "core/tfidf" and np.isfinite(1)


def test_a_fingerprint_is_of_what_a_graph_says_not_of_how_it_lies_in_memory():
    """What threads gather lies in memory in another order each time; data that did not change would not be known again."""
    table = pl.DataFrame({"id": [f"a name that is long enough {i:02}" for i in range(12)]})
    other = pl.DataFrame({"id": table["id"].shuffle(1).unique().sort()})
    assert other.equals(table) and ipc(other.rechunk()) != ipc(table.rechunk())
    assert fingerprint(Graph({"item": other})) == fingerprint(Graph({"item": table})) != fingerprint(Graph({"item": table[:11]}))
