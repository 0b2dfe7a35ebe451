"""Alternating least squares for what was chosen and what was not: each side's vectors in closed form, given the other's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError

BLOCK = 2**22  # numbers of the small systems that are solved at once: 16 MiB


class Squares(NamedTuple):
    """Hu, Koren & Volinsky 2008: what was chosen shall score 1 with a confidence of 1 + `confidence`, all else 0 with one of 1.

    l2: regularisation, of a vector times the confidence and (choices + possible ones / confidence) ** frequency (Rendle et al. 2022,
    "Revisiting the performance of iALS"); frequency = 0: the same for all.
    """

    confidence: float
    l2: float
    frequency: float = 1.0

    def factors(self, x: sp.csr_matrix, width: int, rounds: int, seed: int) -> NDArray[np.float32]:
        """(columns, width) of x (sources, targets), which holds 1 for a choice or less where it has faded; zero for what nobody chose."""
        if min(width, self.confidence, self.l2, rounds) <= 0 or self.frequency < 0:
            raise KgrecError("als: width, confidence, l2 and rounds are above 0, and frequency is 0 or more")
        turned = x.T.tocsr()
        found = np.random.default_rng(seed).normal(0, 0.1 / width**0.5, (x.shape[1], width)).astype(np.float32)
        found[np.diff(turned.indptr) == 0] = 0
        for _ in range(rounds):
            found = self.solved(turned, self.solved(x, found))
        return found

    def solved(
        self, x: sp.csr_matrix, other: NDArray[np.float32], gram: NDArray[np.float32] | None = None, possible: int | None = None
    ) -> NDArray[np.float32]:
        """(n, width) of the rows of x, given the vectors of its columns; zero for an empty row.

        Where x has only some of the columns there are: gram, the sum of all their outer products, and how many are possible.
        """
        gram, possible = other.T @ other if gram is None else gram, possible or x.shape[1]
        counts, width = np.diff(x.indptr), other.shape[1]
        out = np.zeros((x.shape[0], width), np.float32)
        ridge = (self.l2 * self.confidence * (counts + possible / self.confidence) ** self.frequency).astype(np.float32)
        step, some = max(1, BLOCK // width**2), np.flatnonzero(counts)
        for start in range(0, len(some), step):
            rows = some[start : start + step]
            part = x[rows].astype(np.float32)
            part.data *= np.float32(self.confidence)
            systems = np.empty((len(rows), width, width), np.float32)
            for i, row in enumerate(np.split(np.arange(part.nnz), part.indptr[1:-1])):
                met = other[part.indices[row]]
                systems[i] = gram + (met.T * part.data[row]) @ met
            systems[:, np.arange(width), np.arange(width)] += ridge[rows, None]
            wanted = (part + (part != 0)).astype(np.float32) @ other
            out[rows] = np.linalg.solve(systems, wanted[:, :, None])[:, :, 0]
        return out
