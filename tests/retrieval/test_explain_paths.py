"""Paths over what is above two things in a hierarchy, and paths that begin with what the graph says of the query itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from kgrec_core.explain.fidelity import fidelity
from kgrec_core.explain.own import relations_of
from kgrec_core.explain.paths import Paths, met_by
from kgrec_core.explain.why import explanations
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, candidates
from kgrec_core.knowledge.hierarchy import climbed
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.features import Features

HAS, PARENT, WORKS = (
    Relation("item", "has_category", "category"),
    Relation("category", "parent", "category"),
    Relation("user", "works_as", "job"),
)


def pairs(source, target) -> pl.DataFrame:
    return pl.DataFrame({"source": list(source), "target": list(target)}, schema={"source": pl.UInt32, "target": pl.UInt32})


def known(board, entities: dict, relations: dict, timeless: set) -> Graph:
    graph = board.graph
    return Graph({**graph.entities, **entities}, {**graph.relations, **relations}, graph.timeless | timeless)


@pytest.fixture(scope="module")
def shelves(board) -> Graph:
    """Every item on a shelf of its own; every four shelves of one colour in a room, rooms in a house."""
    names = [*(f"shelf {i}" for i in range(20)), *(f"room {i}" for i in range(6)), "house"]
    category = pl.DataFrame({"id": names, "text": names})
    rooms = [20 + 3 * (i % 2) + i // 8 for i in range(20)]
    return known(
        board, {"category": category}, {HAS: pairs(range(20), range(20)), PARENT: pairs(range(26), [*rooms, *[26] * 6])}, {HAS, PARENT}
    )


def test_what_is_above_is_reached_once_whatever_leads_to_it(shelves):
    up = climbed(shelves, "category", np.array([0, 26, 0]))
    assert [up.rows[start:end].tolist() for start, end in zip(up.indptr[:-1], up.indptr[1:], strict=True)] == [
        [0, 20, 26],
        [26],
        [0, 20, 26],
    ]
    round_ = known(SimpleNamespace(graph=shelves), {}, {PARENT: pairs([0, 20], [20, 0])}, {PARENT})
    assert climbed(round_, "category", np.array([0])).rows.tolist() == [0, 20]


def test_items_of_one_room_are_nearer_than_of_one_house_and_new_ones_as_near(board, shelves):
    nodes = Nodes(shelves, "user", np.array([0]), "query", before=np.array([board.now]))
    features = Features(shelves, board.task)
    pool = Ragged.of(np.zeros(20, np.int64), np.arange(20), 1)
    near = features(nodes, pool)["near by has_category above"]
    assert near[2] > near[1] > 0  # 0 is not bought yet; 2 is in a room with other even ones
    assert features(nodes, pool)["near by has_category"][0] == 0
    delta = Graph(
        {"item": pl.DataFrame({"id": ["new"]}), "category": shelves.entities["category"].head(1)}, {HAS: pairs([0], [0])}, frozenset({HAS})
    )
    joined = shelves.join(delta)
    later = features.extended(joined, np.array([20]))
    asked = Nodes(joined, "user", np.array([0]), "query", before=np.array([board.now]))
    found = later(asked, Ragged.of(np.zeros(2, np.int64), np.array([0, 20]), 1))["near by has_category above"]
    assert found[0] == pytest.approx(near[0]) and found[1] == pytest.approx(near[0], rel=0.05)


@pytest.mark.parametrize("key", ["has_category above", None])
def test_two_that_meet_above_are_told_what_joins_them_rarest_first(board, shelves, key):
    query = Nodes(shelves, "user", np.array([0]), "query", before=np.array([board.now]))
    met = met_by(board.task, query)
    paths = Paths(board.task, query, met, np.ones((len(met.rows), 1))).to(0, 0, {("graph", key): 1.0}, 50)
    assert sum(path.weight for path in paths) == pytest.approx(1.0)
    assert {path.nodes[1].kind for path in paths} == ({"category"} if key else {"brand", "category"})
    paths = [path for path in paths if path.nodes[1].kind == "category"]
    best = paths[0]
    assert [node.kind for node in best.nodes] == ["item", "category", "category", "category", "item"]
    assert (
        best.nodes[2].text == "room 0"
        and best.nodes[3].text == "shelf 0"
        and best.relations == ("has_category", "parent", "parent", "has_category")
    )
    assert {path.nodes[2].text for path in paths} == {"room 0", "house"}
    house = [path.weight for path in paths if path.nodes[2].text == "house"]
    assert max(house) < best.weight
    edges = {(edge.source, edge.target) for path in paths for edge in path.edges if edge.relation == HAS}
    assert ("i0", "shelf 0") in edges and all(item[1:] == shelf.removeprefix("shelf ") for item, shelf in edges)


class Jobs:
    """A model that knows a user by the job alone, read as a query may read it."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.encoder = graph, SimpleNamespace(reads_edges=True)

    def encode(self, task):
        return lambda nodes: self.vectors(task, nodes)

    def refresh(self, graph: Graph) -> None:
        self.graph = graph

    def vectors(self, task, nodes) -> np.ndarray:
        out = np.zeros((len(nodes), 2), np.float32)
        if nodes.kind == "item":
            out[np.arange(len(nodes)), nodes.rows % 2] = 1 - nodes.rows / 100
            return out
        found = nodes.read(WORKS)
        out[found.owner, found.rows % 2] = 1
        return out


