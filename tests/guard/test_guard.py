"""A part that breaks its promise, or raises whatever it likes, is one line with its kind, name, plugin and version."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Nodes, Queries, Ragged, candidates
from kgrec_core.guard.around import Origin, built, guarded
from kgrec_core.interfaces import Encoder, Filter, Head, Hits, Retrieval
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.retrieval.ease import Ease
from kgrec_core.retrieval.exact import Exact
from kgrec_core.testing import BUYS, checkerboard
from kgrec_core.testing.retrieval import colours

GRAPH, (TASK,) = checkerboard()
ITEMS, USERS = candidates(GRAPH, TASK), Nodes(GRAPH, "user", np.arange(8), "query")
VECTORS = colours(USERS)


def guard(part, kind="retrieval", name="mine"):
    return guarded(part, Origin(kind, name, "retrieval.buys", "mine-plugin 1.2"))


def first(users):
    """(n,) every user's nearest item."""
    return (VECTORS @ colours(ITEMS).T).argmax(1)


class Bad(Exact):
    """Breaks one promise of a search. way: by what it is asked."""

    fault = ""

    def search(self, queries, vectors, k, allowed=None, exclude=None):
        hits = super().search(
            queries, vectors, k, *((None, None) if self.fault == "allowed" else (allowed, None if self.fault == "exclude" else exclude))
        )
        rows, scores = hits.rows.copy(), hits.scores.copy()
        if self.fault == "twice":
            rows[:, 1] = rows[:, 0]
        if self.fault == "beyond":
            rows[0, 0] = 99
        if self.fault == "nan":
            scores[0, 0] = np.nan
        if self.fault == "none":
            rows[0, -1] = -1
        if self.fault == "order":
            rows, scores = rows[:, ::-1], scores[:, ::-1]
        if self.fault == "double":
            scores = scores.astype(float)
        if self.fault == "short":
            rows, scores = rows[:, 1:], scores[:, 1:]
        if self.fault == "tuple":
            return rows, scores
        columns = {"own": scores[:, :1]} if self.fault == "column" else {}
        if self.fault == "raises":
            return {}["what"]
        if self.fault == "panics":
            raise BaseException("called unwrap on None")
        return Hits(rows, scores, columns)

    def score(self, queries, vectors, pairs):
        told = super().score(queries, vectors, pairs)
        return told[1:] if self.fault == "score" else told


@pytest.mark.parametrize("way", ["search", "ask"])
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("allowed", "a candidate is returned that is not allowed"),
        ("exclude", "an excluded candidate is returned"),
        ("twice", "a candidate is returned twice"),
        ("beyond", " to 99 of 12"),
        ("nan", "hits must stand best first, and no score is NaN"),
        ("none", "where there is no row (-1) the score is -inf"),
        ("order", "hits must stand best first"),
        ("double", "int64, float64 instead of int64, float32"),
        ("short", "((8, 3), (8, 3)) instead of (8, 4)"),
        ("column", "((8, 4), (8, 4), (8, 1)) instead of (8, 4)"),
        ("tuple", "tuple instead of Hits"),
        ("raises", "KeyError: 'what' (test_guard.py line "),
        ("panics", "BaseException: called unwrap on None (test_guard.py line "),
    ],
)
def test_what_a_search_gives(fault, told, way):
    part = guard(type("Part", (Bad,), {"fault": fault})(device="cpu"))
    part.build(GRAPH, TASK, ITEMS, colours)
    how = {"allowed": Filter(np.arange(12) > 1), "exclude": Ragged.of(np.arange(8), first(USERS), 8)}
    with pytest.raises(KgrecError) as caught:
        part.search(USERS, VECTORS, 4, **how) if way == "search" else part.ask(USERS, VECTORS).search(4, **how)
    assert str(caught.value).startswith("retrieval 'mine' (mine-plugin 1.2): search: ") and told in str(caught.value)


