"""EASE: the item-item weights that best rebuild every history from its other items, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import lapack

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import matrix, profile


@dataclass(kw_only=True, eq=False)
class Ease(Blockwise):
    """Embarrassingly shallow autoencoder (Steck 2019): P = (X'X + l2 I)^-1, B = I - P / diag(P).

    l2: regularisation. half_life: days after which an edge counts half, in X (as the root of the faded sum) and in the query's
    history; 0 = binary X. decay: with half_life = 0, the history's weights by position, as in `cooccurrence`.
    keep: weights kept per target, the largest ones. limit: most targets with an edge; the inverse is dense, 4 * limit^2 bytes.
    Raises KgrecError beyond the limit.
    """

    l2: float = 300.0
    half_life: float = 0.0
    decay: float = 1.0
    keep: int = 500
    limit: int = 20_000

    scales = "inverts a matrix of the `limit` most chosen candidates; the others are weighted by co-occurrence"
    state = ("weights_",)

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        x = matrix(self.graph_, self.task_.relation, self.now_, self.half_life)
        if self.half_life:
            x.data = np.sqrt(x.data)
        used = np.flatnonzero(np.bincount(x.indices, minlength=x.shape[1]))
        if len(used) > self.limit:
            raise KgrecError(
                f"retrieval.{self.task_.name}: ease has {len(used):,} targets to invert a matrix of, its limit is {self.limit:,}; "
                "raise limit (memory grows with its square) or use cooccurrence"
            )
        self.weights_ = _weights(x, self.l2, self.keep, used)

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        read = profile(queries, self.task_.relation, self.weights_.shape[0], self.now_, self.decay, self.half_life)
        if self.half_life:
            read.sum_duplicates()
            read.data = np.sqrt(read.data)
        return (read @ self.weights_).toarray()


def _weights(x: sp.csr_matrix, l2: float, keep: int, used: NDArray[np.int64]) -> sp.csr_matrix:
    """B with zero diagonal, spread over all of x's former columns; only the `keep` largest of a row by magnitude."""
    size, n = x.shape[1], len(used)
    if not n:
        return sp.csr_matrix((size, size), dtype=np.float32)
    x = x[:, used]
    gram = np.asfortranarray((x.T @ x).toarray(), np.float32)
    gram[np.diag_indices(n)] += l2
    # Cholesky in place: half the memory and a third of the time of a general inverse.
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, unsolved = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or unsolved:
        raise KgrecError(f"ease: the matrix of {n} targets cannot be inverted with l2 = {l2}; raise l2")
    scale, parts = np.diag(inverse).copy(), []
    for start in range(0, n, 1024):
        stop = min(n, start + 1024)
        corner = np.tril(inverse[start:stop, start:stop])
        rows = np.hstack([inverse[start:stop, :start], corner + np.tril(corner, -1).T, inverse[stop:, start:stop].T])
        rows = -rows / scale
        rows[np.arange(stop - start), np.arange(start, stop)] = 0
        width = min(keep, n)
        best = np.argpartition(-np.abs(rows), width - 1, axis=1)[:, :width] if width < n else np.tile(np.arange(n), (stop - start, 1))
        owner = np.repeat(used[start:stop], width)
        parts.append((np.take_along_axis(rows, best, 1).ravel(), owner, used[best.ravel()]))
    data, row, column = (np.concatenate(p) for p in zip(*parts, strict=True))
    return sp.csr_matrix((data, (row, column)), shape=(size, size), dtype=np.float32)
