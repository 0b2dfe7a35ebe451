"""The learnt ranker: it learns, keeps what it learnt, and is judged on queries it has not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Relation, Task, candidates
from kgrec_core.retrieval.boosting import Trees
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.lambdarank import Lambdarank
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.popular import Popular


def channels():
    return {"alike": Cooccurrence(), "popular": Popular(days=0), "semantic": Exact(device="cpu")}


def ranker(board, **parameters):
    part = Lambdarank(**({"channels": channels(), "pool": 20, "trees": 20, "smallest": 2, "threads": 1} | parameters))
    part.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    return part


def hits_at_1(hits, board):
    return (hits.rows[:, 0] == board.lacks).mean()


def test_learns_what_is_right_and_unfitted_is_a_merge(board):
    part, vectors = ranker(board), board.encode(board.nodes)
    merge = Merge(channels=channels(), pool=20)
    merge.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    plain, unfitted = (p.search(board.nodes, vectors, 5, exclude=board.history()) for p in (merge, part))
    np.testing.assert_array_equal(unfitted.rows, plain.rows)
    held_out = part.fit(board.queries(), vectors)
    assert hits_at_1(held_out, board) == 1
    assert hits_at_1(part.search(board.nodes, vectors, 5, exclude=board.history()), board) == 1


def test_build_keeps_the_fit_and_a_folder_gives_the_same_hits(board, tmp_path):
    part, vectors = ranker(board), board.encode(board.nodes)
    part.fit(board.queries(), vectors)
    first = part.search(board.nodes, vectors, 6)
    part.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    part.save(tmp_path / "ranker")
    other = Lambdarank(channels=channels(), pool=20, threads=1)
    other.load(tmp_path / "ranker", board.graph, board.task)
    for again in (part, other):
        hits = again.search(board.nodes, vectors, 6)
        np.testing.assert_array_equal(hits.rows, first.rows)
        np.testing.assert_array_equal(hits.scores, first.scores)
        assert set(hits.columns) == {"alike", "popular", "semantic"}
    (tmp_path / "ranker" / "model-0.txt").write_text("tree")
    with pytest.raises(KgrecError, match="fit again"):
        Lambdarank(channels=channels()).load(tmp_path / "ranker", board.graph, board.task)


def test_a_fit_replaces_the_one_before(board):
    vectors, queries = board.encode(board.nodes), board.queries()
    wrong = Queries(queries.nodes, Ragged.of(np.arange(40), (board.lacks + 1) % 20, 40))
    part, once = ranker(board), ranker(board)
    part.fit(wrong, vectors)
    part.fit(queries, vectors)
    once.fit(queries, vectors)
    np.testing.assert_array_equal(part.search(board.nodes, vectors, 6).scores, once.search(board.nodes, vectors, 6).scores)


def test_every_query_is_ranked_by_a_model_that_has_not_seen_it(board, monkeypatch):
    seen, asked = [], []
    part, train, search = ranker(board, folds=4), Lambdarank._train, Lambdarank._placed
    monkeypatch.setattr(part, "_train", lambda examples, names: seen.append(examples[0].counts.copy()) or train(part, examples, names))
    monkeypatch.setattr(part, "_placed", lambda q, *rest: asked.append(q.rows) or search(part, q, *rest))
    hits = part.fit(board.queries(), board.encode(board.nodes))
    assert [len(counts) for counts in seen] == [30, 30, 30, 30, 40]
    assert sorted(np.concatenate(asked)) == list(range(40))
    assert (hits.rows[:, 0] >= 0).all()
    # Mutually exclusive labels: what one half says cannot teach the other, so a random label stays at chance out of fold.
    random = np.random.default_rng(1).integers(0, 20, 40)
    queries = Queries(board.nodes, Ragged.of(np.arange(40), random, 40))
    free = ranker(replace_task(board), folds=2, trees=100)
    held_out = free.fit(queries, board.encode(board.nodes))
    told = free.search(board.nodes, board.encode(board.nodes), 1)
    assert (held_out.rows[:, 0] == random).mean() < 0.3 < 0.6 < (told.rows[:, 0] == random).mean()


def replace_task(board):
    return board._replace(task=board.task._replace(repeats=True))


def test_queries_without_a_right_answer_do_not_teach_but_are_ranked(board):
    queries = board.queries()
    some = Queries(queries.nodes, queries.targets.keep(np.arange(40) % 2 == 0))
    assert (ranker(board).fit(some, board.encode(board.nodes)).rows[:, 0] >= 0).all()
    none = Queries(queries.nodes, Ragged.empty(40))
    assert (ranker(board).fit(none, board.encode(board.nodes)).rows == -1).all()


def test_earlier_windows_are_examples_as_of_then(board):
    part = ranker(board, windows=2, days=3.0)
    stage, queries = part._earlier(1)
    start = int(queries.nodes.before[0])
    relation = board.task.relation
    assert stage.features.graph.relations[relation]["time"].max() < start
    assert set(stage.channels) == {"alike", "popular"}
    assert stage._channel("alike").graph_ is stage.graph is queries.nodes.graph
    table = board.graph.relations[relation].filter(pl.col("time") >= start)
    told = set(zip(queries.nodes.rows[queries.targets.owner].tolist(), queries.targets.rows.tolist(), strict=True))
    assert told == set(table.select("source", "target").unique().iter_rows())
    assert hits_at_1(part.fit(board.queries(), board.encode(board.nodes)), board) == 1


def test_where_nothing_orders_what_was_met_it_rehearses_tenths_of_it(board):
    bare = board.graph.relations[board.task.relation].drop("time")
    graph = Graph(board.graph.entities, {**board.graph.relations, board.task.relation: bare}, board.graph.timeless)
    part = Lambdarank(channels={"popular": Popular(days=0)}, windows=2, trees=2, threads=1)
    part.build(graph, board.task, candidates(graph, board.task), None)
    drawn = []
    for number in (1, 2):
        stage, queries = part._earlier(number)
        left = stage.graph.adjacent(board.task.relation, queries.nodes.rows)
        whole = graph.adjacent(board.task.relation, queries.nodes.rows)
        assert (queries.targets.counts == 1).all() and len(queries.nodes) == 40  # a tenth of nine, but one at least
        assert not queries.targets.among(left).any() and queries.targets.among(whole).all() and len(left.rows) + 40 == len(whole.rows)
        assert queries.nodes.read(board.task.relation).rows.tolist() == left.rows.tolist()
        drawn.append(queries.targets.rows.tolist())
    assert drawn[0] != drawn[1]
    nodes = Nodes(graph, "user", board.nodes.rows, "query")
    assert part.fit(Queries(nodes, board.queries().targets), None).rows.shape[0] == 40


def test_without_a_clock_it_learns_without_windows():
    asks = Relation("question", "answered_by", "answer")
    table = pl.DataFrame({"source": [0, 1], "target": [0, 1]}, schema={"source": pl.UInt32, "target": pl.UInt32})
    ids = pl.DataFrame({"id": ["0", "1"]})
    graph, task = Graph({"question": ids, "answer": ids}, {asks: table}), Task("answer", asks, repeats=True)
    nodes = Nodes(graph, "question", np.arange(2), "query")
    queries = Queries(nodes, Ragged.of(np.arange(2), np.arange(2), 2))
    for windows in (0, 1):
        part = Lambdarank(channels={"popular": Popular()}, windows=windows, trees=2, threads=1)
        part.build(graph, task, candidates(graph, task), None)
        assert part.fit(queries, None).rows.shape == (2, 2)


def test_excluding_the_history_keeps_the_scores_of_the_rest(board):
    part, vectors = ranker(replace_task(board)), board.encode(board.nodes)
    part.fit(board.queries(), vectors)
    whole, rest = (part.search(board.nodes, vectors, 20, exclude=e) for e in (None, board.history()))
    for query in range(len(board.nodes)):
        scores = dict(zip(whole.rows[query].tolist(), whole.scores[query].tolist(), strict=True))
        found = rest.rows[query][rest.rows[query] >= 0].tolist()
        assert len(found) == 20 - 9
        assert [scores[row] for row in found] == rest.scores[query, : len(found)].tolist()


def test_fewer_negatives_still_learn(board):
    part = ranker(board, negatives=5)
    examples, *_ = part._learn_from(part._stage, board.queries(), board.encode(board.nodes))
    assert (examples.counts == 6).all()
    assert examples.y.sum() == 40
    assert hits_at_1(part.fit(board.queries(), board.encode(board.nodes)), board) == 1


def test_of_hardly_a_query_nothing_is_learned_and_that_is_said(board, caplog):
    part = ranker(board)
    merged = part.search(board.nodes, board.encode(board.nodes), 4)
    one = board.queries().take(np.array([0]))
    assert (part.fit(one, board.encode(one.nodes)).rows == -1).all()
    assert "lambdarank learns nothing and ranks as merge does: 1 queries find a right answer" in caplog.text
    np.testing.assert_array_equal(part.search(board.nodes, board.encode(board.nodes), 4).rows, merged.rows)


def test_no_queries(board):
    nodes = replace(board.nodes.take(slice(0)))
    assert ranker(board).search(nodes, board.encode(nodes), 4).rows.shape == (0, 4)


def test_a_query_without_a_history_is_ranked_by_what_it_says(board, monkeypatch):
    """The trees have only seen queries with a history; a text alone is then left to the channels that look at it."""
    part = ranker(board, channels={**channels(), "week": Popular(days=7)})
    part.fit(board.queries(), board.encode(board.nodes))
    kinds = {"user": pl.DataFrame({"id": ["stranger"], "text": ["odd things"]}), "item": pl.DataFrame({"id": []}, schema={"id": pl.String})}
    graph = board.graph.join(Graph(kinds))
    nodes = Nodes(graph, "user", graph.rows("user", ["stranger", "u0"]), "query", before=np.full(2, board.now))
    odd = np.array([[-1.0, 0.0], [1.0, 0.0]], np.float32)  # nearest to what has least of the first dimension: odd items, low rows first
    hits = part.search(nodes, odd, 3)
    assert hits.rows[0, 0] == 1
    known = part.search(board.nodes.take([0]), odd[1:], 3)
    np.testing.assert_array_equal(hits.rows[1], known.rows[0])
    monkeypatch.setattr(Trees, "__call__", None)  # alone, it costs neither trees nor what they look at
    alone = part.search(nodes.take([0]), odd[:1], 3)
    np.testing.assert_array_equal(alone.rows[0], hits.rows[0])
    np.testing.assert_array_equal(alone.scores[0], hits.scores[0])


def test_of_whom_nothing_is_known_gets_what_everybody_buys(board):
    """Neither a text nor a history: whatever vector stands for that, it says nothing."""
    part = ranker(board)
    part.fit(board.queries(), board.encode(board.nodes))
    graph = board.graph.join(Graph({"user": pl.DataFrame({"id": ["stranger"]})}))
    nodes = Nodes(graph, "user", graph.rows("user", ["stranger"]), "query", before=np.full(1, board.now))
    hits = part.search(nodes, np.array([[-1.0, 0.5]], np.float32), 3)
    popular = part.channels["popular"].search(nodes, None, 3)
    np.testing.assert_array_equal(hits.rows, popular.rows)


def test_columns_that_are_left_out_are_not_learned_from(board):
    part = ranker(board, leave_out=["events", "popular: "])
    part.fit(board.queries(), board.encode(board.nodes))
    assert "alike: score" in part.trees_.names and "age" in part.trees_.names
    assert not [name for name in part.trees_.names if name.startswith(("events", "popular: "))]
