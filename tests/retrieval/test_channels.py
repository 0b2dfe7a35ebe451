"""Every channel that scores blocks: the known answer, and what all of them promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import DAY, Graph, Nodes, Ragged, Relation, Task, candidates
from kgrec_core.interfaces import Filter
from kgrec_core.retrieval import profile
from kgrec_core.retrieval.als import Als
from kgrec_core.retrieval.content import Content
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.ease import Ease
from kgrec_core.retrieval.neighbours import Neighbours
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.repeat import Repeat

BUYS = Relation("user", "buys", "item")
FINDS = {
    "cooccurrence": lambda: Cooccurrence(),
    "cooccurrence, by time": lambda: Cooccurrence(half_life=5.0),
    "ease": lambda: Ease(l2=1.0),
    "ease, by time": lambda: Ease(l2=1.0, half_life=5.0),
    "als": lambda: Als(width=8),
    "als, by time": lambda: Als(width=8, half_life=5.0),
    "content, relations": lambda: Content(by="relations"),
    "neighbours, history": lambda: Neighbours(by="history", neighbours=10),
    "neighbours, vectors": lambda: Neighbours(by="vectors", neighbours=10),
    "neighbours, vectors, by the nearest": lambda: Neighbours(by="vectors", per="max", neighbours=10),
}
ALL = FINDS | {
    "repeat": lambda: Repeat(half_life=2.0),
    "popular": lambda: Popular(days=0),
    "popular, fading": lambda: Popular(days=15, half_life=2.0),
    "cooccurrence, baskets": lambda: Cooccurrence(per="event"),
    "cooccurrence, next": lambda: Cooccurrence(per="next"),
    "cooccurrence, near": lambda: Cooccurrence(per="near"),
    "cooccurrence, later": lambda: Cooccurrence(per="later"),
}


def built(make, board):
    channel = make()
    channel.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    return channel


@pytest.mark.parametrize("name", FINDS)
def test_finds_the_item_of_its_colour_that_is_lacking(name, board):
    hits = built(FINDS[name], board).search(board.nodes, board.encode(board.nodes), 1, exclude=board.history())
    assert (hits.rows[:, 0] == board.lacks).all()


@pytest.mark.parametrize("name", ALL)
def test_pairs_score_as_hits_do_and_hits_are_sorted(name, board):
    channel, vectors = built(ALL[name], board), board.encode(board.nodes)
    hits = channel.search(board.nodes, vectors, 8)
    owner, column = np.nonzero(hits.rows >= 0)
    scores = channel.score(board.nodes, vectors, Ragged.of(owner, hits.rows[owner, column], len(board.nodes)))
    np.testing.assert_allclose(scores, hits.scores[owner, column], rtol=1e-6)
    assert (hits.scores[:, :-1] >= hits.scores[:, 1:]).all()
    assert np.isneginf(hits.scores[hits.rows < 0]).all()


@pytest.mark.parametrize("name", ALL)
def test_who_has_met_nothing_is_told_so_without_work(name, board, monkeypatch):
    channel = built(ALL[name], board)
    graph = board.graph.join(Graph({"user": pl.DataFrame({"id": ["s1", "s2"]})}))
    nodes = Nodes(graph, "user", graph.rows("user", ["s1", "s2"]), "query", before=np.full(2, board.now))
    vectors, some = board.encode(nodes), Ragged.of(np.array([0, 1]), np.array([3, 4]), 2)
    assert not channel.silent(board.nodes)
    assert channel.silent(nodes) == (not name.startswith(("popular", "content", "neighbours, vectors")))
    if channel.silent(nodes):
        assert not channel.scores(nodes, vectors).any()
        monkeypatch.setattr(channel, "scores", None)
        assert (channel.search(nodes, vectors, 3).rows == -1).all() and not channel.score(nodes, vectors, some).any()
        mixed = Nodes(graph, "user", graph.rows("user", ["s1", "u0"]), "query", before=np.full(2, board.now))
        assert not channel.silent(mixed)


@pytest.mark.parametrize("name", ALL)
def test_allowed_and_exclude_are_kept(name, board):
    channel, vectors = built(ALL[name], board), board.encode(board.nodes)
    allowed = np.arange(15) % 3 > 0  # shorter than the 20 items: the rest is not allowed
    exclude = board.history().last(2)
    hits = channel.search(board.nodes, vectors, 20, Filter(allowed), exclude)
    rows = hits.rows[hits.rows >= 0]
    assert len(rows) or "baskets" in name
    assert rows.max(initial=0) < 15
    assert allowed[rows].all()
    gone = set(zip(exclude.owner, exclude.rows, strict=True))
    assert not gone & {(q, r) for q, row in enumerate(hits.rows) for r in row}


@pytest.mark.parametrize("name", ALL)
def test_only_candidates_are_found(name, board):
    channel = ALL[name]()
    some = candidates(board.graph, board.task).take(slice(6, None))
    channel.build(board.graph, board.task, some, board.encode)
    assert not np.isin(channel.search(board.nodes, board.encode(board.nodes), 20).rows, np.arange(6)).any()


@pytest.mark.parametrize("name", ALL)
def test_saved_and_loaded_it_finds_the_same(name, board, tmp_path):
    channel, vectors = built(ALL[name], board), board.encode(board.nodes)
    channel.save(tmp_path / "channel")
    other = ALL[name]()
    other.load(tmp_path / "channel", board.graph, board.task)
    ours, theirs = (c.search(board.nodes, vectors, 7) for c in (channel, other))
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.scores, theirs.scores)


@pytest.mark.parametrize("name", ALL)
def test_a_damaged_folder_is_refused(name, board, tmp_path):
    built(ALL[name], board).save(tmp_path)
    file = tmp_path / "channel.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(KgrecError, match="fit again"):
        ALL[name]().load(tmp_path, board.graph, board.task)


@pytest.mark.parametrize("name", ALL)
def test_extended_leaves_the_original_alone(name, board):
    channel, vectors = built(ALL[name], board), board.encode(board.nodes)
    before = channel.search(board.nodes, vectors, 5)
    more = board.graph.join(Graph({"item": pl.DataFrame({"id": ["new"]})}))
    other = channel.extended(more, Nodes(more, "item", np.array([20]), "candidate"), board.encode)
    np.testing.assert_array_equal(other.search(replace(board.nodes, graph=more), vectors, 5).rows, before.rows)
    np.testing.assert_array_equal(channel.search(board.nodes, vectors, 5).rows, before.rows)
    assert len(channel.mask_) == 20
    assert other.mask_[20]


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 19), st.integers(20, 40)), max_size=30))
def test_what_is_later_than_the_query_changes_no_score(name, board, later):
    """Matrices are learnt from the view's graph; histories and windows are cut at the query's `before`."""
    source, target, day = zip(*later, strict=True) if later else ((), (), ())
    table = pl.DataFrame({"source": source, "target": target, "time": [d * DAY for d in day]}, schema=board.graph.relations[BUYS].schema)
    grown = board.graph.with_edges({**board.graph.relations, BUYS: pl.concat([board.graph.relations[BUYS], table])})
    channel, vectors = built(ALL[name], board), board.encode(board.nodes)
    cut = channel.search(board.nodes, vectors, 20)
    if name.startswith(("repeat", "popular")):
        channel.build(grown, board.task, candidates(grown, board.task), board.encode)
    hits = channel.search(replace(board.nodes, graph=grown), vectors, 20)
    np.testing.assert_array_equal(hits.rows, cut.rows)
    np.testing.assert_allclose(hits.scores, cut.scores, rtol=1e-6)


@pytest.mark.parametrize("name", ["popular", "popular, fading"])
def test_what_is_popular_at_a_moment_is_kept_until_another(name, board):
    kept = built(ALL[name], board)
    for before in (board.now, board.now, board.now - 8 * DAY, board.now):
        nodes = replace(board.nodes.take([0]), before=np.full(1, before))
        np.testing.assert_array_equal(kept.scores(nodes, None), built(ALL[name], board).scores(nodes, None))


def small(targets, times=None, users=3):
    """One user's edges, in order; times in days."""
    n = len(targets)
    columns = {"source": np.zeros(n), "target": targets} | ({} if times is None else {"time": [t * DAY for t in times]})
    schema = {"source": pl.UInt32, "target": pl.UInt32} | ({} if times is None else {"time": pl.Int64})
    entities = {"user": pl.DataFrame({"id": [str(i) for i in range(users)]}), "item": pl.DataFrame({"id": [str(i) for i in range(6)]})}
    return Graph(entities, {BUYS: pl.DataFrame(columns).cast(schema)}), Task("buys", BUYS, repeats=True)


