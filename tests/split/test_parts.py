"""Which part an edge belongs to: by its group, by a column of its own, by the dates of real orders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_core.graph import Dataset, Graph, Relation, Task, candidates
from kgrec_core.split import Split, split
from tests.split.test_views import BUYS, ITEMS, USERS, asked, edges, world

DATA = Path(os.environ.get("KGREC_DATA", Path(__file__).parents[3] / "shared" / "data"))


def test_groups_stay_together_across_tasks_of_different_kinds():
    n, rng = 60, np.random.default_rng(0)
    headline = [f"g{i // 3}" for i in range(n)]
    tells, names = Relation("article", "tells", "mood"), Relation("mention", "tells", "mood")
    entities = {k: pl.DataFrame({"id": [f"{k}{i}" for i in range(n)], "headline": headline}) for k in ("article", "mention")}
    entities["mood"] = pl.DataFrame({"id": ["good", "bad"]})
    rows = [(i, int(rng.integers(2))) for i in range(n)]
    graph = Graph(entities, {r: edges(rows, ("source", "target")) for r in (tells, names)})
    views = split(Dataset(graph, (Task("a", tells), Task("m", names))), Split(by="random", test=0.3, validation=0.3, group="headline"))
    parts: dict[str, set[str]] = {}
    for name, view in views.items():
        for queries in view.queries.values():
            for row in queries.nodes.rows:
                parts.setdefault(headline[row], set()).add(name)
    assert len(parts) == 20 and all(len(where) == 1 for where in parts.values())
    assert {name for where in parts.values() for name in where} == set(views)


@pytest.mark.skipif(not (DATA / "online-retail-2009").is_dir(), reason="the set online-retail-2009 is not in KGREC_DATA")
def test_real_orders_give_the_published_split():
    from kgrec_core.data.mapping import Edges, End, Entity, Goal
    from kgrec_core.data.tables import Tables

    file = DATA / "online-retail-2009" / "online_retail_2009_2010.parquet"
    where = "\"Customer ID\" IS NOT NULL AND Quantity > 0 AND Price > 0 AND StockCode ~ '^[0-9]{5}'"
    ends = {"source": End(kind="user", column="Customer ID"), "target": End(kind="item", column="StockCode")}
    dataset = Tables(
        entities={
            "item": Entity(file=file, id="StockCode", text=("Description",), where=where, duplicates="first"),
            "user": Entity(file=file, id="Customer ID", attributes=("Country",), where=where, duplicates="first"),
        },
        relations={"buys": Edges(file=file, time="InvoiceDate", where=where, **ends)},
        tasks={"buys": Goal(relation="buys", repeats=True)},
    ).load()
    views = split(dataset, Split(by="time", test="2010-11-01", validation="31d", known_only=True))
    test = views["test"].queries["buys"]
    assert len(test.nodes) == 1460 and (test.targets.counts > 0).all()
    assert len(candidates(views["test"].graph, dataset.tasks[0])) == 4006
    assert views["train"].graph.relations[BUYS]["time"].max() < test.nodes.before[0] - 31 * 86_400_000_000


@pytest.mark.parametrize("dated", [True, False])
def test_parts_of_the_edges_themselves(dated):
    """A published split: what its train part says is known to every query, in whatever order of time; validation is drawn from it."""
    draw = np.random.default_rng(0)
    rows = [(u, i, int(t)) for u in range(USERS) for i, t in enumerate(draw.permutation(ITEMS))]
    part = ["test" if i == u % 3 else "train" for u, i, _ in rows]
    data = world(rows, dated=dated)
    table = data.graph.relations[BUYS].with_columns(part=pl.Series(part))
    data = Dataset(data.graph.with_edges({**data.graph.relations, BUYS: table}), data.tasks)
    views = split(data, Split(by="column", validation=0.2))
    whole = {p: {(u, i) for (u, i, _), of in zip(rows, part, strict=True) if of == p} for p in ("train", "test")}
    assert asked(views, data, "test") == whole["test"]
    drawn = asked(views, data, "select") | asked(views, data, "adjust")
    assert drawn and drawn < whole["train"] and asked(views, data, "train") == whole["train"] - drawn
    test = views["test"].queries["buys"]
    read = test.nodes.read(BUYS)
    assert {(test.nodes.rows[o], i) for o, i in zip(read.owner, read.rows, strict=True)} == whole["train"]
    if dated:  # of every source the latest
        times = {(u, i): t for u, i, t in rows}
        last = {u: max((i for v, i in whole["train"] if v == u), key=lambda i: times[u, i]) for u in range(USERS)}
        assert all(last[u] in {i for v, i in drawn if v == u} for u in {u for u, _ in drawn})
