"""Why an answer: parts that sum to the score, paths that exist in the graph, and a sentence in the language that was asked in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kgrec_core.explain.explanation import Explanation, Node, Path
from kgrec_core.explain.sentences import language_of, sentence
from kgrec_core.explain.why import explanations, without
from kgrec_core.graph import Graph, Ragged, Task, candidates
from kgrec_core.retrieval.content import Content
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.ease import Ease
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.lambdarank import Lambdarank
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.mixture import Mixture
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.repeat import Repeat
from kgrec_core.retrieval.switch import Switch


class Vectors:
    """A model that knows what the board's `encode` knows."""

    def __init__(self, board) -> None:
        self.board = board

    def vectors(self, task: Task, nodes) -> np.ndarray:
        return self.board.encode(nodes)


def channels() -> dict:
    return {"graph": Content(by="relations"), "together": Cooccurrence(), "vectors": Exact(device="cpu"), "popular": Popular()}


RETRIEVALS = {
    "one channel": lambda: Ease(),
    "merge by rank": lambda: Merge(channels=channels()),
    "merge by score": lambda: Merge(channels=channels(), by="score", weights={"graph": 2.0}),
    "merges within a merge": lambda: Merge(
        channels={"known": Merge(channels=channels(), by="score"), "own": Merge(channels={"repeat": Repeat()}, by="score")}, by="score"
    ),
    "mixture": lambda: Mixture(channels=channels()),
    "switch": lambda: Switch(channels={"merge": Merge(channels=channels()), "popular": Popular()}, default="merge", strangers="popular"),
    "lambdarank": lambda: Lambdarank(channels=channels(), trees=20, leaves=4, smallest=2, pool=20, folds=0, threads=1),
    "lambdarank without trees": lambda: Lambdarank(channels=channels(), folds=0),
}


def built(make, board, fit: bool = True):
    part = make()
    part.build(board.graph, board.task, candidates(board.graph, board.task), board.encode)
    if fit and part.learns:
        part.fit(board.queries(), board.encode(board.nodes))
    return part


@pytest.mark.parametrize("name", RETRIEVALS)
def test_the_parts_of_a_score_sum_to_it_and_the_answers_are_those_of_search(board, name):
    part = built(RETRIEVALS[name], board, fit="without" not in name)
    vectors, met = board.encode(board.nodes), board.history()
    hits, parts = part.explain(board.nodes, vectors, 5, None, met)
    found = part.search(board.nodes, vectors, 5, None, met)
    assert (hits.rows == found.rows).all() and np.array_equal(hits.scores, found.scores)
    there = hits.rows >= 0
    assert there.any() and np.allclose(sum(parts.values())[there], hits.scores[there], atol=1e-5)
    assert len(parts) > (name != "one channel")


@pytest.mark.parametrize("name", RETRIEVALS)
def test_scores_asked_again_are_those_of_search_whatever_else_is_asked(board, name):
    part = built(RETRIEVALS[name], board, fit="without" not in name)
    vectors, met = board.encode(board.nodes), board.history()
    hits = part.search(board.nodes, vectors, 5, None, met)
    for place in ([0], [4, 1], [0, 1, 2, 3, 4]):
        rows = hits.rows[:, place]
        pairs = Ragged.of(*np.nonzero(rows >= 0), len(rows))._replace(rows=rows[rows >= 0])
        assert np.allclose(part.again(board.nodes, vectors, pairs, None, met), hits.scores[:, place][rows >= 0], atol=1e-6)
    bought = Ragged.of(np.arange(len(rows)), met.rows[met.indptr[:-1]], len(rows))
    assert np.isnan(part.again(board.nodes, vectors, bought, None, met)).all()  # what is left out is not found


def test_an_explanation_is_the_same_alone_and_beside_others(board):
    part = built(RETRIEVALS["lambdarank"], board)
    together = explanations(Vectors(board), part, board.task, board.nodes, 4, None, board.history())
    for i, of in enumerate(together):
        (alone,) = explanations(Vectors(board), part, board.task, board.nodes.take([i]), 4, None, board.history().take(np.array([i])))
        assert [(str(why), why.edges) for why in alone] == [(str(why), why.edges) for why in of]
        (first,) = explanations(Vectors(board), part, board.task, board.nodes.take([i]), 1, None, board.history().take(np.array([i])))
        assert first[0].edges == of[0].edges and str(first[0]) == str(of[0])


def test_a_reopened_ranker_gives_the_same_parts(board, tmp_path):
    part = built(RETRIEVALS["lambdarank"], board)
    part.save(tmp_path)
    again = RETRIEVALS["lambdarank"]()
    again.load(tmp_path, board.graph, board.task)
    for one, other in zip(
        part.explain(board.nodes, board.encode(board.nodes), 5), again.explain(board.nodes, board.encode(board.nodes), 5), strict=True
    ):
        if isinstance(one, dict):
            assert one.keys() == other.keys() and all(np.allclose(one[name], other[name], atol=1e-6) for name in one)


def asked(board, make, k: int = 3) -> list[list[Explanation]]:
    met = board.history()
    return explanations(Vectors(board), built(make, board), board.task, board.nodes, k, None, met)


def edges_of(graph: Graph) -> set[tuple[str, str, str]]:
    found = set()
    for relation, table in graph.relations.items():
        ends = (
            graph.gather(kind, table[end].to_numpy(), "id")["id"]
            for end, kind in (("source", relation.source), ("target", relation.target))
        )
        found |= {(relation.name, *pair) for pair in zip(*ends, strict=True)}
    return found


