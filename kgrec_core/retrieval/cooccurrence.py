"""Item-item nearest neighbours: what was met by the same people, or in the same basket, as what this query met lately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import choices
from kgrec_core.graph import Nodes, Relation
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import matrix, profile


@dataclass(kw_only=True, eq=False)
class Cooccurrence(Blockwise):
    """Cosine-normalised counts n(i, j) / sqrt(n(i) n(j)), zero for i = j, summed over the history with recency weights.

    decay: weight of the j-th of m edges, decay^(m - j). half_life: weight by time instead, in days (0 = by position).
    per: count together what one source ever met, or only what it met at one time ("event").
    relations: names of history relations of the task to read besides its own (views beside purchases).
    (Sarwar et al. 2001, item-based collaborative filtering.)
    """

    decay: float = 0.7
    half_life: float = 0.0
    per: Literal["source", "event"] = "source"
    relations: Sequence[str] = ()

    state = ("similar_", "sizes_")

    def learn(self, encode: Encode) -> None:
        target = matrix(self.graph_, self.task_.relation, self.now_)
        blocks = []
        for relation in self._read():
            if self.per == "event" and relation == self.task_.relation:
                here = there = matrix(self.graph_, relation, self.now_, per="event")
            else:
                here, there = matrix(self.graph_, relation, self.now_), target
            similar = _cosine(here, there)
            if relation == self.task_.relation:
                similar.setdiag(0)
                similar.eliminate_zeros()
            blocks.append(similar)
        self.similar_, self.sizes_ = sp.vstack(blocks).tocsr(), np.array([b.shape[0] for b in blocks])

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        total, start = np.zeros((len(queries), self.similar_.shape[1]), np.float32), 0
        for relation, size in zip(self._read(), self.sizes_.tolist(), strict=True):
            read = profile(queries, relation, size, self.now_, self.decay, self.half_life)
            total += (read @ self.similar_[start : start + size]).toarray()
            start += size
        return total

    def _read(self) -> list[Relation]:
        known = {r.name: r for r in self.task_.history}
        for name in self.relations:
            if name not in known:
                raise choices("history relation", name, known, f"retrieval.{self.task_.name}: relations names what task.history holds")
        return [self.task_.relation, *(known[name] for name in self.relations)]


def _cosine(here: sp.csr_matrix, there: sp.csr_matrix) -> sp.csr_matrix:
    def scale(m: sp.csr_matrix) -> sp.dia_matrix:
        count = np.asarray(m.sum(0)).ravel()
        return sp.diags((1 / np.sqrt(np.maximum(count, 1))).astype(np.float32))

    return (scale(here) @ (here.T @ there) @ scale(there)).tocsr().astype(np.float32)
