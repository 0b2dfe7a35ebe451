"""What reads no vectors is learnt once for the same tables, whoever asks and whatever the encoder; what differs is learnt anew."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, candidates
from kgrec_core.interfaces import Retrieval, settings
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.retrieval.content import Content
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.ease import Ease
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.lexical import Lexical
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.neighbours import Neighbours


@pytest.fixture
def fresh(board):
    """The board's graph without what other tests have had built on it."""
    return Graph(board.graph.entities, board.graph.relations, board.graph.timeless)


@pytest.fixture
def learnt(monkeypatch):
    """How often each class has really learned."""
    counts = Counter()
    for part in (Cooccurrence, Ease, Exact, Neighbours):
        learn = part.learn
        monkeypatch.setattr(part, "learn", lambda self, *how, learn=learn: (counts.update([type(self).__name__]), learn(self, *how)))
    return counts


def build(part, graph, board, rows=None):
    nodes = candidates(graph, board.task)
    part.build(graph, board.task, nodes if rows is None else nodes.take(rows), board.encode)
    return part


def test_once_for_the_same_tables_and_settings(fresh, board, learnt):
    one, two = (build(Ease(l2=7.0), fresh, board) for _ in range(2))
    bare = fresh.with_edges({board.task.relation: fresh.relations[board.task.relation]})  # without the brands
    three = build(Merge(channels={"a": Ease(l2=7.0), "b": Exact(device="cpu")}), bare, board).channels["a"]
    assert learnt == {"Ease": 1, "Exact": 1}
    assert one.weights_ is two.weights_ is three.weights_ and three.graph_ is bare
    assert one.key_ == three.key_ and all(a is b for a, b in zip(one.holds_, three.holds_, strict=True))


def test_anew_for_other_settings_edges_candidates_or_moments(fresh, board, learnt):
    build(Ease(l2=7.0), fresh, board)
    build(Ease(l2=8.0), fresh, board)
    build(Ease(l2=7.0), fresh, board, slice(3, None))
    build(Ease(l2=7.0), fresh.at(board.now), board)
    fewer = fresh.with_edges({board.task.relation: fresh.relations[board.task.relation][:50]})
    build(Ease(l2=7.0), fewer, board)
    assert learnt == {"Ease": 5}


def test_what_reads_vectors_is_always_built(fresh, board, learnt):
    for _ in range(2):
        for part in (Exact(device="cpu"), Neighbours(by="vectors")):
            assert build(part, fresh, board).key_ is None
    assert learnt == {"Exact": 2, "Neighbours": 2}


def test_a_grown_copy_is_no_longer_the_kept_build(fresh, board):
    part = build(Cooccurrence(), fresh, board)
    later = fresh.join(Graph({"item": pl.DataFrame({"id": ["new"]})}))
    grown = part.extended(later, Nodes(later, "item", np.array([20]), "candidate"), board.encode)
    assert part.key_ is not None and grown.key_ is None and grown.holds_ == ()


def test_in_a_whole_fit_no_channel_learns_twice_from_one_graph(shop, cache, tmp_path, monkeypatch):
    """Before, after, without knowledge, the floor and the calibration: whoever asks, with the same settings and tables it is there."""
    counts, alive = Counter(), []
    for part in (Content, Cooccurrence, Ease, Lexical, Neighbours):

        def counted(self, graph, task, candidates, encode, learn=part.learn):
            held = self.holds(graph, task)
            alive.append(held)
            how = settings(self), graph.as_of, tuple(map(id, held)), candidates.rows.tobytes()
            counts.update([(type(self).__name__, *how)])
            learn(self, graph, task, candidates, encode)

        monkeypatch.setattr(part, "learn", counted)
    channels = {"ease": {"use": "ease"}, "ease_recent": {"use": "ease", "half_life": 9.0}, "words": {"use": "lexical"}}
    channels |= {"alike": {"use": "cooccurrence"}, "others": {"use": "neighbours", "by": "history"}, "semantic": {"use": "faiss"}}
    ranker = {
        "use": "lambdarank",
        "windows": 1,
        "days": 9.0,
        "cold": 0.1,
        "trees": 2,
        "smallest": 2,
        "repeat": {"use": "none"},
        "popular": {"use": "none"},
    }
    fit(resolve(shop / "shop.toml", {"retrieval": {"buys": ranker | channels}, "train": {"steps": 1, "validations": 1}}), tmp_path / "run")
    assert {name for name, *_ in counts} == {"Content", "Cooccurrence", "Ease", "Lexical", "Neighbours"}
    twice = {key[:3]: n for key, n in counts.items() if n > 1}
    assert not twice


class Odd(Retrieval):
    reads = "history"

    def __init__(self, *, shape: object = None) -> None:
        self.shape = shape

    def learn(self, graph, task, candidates, encode) -> None:
        self.seen_ = getattr(self, "seen_", 0) + 1


def test_settings_that_cannot_be_compared_are_not_kept(fresh, board):
    part = Odd(shape=np.zeros(3))
    assert build(build(part, fresh, board), fresh, board).seen_ == 2 and part.key_ is None
    part = Odd(shape=[1, {"a": None}])
    assert build(build(part, fresh, board), fresh, board).seen_ == 1 and part.key_ is not None


def test_what_is_learnt_has_a_name_that_says_so(fresh, board):
    class Wrong(Odd):
        def learn(self, graph, task, candidates, encode) -> None:
            self.counts = 1

    with pytest.raises(KgrecError, match=r"Wrong\.learn sets counts"):
        build(Wrong(), fresh, board)


def test_searched_and_scored_on_one_computation(board, monkeypatch):
    part = build(Cooccurrence(), board.graph, board)
    calls = []
    scores = part.scores
    monkeypatch.setattr(part, "scores", lambda *asked: (calls.append(1), scores(*asked))[1], raising=False)
    asked = part.ask(board.nodes, None)
    hits = asked.search(5)
    assert asked.search(3).rows.tolist() == hits.rows[:, :3].tolist()
    merged = build(Merge(channels={"a": part}), replace(board.graph), board)
    calls.clear()
    merged.search(board.nodes, None, 5)
    assert len(calls) == 1
