"""A mixture believes its channels as far as they were right, on queries that it learned from and on others."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Relation, Task, candidates
from kgrec_core.interfaces import Hits, Retrieval
from kgrec_core.retrieval.mixture import Mixture
from kgrec_core.testing import check_retrieval

TASK = Task("mood", Relation("news", "has", "mood"))
MOODS = 4


class Says(Retrieval):
    """A channel whose scores were thought out: (news, moods), NaN = nothing."""

    reads, scales = "history", "a test"

    def __init__(self, scores, logits=False):
        self.scores, self.logits = np.asarray(scores, np.float32), logits

    def build(self, graph, task, candidates, encode): ...

    def search(self, queries, vectors, k, allowed=None, exclude=None):
        scores = np.where(np.isnan(self.scores), -np.inf, self.scores)[queries.rows]
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, rows, 1)
        pad = ((0, 0), (0, max(0, k - MOODS)))
        return Hits(np.pad(np.where(np.isneginf(best), -1, rows), pad, constant_values=-1), np.pad(best, pad, constant_values=-np.inf))

    def save(self, folder): ...

    def load(self, folder, graph, task): ...


def guesses(n: int, right: float, seed: int, sharp: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """(n, moods) log probabilities of who is right with this chance, and the truth, the same for every seed."""
    true, draw = np.random.default_rng(0).integers(MOODS, size=n), np.random.default_rng(seed)
    said = np.where(draw.random(n) < right, true, (true + draw.integers(1, MOODS, n)) % MOODS)
    logits = draw.normal(0, 0.3, (n, MOODS))
    logits[np.arange(n), said] += sharp
    return logits, true


def made(channels, n: int, **settings) -> tuple[Mixture, Nodes]:
    graph = Graph(
        {"news": pl.DataFrame({"id": [f"n{i}" for i in range(n)]}), "mood": pl.DataFrame({"id": [f"m{i}" for i in range(MOODS)]})},
        {TASK.relation: pl.DataFrame({"source": [], "target": []}, {"source": pl.UInt32, "target": pl.UInt32})},
    )
    part = Mixture(channels=channels, **settings)
    part.build(graph, TASK, candidates(graph, TASK), None)
    return part, Nodes(graph, "news", np.arange(n), "query")


def fitted(part: Mixture, nodes: Nodes, true, n: int) -> Hits:
    asked = nodes.take(slice(0, n))
    return part.fit(Queries(asked, Ragged.of(np.arange(n), true[:n], n)), None)


def accuracy(hits: Hits, true) -> float:
    return float((hits.rows[:, 0] == true).mean())


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_keeps_what_every_retrieval_promises():
    from kgrec_core.retrieval.exact import Exact
    from kgrec_core.retrieval.logistic import Logistic

    check_retrieval(lambda: Mixture(channels={"a": Exact(device="cpu"), "b": Logistic()}))


def test_logits_are_put_on_the_scale_of_votes():
    logits, votes = [[2.0, 1.0, 0.0, np.nan]], [[0.0, 3.0, 1.0, 0.0]]
    part, nodes = made({"logits": Says(logits, True), "votes": Says(votes)}, 1, weights={"logits": 3.0})
    hits = part.search(nodes, None, MOODS)
    p = 0.75 * np.append(softmax(np.array([[2.0, 1.0, 0.0]]))[0], 0) + 0.25 * np.array([0, 0.75, 0.25, 0])
    np.testing.assert_allclose(1e-9 * np.exp(hits.scores[0, :3]), p[hits.rows[0, :3]], rtol=1e-3)
    assert hits.columns["votes"][0].tolist() == [votes[0][row] for row in hits.rows[0]]


def test_a_channel_without_a_word_for_a_query_leaves_it_to_the_others():
    part, nodes = made({"a": Says([[np.nan] * 4]), "b": Says([[0.0, 1.0, 3.0, 0.0]])}, 1)
    hits = part.search(nodes, None, 2)
    assert hits.rows.tolist() == [[2, 1]] and 1e-9 * np.exp(hits.scores[0, 0]) == pytest.approx(0.75, rel=1e-3)


def test_who_was_right_is_believed_and_equals_help_each_other():
    good, true = guesses(600, 0.95, 1)
    poor, other = guesses(600, 0.3, 2)[0], guesses(600, 0.7, 3)[0]
    part, nodes = made({"good": Says(good, True), "poor": Says(poor, True)}, 600)
    fitted(part, nodes, true, 200)
    assert part.trust_["good"].weight > 0.8
    later = part.search(nodes.take(slice(200, 600)), None, 1)
    assert accuracy(later, true[200:]) >= (good[200:].argmax(1) == true[200:]).mean() - 0.005
    a, b = guesses(600, 0.7, 4)[0], guesses(600, 0.7, 5)[0]
    part, nodes = made({"a": Says(a, True), "b": Says(b, True), "c": Says(other, True)}, 600)
    fitted(part, nodes, true, 200)
    alone = max((x[200:].argmax(1) == true[200:]).mean() for x in (a, b, other))
    assert accuracy(part.search(nodes.take(slice(200, 600)), None, 1), true[200:]) > alone + 0.04


def test_who_is_too_sure_is_softened():
    """Right four times of five, but sure as of a thousand."""
    sure, true = guesses(400, 0.8, 1, sharp=9.0)
    part, nodes = made({"sure": Says(sure, True)}, 400)
    fitted(part, nodes, true, 200)
    assert part.trust_["sure"].sharper < 0.5
    p = 1e-9 * np.exp(part.search(nodes.take(slice(200, 400)), None, 1).scores[:, 0])
    assert p.mean() == pytest.approx(0.8, abs=0.08)


def test_with_few_queries_the_weights_stay_where_they_began():
    good, true = guesses(100, 0.95, 1)
    poor = guesses(100, 0.5, 2)[0]
    part, nodes = made({"good": Says(good, True), "poor": Says(poor, True)}, 100, weights={"good": 3.0})
    fitted(part, nodes, true, 3)
    assert part.trust_["good"].weight == pytest.approx(0.75, abs=0.05)
    none = Queries(nodes.take(slice(0, 2)), Ragged.empty(2))
    hits = part.fit(none, None)  # replaces what was learned
    assert part.trust_["good"].weight == 0.75 and len(hits.rows) == 2


def test_hits_of_the_queries_it_learned_from_are_out_of_fold():
    """A channel of noise, fitted without a prior on one query, is believed for that query unless it is held out."""
    draw = np.random.default_rng(0)
    noise, true = draw.normal(size=(10, MOODS)), np.arange(10) % MOODS
    noise[0, true[0]] = 9
    channels = {"noise": Says(noise, True), "even": Says(np.ones((10, MOODS)))}
    part, nodes = made(channels, 10, prior=0.0)
    targets = Ragged.of(np.array([0]), true[:1], 10)
    hits = part.fit(Queries(nodes, targets), None)
    assert part.trust_["noise"].weight > 0.99
    assert hits.scores[0, 0] < part.search(nodes.take(slice(0, 1)), None, 1).scores[0, 0] - 0.3


def test_what_was_learned_is_saved_and_checked(tmp_path):
    good, true = guesses(100, 0.9, 1)
    part, nodes = made({"good": Says(good, True), "poor": Says(guesses(100, 0.5, 2)[0], True)}, 100)
    fitted(part, nodes, true, 100)
    part.save(tmp_path)
    again = Mixture(channels=part.channels)
    again.load(tmp_path, nodes.graph, TASK)
    assert again.trust_ == part.trust_
    for damaged in ("{", "[]", json.dumps({"good": [1, 1]}), json.dumps({"good": [1, 1], "poor": [float("nan"), 1]}), "[" * 100_000):
        (tmp_path / "mixture.json").write_text(damaged)
        with pytest.raises(KgrecError, match=r"mixture\.json is missing or damaged"):
            Mixture(channels=part.channels).load(tmp_path, nodes.graph, TASK)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"weights": {"goood": 1.0}}, "did you mean 'good'"),
        ({"weights": {"good": 0.0}}, "all are 0"),
    ],
)
def test_mistakes_are_one_line(settings, told):
    part, nodes = made({"good": Says(guesses(5, 0.9, 1)[0], True)}, 5, **settings)
    with pytest.raises(KgrecError, match=told):
        part.search(nodes, None, 1)
