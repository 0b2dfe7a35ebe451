"""What is held out is out of reach of everything that learns: of the graphs, of every query, of the training candidates."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Ragged, Relation, Task
from kgrec_core.split import Split, split
from kgrec_core.training.examples import Examples
from kgrec_core.training.options import Train

BUYS, VIEWS, LIKES, HAS = (
    Relation("user", "buys", "item"),
    Relation("user", "views", "item"),
    Relation("user", "likes", "item"),
    Relation("item", "has", "tag"),
)
USERS, ITEMS = 8, 6
TASK = Task("buys", BUYS, history=(VIEWS,))


def edges(rows: list[tuple], names: tuple[str, ...]) -> pl.DataFrame:
    """`weight` numbers the edges, so that an edge is recognised in whichever view it turns up."""
    types = {"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}
    table = pl.DataFrame(rows, schema={n: types[n] for n in names}, orient="row")
    return table.with_columns(weight=pl.Series(range(len(rows)), dtype=pl.Float64))


def world(buys: list[tuple], views: list[tuple] = (), dated: bool = True) -> Dataset:
    buys = buys if dated else [b[:2] for b in buys]
    part = [("train", "train", "train", "validation", "validation", "test", "test", "train")[u] for u in range(USERS)]
    entities = {
        "user": pl.DataFrame({"id": [f"u{u}" for u in range(USERS)], "part": part, "house": [f"h{u // 2}" for u in range(USERS)]}),
        "item": pl.DataFrame({"id": [f"i{i}" for i in range(ITEMS)], "text": [f"item {i}" for i in range(ITEMS)]}),
        "tag": pl.DataFrame({"id": ["t"]}),
    }
    relations = {
        BUYS: edges(buys, ("source", "target", "time")[: len(buys[0])]),
        VIEWS: edges(list(views) or [(0, 0, 0)], ("source", "target", "time")),
        LIKES: edges([(0, 0), (1, 1)], ("source", "target")),
        HAS: edges([(i, 0) for i in range(ITEMS)], ("source", "target")),
    }
    return Dataset(Graph(entities, relations, frozenset({HAS})), (TASK,))


WAYS = {
    "time": Split(by="time", validation="1970-01-01 00:00:00.000008", test="1970-01-01 00:00:00.000014"),
    "cold": Split(by="time", validation="1970-01-01 00:00:00.000008", test="1970-01-01 00:00:00.000014", cold=0.3),
    "last": Split(by="last"),
    "random": Split(by="random", test=0.3, validation=0.3),
    "house": Split(by="random", test=0.3, validation=0.4, group="house"),
    "targets": Split(by="targets", test=0.3, validation=0.3),
    "column": Split(by="column", column="part"),
}
DATED = [(way, True) for way in WAYS] + [(way, False) for way in ("last", "random", "house", "targets", "column")]
TIMES = st.integers(0, 20)
BUY = st.tuples(st.integers(0, USERS - 1), st.one_of(st.none(), st.integers(0, ITEMS - 1)), TIMES)
VIEW = st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), TIMES)


def asked(views, dataset, name) -> set[tuple[int, int]]:
    """(source, target) of what a view asks for."""
    queries = views[name].queries["buys"]
    return set(zip(queries.nodes.rows[queries.targets.owner].tolist(), queries.targets.rows.tolist(), strict=True))


def numbers(graph: Graph, relation: Relation = BUYS) -> set[int]:
    return set(graph.relations[relation]["weight"].cast(pl.Int64).to_list())


def expected(dataset: Dataset, how: Split, way: str, draws: dict) -> dict[int, str]:
    """Edge number -> part, by a plain loop. What a seed drew is taken from the views (`draws`) and checked elsewhere."""
    rows = dataset.graph.relations[BUYS].to_dicts()
    parts = {}
    if way == "last":
        for user in {r["source"] for r in rows}:
            mine = sorted((r.get("time", 0), n) for n, r in enumerate(rows) if r["source"] == user)
            parts |= {n: "train" for _, n in mine}
            if len(mine) >= 3:
                parts[mine[-1][1]], parts[mine[-2][1]] = "test", "validation"
    for n, r in enumerate(rows):
        if way in ("time", "cold"):
            parts[n] = "train" if r["time"] < 8 else "validation" if r["time"] < 14 else "test"
        elif way == "column":
            parts[n] = dataset.graph.entities["user"]["part"][r["source"]]
        elif way in ("random", "house", "targets"):
            parts[n] = draws[n]
    if way == "column" and "validation" not in parts.values():  # it is drawn from the training edges
        parts |= {n: draws[n] for n in parts if parts[n] == "train"}
    return parts


@pytest.mark.parametrize(("way", "dated"), DATED)
@given(st.lists(BUY, min_size=20, max_size=40), st.lists(VIEW, min_size=1, max_size=12), st.integers(0, 3))
@settings(max_examples=25)
def test_no_held_out_edge_is_within_reach(way, dated, buys, seen, seed):
    how = Split(**{**WAYS[way].__dict__, "seed": seed})
    dataset = world(buys, seen, dated)
    try:
        views = split(dataset, how)
    except KgrecError as error:
        assume("is empty" not in str(error))
        raise
    whole = dataset.graph.relations[BUYS].to_dicts()
    learning, testing = numbers(views["train"].graph), numbers(views["test"].graph)
    held_by_seed = {n: "train" if n in learning else "validation" if n in testing else "test" for n in range(len(whole))}
    parts = expected(dataset, how, way, held_by_seed)
    of = {p: {n for n in parts if parts[n] == p} for p in ("train", "validation", "test")}

    # the graphs: nothing of a later part, and all of an earlier one (but for what is cold)
    cold = {whole[n]["target"] for n in parts if n not in testing and parts[n] != "test"}
    assert learning <= of["train"] and testing <= of["train"] | of["validation"]
    assert all(whole[n]["target"] in cold for n in (of["train"] - learning) | (of["validation"] - testing))
    assert not cold or way == "cold"
    assert all(whole[n]["target"] not in cold for n in testing)
    assert views["select"].graph is views["train"].graph is views["adjust"].graph

    # parts: disjoint and complete
    pairs = {p: {(whole[n]["source"], whole[n]["target"]) for n in of[p] if whole[n]["target"] is not None} for p in of}
    if way == "cold":
        pairs = {p: {x for x in pairs[p] if (x[1] in cold) == (p == "test")} for p in pairs} if cold else pairs
    else:
        assert asked(views, dataset, "train") == pairs["train"]
        assert asked(views, dataset, "select") | asked(views, dataset, "adjust") == pairs["validation"]
        assert asked(views, dataset, "test") == pairs["test"]
    halves = [set(views[name].queries["buys"].nodes.rows.tolist()) for name in ("select", "adjust")]
    assert not halves[0] & halves[1]

    # the queries: through the one door, none of what they ask for nor anything later
    for name, part in (("train", "train"), ("select", "validation"), ("adjust", "validation"), ("test", "test")):
        queries = views[name].queries["buys"]
        assert queries.nodes.graph is views[name].graph
        read = queries.nodes.read(BUYS)
        weights = views[name].graph.values(BUYS, "weight", read.edges).astype(int)
        reach = "train" if name != "test" else "test"
        assert set(weights.tolist()) <= (learning if reach == "train" else testing)
        for i in range(len(queries.nodes)):
            mine = weights[read.indptr[i] : read.indptr[i + 1]]
            targets = set(queries.targets.rows[queries.targets.indptr[i] : queries.targets.indptr[i + 1]].tolist())
            if part != "train":
                assert not set(mine.tolist()) & of[part]
            elif queries.nodes.before is None:
                assert not {whole[n]["target"] for n in mine} & targets
    if (train := views["train"].queries["buys"].nodes).before is not None:
        table = views["train"].graph.relations[BUYS]
        baskets = sorted(set(zip(table["source"].to_list(), table["time"].to_list(), strict=True)))
        assert list(zip(train.rows.tolist(), train.before.tolist(), strict=True)) == baskets
        read = train.read(BUYS)
        assert (train.graph.values(BUYS, "time", read.edges) < train.before[read.owner]).all()

    # the training candidates
    examples = Examples(views["train"].graph, TASK, (TASK,), views["train"].queries["buys"], Train(batch=4, negatives=2, seed=seed))
    for number in range(min(3, examples.batches)) if len(examples) else ():
        step = examples.step(number)
        back = step.candidates.read(BUYS)
        read = set(zip(back.rows.tolist(), step.candidates.rows[back.owner].tolist(), back.edges.tolist(), strict=True))
        positive = step.candidates.rows[step.batch.positive.numpy()]
        if not views["train"].graph.clocked(BUYS):
            assert not {(s, t) for s, t, _ in read} & set(zip(step.queries.rows.tolist(), positive.tolist(), strict=True))
        elif read:
            times = views["train"].graph.values(BUYS, "time", back.edges)
            assert times.max() < step.queries.before.min()
        both = step.queries.read(BUYS)
        if step.queries.before is None:
            assert not set(zip(step.queries.rows[both.owner].tolist(), both.rows.tolist(), both.owner.tolist(), strict=True)) & {
                (s, t, i) for i, (s, t) in enumerate(zip(step.queries.rows.tolist(), positive.tolist(), strict=True))
            }

    # auxiliary dated relations: nothing from the cut on
    for name, cut in (("train", 8), ("test", 14)):
        left = views[name].graph.relations[VIEWS]
        if way in ("time", "cold"):
            assert left["time"].max() is None or left["time"].max() < cut
            assert LIKES not in views[name].graph.relations and HAS in views[name].graph.relations
            assert len(left) == sum(v[2] < cut and v[1] not in cold for v in seen) or way == "cold"
        elif way == "last" and dated:
            held = {whole[n]["source"]: whole[n]["time"] for n in of["validation" if name == "train" else "test"]}
            assert all(v["time"] < held.get(v["source"], 99) for v in left.to_dicts())


BASE = [(u, (u + j) % ITEMS, 3 * j + u % 2) for u in range(USERS) for j in range(7)]


def test_equal_times_keep_the_order_of_the_table():
    rows = [(u, i, 5) for i in (3, 1, 4, 0) for u in range(USERS)]
    views = split(world(rows), Split(by="last"))
    assert asked(views, None, "test") == {(u, 0) for u in range(USERS)}
    assert asked(views, None, "select") | asked(views, None, "adjust") == {(u, 4) for u in range(USERS)}
    nodes = views["test"].queries["buys"].nodes
    assert nodes.read(BUYS).rows.tolist() == [3, 1, 4] * USERS


@pytest.mark.parametrize("tasks", [(TASK,), (TASK, Task("views", VIEWS, history=(BUYS,)))], ids=["one task", "two tasks"])
@given(st.lists(BUY, min_size=20, max_size=40), st.lists(VIEW, min_size=20, max_size=40))
@settings(max_examples=40)
def test_nothing_else_of_its_own_moment_reaches_a_query(tasks, buys, seen):
    buys, seen = [(u, i, t // 4) for u, i, t in buys], [(u, i, t // 4) for u, i, t in seen]  # many equal times
    dataset = world(buys, seen)._replace(tasks=tasks)
    try:
        views = split(dataset, Split(by="last"))
    except KgrecError as error:
        assume("is empty" not in str(error))
        raise
    when = {r: dataset.graph.relations[r]["time"].to_list() for r in (BUYS, VIEWS)}

    def given(graph: Graph, relation: Relation, found: Ragged) -> np.ndarray:
        """The times of the edges as the data had them."""
        return np.array(when[relation])[graph.values(relation, "weight", found.edges).astype(int)]

    for task, other in zip(tasks, (VIEWS, BUYS), strict=False):
        for name in ("train", "select", "adjust", "test"):
            graph, queries = views[name].graph, views[name].queries[task.name]
            if name == "train":
                table = (views[name] if len(tasks) == 1 else dataset).graph.relations[task.relation]
                numbered = dict(zip(zip(table["source"], table["time"], strict=True), table["weight"].cast(pl.Int64), strict=True))
                own = np.array([numbered[pair] for pair in zip(queries.nodes.rows, queries.nodes.before, strict=True)], int)
            else:
                rows, of = dataset.graph.relations[task.relation].to_dicts(), {}
                for n in sorted(range(len(rows)), key=lambda n: (rows[n]["time"], n)):
                    of.setdefault(rows[n]["source"], []).append(n)
                own = np.array([of[row][-1 if name == "test" else -2] for row in queries.nodes.rows.tolist()], int)
            moment = np.array(when[task.relation])[own]
            read = queries.nodes.read(other)
            assert (given(graph, other, read) < moment[read.owner]).all()
            read = queries.nodes.read(task.relation)
            before, number = given(graph, task.relation, read), graph.values(task.relation, "weight", read.edges).astype(int)
            assert ((before < moment[read.owner]) | (before == moment[read.owner]) & (number < own[read.owner])).all()
            if len(tasks) == 1:  # and all of that is read
                mine = dataset.graph.relations[task.relation].rows(named=True)
                for i, (row, n) in enumerate(zip(queries.nodes.rows.tolist(), own.tolist(), strict=True)):
                    earlier = {m for m, r in enumerate(mine) if r["source"] == row and (r["time"], m) < (mine[n]["time"], n)}
                    told = {m for m in earlier if mine[m]["target"] is not None}
                    assert set(number[read.indptr[i] : read.indptr[i + 1]].tolist()) == told
        examples = Examples(views["train"].graph, task, tasks, views["train"].queries[task.name], Train(batch=4, negatives=2, seed=0))
        for step in map(examples.step, range(min(3, examples.batches)) if len(examples) else ()):
            back = step.candidates.read(other)
            times = given(views["train"].graph, other, back)
            asked = zip(step.queries.rows, step.queries.before, strict=True)
            assert (times < min(when[task.relation][numbered[pair]] for pair in asked)).all()


def test_equal_times_of_two_tasks():
    buys, seen = (
        [(u, i, t) for i, t in rows for u in range(USERS)] for rows in (((3, 5), (1, 5), (4, 5), (0, 5)), ((0, 1), (1, 2), (2, 5), (5, 9)))
    )
    views = split(world(buys, seen)._replace(tasks=(TASK, Task("views", VIEWS, history=(BUYS,)))), Split(by="last"))
    test = views["test"].queries
    assert test["buys"].nodes.read(BUYS).rows.tolist() == [3, 1, 4] * USERS
    assert test["buys"].nodes.read(VIEWS).rows.tolist() == [0, 1] * USERS
    assert test["views"].nodes.read(VIEWS).rows.tolist() == [0, 1] * USERS
    train = views["train"].queries["buys"]
    assert train.nodes.before.tolist() == [5] * USERS and (train.targets.counts == 2).all()


def test_sources_with_two_edges_only_train():
    views = split(world([b for b in BASE if b[0] != 7] + [(7, 0, 1), (7, 1, 2)]), Split(by="last"))
    assert 7 not in {s for s, _ in asked(views, None, "test") | asked(views, None, "select") | asked(views, None, "adjust")}
    assert {(7, 0), (7, 1)} <= asked(views, None, "train")


@pytest.mark.parametrize(("way", "dated"), [("time", True), ("column", False), ("random", False)])
def test_a_null_target_is_a_query_without_targets(way, dated):
    rows = [(u, None if u % 2 else u % ITEMS, 3 * j) for u in range(USERS) for j in range(7)]
    views = split(world(rows, dated=dated), WAYS[way])
    for name in ("train", "test"):
        queries = views[name].queries["buys"]
        odd = queries.nodes.rows % 2 == 1
        assert odd.any() and (queries.targets.counts[odd] == 0).all() and (queries.targets.counts[~odd] > 0).all()


def test_the_test_view_of_cold_targets_knows_the_validation_edges():
    views = split(world(BASE, [(0, i, 1) for i in range(ITEMS)]), WAYS["targets"])
    told = asked(views, None, "select") | asked(views, None, "adjust")
    graph = views["test"].graph
    assert told <= set(zip(graph.relations[BUYS]["source"].to_list(), graph.relations[BUYS]["target"].to_list(), strict=True))
    for name, gone in (("train", told | asked(views, None, "test")), ("test", asked(views, None, "test"))):
        assert set(views[name].graph.relations[VIEWS]["target"].to_list()) == set(range(ITEMS)) - {t for _, t in gone}


def test_a_query_of_an_unknown_source_is_asked_unless_known_only():
    rows = [b for b in BASE if b[0] != 7] + [(7, 0, 18)]
    how = WAYS["time"].__dict__
    assert 7 in split(world(rows), Split(**how))["test"].queries["buys"].nodes.rows
    assert 7 not in split(world(rows), Split(**{**how, "known_only": True}))["test"].queries["buys"].nodes.rows
    newcomers = [b for b in rows if b[0] < 6 and b[2] < 8] + [(6, 0, 9), (7, 0, 18)]
    with pytest.raises(KgrecError, match=r"no user of task buys's validation part has an earlier edge .*; widen split\.validation, or"):
        split(world(newcomers), Split(**{**how, "known_only": True}))