def ask(channel, graph, task, before=None, k=3):
    channel.build(graph, task, candidates(graph, task), None)
    when = None if before is None else np.array([before * DAY])
    return channel.search(Nodes(graph, "user", np.array([0]), "query", before=when), None, k)


def test_repeat_weighs_events_by_age_and_counts_a_basket_once():
    hits = ask(Repeat(half_life=10.0), *small([1, 1, 2, 2, 3], [0, 10, 20, 20, 5]), before=20.5)
    half = 0.5 ** (0.5 / 10)
    np.testing.assert_array_equal(hits.rows, [[2, 1, 3]])
    np.testing.assert_allclose(hits.scores, [[half, half * (0.25 + 0.5), half * 0.5**1.5]], rtol=1e-5)


def test_repeat_counts_undated_edges():
    hits = ask(Repeat(), *small([4, 2, 2]))
    np.testing.assert_array_equal(hits.rows, [[2, 4, -1]])
    np.testing.assert_array_equal(hits.scores[0, :2], [2, 1])


def test_repeat_still_finds_what_is_many_half_lives_old():
    assert ask(Repeat(half_life=1.0), *small([4], [0]), before=10_000).rows[0, 0] == 4


def test_popular_counts_its_window_only():
    graph, task = small([1, 1, 1, 2, 2, 3], [0, 1, 2, 8, 9, 12])
    np.testing.assert_array_equal(ask(Popular(days=5), graph, task, before=12).rows, [[2, -1, -1]])
    np.testing.assert_array_equal(ask(Popular(days=0), graph, task, before=12).scores[0, :2], [3, 2])
    np.testing.assert_array_equal(ask(Popular(days=5), graph, task).rows, [[2, 3, -1]])  # no `before`: the graph's present