def test_paths_are_in_the_graph_weigh_what_the_graph_adds_and_are_told(board):
    known = edges_of(board.graph)
    for of in asked(board, lambda: Merge(channels={"graph": Content(by="relations")}, by="score")):
        first = of[0]
        assert {path.evidence for path in first.paths} == {"graph"} and first.channels.keys() == {"graph"}
        assert all((edge.relation.name, edge.source, edge.target) in known for edge in first.edges)
        assert first.paths[0].nodes[1].kind == "brand" and first.paths[0].nodes[-1] == first.item
        assert str(first).startswith("Because of “i") and "same brand (b" in str(first)
        weights = [path.weight for path in first.paths]
        assert weights == sorted(weights, reverse=True) and 0 < sum(weights) <= first.score + 1e-6


def test_others_are_counted_without_the_query_itself(board):
    (first, *_), *_ = asked(board, lambda: Merge(channels={"together": Cooccurrence()}, by="score"))
    path = first.paths[0]
    sources = {int(s) for row in board.graph.rows("item", [path.nodes[0].id, first.item.id]) for s in [row]}
    having = [set(board.graph.adjacent(board.task.relation, [row], inverse=True).rows.tolist()) for row in sources]
    assert path.evidence == "behaviour" and path.count == len(set.intersection(*having) - {0}) > 1


def test_a_simple_method_that_looks_at_nobody_has_no_path_but_a_reason(board):
    (first, *_), *_ = asked(board, Popular)
    assert first.paths == () and first.channels.keys() == {"score"}
    graph = board.graph
    (own, *_), *_ = explanations(
        Vectors(board),
        built(lambda: Merge(channels={"popular": Popular()}), board),
        Task("buys", board.task.relation, repeats=True),
        board.nodes,
        1,
    )
    assert str(own) == "It is chosen often." and graph.rows("item", [own.item.id])[0] >= 0


def test_what_was_met_again_is_a_habit(board):
    task = Task("buys", board.task.relation, repeats=True)
    part = Merge(channels={"repeat": Repeat(), "popular": Popular()})
    part.build(board.graph, task, candidates(board.graph, task), board.encode)
    (first, *_), *_ = explanations(Vectors(board), part, task, board.nodes, 1)
    assert first.paths[0].evidence == "habit" and str(first).startswith("Chosen before (1x)")


def test_hidden_things_are_not_read_and_what_was_hidden_stays_so(board):
    relation, n = board.task.relation, len(board.nodes)
    met = board.history()
    one = without(board.nodes, board.task, Ragged.of(np.arange(n), met.rows[met.indptr[:-1]], n))
    two = without(one, board.task, Ragged.of(np.arange(n), met.rows[met.indptr[1:] - 1], n))
    assert (one.read(relation).counts == met.counts - 1).all() and (two.read(relation).counts == met.counts - 2).all()


@pytest.mark.parametrize("path", [
    Path("habit", (Node("item", "1", "Mug"),), ("buys",), 1.0, 2),
    Path("graph", (Node("item", "2", "Lamp"), Node("brand", "b", "ACME"), Node("item", "1", "Mug")), ("has_brand",) * 2, 1.0),
    Path("graph", (Node("item", "2", "Lamp"), Node("item", "1", "Mug")), ("goes_with",), 1.0),
    Path("graph", (Node("item", "2", "Lamp"), Node("c", "l", "Lights"), Node("c", "h", "Home"), Node("c", "c", "Cups"), Node("item", "1", "Mug")), ("has_category", "parent", "parent", "has_category"), 1.0),
    Path("own", (Node("user", "u", None), Node("job", "n", "nurse"), Node("user", ""), Node("item", "1", "Mug")), ("works_as", "works_as", "buys"), 1.0, 3),
    Path("own", (Node("user", "u", None), Node("job", "n", "nurse"), Node("item", "1", "Mug")), ("works_as", "made_for"), 1.0),
    Path("behaviour", (Node("item", "2", "Lamp"), Node("user", ""), Node("item", "1", "Mug")), ("buys",) * 2, 1.0, 7),
    Path("text", (Node("item", "2", "Lamp"), Node("item", "1", "Mug")), ("buys",), 1.0, 1, ("red",)),
    Path("text", (Node("item", "1", "Mug"),), (), 1.0, 1, ("red",)),
    Path("text", (Node("item", "1", "Mug"),), (), 1.0),
    Path("examples", (Node("query", "q", "Where is it?"), Node("answer", "1", "There")), ("answered_by",), 1.0),
], ids=str)  # fmt: skip
def test_every_kind_of_path_is_said_in_both_languages(path):
    told = {language: sentence(Explanation(path.nodes[-1], 1.0, (path,), {}, {}, language)) for language in ("en", "zh")}
    assert told["en"] != told["zh"] and told["en"].endswith(".") and told["zh"].endswith("。")
    for language, said in told.items():
        assert "{" not in said and (path.words == () or "red" in said), language
        assert path.relations[:1] != ("has_brand",) or ("品牌" in said) is (language == "zh")
    assert language_of(told["zh"]) == "zh" and language_of(told["en"], None) == "en"


def test_a_run_explains_what_it_answers_online_and_as_json(published):
    from kgrec_core.run.run import open_run

    run = open_run(published)
    for query in ("ruser0", {"history": ["b1", "b2"]}, {"text": "red mug"}):
        (given,), (why,) = run.answer([query], k=4, where="price < 8"), run.explain([query], k=4, where="price < 8")
        assert [answer.id for answer in given] == [of.item.id for of in why]
        for answer, of in zip(given, why, strict=True):
            assert of.score == answer.score == pytest.approx(sum(of.channels.values()), abs=1e-5)
            plain = json.loads(json.dumps(of.to_json()))
            assert plain["sentence"] == str(of) and len(plain["paths"]) == len(of.paths)
    (why,) = run.explain([{"text": "red mug"}], k=1, language="zh")
    assert str(why[0]).endswith("。") and run.explain([]) == []
