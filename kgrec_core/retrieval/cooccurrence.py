"""Item-item nearest neighbours: what was met by the same people, or in the same basket, as what this query met lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import DAY, Graph, Nodes, Relation, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Amount, Count, Fraction, Size
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import baskets, matrix, profile, strangers, unit_rows
from kgrec_core.retrieval.sparse import largest

BLOCK = 1024  # targets whose weights are computed at once


@dataclass(kw_only=True, eq=False)
class Cooccurrence(Blockwise):
    """Cosine-normalised counts n(i, j) / sqrt(n(i) n(j)), zero for i = j, summed over the history with recency weights.

    decay: weight of the j-th of m edges, decay^(m - j). half_life: weight by time instead, in days (0 = by position).
    per: count together what one source ever met; only what it met at one time ("event"); what it met at one time and what it
        met the next time ("next": follow-up purchases, where i = j counts and large baskets count no more than small ones);
        what stands at most `reach` places apart in the source's edges by time ("near"); or j at most `reach` places and at least
        `apart` days after i ("later": one way, i = j counts; for times whose order within a day says nothing).
    reach: places, for "near" and "later"; 0 = any number. apart: days, for "later".
    keep: how many are kept per target, the most alike.
    relations: names of history relations of the task to read besides its own (views beside purchases).
    Raises KgrecError for "near" and "later" of a relation without times.
    (Sarwar et al. 2001, item-based collaborative filtering.)
    """

    decay: Fraction = 0.7
    half_life: Amount = 0.0
    per: Literal["source", "event", "next", "near", "later"] = "source"
    reach: Count = 3
    apart: Amount = 1.0
    keep: Size = 1000
    relations: Sequence[str] = ()

    says = "goes with what was chosen"
    evidence = "behaviour"
    scales = "holds at most `keep` others a candidate; ranking a million is one pass over a row of scores"
    state = ("similar_", "sizes_")

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        own, blocks = task.relation, []
        target = matrix(graph, own, self.now_)
        for relation in self._read():
            if relation != own:
                here = matrix(graph, relation, self.now_)
                blocks.append(self._similar(here, target, here, target))
            elif self.per == "next":
                each, source = baskets(graph, own)
                follows, unit = np.flatnonzero(source[1:] == source[:-1]), unit_rows(each)
                blocks.append(self._similar(unit[follows], unit[follows + 1], each, each))
            elif self.per in ("near", "later"):
                pairs = self._pairs(own, self.apart if self.per == "later" else 0.0)
                pairs = pairs if self.per == "later" else pairs + pairs.T
                blocks.append(self._similar(sp.identity(pairs.shape[0], np.float32, "csr"), pairs, target, target, self.per == "near"))
            else:
                each = baskets(graph, own)[0] if self.per == "event" else target
                blocks.append(self._similar(each, each, each, each, True))
        self.similar_, self.sizes_ = sp.vstack(blocks).tocsr(), np.array([b.shape[0] for b in blocks])

    def _similar(
        self, left: sp.csr_matrix, right: sp.csr_matrix, here: sp.csr_matrix, there: sp.csr_matrix, others: bool = False
    ) -> sp.csr_matrix:
        """left' right, divided by the roots of how often either end occurs, the largest of each row; others: without i = j."""
        rows, columns = ((1 / np.sqrt(np.maximum(np.asarray(m.sum(0)).ravel(), 1))).astype(np.float32) for m in (here, there))
        parts, turned = [], left.T.tocsr()
        for start in range(0, len(rows), BLOCK):  # the product alone may be larger than all that is kept
            part = (turned[start : start + BLOCK] @ right).tocsr()
            owner = np.repeat(np.arange(start, start + part.shape[0]), np.diff(part.indptr))
            part.data *= rows[owner] * columns[part.indices] * ~(others & (part.indices == owner))
            parts.append(largest(part, self.keep))
        return sp.vstack(parts).tocsr()

    def attach(self) -> None:
        known, ends = [self.graph_.size(relation.target) for relation in self._read()], np.cumsum(self.sizes_)
        if len(ends) != len(known) or (self.sizes_ > known).any() or (self.sizes_ < 0).any():
            raise ValueError(f"weights of {self.sizes_.tolist()} targets do not belong to this graph with {known}")
        if ends[-1] != self.similar_.shape[0] or self.similar_.shape[1] > len(self.mask_):
            raise ValueError(f"weights {self.similar_.shape} do not belong to this graph of {len(self.mask_):,} candidates")
        alone = len(ends) == 1  # a slice is a copy
        each = [self.similar_] if alone else [self.similar_[end - size : end] for size, end in zip(self.sizes_, ends, strict=True)]
        self.read_ = list(zip(self._read(), each, strict=True))

    def silent(self, queries: Nodes) -> bool:
        return strangers(queries, *self._read())

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        total = np.zeros((len(queries), self.similar_.shape[1]), np.float32)
        for relation, similar in self.read_:
            total += (profile(queries, relation, similar.shape[0], self.now_, self.decay, self.half_life) @ similar).toarray()
        return total

    def _read(self) -> list[Relation]:
        known = {r.name: r for r in self.task_.history}
        for name in self.relations:
            if name not in known:
                raise choices("history relation", name, known, f"retrieval.{self.task_.name}: relations names what task.history holds")
        return [self.task_.relation, *(known[name] for name in self.relations)]

    def _pairs(self, relation: Relation, apart: float = 0.0) -> sp.csr_matrix:
        """(size, size) how often j stands at most `reach` places and at least `apart` days after i, in one source's edges by time."""
        if not (self.graph_.dated(relation) if self.per == "near" else self.graph_.clocked(relation)):
            raise KgrecError(f'retrieval.{self.task_.name}: per = "{self.per}" needs edges with a time, {relation} has none; use "source"')
        table = self.graph_.relations[relation].drop_nulls(["source", "target"]).select("source", "target", "time")
        table = table.unique(maintain_order=True).sort("source", "time", maintain_order=True)
        source, target, time = (table[column].to_numpy().astype(np.int64) for column in table.columns)
        counts = sp.csr_matrix((self.graph_.size(relation.target),) * 2, dtype=np.float32)
        for step in range(1, (self.reach or len(source)) + 1):
            both = source[step:] == source[:-step]
            if not both.any():
                break
            first = np.flatnonzero(both & (time[step:] - time[:-step] >= apart * DAY))
            counts += sp.csr_matrix((np.ones(len(first), np.float32), (target[first], target[first + step])), shape=counts.shape)
        return counts
