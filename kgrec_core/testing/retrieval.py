"""What a retrieval promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Graph, Nodes, Queries, Ragged, Task, candidates
from kgrec_core.guard import checks
from kgrec_core.interfaces import Filter, Hits, Retrieval, Vectors
from kgrec_core.testing.world import BUYS, checkerboard, same

NOW = 2 * DAY + 100


def check_retrieval(factory: Callable[[], Retrieval]) -> None:
    """All that `Retrieval` promises, in a world of 24 users and 12 items whose vectors know a colour."""
    graph, (task,) = checkerboard()
    found, size = candidates(graph, task), graph.size("item")
    queries = Nodes(graph, "user", np.arange(8), "query", before=np.full(8, NOW))
    vectors, part = colours(queries), factory()
    assert isinstance(part, Retrieval), f"{type(part).__name__} is no Retrieval: derive it from kgrec_core.Retrieval"
    assert part.scales, "`scales` must say what the part does at a million candidates"
    assert part.reads in ("vectors", "history", "nothing"), f"reads = {part.reads!r} must be vectors, history or nothing"
    part.build(graph, task, found, colours)
    if part.learns:
        _check_fit(part, graph, task, queries)
    for k in (1, 3, size + 5):
        _check_hits(part.search(queries, vectors, k), len(queries), k, size)
    scores = _dense(part.search(queries, vectors, size), size)
    order = np.random.default_rng(0).permutation(len(queries))
    same(scores[order], _dense(part.search(queries.take(order), vectors[order], size), size), "a query's hits depend on the other queries")
    _check_reads(part, queries, vectors, scores)
    _check_filters(part, queries, vectors, scores)
    _check_scores(part, queries, vectors, size)
    _check_parts(part, queries, vectors, size)
    _check_newcomer(part, graph, task, queries, scores)
    with TemporaryDirectory() as folder:
        part.save(Path(folder))
        again = factory()
        again.load(Path(folder), graph, task)
        same(scores, _dense(again.search(queries, vectors, size), size), "a loaded retrieval must find the same")
    if not part.learns:
        twin, other = factory(), factory()
        twin.build(graph, task, found, colours)
        same(scores, _dense(twin.search(queries, vectors, size), size), "a build that the graph has kept must find the same")
        other.build(graph, task, found.take(np.random.default_rng(1).permutation(size)), colours)
        same(scores, _dense(other.search(queries, vectors, size), size), "the hits depend on the order of the candidates")


def _check_fit(part: Retrieval, graph: Graph, task: Task, queries: Nodes) -> None:
    size, n = graph.size("item"), graph.size("user")
    people = Nodes(graph, "user", np.arange(n), "query", before=np.full(n, NOW))
    hits = part.fit(Queries(people, graph.adjacent(BUYS, people.rows).last(1)), colours(people))
    _check_hits(hits, n, hits.rows.shape[-1], size)
    before = _dense(part.search(queries, colours(queries), size), size)
    part.build(graph, task, candidates(graph, task), colours)
    same(before, _dense(part.search(queries, colours(queries), size), size), "building again must keep what fit learned")


def _check_reads(part: Retrieval, queries: Nodes, vectors: Vectors, scores: NDArray[np.float32]) -> None:
    if part.reads == "vectors":
        return
    for given in (None, vectors[::-1].copy()):
        told = f'it says reads = "{part.reads}", but its hits depend on the vectors'
        same(scores, _dense(part.search(queries, given, scores.shape[1]), scores.shape[1]), told)
    if part.reads == "nothing":
        alike = np.broadcast_to(scores[:1], scores.shape)
        same(alike, scores, 'it says reads = "nothing", but two queries of one moment find different things')


def _check_filters(part: Retrieval, queries: Nodes, vectors: Vectors, scores: NDArray[np.float32]) -> None:
    n, size = scores.shape
    allowed = np.arange(size - 1) % 3 > 0  # one short: what is beyond its end is not allowed
    _check_hits(part.search(queries, vectors, size, allowed=Filter(allowed)), n, size, size, Filter(allowed))
    red = Filter(allowed & (np.arange(size - 1) % 2 == 0), "text LIKE 'red%'")
    one, two = (part.search(queries, vectors, size, allowed=each) for each in (red, Filter(red.rows)))
    same(_dense(one, size), _dense(two, size), "a filter's condition must allow what its rows allow, no more and no less")
    exclude = Ragged.of(np.arange(n), np.argmax(scores, axis=1), n)
    _check_hits(part.search(queries, vectors, size, exclude=exclude), n, size, size, exclude=exclude)


def _check_scores(part: Retrieval, queries: Nodes, vectors: Vectors, size: int) -> None:
    asked = part.ask(queries, vectors)
    hits = asked.search(size)
    owner, column = np.nonzero(hits.rows >= 0)
    pairs = Ragged.of(owner, hits.rows[owner, column], len(queries))
    for told in (asked.score(pairs), part.score(queries, vectors, pairs)):
        assert not checks.scores(told, pairs), checks.scores(told, pairs)
        same(told, hits.scores[owner, column], "the score of a pair must be what search gives it")


def _check_parts(part: Retrieval, queries: Nodes, vectors: Vectors, size: int) -> None:
    hits, parts = part.explain(queries, vectors, size)
    same(_dense(part.search(queries, vectors, size), size), _dense(hits, size), "`explain` must find what `search` finds")
    there = hits.rows >= 0
    assert parts and all(of.shape == hits.rows.shape for of in parts.values()), "`explain` must give a number for each hit, part by part"
    if there.any():
        same(hits.scores[there], np.float32(sum(parts.values())[there]), "the parts that `explain` gives must sum to the score")


def _check_newcomer(part: Retrieval, graph: Graph, task: Task, queries: Nodes, scores: NDArray[np.float32]) -> None:
    """A red chair that the first user buys."""
    size, vectors = graph.size("item"), colours(queries)
    delta = Graph(
        {"item": pl.DataFrame({"id": ["new"], "text": ["red chair number 99"]}), "user": pl.DataFrame({"id": ["u0"]})},
        {BUYS: pl.DataFrame({"source": [0], "target": [0], "time": [NOW - 1]}).cast({"source": pl.UInt32, "target": pl.UInt32})},
    )
    later = graph.join(delta)
    grown = part.extended(later, Nodes(later, "item", np.array([size]), "candidate"), colours)
    hits = grown.search(replace(queries, graph=later), vectors, size + 1)
    _check_hits(hits, len(queries), size + 1, size + 1)
    if part.newcomers:
        assert (hits.rows == size).any(), "it says that it finds newcomers, but `extended` finds none"
    assert grown is not part or not part.newcomers, "`extended` must give a copy"
    after = _dense(part.search(queries, vectors, size + 1), size + 1)
    same(np.pad(scores, ((0, 0), (0, 1)), constant_values=-np.inf), after, "`extended` changes the original")


def colours(nodes: Nodes) -> Vectors:
    """(n, 4) float32 unit vectors: the colour, and a little of the node's own."""
    own = nodes.rows * 0.37 + (nodes.side == "query")
    vectors = np.stack([1.0 - nodes.rows % 2, nodes.rows % 2, 0.3 * np.cos(own), 0.3 * np.sin(own)], axis=1)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _check_hits(hits: Hits, n: int, k: int, size: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> None:
    fault = checks.hits(hits, n, k, size, allowed, exclude)
    assert not fault, fault


def _dense(hits: Hits, size: int) -> NDArray[np.float32]:
    """(n, size) score of every candidate, so that ties need no order."""
    scores = np.full((len(hits.rows), size), -np.inf, np.float32)
    where = np.nonzero(hits.rows >= 0)
    scores[where[0], hits.rows[where]] = hits.scores[where]
    return scores
