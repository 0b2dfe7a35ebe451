"""What the channels share that score every candidate for a block of queries: masks, top k, pairs, save and load.

A channel of this kind says `scores` (a dense block; 0 = knows nothing of the candidate) and, if it learns, `learn`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save_file

from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task
from kgrec_core.graph.clock import horizon
from kgrec_core.interfaces import Asked, Encode, Filter, Hits, Retrieval, Vectors
from kgrec_core.retrieval.sparse import flat, unflat
from kgrec_core.stored import arrays

CELLS = 2**24  # of a dense block of scores: 64 MiB
KEPT = 2**23  # of scores that an Asked holds: 256 queries x 32,000 candidates


class Blockwise(Retrieval):
    """Base of channels. Subclasses set `state`: the learnt arrays and CSR matrices to be saved, by attribute name."""

    reads = "history"
    placed = ("graph_", "task_", "mask_", "now_")
    state: ClassVar[tuple[str, ...]] = ()

    def attach(self) -> None:
        """Derive from `self.graph_` what need not be saved; after build and load. Raises ValueError where what was loaded does not fit."""

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        """(n, m) of a block of queries, m <= size of the target kind. Only scores > 0 are hits."""
        raise NotImplementedError

    def silent(self, queries: Nodes) -> bool:
        """Whether `scores` of all these queries would be 0 throughout: then it is not asked for them."""
        return False

    def build(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """See Retrieval; `learn` finds the graph, the task and the candidates in `graph_`, `task_`, `mask_` and the present in `now_`."""
        self._place(graph, task, candidates.rows)
        super().build(graph, task, candidates, encode)
        self.attach()

    def holds(self, graph: Graph, task: Task) -> tuple[object, ...]:
        """The tables of behaviour and of its two ends: knowledge changes nothing here."""
        ends = {task.relation.source, task.relation.target}
        return (*(graph.entities.kinds[kind] for kind in sorted(ends)), *(graph.relations.get(r) for r in (task.relation, *task.history)))

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """A copy that knows this graph and allows the new candidates; what was learnt is shared and unchanged."""
        other, relation = copy.copy(self), self.task_.relation
        other.key_, other.holds_, other.graph_, other.mask_ = None, (), graph, chosen(graph.size(relation.target), new.rows, self.mask_)
        if graph.as_of is None and graph.dated(relation):
            latest = came(self.graph_, graph, relation)["time"].max()
            other.now_ = self.now_ if latest is None else max(self.now_, latest + 1)
        return other

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """See Retrieval; fewer than k where fewer candidates have a score above 0."""
        return self.ask(queries, vectors).search(k, allowed, exclude)

    def score(self, queries: Nodes, vectors: Vectors | None, pairs: Ragged) -> NDArray[np.float32]:
        """(len(pairs.rows),) the score of every (query, candidate) pair; 0 where nothing is known."""
        return self.ask(queries, vectors).score(pairs)

    def ask(self, queries: Nodes, vectors: Vectors | None) -> Asked:
        return _Blocks(self, queries, vectors)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(flat({name: getattr(self, name) for name in ("mask_", *self.state)}), folder / "channel.safetensors")

    def load(self, folder: Path, graph: Graph, task: Task) -> None:
        with damage(f"{folder}: no whole {type(self).__name__} channel is in it", "fit again"):
            stored = arrays(folder / "channel.safetensors")
            for name in self.state:
                setattr(self, name, unflat(stored, name))
            self._place(graph, task, np.flatnonzero(stored["mask_"]))
            self.attach()

    def _place(self, graph: Graph, task: Task, rows: NDArray[np.int64]) -> None:
        self.graph_, self.task_, self.now_ = graph, task, horizon(graph, task.relation)
        self.mask_ = chosen(graph.size(task.relation.target), rows)

    def _cells(self) -> int:
        """Width of the widest dense row that `scores` makes."""
        return len(self.mask_)


class _Blocks(Asked):
    """Dense scores of blocks of queries; those of few queries are kept, for a ranker asks for pairs of what it has searched."""

    part: Blockwise
    kept: list[tuple[slice, NDArray[np.float32]]] | None = None

    @cached_property
    def silent(self) -> bool:
        return self.part.silent(self.queries)

    def search(self, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        n = len(self.queries)
        rows, best = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
        if self.silent:
            return Hits(rows, best)
        open_ = within(self.part.mask_, allowed)
        for block, s in self._scores():
            found = (s > 0) & open_[: s.shape[1]]
            if exclude is not None:
                gone = exclude.take(np.arange(block.start, block.stop))
                known = gone.rows < s.shape[1]
                found[gone.owner[known], gone.rows[known]] = False
            few = np.count_nonzero(found, axis=1) * 16 < found.shape[1]  # each query by itself: the two differ in what they make of ties
            for top, which in ((_sparse, few), (_dense, ~few)):
                at = np.flatnonzero(which)
                if not len(at):
                    continue
                query, place, row = top(s, found, k) if len(at) == len(s) else top(s[at], found[at], k)
                query = at[query]
                rows[block][query, place], best[block][query, place] = row, s[query, row]
        return Hits(rows, best)

    def score(self, pairs: Ragged) -> NDArray[np.float32]:
        out = np.zeros(len(pairs.rows), np.float32)
        if self.silent:
            return out
        for block, s in self._scores():
            inside = slice(pairs.indptr[block.start], pairs.indptr[block.stop])
            asked = pairs.take(np.arange(block.start, block.stop))
            known = asked.rows < s.shape[1]
            out[inside][known] = s[asked.owner[known], asked.rows[known]]
        return out

    def _scores(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Blocks of queries and their scores, not to be written to."""
        if self.kept is not None:
            yield from self.kept
            return
        n, part, kept, cells = len(self.queries), self.part, [], 0
        step = int(np.clip(CELLS // max(part._cells(), 1), 1, 512))
        for start in range(0, n, step):
            block = slice(start, min(start + step, n))
            asked = self.queries if block == slice(0, n) else self.queries.take(block)
            s = part.scores(asked, None if self.vectors is None else self.vectors[block])
            cells += s.size
            if cells <= KEPT:
                kept.append((block, s))
            yield block, s
        self.kept = kept if cells <= KEPT else None


def chosen(size: int, rows: NDArray[np.int64], also: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """(size,) True for these rows, and for those of an earlier, shorter mask."""
    out = np.zeros(size, bool)
    if also is not None:
        out[: len(also)] = also
    out[rows] = True
    return out


def came(old: Graph, new: Graph, relation: Relation) -> pl.DataFrame:
    """The edges that `join` appended to a graph, in the order they came, those without an end left out."""
    table = new.relations[relation].slice(len(old.relations[relation]))
    if not len(table):
        return table
    whole = table["source"].is_not_null() & table["target"].is_not_null()
    return pl.DataFrame([column.filter(whole) for column in table.get_columns()])  # as polars' own threads are not there after a fork


def within(mask: NDArray[np.bool_], allowed: Filter | None) -> NDArray[np.bool_]:
    """(size,) candidates that are allowed; rows beyond the end of `allowed` are not."""
    if allowed is None:
        return mask
    out = np.zeros(len(mask), bool)
    n = min(len(mask), len(allowed.rows))
    out[:n] = mask[:n] & allowed.rows[:n]
    return out


Top = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _sparse(s: NDArray[np.float32], found: NDArray[np.bool_], k: int) -> Top:
    """Query, place and row of the k best of what is found of each query; equal scores: the lower row first."""
    query, row = np.nonzero(found)
    order = np.argsort(-s[query, row], kind="stable")
    order = order[np.argsort(query[order], kind="stable")]
    query, row = query[order], row[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    return query[place < k], place[place < k], row[place < k]


def _dense(s: NDArray[np.float32], found: NDArray[np.bool_], k: int) -> Top:
    """As `_sparse`, faster where much is found."""
    s, width = np.where(found, -s, 0), min(k, s.shape[1])
    rows = np.broadcast_to(np.arange(width), (len(s), width))
    if width < s.shape[1]:
        rows = np.sort(np.argpartition(s, width - 1, axis=1)[:, :width], axis=1)
    best = np.take_along_axis(s, rows, 1)
    order = np.argsort(best, axis=1, kind="stable")
    query, place = np.nonzero(np.take_along_axis(best, order, 1) < 0)
    return query, place, np.take_along_axis(rows, order, 1)[query, place]