@settings(max_examples=40, derandomize=True)
@given(seed=st.integers(0, 999), n=st.integers(1, 6), asked=st.sampled_from([1, 3, 40]))
def test_neighbours_follow_the_nearest_and_all_that_are_as_near_as_the_last(seed, n, asked):
    rng = np.random.default_rng(seed)
    distinct = rng.normal(size=(30, 16)).astype(np.float32)
    vectors = distinct[rng.integers(0, 30, 60)]  # many are equal
    users = pl.DataFrame({"id": [f"u{i}" for i in range(60)]})
    edges = pl.DataFrame({"source": range(60), "target": range(60)}, schema={"source": pl.UInt32, "target": pl.UInt32})
    graph = Graph({"user": users, "item": pl.DataFrame({"id": [f"i{i}" for i in range(60)]})}, {BUYS: edges})
    task, nodes = Task("t", BUYS), Nodes(graph, "user", np.arange(60)[:asked], "query")
    channel = Neighbours(neighbours=n)
    channel.build(graph, task, candidates(graph, task), lambda nodes: vectors[nodes.rows])
    cosine = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = (cosine.astype(np.float64)[:asked] @ cosine.T.astype(np.float64)).round(6)
    np.fill_diagonal(cosine, 0)
    least = np.sort(cosine, axis=1)[:, -n, None]
    expected = np.where((cosine >= least) & (cosine > 0), cosine, 0)
    np.testing.assert_allclose(channel.scores(nodes, vectors[:asked]), expected, atol=2e-5)


