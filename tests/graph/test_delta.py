"""A graph joined with deltas is the graph that all of it would have been."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph
from tests.graph.test_graph import BUYS, frame, world

names = st.integers(0, 7)

piece = st.tuples(
    st.dictionaries(names, st.none() | st.text("ab", max_size=2), max_size=4),  # users with a text
    st.dictionaries(names, st.integers(0, 9), max_size=4),  # items with a price
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), max_size=6),
    st.booleans(),  # whether the users' table has a text column
)


def build(part: tuple) -> Graph:
    users, items, links, texted = part
    tables = {
        "user": pl.DataFrame({"id": [f"u{u}" for u in users], "text": list(users.values())}, schema={"id": pl.String, "text": pl.String}),
        "item": pl.DataFrame({"id": [f"i{i}" for i in items], "price": list(items.values())}, schema={"id": pl.String, "price": pl.Int64}),
    }
    if not texted:
        tables["user"] = tables["user"].drop("text")
    links = [(s % len(users) if users else None, t % len(items) if items else None, when) for s, t, when in links]
    return Graph(tables, {BUYS: frame(links)})


@settings(max_examples=150)
@given(st.lists(piece, min_size=1, max_size=6))
def test_joined_deltas_equal_a_rebuilt_graph(parts):
    joined = build(parts[0])
    want: dict[str, dict[str, dict]] = {"user": {}, "item": {}}
    triples = []
    for number, part in enumerate(parts):
        delta = build(part)
        if number:
            before = {k: joined.entities[k]["id"].to_list() for k in want}
            old, joined = joined, joined.join(delta)
            for kind, ids in before.items():  # row numbers never change, and the old graph stays as it was
                assert joined.rows(kind, ids).tolist() == list(range(len(ids)))
                assert old.size(kind) == len(ids)
        for kind in want:
            for row in delta.entities[kind].to_dicts():
                want[kind][row["id"]] = {**want[kind].get(row["id"], {}), **row}
        users, items = (delta.entities[k]["id"].to_list() for k in ("user", "item"))
        for source, target, when in delta.relations[BUYS].rows():
            if source is not None and target is not None:
                triples.append((users[source], items[target], when))
    for kind, by_id in want.items():
        table = joined.entities[kind]
        assert table["id"].to_list() == list(by_id)
        assert [{k: v for k, v in row.items() if v is not None} for row in table.to_dicts()] == [
            {k: v for k, v in row.items() if v is not None} for row in by_id.values()
        ]
        some = np.arange(len(table))[::-1]
        assert joined.gather(kind, some).equals(table[some])
    rebuilt = Graph(
        {k: pl.DataFrame(list(v.values()), schema=joined.entities[k].schema) for k, v in want.items()},
        {BUYS: frame([(list(want["user"]).index(s), list(want["item"]).index(t), w) for s, t, w in triples])},
    )
    for inverse, kind, other in ((False, "user", "item"), (True, "item", "user")):
        ids = joined.entities[other]["id"].to_list()
        ask = np.arange(-1, joined.size(kind))
        one, two = (g.adjacent(BUYS, ask, before=4, inverse=inverse, last=3) for g in (joined, rebuilt))
        assert one.indptr.tolist() == two.indptr.tolist()
        assert [ids[r] for r in one.rows] == [ids[r] for r in two.rows]
        stamps = [g.values(BUYS, "time", r.edges).tolist() for g, r in ((joined, one), (rebuilt, two))]
        assert stamps[0] == stamps[1]


def test_join_keeps_what_the_delta_does_not_say_and_replaces_what_it_says():
    graph = Graph({"item": pl.DataFrame({"id": ["a", "b", "c"], "text": ["A", "B", "C"], "price": [1.0, 2.0, 3.0]})})
    graph = graph.join(Graph({"item": pl.DataFrame({"id": ["b"], "price": [9.0]})}))
    graph = graph.join(Graph({"item": pl.DataFrame({"id": ["d", "a"], "text": [None, "AA"], "colour": ["red", "blue"]})}))
    assert graph.entities["item"].rows() == [
        ("a", "AA", 1.0, "blue"),
        ("b", "B", 9.0, None),
        ("c", "C", 3.0, None),
        ("d", None, None, "red"),
    ]
    assert graph.gather("item", [1, 0], "colour", "price").rows() == [(None, 9.0), ("blue", 1.0)]


@pytest.mark.parametrize(
    ("column", "delta", "joined"),
    [
        (["7", "M"], [12.0, 9.5], ["7", "M", "12", "9.5"]),  # a delta whose sizes all happen to be numbers
        (["7", "M"], [12, None], ["7", "M", "12", None]),
        (["7", "M"], ["12", "12.0"], ["7", "M", "12", "12.0"]),
        ([1.5, 2.0], ["12", None], [1.5, 2.0, 12.0, None]),
        ([1, 2], ["12", "13"], [1, 2, 12, 13]),
        ([1, 2], [12.0, 13.0], [1, 2, 12, 13]),
        ([1, 2], [12.5, 13.0], [1.0, 2.0, 12.5, 13.0]),  # never cut to 12
        ([1, 2], ["12.5", "13"], [1.0, 2.0, 12.5, 13.0]),
        (pl.Series([0.5, 1.5], dtype=pl.Float32), [0.25, 2.0], [0.5, 1.5, 0.25, 2.0]),
        ([None, None], ["12", "M"], [None, None, "12", "M"]),
        (["7", "M"], [None, None], ["7", "M", None, None]),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_values_keep_what_they_say_when_a_delta_has_another_type(column, delta, joined, known):
    graph = Graph({"item": pl.DataFrame({"id": ["a", "b"], "size": column})})
    graph = graph.join(Graph({"item": pl.DataFrame({"id": ["a"], "size": column[:1]})}))  # a row that a delta replaced already
    ids = ["b", "c"] if known else ["c", "d"]
    found = graph.join(Graph({"item": pl.DataFrame({"id": ids, "size": delta})}))
    right = [joined[0], *joined[2:]] if known else joined
    assert found.entities["item"]["size"].to_list() == right
    assert found.gather("item", np.arange(len(right)), "size")["size"].to_list() == right
    assert [type(v) for v in found.entities["item"]["size"].to_list()] == [type(v) for v in right]


@pytest.mark.parametrize(
    ("column", "delta", "message"),
    [
        ([1.5, 2.0], ["12", "M"], "entities item: size holds Float64, but the added 'M' is none; correct it"),
        ([True, False], ["yes", "no"], "entities item: size holds Boolean, but the added 'yes' is none"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_named(column, delta, message):
    graph = Graph({"item": pl.DataFrame({"id": ["a", "b"], "size": column})})
    with pytest.raises(KgrecError, match=message):
        graph.join(Graph({"item": pl.DataFrame({"id": ["c", "d"], "size": delta})}))


def test_join_does_not_mix_dated_and_undated_edges():
    with pytest.raises(KgrecError, match="with and without a time"):
        world([(0, 0, 0)]).join(world([(0, 0, 0)], dated=False))
