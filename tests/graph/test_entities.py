"""Entities that come, change and end: who exists when, at the cost of a delta."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.graph import Graph
from kgrec_core.graph.edges import FEW, grow

IDS = [f"i{n}" for n in range(6)]
dates = st.one_of(st.none(), st.integers(1, 12))
deltas = st.dictionaries(st.sampled_from(IDS), st.tuples(dates, dates), min_size=1)


def item(rows: dict[str, tuple[int | None, int | None]], present: int = 0) -> Graph:
    since, until = ([v[i] for v in rows.values()] for i in (0, 1))
    return Graph(
        {"item": pl.DataFrame({"id": list(rows), "since": since, "until": until}, schema_overrides={"since": pl.Int64, "until": pl.Int64})},
        present=present,
    )


@settings(max_examples=200)
@given(deltas, st.lists(st.tuples(deltas, st.integers(0, 12)), max_size=5), st.data())
def test_who_exists_equals_a_scan(first, later, data):
    graph, known = item(first), dict(first)
    for delta, present in [({}, 0), *later]:
        if delta:
            graph = graph.join(item(delta, present))
            known.update(delta)
        for now in data.draw(st.lists(st.integers(0, 13), max_size=3)):
            expected = [(s is None or s < now) and (u is None or u > now) for s, u in known.values()]
            order = graph.rows("item", known)
            found = graph.entities.kinds["item"].alive(now)
            assert found[order].tolist() == expected
            assert len(found) == len(known)


def test_what_an_edit_ended_stays_ended_when_the_clock_steps_back(monkeypatch):
    import time

    graph = item({"a": (None, None), "b": (None, None)})
    assert graph.alive("item").all()
    hour = int((time.time() + 3600) * 1e6)
    graph = graph.join(item({"b": (None, hour)}, present=hour))  # written by a machine whose clock is an hour ahead
    assert graph.alive("item").tolist() == [True, False]
    monkeypatch.setattr("kgrec_core.graph.graph._clock.time", lambda: 1.0)
    assert graph.alive("item").tolist() == [True, False]


def test_a_mask_is_shared_and_cannot_be_written_to():
    graph = item({"a": (None, None)})
    assert graph.alive("item") is graph.alive("item")
    with pytest.raises(ValueError, match="read-only"):
        graph.alive("item")[0] = False


def test_a_delta_that_only_names_rows_changes_nothing():
    graph = item({"a": (None, 5), "b": (None, None)})
    assert graph.join(Graph({"item": pl.DataFrame({"id": ["b", "a"]})})).entities["item"] is graph.entities["item"]


def test_a_thousand_deltas_leave_few_pieces_and_keep_their_order():
    graph = item({"a": (None, None)})
    for n in range(1000):
        graph = graph.join(item({f"x{n}": (None, None), "a": (n, None)}))
    kind = graph.entities.kinds["item"]
    assert max(len(kind.tables), len(kind.fresh), len(kind.ids)) <= FEW
    assert graph.entities["item"]["id"].to_list() == ["a", *(f"x{n}" for n in range(1000))]
    assert graph.gather("item", np.array([0]), "since").item() == 999
    assert graph.rows("item", ["x998", "a", "y"]).tolist() == [999, 0, -1]
    assert [len(piece) for piece in grow((range(100), range(9)), range(1), lambda a, b: range(len(a) + len(b)))] == [100, 9, 1]