def test_what_a_scoring_gives():
    part = guard(type("Part", (Bad,), {"fault": "score"})(device="cpu"))
    part.build(GRAPH, TASK, ITEMS, colours)
    with pytest.raises(KgrecError, match=r"mine-plugin 1.2\): score: scores of 8 pairs are \(7,\) float32 instead of \(8,\)"):
        part.score(USERS, VECTORS, Ragged.of(np.arange(8), np.arange(8), 8))


def test_a_guarded_part_is_what_it_was():
    part, plain = guard(Ease(), name="ease"), Ease()
    assert isinstance(part, Ease) and type(part).__name__ == "Ease" and list(part.inside()) == [part]
    known = len(GRAPH.memo)
    plain.build(GRAPH, TASK, ITEMS, colours)
    part.build(GRAPH, TASK, ITEMS, colours)
    assert len(GRAPH.memo) == known + 1, "built once, with and without a guard"
    same = [found.search(USERS, None, 5) for found in (plain, part)]
    assert (same[0].rows == same[1].rows).all()
    assert part.extended(GRAPH, ITEMS.take(slice(0, 0)), colours).search(USERS, None, 3).rows.shape == (8, 3)
    assert not hasattr(Ease, "origin_"), "the class itself is left alone"


class Around(Retrieval):
    """A re-ranker of somebody who did not derive from ours."""

    scales, passes, says = "as what is in it", True, True

    def __init__(self, *, below: Retrieval) -> None:
        self.below = below

    @property
    def learns(self):
        return self.says

    def build(self, graph, task, candidates, encode):
        self.below.build(graph, task, candidates, encode)

    def fit(self, queries, vectors):
        if self.passes:
            return self.below.fit(queries, vectors)
        return self.below.search(queries.nodes, vectors, 3)

    def search(self, queries, vectors, k, allowed=None, exclude=None):
        return self.below.search(queries, vectors, k, allowed, exclude)


class Learner(Exact):
    learns = True

    def fit(self, queries, vectors):
        return self.search(queries.nodes, vectors, 3)


def around(**attributes):
    part = guard(type("Part", (Around,), attributes)(below=guard(Learner(device="cpu"), name="inner")), name="outer")
    part.build(GRAPH, TASK, ITEMS, colours)
    return part


def test_fit_reaches_what_is_inside_a_re_ranker():
    queries = Queries(USERS, GRAPH.adjacent(BUYS, USERS.rows).last(1))
    part = around()
    assert [type(p).__name__ for p in part.inside()] == ["Part", "Learner"]
    assert part.fit(queries, VECTORS).rows.shape == (8, 3)
    with pytest.raises(KgrecError, match=r"^retrieval 'outer' .*: fit does not pass on to retrieval 'inner' \(mine-plugin 1.2\)"):
        around(passes=False).fit(queries, VECTORS)
    with pytest.raises(KgrecError, match=r"^retrieval 'outer' .*: retrieval 'inner' .* in it has to be fitted; a re-ranker around it says"):
        around(says=False)


class Vectors(Encoder):
    def __init__(self, fault=""):
        super().__init__()
        self.fault, self.dim = fault, 4

    def prepare(self, graph, tasks):
        self.dim = None if self.fault == "dim" else 4

    def forward(self, nodes):
        x = torch.from_numpy(colours(nodes))
        made = {"wide": x[:, :3], "double": x.double(), "nan": x / 0, "array": x.numpy(), "few": x[1:]}
        return made.get(self.fault, x)

    def load(self, folder):
        return {}["weights"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("wide", "forward: (8, 3) for 8 nodes and dim 4"),
        ("double", "forward: vectors must be finite float32, these are torch.float64"),
        ("nan", "forward: vectors must be finite float32, these hold NaN or infinity"),
        ("array", "forward: (8, 4) for 8 nodes and dim 4"),
        ("few", "forward: (7, 4) for 8 nodes"),
        ("dim", "prepare: `dim` must be the width of the vectors now, it is None"),
    ],
)
def test_what_an_encoder_gives(fault, told):
    encoder = guard(Vectors(fault), "encoder")
    with pytest.raises(KgrecError) as caught, torch.no_grad():
        encoder.prepare(GRAPH, (TASK,))
        encoder(USERS)
    assert str(caught.value).startswith(f"encoder 'mine' (mine-plugin 1.2): {told}")


