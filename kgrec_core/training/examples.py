"""From a task's training queries to batches. Batch number i depends on the seed and i alone, so a resumed fit sees the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Relation, Task, View, candidates, histories
from kgrec_core.interfaces import Batch, Head
from kgrec_core.training.objective import Step
from kgrec_core.training.options import Train

READ = 2**20  # edges of histories in memory at once, when all training queries are looked through


def examples(view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Iterator[tuple[Examples, float]]:
    """Of every task that is learned and has any, with its weight."""
    for task in tasks:
        weight = options.weights.get(task.name, 1.0)
        of = Examples(view.graph, task, tasks, view.queries[task.name], options, not heads[task.name].encodes_candidates)
        if len(of) and weight > 0:
            yield of, weight


class Examples:
    """The (query, target) pairs of a task that a query can be read for; options.repeats = False: not those it met before.

    every: all candidates are in every batch (a head with a vector of its own for each), else the batch's targets and drawn ones.
    """

    def __init__(self, graph: Graph, task: Task, tasks: tuple[Task, ...], queries: Queries, options: Train, every: bool = False) -> None:
        self.every = every
        self.graph, self.task, self.queries = graph, task, queries
        self.size, self.negatives, self.seed = options.batch, options.negatives, options.seed
        readable = _readable(queries.nodes, histories(tasks, task.relation.source))
        keep = readable[queries.targets.owner]
        if not options.repeats:
            blocks = (queries.take(block) for block in _blocks(queries.nodes, task.relation))
            keep &= ~np.concatenate([b.targets.among(b.nodes.read(task.relation)) for b in blocks])
        self.owner, self.target = queries.targets.owner[keep], queries.targets.rows[keep]
        self.catalogue = candidates(graph, task).rows
        counts = np.bincount(self.target, minlength=graph.size(task.relation.target))
        self.share = counts / max(1, counts.sum())
        self.alike = _alike(graph, task.relation.target)
        self.hard_: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.owner)

    def mined(self, rows: NDArray[np.int64]) -> None:
        """From now on each pair brings these candidates into its batch: (n, k) rows of the target kind, -1 = none."""
        self.hard_ = rows
        self.hard_share = np.bincount(rows[rows >= 0], minlength=len(self.share)) / max(1, len(self))

    @property
    def batches(self) -> int:
        """Batches of an epoch."""
        return max(1, len(self) // self.size)

    def pairs(self, number: int) -> NDArray[np.int64]:
        """Which pairs are in batch `number`."""
        epoch, place = divmod(number, self.batches)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self))
        return np.sort(order[place * self.size : (place + 1) * self.size])

    def step(self, number: int) -> Step:
        """Batch `number` of an endless sequence of shuffled epochs."""
        (epoch, place), pairs = divmod(number, self.batches), self.pairs(number)
        rng = np.random.default_rng([self.seed, epoch, place])
        drawn = self.catalogue if self.every else rng.choice(self.catalogue, min(self.negatives, len(self.catalogue)), replace=False)
        hard = drawn[:0] if self.hard_ is None else self.hard_[pairs].ravel()
        rows = np.unique(np.concatenate([self.target[pairs], drawn, hard[hard >= 0]]))
        queries = self.queries.nodes.take(self.owner[pairs])
        return Step(queries, self._candidates(rows, queries, pairs), self._batch(rows, queries, pairs))

    def _candidates(self, rows: NDArray[np.int64], queries: Nodes, pairs: NDArray[np.int64]) -> Nodes:
        """Candidates may not know the edges that are asked for: none from the earliest query on, or without the batch's own."""
        kind, relation = self.task.relation.target, self.task.relation
        if queries.before is not None and relation not in self.graph.ordered:  # an order within sources says nothing of the others' edges
            return Nodes(self.graph, kind, rows, "candidate", before=np.full(len(rows), queries.before.min()))
        owner = np.searchsorted(rows, self.target[pairs])
        return Nodes(self.graph, kind, rows, "candidate", hide={relation: Ragged.of(owner, queries.rows, len(rows))})

    def _batch(self, rows: NDArray[np.int64], queries: Nodes, pairs: NDArray[np.int64]) -> Batch:
        positive = np.searchsorted(rows, self.target[pairs])
        known = self.graph.adjacent(self.task.relation, queries.rows)
        at = np.minimum(np.searchsorted(rows, known.rows), len(rows) - 1)
        here = rows[at] == known.rows
        mask = np.zeros((len(pairs), len(rows)), bool)  # the one thing that grows with the square of a batch: a byte a pair
        mask[known.owner[here], at[here]] = True
        if not self.every:
            mask |= self.alike[rows][None] == self.alike[self.target[pairs]][:, None]
        mask[np.arange(len(pairs)), positive] = False
        chance = len(pairs) * self.share[rows] + (1e-6 if self.every else self.negatives / len(self.catalogue))
        if self.hard_ is not None:
            chance += len(pairs) * self.hard_share[rows]
        return Batch(
            torch.from_numpy(positive), torch.from_numpy(mask), torch.from_numpy(np.log(chance).astype(np.float32)), torch.ones(len(pairs))
        )


def _blocks(nodes: Nodes, relation: Relation) -> list[slice]:
    """Consecutive nodes that together have some READ edges to read: a source's history is read once for each of its queries."""
    edges = np.cumsum(nodes.graph.degree(relation, nodes.rows, nodes.before)) // READ
    starts = np.flatnonzero(np.diff(edges, prepend=-1))
    return [slice(*bounds) for bounds in itertools.pairwise([*starts, len(nodes)])] or [slice(0, 0)]


def _readable(nodes: Nodes, relations: tuple) -> NDArray[np.bool_]:
    """Whether there is anything to read about a query: a text of its own or a history."""
    some = np.zeros(len(nodes), bool)
    for relation in relations:
        some |= np.concatenate([nodes.take(block).read(relation, last=1).counts > 0 for block in _blocks(nodes, relation)])
    if "text" in nodes.graph.columns(nodes.kind):
        some |= nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].fill_null("").str.len_bytes().to_numpy() > 0
    return some


def _alike(graph: Graph, kind: str) -> NDArray[np.int64]:
    """(size,) a number per candidate, equal where the texts are: an equal candidate is no wrong answer."""
    rows = np.arange(graph.size(kind))
    if "text" not in graph.columns(kind):
        return rows
    texts = graph.entities[kind]["text"]
    ranks = texts.fill_null("").rank("dense").to_numpy().astype(np.int64)
    return np.where((texts.fill_null("") != "").to_numpy(), ranks, -1 - rows)
