"""What the channels share that score every candidate for a block of queries: masks, top k, pairs, save and load.

A channel of this kind says `scores` (a dense block; 0 = knows nothing of the candidate) and, if it learns, `learn`.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Task
from kgrec_core.interfaces import Encode, Hits, Vectors
from kgrec_core.retrieval.profile import horizon

CELLS = 2**24  # of a dense block of scores: 64 MiB
KEPT = 2**21  # of scores that stay after a call: a ranker asks for pairs of the block that it has just searched with


class Blockwise:
    """Base of channels. Subclasses set `state`: the learnt arrays and CSR matrices to be saved, by attribute name.

    looks_at_vectors: whether `scores` needs the queries' vectors.
    """

    state: ClassVar[tuple[str, ...]] = ()
    looks_at_vectors: bool = False
    latest_: tuple[Nodes, Vectors | None, NDArray[np.float32]] | None = None  # who ranks asks for pairs right after a search

    def learn(self, encode: Encode) -> None:
        """Set the attributes named in `state` from `self.graph_`, `self.task_`, `self.mask_` and `self.now_`."""

    def attach(self) -> None:
        """Derive from `self.graph_` what need not be saved; after build, load and extended."""

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        """(n, m) of a block of queries, m <= size of the target kind. Only scores > 0 are hits."""
        raise NotImplementedError

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        self._place(graph, task, candidates.rows)
        self.learn(encode)
        self.attach()

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """A copy that knows this graph and allows the new candidates; what was learnt is shared and unchanged."""
        other = copy.copy(self)
        other._place(graph, self.task_, np.union1d(np.flatnonzero(self.mask_), new.rows))
        other.attach()
        return other

    def search(
        self, queries: Nodes, vectors: Vectors | None, k: int, allowed: NDArray[np.bool_] | None = None, exclude: Ragged | None = None
    ) -> Hits:
        """See Retrieval; fewer than k where fewer candidates have a score above 0."""
        rows, best = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        for block, s in self._blocks(queries, vectors):
            s = s.copy()
            s[:, ~within(self.mask_, allowed)[: s.shape[1]]] = 0
            if exclude is not None:
                gone = exclude.take(np.arange(block.start, block.stop))
                known = gone.rows < s.shape[1]
                s[gone.owner[known], gone.rows[known]] = 0
            rows[block, : s.shape[1]], best[block, : s.shape[1]] = _top(s, k)
        return Hits(rows, best)

    def score(self, queries: Nodes, vectors: Vectors | None, pool: Ragged) -> NDArray[np.float32]:
        """(len(pool.rows),) the score of every pair; 0 where nothing is known."""
        out = np.zeros(len(pool.rows), np.float32)
        for block, s in self._blocks(queries, vectors):
            pairs = pool.take(np.arange(block.start, block.stop))
            known = pairs.rows < s.shape[1]
            out[pool.indptr[block.start] : pool.indptr[block.stop]][known] = s[pairs.owner[known], pairs.rows[known]]
        return out

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_flat({name: getattr(self, name) for name in ("mask_", *self.state)}), folder / "channel.safetensors")

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        try:
            flat = load_file(folder / "channel.safetensors")
            for name in self.state:
                setattr(self, name, _unflat(flat, name))
            self._place(graph, task, np.flatnonzero(flat["mask_"]))
        except (OSError, SafetensorError, KeyError, ValueError, IndexError) as error:
            raise KgrecError(f"{folder}: no whole {type(self).__name__} channel is in it ({error}); fit again") from error
        self.attach()

    def _place(self, graph: Graph, task: Task, rows: NDArray[np.int64]) -> None:
        self.graph_, self.task_, self.now_, self.latest_ = graph, task, horizon(graph, task.relation), None
        self.mask_ = np.zeros(graph.size(task.relation.target), bool)
        self.mask_[rows] = True

    def _cells(self) -> int:
        """Width of the widest dense row that `scores` makes."""
        return len(self.mask_)

    def _blocks(self, queries: Nodes, vectors: Vectors | None):
        """Blocks of queries and their scores, not to be written to; those of a few queries are kept for the next call about them."""
        latest = self.latest_
        if latest is not None and latest[0] is queries and latest[1] is vectors:
            yield slice(0, len(queries)), latest[2]
            return
        step = int(np.clip(CELLS // max(self._cells(), 1), 1, 512))
        for start in range(0, len(queries), step):
            block = slice(start, min(start + step, len(queries)))
            s = self.scores(queries.take(block), None if vectors is None else vectors[block])
            if len(s) == len(queries) and s.size <= KEPT:
                self.latest_ = queries, vectors, s
            yield block, s


def within(mask: NDArray[np.bool_], allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """(size,) candidates that are allowed; rows beyond the end of `allowed` are not."""
    if allowed is None:
        return mask
    out = np.zeros(len(mask), bool)
    n = min(len(mask), len(allowed))
    out[:n] = mask[:n] & allowed[:n]
    return out


def _top(s: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(n, min(k, m)) rows and scores of the best positive ones; equal scores: the lower row first."""
    width = min(k, s.shape[1])
    if width < s.shape[1]:
        rows = np.sort(np.argpartition(-s, width - 1, axis=1)[:, :width], axis=1)
    else:
        rows = np.broadcast_to(np.arange(width), s.shape)
    found = np.take_along_axis(s, rows, 1)
    order = np.argsort(-found, axis=1, kind="stable")
    rows, found = np.take_along_axis(rows, order, 1), np.take_along_axis(found, order, 1)
    return np.where(found > 0, rows, -1), np.where(found > 0, found, -np.inf)


def _flat(values: dict) -> dict[str, NDArray]:
    """Arrays under their name; a CSR matrix as four of them."""
    flat = {}
    for name, value in values.items():
        if sp.issparse(value):
            flat |= {f"{name}.{part}": getattr(value, part) for part in ("data", "indices", "indptr")}
            flat[f"{name}.shape"] = np.array(value.shape)
        else:
            flat[name] = np.ascontiguousarray(value)
    return flat


def _unflat(flat: dict[str, NDArray], name: str):
    if name in flat:
        return flat[name]
    return sp.csr_matrix(tuple(flat[f"{name}.{part}"] for part in ("data", "indices", "indptr")), shape=tuple(flat[f"{name}.shape"]))