def test_what_a_part_raises_gets_its_name(tmp_path):
    with pytest.raises(KgrecError, match=r"^encoder 'mine' \(mine-plugin 1.2\): load: KeyError: 'weights' \(test_guard.py line \d+\)$"):
        guard(Vectors(), "encoder").load(tmp_path)
    assert guard(Vectors(), "encoder")(USERS).shape == (8, 4)


def test_strict_raises_what_was_raised(tmp_path, monkeypatch):
    monkeypatch.setenv("KGREC_STRICT", "1")
    with pytest.raises(KeyError):
        guard(Vectors(), "encoder").load(tmp_path)


class Wide(Head):
    def project(self, x, nodes):
        return x[:, :, None]

    def loss(self, q, c, batch):
        return q


def test_what_a_head_gives():
    head = guard(Wide(), "head")
    with pytest.raises(KgrecError, match=r"head 'mine' \(mine-plugin 1.2\): project: \(8, 4, 1\) for 8 nodes"):
        head.project(torch.ones(8, 4), USERS)
    with pytest.raises(KgrecError, match="loss: the loss must be a finite scalar, not Tensor"):
        head.loss(torch.ones(2, 2), None, None)


@dataclass(frozen=True, slots=True)
class Source:
    fault: str

    def load(self):
        tasks = {"none": (), "twice": (TASK, TASK), "absent": (TASK._replace(relation=BUYS._replace(name="sells")),)}
        return checkerboard().graph if self.fault == "graph" else Dataset(GRAPH, tasks[self.fault])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("none", "a dataset needs a task"),
        ("twice", "two tasks have the same name"),
        ("absent", "task buys: the graph has no relation"),
        ("graph", "Graph instead of Dataset"),
    ],
)
def test_what_a_data_part_gives(fault, told):
    with pytest.raises(KgrecError, match=rf"data 'mine' \(mine-plugin 1.2\): load: {told}"):
        guard(Source(fault), "data").load()


def test_a_constructor_that_raises():
    with pytest.raises(KgrecError, match=r"^data 'mine' \(x 1\): \[data\]: FileNotFoundError: .*absent"):
        built(lambda: open("absent"), {}, Origin("data", "mine", "data", "x 1"))  # noqa: SIM115
    with pytest.raises(KgrecError, match="its factory gives a int, no Encoder"):
        built(lambda: 1, {}, Origin("encoder", "mine"))
    with pytest.raises(KgrecError, match="its factory gives a int, no object of a class of its own"):
        built(lambda: 1, {}, Origin("data", "mine"))


def test_every_part_of_a_recipe_is_guarded(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from kgrec_core.parts import Exact\n"
        "class Mine(Exact):\n"
        "    def search(self, queries, vectors, k, allowed=None, exclude=None):\n"
        "        hits = super().search(queries, vectors, k, allowed, exclude)\n"
        "        return hits._replace(scores=-hits.scores)\n"
    )
    recipe = resolve({"retrieval": {"buys": {"use": "merge", "a": {"use": "popular"}, "b": {"use": f"{tmp_path}/mine:Mine"}}}})
    part = recipe.retrieval(Registry.discover(), "buys")
    assert [inner.origin_.owner for inner in part.inside()][:2] == ["kgrec-core 0.1.0"] * 2
    part.build(GRAPH, TASK, ITEMS, colours)
    with pytest.raises(KgrecError, match=r"mine:Mine' \(.*mine\.py\): search: hits must stand best first"):
        part.search(USERS, VECTORS, 3)