def test_neighbours_never_follow_the_query_itself():
    graph, task = small([1, 1, 1])
    assert (ask(Neighbours(by="history"), graph, task).rows == -1).all()


def test_without_queries_or_edges_nothing_is_found(board):
    empty = board.graph.with_edges({BUYS: board.graph.relations[BUYS].clear()})
    for name, make in ALL.items():
        channel = make()
        channel.build(empty, board.task, candidates(empty, board.task), board.encode)
        nodes = replace(board.nodes, graph=empty)
        assert (channel.search(nodes, board.encode(nodes), 3).rows == -1).all(), name
        assert channel.search(nodes.take(slice(0)), board.encode(nodes)[:0], 3).rows.shape == (0, 3), name


def test_a_candidate_is_as_near_as_its_nearest_source():
    """Two sources of item 0 are far more alike together than the only one of item 1, which is the nearest of all."""
    edges = pl.DataFrame({"source": [0, 1, 2, 2], "target": [0, 0, 1, 2]}, schema={"source": pl.UInt32, "target": pl.UInt32})
    users = pl.DataFrame({"id": ["u0", "u1", "u2", "asked"]})
    graph = Graph({"user": users, "item": pl.DataFrame({"id": ["i0", "i1", "i2"]})}, {BUYS: edges})
    vectors = np.array([[0.8, 0.6], [0.8, -0.6], [0.9, 0.43589], [2.0, 0.0]], np.float32)
    task, nodes, found = Task("t", BUYS), Nodes(graph, "user", np.array([3]), "query"), {}
    for per in ("sum", "max"):
        channel = Neighbours(per=per, neighbours=3)
        channel.build(graph, task, candidates(graph, task), lambda nodes: vectors[nodes.rows])
        found[per] = channel.scores(nodes, vectors[3:])[0].tolist()
    assert found == {"sum": pytest.approx([1.6, 0.9, 0.9], abs=1e-4), "max": pytest.approx([0.8, 0.9, 0.9], abs=1e-4)}


@pytest.mark.parametrize(("by", "per"), [("vectors", "sum"), ("history", "sum"), ("vectors", "max"), ("history", "max")])
def test_neighbours_follow_what_came_later_as_if_built_anew(board, by, per):
    """A new item, a new user who took it and an old one, and an old user who took the new item too."""
    task, relation = board.task, board.task.relation
    delta = Graph(
        {"user": pl.DataFrame({"id": ["u new", "u0"]}), "item": pl.DataFrame({"id": ["i new", "i2"]})},
        {
            relation: pl.DataFrame(
                {"source": [0, 0, 1], "target": [0, 1, 0], "time": [board.now - 1] * 3},
                schema_overrides={"source": pl.UInt32, "target": pl.UInt32},
            )
        },
    )
    later = board.graph.join(delta)

    def encode(nodes):
        return board.encode(nodes)

    first, anew = Neighbours(by=by, per=per, neighbours=6), Neighbours(by=by, per=per, neighbours=6)
    first.build(board.graph, task, candidates(board.graph, task), encode)
    extended = first.extended(later, Nodes(later, "item", later.rows("item", ["i new", "i2"]), "candidate"), encode)
    anew.build(later, task, candidates(later, task), encode)
    if by == "history":  # how rare a target is stays as it was counted
        anew.rarity_ = extended.rarity_
        met = profile.matrix(later, relation, anew.now_)
        anew.index_ = profile.unit_rows((met[anew.sources_] @ sp.diags(anew.rarity_)).tocsr()).tocsc()
    nodes = replace(board.nodes, graph=later)
    mine, other = (part.search(nodes, encode(nodes), 21) for part in (extended, anew))
    np.testing.assert_allclose(np.sort(mine.scores), np.sort(other.scores), rtol=1e-5)
    assert (mine.rows == later.rows("item", ["i new"])[0]).any()
    assert not (first.search(board.nodes, encode(board.nodes), 21).rows == 20).any()
