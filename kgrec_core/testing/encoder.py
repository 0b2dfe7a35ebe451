"""What an encoder promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from kgrec_core.graph import DAY, Graph, Nodes, Task, candidates
from kgrec_core.guard import checks
from kgrec_core.interfaces import Encoder
from kgrec_core.testing.world import BUYS, HAS, checkerboard, same


def check_encoder(factory: Callable[[], Encoder]) -> None:
    """Shape, type, gradients; a vector depends on its own node alone, and on nothing that the node may not know; save and load."""
    graph, tasks = checkerboard()
    encoder = factory()
    encoder.prepare(graph, tasks)
    encoder.refresh(graph)
    users = Nodes(graph, "user", np.arange(8), "query", before=np.full(8, 2 * DAY + 100))
    items = candidates(graph, tasks[0])
    for nodes in (users, items):
        with torch.no_grad():
            fault = checks.vectors(encoder(nodes), len(nodes), encoder.dim)
        assert not fault, fault
    assert encoder(items.take(slice(0, 0))).shape == (0, encoder.dim), "no nodes must give (0, dim)"
    trained = [p for p in encoder.parameters() if p.requires_grad]
    if trained:
        (encoder(users).pow(3).sum() + encoder(items).pow(3).sum()).backward()
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trained), "no gradient reaches a parameter"
    encoder.eval()
    encode = _encoding(encoder)
    for nodes in (users, items):
        order = np.random.default_rng(0).permutation(len(nodes))
        same(encode(nodes)[order], encode(nodes.take(order)), "a vector must not depend on the other nodes of the batch")
    _blind(encoder, users, items)
    _edited(encoder, graph, tasks[0], users)
    with TemporaryDirectory() as folder:
        encoder.save(Path(folder))
        again = factory()
        again.load(Path(folder))
        again.eval()
        again.refresh(graph, {})
        for nodes in (users, items):
            same(encode(nodes), _encoding(again)(nodes), "a loaded encoder must give the same vectors")


def _blind(encoder: Encoder, users: Nodes, items: Nodes) -> None:
    """What is later than a query, or hidden from it, makes no difference."""
    graph, encode = users.graph, _encoding(encoder)
    known = graph.at(2 * DAY + 100)
    mine = encode(users)
    encoder.refresh(known)
    same(mine, encode(Nodes(known, "user", users.rows, "query", before=users.before)), "the future is read past `before`")
    encoder.refresh(graph)
    hidden = graph.adjacent(BUYS, users.rows)
    blind = graph.with_edges({HAS: graph.relations[HAS], BUYS: graph.relations[BUYS].filter(~pl.col("source").is_in(users.rows))})
    mine = encode(Nodes(graph, "user", users.rows, "query", hide={BUYS: hidden}))
    encoder.refresh(blind)
    same(mine, encode(Nodes(blind, "user", users.rows, "query")), "edges are read that `hide` names")
    encoder.refresh(graph)
    if not encoder.reads_edges:
        bare = Nodes(
            graph, "item", items.rows, "candidate", np.full(len(items), np.iinfo(np.int64).min), {r: items.read(r) for r in (BUYS, HAS)}
        )
        same(encode(items), encode(bare), "a candidate's vector depends on its edges, so the encoder must say reads_edges")


def _edited(encoder: Encoder, graph: Graph, task: Task, users: Nodes) -> None:
    """A delta costs what it brings, and gives what a whole refresh gives."""
    encode = _encoding(encoder)
    joined = graph.join(Graph({"item": pl.DataFrame({"id": ["i1", "new"], "text": ["a blue lamp", "a red table"]})}))
    encoder.refresh(joined, {"item": joined.rows("item", ["i1", "new"])})
    after = candidates(joined, task), Nodes(joined, "user", users.rows, "query")
    told = [encode(nodes) for nodes in after]
    encoder.refresh(joined)
    for mine, nodes in zip(told, after, strict=True):
        same(mine, encode(nodes), "refresh(graph, new) must give the vectors that a whole refresh gives")
    encoder.refresh(graph)


def _encoding(encoder: Encoder) -> Callable[[Nodes], NDArray]:
    def encode(nodes: Nodes) -> NDArray:
        with torch.no_grad():
            return encoder(nodes).numpy()

    return encode
