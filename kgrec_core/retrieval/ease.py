"""EASE: the item-item weights that best rebuild every history from its other items, in closed form."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import lapack

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Vectors
from kgrec_core.recipe.ranges import Amount, Fraction, Positive, Size
from kgrec_core.retrieval.blockwise import Blockwise
from kgrec_core.retrieval.profile import matrix, profile, strangers
from kgrec_core.retrieval.sparse import largest

log = logging.getLogger("kgrec")
BLOCK = 1024  # targets whose weights are computed at once
SPARSE = 0.02  # a sparse product is the faster one where fewer of its numbers are there
FEWER = 5  # times fewer weights are kept of a target outside of the inverse


@dataclass(kw_only=True, eq=False)
class Ease(Blockwise):
    """Embarrassingly shallow autoencoder (Steck 2019): P = (X'X + l2 I)^-1, B = I - P / diag(P).

    l2: regularisation. half_life: days after which an edge counts half, in X (as the root of the faded sum) and in the query's
    history; 0 = binary X. decay: with half_life = 0, the history's weights by position, as in `cooccurrence`.
    keep: weights kept per target, the largest ones.
    limit: how many targets, the most chosen, are inverted together: 4 * limit^2 bytes. The others are regressed on these, exactly
        but for what they have in common among each other, which counts as the first step of the inverse: counts / what is left.
    """

    l2: Positive = 300.0
    half_life: Amount = 0.0
    decay: Fraction = 1.0
    keep: Size = 500
    limit: Size = 5_000

    says = "goes with what was chosen"
    evidence = "behaviour"
    scales = "inverts the `limit` most chosen candidates together, about 1 ms to build for each further one; ranking a million is one pass over a row of scores"
    state = ("weights_",)

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        x = matrix(graph, task.relation, self.now_, self.half_life)
        if self.half_life:
            x.data = np.sqrt(x.data)
        chosen = np.bincount(x.indices, minlength=x.shape[1])
        order = np.argsort(-chosen, kind="stable")[: np.count_nonzero(chosen)]
        if len(order) > self.limit:
            told = "retrieval.%s: ease inverts the %d most chosen of %d targets together; the others are regressed on these"
            graph.memo.get((told, task, self.limit), (), lambda: log.info(told, task.name, self.limit, len(order)))
        self.weights_ = _weights(x.tocsc()[:, order], self.l2, self.keep, self.limit)
        self.weights_ = _spread(self.weights_, order, x.shape[1])

    def attach(self) -> None:
        if self.weights_.shape[0] != self.weights_.shape[1] or self.weights_.shape[0] > len(self.mask_):
            raise ValueError(f"weights {self.weights_.shape} do not belong to this graph of {len(self.mask_):,} candidates")

    def silent(self, queries: Nodes) -> bool:
        return strangers(queries, self.task_.relation)

    def scores(self, queries: Nodes, vectors: Vectors | None) -> NDArray[np.float32]:
        read = profile(queries, self.task_.relation, self.weights_.shape[0], self.now_, self.decay, self.half_life)
        if self.half_life:
            read.sum_duplicates()
            read.data = np.sqrt(read.data)
        return (read @ self.weights_).toarray()


def _weights(x: sp.csc_matrix, l2: float, keep: int, limit: int) -> sp.csr_matrix:
    """(n, n) B without its diagonal. x: (sources, n), the most chosen targets first.

    With the others' block of X'X + l2 I given the head's (its Schur complement) taken for its diagonal, E: of the head on the others
    W = P_head C, back E^-1 W' / diag(P_head), and among the others E^-1 times what they have in common.
    """
    head, tail = x[:, :limit], x[:, limit:]
    inverse = _inverse(head, l2)
    scale, inside, over, left = np.diag(inverse).copy(), [], [], []
    for start in range(0, head.shape[1], BLOCK):
        rows = -inverse[start : start + BLOCK] / scale
        rows[np.arange(len(rows)), np.arange(start, start + len(rows))] = 0
        inside.append(_kept(rows, keep))
    if not tail.shape[1]:
        return sp.vstack(inside, "csr") if inside else sp.csr_matrix((0, 0), dtype=np.float32)
    turned, back, fewer = head.T.tocsr(), tail.T.tocsr(), max(1, keep // FEWER)
    for start in range(0, tail.shape[1], BLOCK):
        part = tail[:, start : start + BLOCK].tocsr()
        shared = turned @ part
        sparse = shared.nnz < SPARSE * np.prod(shared.shape)
        regression = shared.T.tocsr() @ inverse if sparse else shared.T.toarray() @ inverse  # (b, head)
        own = np.asarray(part.multiply(part).sum(0)).ravel()
        left.append(own + l2 - np.asarray(shared.T.multiply(regression).sum(1)).ravel())
        over.append(_kept(regression, fewer))
    over, rest = sp.vstack(over, "csr"), sp.diags((1 / np.concatenate(left)).astype(np.float32))
    among = []
    for start in range(0, tail.shape[1], BLOCK):
        shared = (back[start : start + BLOCK] @ tail).tocsr()
        shared.data[shared.indices == np.repeat(np.arange(start, start + shared.shape[0]), np.diff(shared.indptr))] = 0
        among.append(largest(shared, fewer))
    return sp.bmat([[sp.vstack(inside), over.T], [rest @ over @ sp.diags(1 / scale), rest @ sp.vstack(among)]], "csr", np.float32)


def _inverse(x: sp.csc_matrix, l2: float) -> NDArray[np.float32]:
    """(X'X + l2 I)^-1, dense; Cholesky in place: half the memory and a third of the time of a general inverse."""
    n, turned = x.shape[1], x.T.tocsr()
    gram = np.empty((n, n), np.float32, order="F")
    for start in range(0, n, BLOCK):
        gram[:, start : start + BLOCK] = (turned @ x[:, start : start + BLOCK].tocsr()).toarray()
    gram[np.diag_indices(n)] += np.float32(l2)
    if not n:
        return gram
    gram, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    gram, unsolved = lapack.spotri(gram, lower=1, overwrite_c=1)
    if failed or unsolved:
        raise KgrecError(f"ease: the matrix of {n} targets cannot be inverted with l2 = {l2}; raise l2")
    for start in range(0, n, BLOCK):  # what is above the diagonal
        corner = np.tril(gram[start : start + BLOCK, start : start + BLOCK])
        gram[start : start + BLOCK, start : start + BLOCK] = corner + np.tril(corner, -1).T
        gram[start : start + BLOCK, start + BLOCK :] = gram[start + BLOCK :, start : start + BLOCK].T
    return gram


def _kept(rows: NDArray[np.float32], keep: int) -> sp.csr_matrix:
    """The `keep` largest of every dense row, by magnitude."""
    width = min(keep, rows.shape[1])
    best = np.argpartition(-np.abs(rows), width - 1, axis=1)[:, :width]
    indptr = np.arange(0, best.size + 1, max(width, 1))
    return sp.csr_matrix((np.take_along_axis(rows, best, 1).ravel(), best.ravel(), indptr), shape=rows.shape)


def _spread(weights: sp.csr_matrix, order: NDArray[np.int64], size: int) -> sp.csr_matrix:
    """(size, size) the weights between targets given by place, by their rows."""
    whole = weights.tocoo()
    return sp.csr_matrix((whole.data, (order[whole.row], order[whole.col])), shape=(size, size))
