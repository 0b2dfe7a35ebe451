"""What a ranker rehearses: nothing of a drawn candidate's past is left, nothing else is gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Memo, Ragged, candidates
from kgrec_core.retrieval.boosting import Trees
from kgrec_core.retrieval.content import Content
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.lambdarank import Lambdarank
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.rehearsal import unsold


@given(st.floats(0.05, 0.9), st.integers(0, 5))
@settings(max_examples=20)
def test_a_drawn_candidate_has_no_past_and_the_others_have_all_of_theirs(board, share, seed):
    graph, task = board.graph, board.task
    then = unsold(graph, task, share, seed)
    assert then.relations[task.relation].equals(unsold(graph, task, share, seed).relations[task.relation])
    rows = np.arange(graph.size("item"))
    was, left = (g.degree(task.relation, rows, inverse=True) for g in (graph, then))
    gone = left == 0
    assert gone.sum() == int(share * (was > 0).sum())
    assert (left[~gone] == was[~gone]).all()
    for relation in graph.timeless:
        assert then.relations[relation].equals(graph.relations[relation])
    assert (then.as_of, then.size("user")) == (graph.as_of, graph.size("user"))


def test_a_candidate_that_nobody_chose_yet_is_placed_by_what_it_says(board):
    """Vectors err for every fourth user, behaviour never: a ranker that has only seen chosen candidates goes by behaviour alone."""

    def encode(nodes):
        vectors = board.encode(nodes)
        return np.where((nodes.kind == "user") & (nodes.rows % 8 < 2), vectors[:, ::-1].T, vectors.T).T

    channels = {"alike": Cooccurrence(), "popular": Popular(days=0), "semantic": Exact(device="cpu")}
    task, relation = board.task, board.task.relation
    bought = board.graph.relations
    later = board.graph.with_edges({r: t if r != relation else t.filter(pl.col("target") != 4) for r, t in bought.items()})
    places = {}
    for cold in (0.0, 0.3):
        part = Lambdarank(channels=channels, pool=20, trees=30, smallest=2, columns=1.0, threads=1, cold=cold)
        part.build(board.graph, task, candidates(board.graph, task), encode)
        part.fit(board.queries(), encode(board.nodes))
        part.build(later, task, candidates(later, task), encode)
        asked = board.queries().on(later).nodes.take(np.flatnonzero((np.arange(40) % 2 == 0) & (np.arange(40) % 8 > 1)))
        places[cold] = np.argmax(part.search(asked, encode(asked), 20).rows == 4, axis=1).mean()
    assert places[0.3] <= 9
    assert places[0.0] > places[0.3] + 2


def test_what_a_query_had_met_is_no_example_of_something_new(board):
    """With repeats: the past of some items is taken; users who had bought one must not teach that an unsold item comes back."""
    task = board.task._replace(repeats=True)
    part = Lambdarank(
        channels={"alike": Cooccurrence(), "semantic": Exact(device="cpu")}, pool=20, trees=2, smallest=1, threads=1, cold=0.3
    )
    part.build(board.graph, task, candidates(board.graph, task), board.encode)
    stage, queries, vectors = part._without(board.queries())
    taken = np.flatnonzero(stage.features.graph.degree(task.relation, np.arange(20), inverse=True) == 0)
    pool = stage.pool(queries.nodes, vectors, 20)[0]
    assert np.isin(pool.rows, taken).any()
    rows, names, _ = part._learn_from(stage, queries, vectors)
    events = rows.x[:, list(names).index("events")]
    owner = np.repeat(np.arange(len(rows.counts)), rows.counts)
    right = np.isin(board.lacks, taken)
    assert (events == 0).sum() <= 40 * len(taken)
    for user in np.flatnonzero(right):
        assert rows.y[(owner == user) & (events == 0)].sum() == 1
    lost = part._lost(stage, queries.nodes)
    assert set(lost.rows.tolist()) <= set(taken.tolist()) and len(lost.rows)
    kept = np.bincount(owner, events == 0, minlength=40)
    everything = np.bincount(pool.owner, np.isin(pool.rows, taken), minlength=40)
    np.testing.assert_array_equal(kept[rows.counts > 0], (everything - lost.counts)[rows.counts > 0])


def test_what_nobody_chose_yet_is_learned_from_in_lists_of_its_own(board):
    """Apart: the same moments again, asked for what was new then alone, and not for what lost its past."""
    graph = replace(board.graph, memo=Memo())
    parts = {
        apart: Lambdarank(
            channels={"popular": Popular(days=0), "content": Content(by="relations")},
            pool=20, trees=2, smallest=1, threads=1, cold=0.3, windows=1, days=3.0, apart=apart,
        )
        for apart in (False, True)
    }  # fmt: skip
    for part in parts.values():
        part.build(graph, board.task, candidates(graph, board.task), board.encode)
    names = parts[True]._learn_from(parts[True]._stage, board.queries().on(graph), board.encode(board.nodes))[1]
    stage, queries = parts[True]._earlier(1)
    table = graph.relations[board.task.relation]
    known = table.filter(pl.col("time") < int(queries.nodes.before[0]))["target"].unique()
    new = np.setdiff1d(np.arange(20), known.to_numpy())
    assert len(new) and (stage.graph.degree(board.task.relation, np.arange(20), inverse=True) == 0).sum() > len(new)
    np.testing.assert_array_equal(np.flatnonzero(parts[True]._unchosen(stage).rows), new)
    plain, doubled = (part._rehearsed(names) for part in parts.values())
    assert (len(plain), len(doubled)) == (1, 2)
    np.testing.assert_array_equal(doubled[0].x, plain[0].x)
    rows, _, pool = parts[True]._learn_from(stage, queries, None, names, within=parts[True]._unchosen(stage))
    np.testing.assert_array_equal(doubled[1].x, rows.x)
    assert (rows.x[:, list(names).index("events")] == 0).all() and set(pool.rows.tolist()) == set(new.tolist())
    wanted = np.isin(queries.targets.rows, new)
    assert rows.y.sum() == wanted.sum() > 0 and set(np.flatnonzero(rows.counts)) == set(queries.targets.owner[wanted])


@pytest.mark.parametrize("apart", [False, True])
def test_a_query_that_is_asked_again_is_in_no_model_that_has_not_seen_it(board, monkeypatch, apart):
    """Out of fold: neither the query nor what was asked of it once more."""
    part = Lambdarank(channels={"alike": Cooccurrence()}, pool=20, trees=2, smallest=1, threads=1, cold=0.3, folds=4, apart=apart)
    part.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    seen = []
    monkeypatch.setattr(part, "_train", lambda examples, names: seen.append([(of.counts > 0).sum() for of in examples]) or Trees())
    part.fit(board.queries(), board.encode(board.nodes))
    *folds, whole = np.array(seen)
    assert len(folds) == 4 and (np.array(folds) <= whole).all() and (sum(folds) == 3 * whole).all(), "each query is left out once"


def test_a_chain_that_knows_something_else_rehearses_by_what_it_knows(board):
    """What the windows' channels say is shared by the chains that are compared; what the graph says is each one's own."""
    graph, brand = board.graph, next(iter(board.graph.timeless))
    edges = graph.relations[brand]
    without = graph.with_edges({**graph.relations, brand: edges.clear()})
    other = graph.with_edges({**graph.relations, brand: edges.with_columns(target=edges["source"] // 10)})
    found, names = {}, []
    for name, known in {"full": graph, "without": without, "other": other, "again": graph}.items():
        part = Lambdarank(channels={"popular": Popular(days=0)}, windows=2, days=3.0, pool=20, trees=2, smallest=1, threads=1)
        part.build(known, board.task, candidates(known, board.task), None)
        names = names or part._learn_from(part._stage, board.queries(), None)[1]
        found[name] = np.concatenate([rows.x[:, names.index("near by brand")] for rows in part._rehearsed(names)])
    alone = Lambdarank(channels={"popular": Popular(days=0)}, windows=2, days=3.0, pool=20, trees=2, smallest=1, threads=1)
    fresh = replace(other, memo=Memo())
    alone.build(fresh, board.task, candidates(fresh, board.task), None)
    expected = np.concatenate([rows.x[:, names.index("near by brand")] for rows in alone._rehearsed(names)])
    assert found["full"].any() and not found["without"].any() and (found["other"] != found["full"]).any()
    np.testing.assert_array_equal(found["other"], expected)
    np.testing.assert_array_equal(found["again"], found["full"])


def test_what_nobody_chose_yet_is_ordered_by_what_it_says_in_the_places_that_trees_give_it(board):
    task, relation = board.task, board.task.relation
    channels = {"alike": Cooccurrence(), "popular": Popular(days=0), "semantic": Exact(device="cpu")}
    more = {"vectors": Exact(device="cpu"), "graph": Content(by="relations")}
    gone = [4, 5, 10, 11, 16]
    later = board.graph.with_edges(
        {r: t if r != relation else t.filter(~pl.col("target").is_in(gone)) for r, t in board.graph.relations.items()}
    )
    asked, found, parts = board.queries().on(later).nodes, {}, {}
    for name, unchosen in {"trees": {}, "words": {"vectors": 1.0, "graph": 0.3}}.items():
        part = Lambdarank(
            channels=channels | (more if unchosen else {}), pool=20, trees=20, smallest=2, threads=1, folds=0, cold=0.3, unchosen=unchosen
        )
        part.build(board.graph, task, candidates(board.graph, task), board.encode)
        part.fit(board.queries(), board.encode(board.nodes))
        part.build(later, task, candidates(later, task), board.encode)
        parts[name], found[name] = part, part.search(asked, board.encode(asked), 20, None, asked.read(relation))
    one, other, vectors = found["trees"], found["words"], board.encode(asked)
    new = np.isin(one.rows, gone)
    assert np.array_equal(new, np.isin(other.rows, gone)) and np.array_equal(one.scores, other.scores) and new.sum() == 40 * 5
    assert np.array_equal(one.rows[~new], other.rows[~new]) and (one.rows[new] != other.rows[new]).any()
    pairs, worth = Ragged.of(np.nonzero(new)[0], other.rows[new], 40), np.zeros(200)
    for name, weight in parts["words"].unchosen.items():
        said = np.nan_to_num(parts["words"].channels[name].score(asked, vectors, pairs)).reshape(40, 5)
        worth += (weight * said / np.maximum(said.max(1, keepdims=True), 1e-9)).ravel()
    assert (np.diff(worth.reshape(40, 5)) <= 1e-6).all() and set(other.columns) == set(channels)
    hits, added = parts["words"].explain(asked, vectors, 8, None, asked.read(relation))
    assert np.array_equal(hits.rows, other.rows[:, :8]) and "vectors: place" in added
    np.testing.assert_allclose(sum(added.values())[hits.rows >= 0], hits.scores[hits.rows >= 0], atol=1e-5)
    rows = other.rows[:, [2, 7]]
    pairs = Ragged.of(np.repeat(np.arange(40), 2), rows.ravel(), 40)
    np.testing.assert_allclose(
        parts["words"].again(asked, vectors, pairs, None, asked.read(relation)), other.scores[:, [2, 7]].ravel(), atol=1e-6
    )
    with pytest.raises(KgrecError, match="no channel is called 'semantics'; did you mean 'semantic'"):
        Lambdarank(channels=channels, unchosen={"semantics": 1.0})
