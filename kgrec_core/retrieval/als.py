"""ALS: sources and targets as vectors whose products rebuild who chose what, each side solved in closed form given the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import matrix, profile
from kgrec_core.stored import numbers

BLOCK = 2**22  # numbers of the small matrices that are solved at once: 16 MiB


@dataclass(kw_only=True, eq=False)
class Als(Blockwise):
    """Alternating least squares for implicit feedback (Hu, Koren & Volinsky 2008): what was chosen shall score 1 with a confidence of
    1 + `confidence`, all else 0 with a confidence of 1.

    A query's vector is solved from its history as it is when asked, so that a newcomer, and a purchase of a minute ago, count at once.

    width: of the vectors. confidence: with a half_life, of a choice just made. l2: regularisation, of a vector times the confidence and
    (choices + possible ones / confidence) ** frequency (Rendle et al. 2022, "Revisiting the performance of iALS"); frequency = 0: the
    same for all. rounds: how often both sides are solved, from numbers drawn by `seed`.
    half_life: days after which a choice counts half, where there is a clock; decay: with half_life = 0, a query's weights by position,
    as in `ease`.
    """

    width: int = 64
    confidence: float = 10.0
    l2: float = 0.003
    frequency: float = 1.0
    rounds: int = 10
    half_life: float = 0.0
    decay: float = 1.0
    seed: int = 0

    says = "goes with what was chosen"
    scales = "solves a system of `width` equations per source and target, ten times each; ranking a million is one product of `width` numbers each"
    state = ("factors_",)

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """factors_: (size, width) float32 of the targets."""
        if min(self.width, self.confidence, self.l2, self.rounds) <= 0 or self.frequency < 0:
            raise KgrecError("als: width, confidence, l2 and rounds are above 0, and frequency is 0 or more")
        x = matrix(graph, task.relation, self.now_, self.half_life)
        x.data *= self.confidence
        turned = x.T.tocsr()
        rng = np.random.default_rng(self.seed)
        self.factors_ = rng.normal(0, 0.1 / self.width**0.5, (x.shape[1], self.width)).astype(np.float32)
        self.factors_[np.diff(turned.indptr) == 0] = 0
        for _ in range(self.rounds):
            self.factors_ = self._solved(turned, self._solved(x, self.factors_))

    def attach(self) -> None:
        if len(numbers(self.factors_, (None, None))) > len(self.mask_):
            raise ValueError(f"{len(self.factors_):,} vectors do not belong to this graph of {len(self.mask_):,} candidates")
        self._gram = self.factors_.T @ self.factors_

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        read = profile(queries, self.task_.relation, len(self.factors_), self.now_, self.decay, self.half_life)
        read.sum_duplicates()
        if not self.half_life and self.decay == 1:
            read.data[:] = 1  # how often says less than that
        read.data *= np.float32(self.confidence)
        return self._solved(read, self.factors_, self._gram) @ self.factors_.T

    def _solved(self, x: sp.csr_matrix, other: NDArray[np.float32], gram: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(n, width) of the rows of x, which holds confidences beyond one, given the vectors of its columns; zero for an empty row."""
        gram = other.T @ other if gram is None else gram
        counts, width = np.diff(x.indptr), other.shape[1]
        out = np.zeros((x.shape[0], width), np.float32)
        weight = self.l2 * self.confidence * (counts + x.shape[1] / self.confidence) ** self.frequency
        step, some = max(1, BLOCK // width**2), np.flatnonzero(counts)
        some = some[np.argsort(counts[some], kind="stable")]
        for start in range(0, len(some), step):
            rows = some[start : start + step]
            part = x[rows]
            systems = np.empty((len(rows), width, width), np.float32)
            for i, row in enumerate(np.split(np.arange(part.nnz), part.indptr[1:-1])):
                met = other[part.indices[row]]
                systems[i] = gram + (met.T * part.data[row]) @ met
            systems[:, np.arange(width), np.arange(width)] += weight[rows][:, None]
            wanted = (part + (part != 0)).astype(np.float32) @ other
            out[rows] = np.linalg.solve(systems, wanted[:, :, None])[:, :, 0]
        return out
