"""Many deltas joined in one go are what they are one after the other: entities, who exists, edges, refusals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation

BUYS, SAME = Relation("user", "buys", "item"), Relation("item", "like", "item")
COLUMNS = {
    "text": st.none() | st.sampled_from(["red", "12", ""]),
    "size": st.sampled_from([1, 2**60, 1.5, 3.0, None, "7", "2.5"]),
    "since": st.none() | st.integers(1, 9),
    "until": st.none() | st.integers(1, 9),
}
FIXED = {"id": pl.String, "text": pl.String, "since": pl.Int64, "until": pl.Int64}


@st.composite
def tables(draw, kind: str) -> pl.DataFrame:
    """Some ids in some columns; of `size` all are of one type, another one in another table."""
    ids = draw(st.lists(st.integers(0, 5), unique=True, min_size=1, max_size=4))
    found = {"id": [f"{kind}{i}" for i in ids]}
    for column in draw(st.lists(st.sampled_from(list(COLUMNS)), unique=True)):
        values = draw(st.lists(COLUMNS[column], min_size=len(ids), max_size=len(ids)))
        kinds = {type(value) for value in values if value is not None}
        found[column] = values if len(kinds) < 2 else [None] * len(ids)
    return pl.DataFrame(found, schema_overrides={c: t for c, t in FIXED.items() if c in found})


@st.composite
def graphs(draw) -> Graph:
    kinds = {kind: draw(tables(kind)) for kind in draw(st.sampled_from([("user", "item"), ("item",), ("item", "user"), ("user",)]))}
    relations = {}
    for relation in (BUYS, SAME):
        if relation.source in kinds and relation.target in kinds and draw(st.booleans()):
            ends = (st.none() | st.integers(0, len(kinds[kind]) - 1) for kind in (relation.source, relation.target))
            found = draw(st.lists(st.tuples(*ends, st.integers(0, 5), st.sampled_from([0.5, 2.0])), max_size=4))
            schema = {"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64, "weight": pl.Float64}
            table = pl.DataFrame(found, schema=schema, orient="row")
            table = table.drop("weight") if draw(st.booleans()) else table
            relations[relation] = table.drop("time") if draw(st.integers(0, 9)) == 0 else table
    return Graph(kinds, relations, frozenset(relations) if draw(st.booleans()) else frozenset(), present=draw(st.integers(0, 9)))


def one_by_one(first: Graph, deltas: list[Graph]) -> Graph:
    for delta in deltas:
        first = first.join(delta)
    return first


@settings(max_examples=150)
@given(graphs(), st.lists(graphs(), max_size=6), st.booleans())
def test_in_one_go_and_one_after_the_other_are_the_same(first, deltas, asked_before):
    if asked_before:  # who exists is known, and is to be carried on
        for kind in first.entities:
            first.entities.kinds[kind].alive(4)
    try:
        want = one_by_one(first, deltas)
    except KgrecError:
        with pytest.raises(KgrecError):
            first.join(*deltas)
        return
    got = first.join(*deltas)
    assert got.entities.keys() == want.entities.keys() and got.relations.keys() == want.relations.keys()
    assert (got.timeless, got.present) == (want.timeless, want.present)
    for kind, table in want.entities.items():
        assert got.entities[kind].equals(table) and got.entities[kind].schema == table.schema
        assert got.rows(kind, table["id"]).tolist() == list(range(len(table)))
        assert got.gather(kind, np.arange(len(table))[::-1]).equals(table[::-1])
        for now in range(11):
            assert got.entities.kinds[kind].alive(now).tolist() == want.entities.kinds[kind].alive(now).tolist()
    for relation, table in want.relations.items():
        assert got.relations[relation].equals(table) and got.relations[relation].schema == table.schema
        for inverse, kind in ((False, relation.source), (True, relation.target)):
            one, two = (g.adjacent(relation, np.arange(-1, g.size(kind)), 4, inverse, last=2) for g in (got, want))
            assert [part.tolist() for part in one] == [part.tolist() for part in two]


def test_two_thousand_deltas_are_joined_by_columns():
    """One for each would take seconds: the number of tables that are made does not depend on the number of deltas."""
    first = Graph({"item": pl.DataFrame({"id": ["a"], "text": ["A"]})})
    made, real = [], pl.DataFrame.__init__

    def counted(self, *args, **options):
        made.append(1)
        real(self, *args, **options)

    deltas = [Graph({"item": pl.DataFrame({"id": [f"x{n % 1500}"], "text": [str(n)]})}) for n in range(2000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl.DataFrame, "__init__", counted)
        joined = first.join(*deltas)
    assert len(made) < 20
    assert joined.entities["item"].rows()[:2] == [("a", "A"), ("x0", "1500")] and joined.size("item") == 1501