@pytest.fixture(scope="module")
def jobs(board) -> Graph:
    job = pl.DataFrame({"id": ["nurse", "smith", "clown"], "text": ["nurse", "smith", "clown"]})
    users = range(board.graph.size("user"))
    works = pairs([*users, 0], [*(user % 2 for user in users), 2])
    return known(board, {"job": job}, {WORKS: works}, {WORKS})


def test_a_query_s_own_relation_is_named_with_how_many_alike_chose_the_answer(board, jobs):
    nodes = Nodes(jobs, "user", np.arange(6), "query", before=np.full(6, board.now))
    assert relations_of(board.task, nodes) == [WORKS]
    part, model, met = Exact(device="cpu"), Jobs(jobs), nodes.read(board.task.relation)
    part.build(jobs, board.task, candidates(jobs, board.task), model.encode(board.task))
    first = explanations(model, part, board.task, nodes, 1, None, met)[0][0]
    own = [path for path in first.paths if path.evidence == "own"]
    assert [node.id for node in own[0].nodes] == ["u0", "nurse", "", first.item.id] and own[0].relations[:2] == ("works_as",) * 2
    assert len(own) == 1 and own[0].weight == pytest.approx(first.score)  # nobody else is a clown
    assert f"{own[0].count} others with the same works as (nurse) have it" in str(first).lower()
    assert (own[0].edges[0].relation, own[0].edges[0].source, own[0].edges[0].target) == (WORKS, "u0", "nurse")
    found = fidelity(model, part, board.task, nodes, met, 6)
    assert found["with_knowledge"] == 1 and found["named"]["mean"] > 0 and found["difference"]["mean"] >= 0


def test_an_end_that_is_tied_to_the_answer_itself_leads_to_it(board, jobs):
    made = Relation("item", "made_for", "job")
    graph = known(SimpleNamespace(graph=jobs), {}, {made: pairs([0], [0])}, {made})
    nodes = Nodes(graph, "user", np.array([0]), "query", before=np.array([board.now]))
    part, model = Exact(device="cpu"), Jobs(graph)
    part.build(graph, board.task, candidates(graph, board.task), model.encode(board.task))
    ((first, *_),) = explanations(model, part, board.task, nodes, 1, None, nodes.read(board.task.relation))
    direct = [path for path in first.paths if path.relations == ("works_as", "made_for")]
    assert first.item.id == "i0" and len(direct) == 1 and "works as (nurse) leads to it" in str(first)
    assert (direct[0].edges[1].source, direct[0].edges[1].target) == ("i0", "nurse")


def test_items_that_an_edge_joins_are_told_by_it_whichever_way_it_goes(board):
    alike = Relation("item", "alike", "item")
    graph = known(board, {}, {alike: pairs([2, 0, 6, 0, 5], [0, 4, 8, 8, 0])}, {alike})
    query = Nodes(graph, "user", np.array([0]), "query", before=np.array([board.now]))
    met = met_by(board.task, query)
    edges = {("i2", "i0"), ("i0", "i4"), ("i6", "i8"), ("i0", "i8"), ("i5", "i0")}
    paths = Paths(board.task, query, met, np.ones((len(met.rows), 1))).to(0, 0, {("graph", "alike"): 1.0}, 50)
    told = [{(edge.source, edge.target) for edge in path.edges if edge.relation == alike} for path in paths]
    assert all(of and of <= edges for of in told)
    assert {("i2", "i0")} in told and {("i0", "i4")} in told and {("i6", "i8"), ("i0", "i8")} in told
    assert all(path.nodes[0].id != "i5" for path in paths), "it was not met"
