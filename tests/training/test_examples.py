"""Batches: the same for the same seed and number, no known answer as a negative, and how often a candidate is drawn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.graph import Dataset, Graph, Nodes, Queries, Ragged, Task
from kgrec_core.split import Split, split
from kgrec_core.testing import BUYS
from kgrec_core.training.examples import Examples
from kgrec_core.training.options import Train


def examples(board, size=8, negatives=0, seed=0) -> Examples:
    view = board.views["train"]
    return Examples(view.graph, board.task, board.tasks, view.queries["buys"], Train(batch=size, negatives=negatives, seed=seed))


def test_a_batch_depends_on_seed_and_number_alone(board):
    first, again = examples(board, negatives=3), examples(board, negatives=3)
    for _ in range(3):
        again.step(0)
    for number in (0, 5, 17):
        one, other = first.step(number), again.step(number)
        assert (one.queries.rows == other.queries.rows).all() and (one.candidates.rows == other.candidates.rows).all()
        assert all(torch.equal(a, b) for a, b in zip(one.batch, other.batch, strict=True))
    assert (first.step(0).queries.rows != examples(board, seed=1).step(0).queries.rows).any()


def test_an_epoch_meets_every_pair_once(board):
    e = examples(board, size=6)
    assert len(e) == 48 and e.batches == 8
    for epoch in (0, 1):
        steps = [e.step(epoch * 8 + place) for place in range(8)]
        met = [
            (user, time, item)
            for s in steps
            for user, time, item in zip(s.queries.rows, s.queries.before, s.candidates.rows[s.batch.positive.numpy()], strict=True)
        ]
        assert len(set(met)) == 48


def test_known_and_equal_candidates_are_no_negatives(board):
    step = examples(board, size=20, negatives=12).step(0)
    known = board.views["train"].graph.adjacent(BUYS, step.queries.rows)
    assert (step.candidates.rows == np.arange(12)).all()
    for i in range(20):
        positive = int(step.batch.positive[i])
        expected = np.isin(np.arange(12), known.rows[known.indptr[i] : known.indptr[i + 1]])
        expected[positive] = False
        assert (step.batch.mask[i].numpy() == expected).all() and expected.any()


def test_a_candidate_of_the_same_text_is_no_negative_but_one_without_text_is():
    text = ["chair", "chair", None, None, "", "lamp"]
    entities = {"user": pl.DataFrame({"id": ["u"], "text": ["me"]}), "item": pl.DataFrame({"id": list("abcdef"), "text": text})}
    ends = pl.DataFrame({"source": [0], "target": [0]}, schema={"source": pl.UInt32, "target": pl.UInt32})
    graph, task = Graph(entities, {BUYS: ends}), Task("buys", BUYS)

    def mask(target: int) -> list[bool]:
        targets = Ragged.of(np.array([0]), np.array([target]), 1)
        queries = Queries(Nodes(graph.with_edges({BUYS: ends.head(0)}), "user", np.array([0]), "query"), targets)
        return Examples(queries.nodes.graph, task, (task,), queries, Train(batch=1, negatives=6, seed=0)).step(0).batch.mask[0].tolist()

    assert mask(0) == [False, True, False, False, False, False]
    assert not any(mask(2)) and not any(mask(4))


@pytest.mark.parametrize("negatives", [0, 4])
def test_logq_follows_how_often_a_candidate_is_drawn(board, negatives):
    e = examples(board, size=8, negatives=negatives)
    counts = np.bincount(e.target, minlength=12)
    step = e.step(3)
    expected = np.log(8 * counts[step.candidates.rows] / 48 + negatives / 12)
    np.testing.assert_allclose(step.batch.logq.numpy(), expected, rtol=1e-6)
    assert np.isfinite(step.batch.logq.numpy()).all() and step.batch.logq.dtype == torch.float32


def test_queries_with_nothing_to_read_do_not_train(board):
    graph = board.graph
    blank = {**graph.entities, "user": graph.entities["user"].drop("text")}
    bare = Graph(blank, dict(graph.relations), graph.timeless)
    queries = board.views["train"].queries["buys"]
    nodes = Nodes(bare, "user", queries.nodes.rows, "query", before=queries.nodes.before)
    e = Examples(bare, board.task, board.tasks, Queries(nodes, queries.targets), Train(batch=8, negatives=0, seed=0))
    assert len(e) == 24 and (nodes.take(e.owner).read(BUYS).counts > 0).all()


@pytest.mark.parametrize("hidden", [False, True])
def test_histories_are_looked_through_in_blocks(board, monkeypatch, hidden):
    view = board.views["train"]
    queries = view.queries["buys"]
    if hidden:
        nodes = Nodes(view.graph, "user", queries.nodes.rows, "query", hide={BUYS: queries.targets})
        queries = Queries(nodes, queries.targets)
    options, found, longest = Train(batch=8, negatives=0, repeats=False), [], []
    read = Nodes.read
    monkeypatch.setattr(Nodes, "read", lambda nodes, relation, last=None: longest.append(len(nodes)) or read(nodes, relation, last))
    for edges in (2**20, 4):
        longest.clear()
        monkeypatch.setattr("kgrec_core.training.examples.READ", edges)
        e = Examples(view.graph, board.task, board.tasks, queries, options)
        found.append((e.owner, e.target))
        assert max(longest) == len(queries.nodes) if edges > 4 else max(longest) < len(queries.nodes) / 4
    np.testing.assert_array_equal(found[0], found[1])
    assert len(found[0][0])


def test_with_an_order_within_sources_only_a_candidate_does_not_know_the_batchs_own_edges(board):
    """Row numbers of one source say nothing of another's: all edges before the earliest query of the batch would be arbitrary ones."""
    bare = board.graph.with_edges({BUYS: board.graph.relations[BUYS].drop("time")})
    view = split(Dataset(bare, board.tasks), Split(by="last"))["train"]
    assert BUYS in view.graph.ordered
    step = Examples(view.graph, board.task, board.tasks, view.queries["buys"], Train(batch=9)).step(1)
    read = step.candidates.read(BUYS)
    told = set(zip(read.rows.tolist(), step.candidates.rows[read.owner].tolist(), strict=True))
    own = set(zip(step.queries.rows.tolist(), step.candidates.rows[step.batch.positive.numpy()].tolist(), strict=True))
    edges = view.graph.relations[BUYS]
    known = {(u, i) for u, i in zip(edges["source"].to_list(), edges["target"].to_list(), strict=True) if i in step.candidates.rows}
    assert told == known - own and own <= known
