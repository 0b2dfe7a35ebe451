"""The data contract against oracles that are too slow to be wrong."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from threading import Barrier

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Relation

BUYS, SAME = Relation("user", "buys", "item"), Relation("item", "like", "item")
USERS, ITEMS = 5, 6

edges = st.lists(
    st.tuples(st.none() | st.integers(0, USERS - 1), st.none() | st.integers(0, ITEMS - 1), st.integers(-3, 4)),
    max_size=40,
)
rows = st.lists(st.integers(-1, USERS - 1), max_size=8)


def frame(found: list[tuple], dated: bool = True) -> pl.DataFrame:
    table = pl.DataFrame(found, schema={"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}, orient="row")
    return table if dated else table.drop("time")


def entities() -> dict[str, pl.DataFrame]:
    return {"user": pl.DataFrame({"id": [f"u{i}" for i in range(USERS)]}), "item": pl.DataFrame({"id": [f"i{i}" for i in range(ITEMS)]})}


def world(found: list[tuple], dated: bool = True) -> Graph:
    return Graph(entities(), {BUYS: frame(found, dated)})


def grown(found: list[tuple], cuts: list[int], dated: bool = True) -> Graph:
    """The same edges, joined piece by piece: many segments."""
    cuts = sorted(min(c, len(found)) for c in cuts)
    graph = world(found[: cuts[0]] if cuts else found, dated)
    for start, end in pairwise([*cuts, len(found)]):
        graph = graph.join(world(found[start:end], dated))
    return graph


def oracle(found: list[tuple], row: int, before: int | None, since: int | None, inverse: bool, dated: bool) -> list[tuple[int, int]]:
    """(other end, edge number), oldest first."""
    key, other = (1, 0) if inverse else (0, 1)
    hits = [
        (e[2] if dated else 0, number, e[other])
        for number, e in enumerate(found)
        if e[0] is not None and e[1] is not None and e[key] == row
        if not dated or ((before is None or e[2] < before) and (since is None or e[2] >= since))
    ]
    return [(other, number) for _, number, other in sorted(hits)]


def lists(ragged: Ragged) -> list[list[tuple[int, int]]]:
    pairs = list(zip(ragged.rows.tolist(), ragged.edges.tolist(), strict=True))
    return [pairs[a:b] for a, b in zip(ragged.indptr[:-1], ragged.indptr[1:], strict=True)]


@settings(max_examples=150)
@given(edges, rows, st.data())
def test_adjacent_and_degree_equal_a_scan(found, asked, data):
    dated, inverse = data.draw(st.booleans()), data.draw(st.booleans())
    cuts = data.draw(st.lists(st.integers(0, 40), max_size=4))
    before = data.draw(st.none() | st.integers(-4, 6) | st.lists(st.integers(-4, 6), min_size=len(asked), max_size=len(asked)))
    since = data.draw(st.none() | st.integers(-4, 6))
    last = data.draw(st.none() | st.integers(0, 3))
    graph = grown(found, cuts, dated)
    each = before if isinstance(before, list) else [before] * len(asked)
    right = [oracle(found, r, b, None, inverse, dated) for r, b in zip(asked, each, strict=True)]
    right = right if last is None else [r[len(r) - min(last, len(r)) :] for r in right]
    ragged = graph.adjacent(BUYS, asked, before, inverse, last)
    assert lists(ragged) == right
    assert ragged.indptr.dtype == ragged.rows.dtype == ragged.edges.dtype == np.int64
    counted = graph.degree(BUYS, asked, before, since, inverse)
    assert counted.tolist() == [len(oracle(found, r, b, since, inverse, dated)) for r, b in zip(asked, each, strict=True)]


@settings(max_examples=80)
@given(
    edges,
    st.lists(st.integers(-4, 6), min_size=USERS, max_size=USERS),
    st.lists(st.sets(st.integers(0, ITEMS - 1)), min_size=USERS, max_size=USERS),
    st.data(),
)
def test_read_is_leak_proof_and_gives_all_the_rest(found, before, hidden, data):
    last = data.draw(st.none() | st.integers(0, 3))
    dated = data.draw(st.booleans())
    owner = np.repeat(np.arange(USERS), [len(h) for h in hidden]).astype(np.int64)
    hide = {BUYS: Ragged.of(owner, np.array([i for h in hidden for i in sorted(h)], np.int64), USERS)}
    nodes = Nodes(world(found, dated), "user", np.arange(USERS), "query", np.array(before), hide)
    order = np.array(data.draw(st.lists(st.integers(0, USERS - 1), max_size=7)), np.int64)
    read = lists(nodes.take(order).read(BUYS, last))
    for row, got in zip(order.tolist(), read, strict=True):
        right = [p for p in oracle(found, row, before[row], None, False, dated) if p[0] not in hidden[row]]
        assert got == (right if last is None else right[len(right) - min(last, len(right)) :])
        assert all(target not in hidden[row] and (not dated or found[edge][2] < before[row]) for target, edge in got)


def test_hidden_targets_do_not_use_up_the_last_n():
    hide = {BUYS: Ragged.of(np.array([0, 0]), np.array([3, 4]), 1)}
    nodes = Nodes(world([(0, i, i - 3) for i in range(5)]), "user", np.array([0]), "query", None, hide)
    assert nodes.read(BUYS, last=2).rows.tolist() == [1, 2]


def test_read_turns_with_the_side_where_both_ends_are_one_kind():
    graph = Graph({"item": entities()["item"]}, {SAME: frame([(0, 1, 0), (0, 2, 1), (3, 0, 2)])})
    follower = Nodes(graph, "item", np.array([0]), "query")
    assert follower.read(SAME).rows.tolist() == [1, 2]
    assert Nodes(graph, "item", np.array([0]), "candidate").read(SAME).rows.tolist() == [3]
    with pytest.raises(KgrecError, match="does not touch user"):
        Nodes(graph, "user", np.array([0]), "query").read(SAME)


def test_another_process_gets_the_same_graph():
    graph = replace(world([(0, 1, 2), (1, 1, -1), (2, None, 3)]).at(3), ordered=frozenset({BUYS}))
    other = pickle.loads(pickle.dumps(graph))
    assert all(other.entities[kind].equals(graph.entities[kind]) for kind in graph.entities) and other.ordered == graph.ordered
    assert other.relations[BUYS].equals(graph.relations[BUYS]) and (other.as_of, other.timeless) == (3, graph.timeless)
    np.testing.assert_array_equal(other.adjacent(BUYS, range(USERS)).rows, graph.adjacent(BUYS, range(USERS)).rows)


def test_weights_are_one_where_there_is_none_and_survive_a_join():
    weighted = Graph(entities(), {BUYS: frame([(0, 0, 0)]).with_columns(weight=pl.lit(3.0))})
    assert world([(0, 0, 0), (1, 1, 1)]).values(BUYS, "weight", np.array([1, 0])).tolist() == [1.0, 1.0]
    assert weighted.join(world([(1, 1, 1)])).values(BUYS, "weight", np.array([1, 0])).tolist() == [1.0, 3.0]
    assert world([(1, 1, 1)]).join(weighted).values(BUYS, "weight", np.array([1, 0])).tolist() == [3.0, 1.0]


@settings(max_examples=80)
@given(edges, st.integers(-4, 6), st.lists(st.integers(0, 40), max_size=3))
def test_at_forgets_what_is_later(found, when, cuts):
    known, undated = Relation("item", "brand", "user"), Relation("user", "saw", "item")
    flat = frame([(0, 0, 0)], dated=False)
    whole = grown(found, cuts).join(Graph(entities(), {known: flat, undated: flat}, frozenset({known})))
    early = whole.at(when)
    assert early.as_of == when and set(early.relations) == {BUYS, known}
    for row in range(USERS):
        got = early.adjacent(BUYS, [row])
        right = oracle(found, row, when, None, False, True)
        assert got.rows.tolist() == [target for target, _ in right]
        assert early.values(BUYS, "time", got.edges).tolist() == [found[e][2] for _, e in right]
    assert [early.entities[k]["id"].to_list() for k in early.entities] == [whole.entities[k]["id"].to_list() for k in whole.entities]


def test_alive_follows_the_time_of_the_graph():
    table = pl.DataFrame({"id": ["a", "b", "c", "d"], "since": [None, 10, 20, 5], "until": [None, None, None, 15]})
    graph = Graph({"item": table})
    assert graph.at(12).alive("item").tolist() == [True, True, False, True]
    assert graph.at(21).alive("item").tolist() == [True, True, True, False]
    assert graph.alive("item").tolist() == [True, True, True, False]


ragged_lists = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6)


@given(ragged_lists, st.data())
def test_ragged_is_a_list_of_lists(content, data):
    owner = [(i, value) for i, values in enumerate(content) for value in values]
    shuffled = sorted(owner, key=lambda p: -p[0])  # the order within a list stays
    columns = np.array(shuffled, np.int64).reshape(-1, 2)
    ragged = Ragged.of(columns[:, 0], columns[:, 1], len(content), np.arange(len(columns)))

    def values(r: Ragged) -> list[list[int]]:
        return [[row for row, _ in part] for part in lists(r)]

    assert values(ragged) == content
    assert ragged.counts.tolist() == [len(c) for c in content]
    assert ragged.owner.tolist() == [i for i, _ in owner]
    n = data.draw(st.integers(0, 6))
    assert values(ragged.last(n)) == [c[len(c) - min(n, len(c)) :] for c in content]
    assert values(ragged.keep(ragged.rows % 2 == 0)) == [[v for v in c if v % 2 == 0] for c in content]
    if content:
        index = np.array(data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)), np.int64)
        assert values(ragged.take(index)) == [content[i] for i in index]
    assert values(Ragged.empty(len(content))) == [[] for _ in content]


def test_sixteen_threads_build_one_index():
    rng = np.random.default_rng(0)
    found = list(
        zip(rng.integers(0, USERS, 3000).tolist(), rng.integers(0, ITEMS, 3000).tolist(), rng.integers(-3, 5, 3000).tolist(), strict=True)
    )
    want = (
        lists(world(found).adjacent(BUYS, np.arange(USERS), before=3)),
        lists(world(found).adjacent(BUYS, np.arange(ITEMS), inverse=True)),
    )
    for _ in range(5):
        graph, gate = grown(found, [1000, 1500, 2900]), Barrier(16)

        def ask(number: int, graph=graph, gate=gate) -> bool:
            gate.wait()
            if number % 2:
                return lists(graph.adjacent(BUYS, np.arange(USERS), before=3)) == want[0]
            return lists(graph.adjacent(BUYS, np.arange(ITEMS), inverse=True)) == want[1] and graph.rows("user", ["u3", "x"]).tolist() == [
                3,
                -1,
            ]

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(ask, range(16)))


@pytest.mark.parametrize(
    ("tables", "relations", "message"),
    [
        ({"item": pl.DataFrame({"id": [1]})}, {}, "column 'id' of strings"),
        ({"item": pl.DataFrame({"id": ["a", None]})}, {}, "row 2: the id is null"),
        ({"item": pl.DataFrame({"id": ["a", "b", "a"]})}, {}, "rows 1 and 3"),
        (entities(), {BUYS: frame([(USERS, 0, 0)])}, f"source row {USERS} is not among the {USERS} entities"),
        (entities(), {BUYS: frame([(0, 0, 0)]).cast({"target": pl.Int64})}, "UInt32 column 'target'"),
        (entities(), {BUYS: frame([(0, 0, None)])}, "without nulls"),
        (entities(), {Relation("user", "buys", "itm"): frame([])}, "did you mean 'item'"),
    ],
)
def test_a_broken_table_is_refused_by_name(tables, relations, message):
    with pytest.raises(KgrecError, match=message):
        Graph(tables, relations)


def test_unknown_names_say_what_is_known():
    with pytest.raises(KgrecError, match="no kind of entity is called 'itm'; did you mean 'item'"):
        world([]).rows("itm", ["a"])
    with pytest.raises(KgrecError, match="known: user-buys->item"):
        world([]).adjacent(SAME, [0])
