"""Earlier rounds inside a split: nothing in them is held out by the split around them, or known to those who are asked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Relation, Task
from kgrec_core.split import Split, split
from kgrec_core.split.inside import inside

BUYS, USERS, ITEMS = Relation("user", "buys", "item"), 6, 5
TASK = Task("buys", BUYS)
EDGES = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.integers(0, 40)), min_size=12, max_size=40)
WAYS = [
    Split(by="time", validation="1970-01-01 00:00:00.000024", test="1970-01-01 00:00:00.000032"),
    Split(by="last"),
    Split(by="random", test=0.3, validation=0.3),
    Split(by="targets", test=0.3, validation=0.3),
    Split(by="column", column="part"),
]


def shop(rows: list[tuple[int, int, int]], dated: bool = True) -> Dataset:
    """`weight` numbers the edges; users 4 and 5 are validation and test of a split by column."""
    source, target, time = zip(*rows, strict=True)
    columns = {"source": pl.Series(source, dtype=pl.UInt32), "target": pl.Series(target, dtype=pl.UInt32)}
    columns |= {"time": pl.Series(time, dtype=pl.Int64)} if dated else {}
    part = ["train"] * 4 + ["validation", "test"]
    entities = {
        "user": pl.DataFrame({"id": [f"u{u}" for u in range(USERS)], "part": part}),
        "item": pl.DataFrame({"id": [f"i{i}" for i in range(ITEMS)]}),
    }
    table = pl.DataFrame(columns).with_columns(weight=pl.Series(range(len(rows)), dtype=pl.Float64))
    return Dataset(Graph(entities, {BUYS: table}), (TASK,))


def numbers(graph: Graph) -> set[int]:
    return set(graph.relations[BUYS]["weight"].cast(pl.Int64).to_list())


@pytest.mark.parametrize("how", WAYS, ids=lambda how: how.by)
@settings(max_examples=25)
@given(rows=EDGES, dated=st.booleans())
def test_what_is_asked_is_a_training_edge_that_the_round_does_not_know(how, rows, dated):
    data = shop(rows, dated or how.by == "time")
    try:
        views = split(data, how)
    except KgrecError:  # some part of these few edges is empty
        return
    train = numbers(views["train"].graph)
    for view in inside(views, data.tasks, how):
        nodes, targets = view.queries["buys"]
        known = numbers(view.graph)
        assert known < train
        hidden = {rows[number][:2] for number in train - known}
        assert set(zip(nodes.rows[targets.owner].tolist(), targets.rows.tolist(), strict=True)) <= hidden


def test_rounds_by_time_are_as_long_as_the_validation():
    day = 86_400_000_000
    rows = [(u, (u + d) % ITEMS, d * day) for d in range(40) for u in range(USERS)]
    data, how = shop(rows), Split(by="time", validation="5d", test="5d")
    later, *earlier = inside(split(data, how), data.tasks, how)
    assert later.graph.as_of == 24 * day + 1 and {view.graph.as_of for view in earlier} == {19 * day + 1}
    assert np.all(later.queries["buys"].targets.counts == ITEMS) and len(later.queries["buys"].nodes) == USERS
    assert sum(len(view.queries["buys"].nodes) for view in earlier) == USERS


def test_where_too_little_is_left_there_are_none():
    data, how = shop([(0, i, i) for i in range(4)]), Split(by="last")
    assert inside(split(data, how), data.tasks, how) == []
