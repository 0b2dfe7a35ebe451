"""What the nearest-vector channels share: an immutable base, and a small exact delta of candidates that came later.

An edit must neither rebuild an index nor disturb its readers. So `extended` gives a copy that shares the base, and adds new
vectors to a small segment that is searched by brute force and merged. A row in the delta supersedes the same row in the base.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Task
from kgrec_core.graph.ragged import distinct
from kgrec_core.interfaces import Encode, Filter, Hits, Retrieval, Vectors

CELLS = 2**24  # scores held at once: 64 MiB of float32
TOGETHER, FEW = 512, 64  # most queries of one product; of fewer each pair is scored by itself, the same whatever is beside it
Found = tuple[NDArray[np.int64], NDArray[np.float32]]  # rows (n, k), -1 = none, and scores (n, k), best first


class Flat(NamedTuple):
    """Vectors searched by brute force. rows: (m,) int64, ascending, each once. vectors: (m, d) float32 on any device."""

    rows: NDArray[np.int64]
    vectors: torch.Tensor

    def nearest(self, x: Vectors, k: int, mask: NDArray[np.bool_] | None = None, exclude: Ragged | None = None) -> Found:
        """The exact best k by inner product. mask: (m,) what may be returned."""
        rows, vectors = self
        if mask is not None and 4 * np.count_nonzero(mask) < len(mask):
            rows, vectors, mask = rows[mask], vectors[torch.from_numpy(np.flatnonzero(mask)).to(vectors.device)], None
        closed = None if mask is None else torch.from_numpy(np.flatnonzero(~mask)).to(vectors.device)
        found, best = none(len(x), k)
        width = min(k, len(rows))
        step = max(1, CELLS // max(1, len(rows)))
        for start in range(0, len(x) if width else 0, step):
            block = slice(start, min(start + step, len(x)))
            scores = torch.from_numpy(x[block]).to(vectors.device) @ vectors.T
            if closed is not None:
                scores[:, closed] = -torch.inf
            if exclude is not None:
                gone = exclude.take(np.arange(block.start, block.stop))
                at = find(rows, gone.rows)
                pairs = torch.from_numpy(np.stack([gone.owner, at])[:, at >= 0]).to(vectors.device)
                scores[pairs[0], pairs[1]] = -torch.inf
            top = scores.topk(width)
            best[block, :width] = top.values.cpu().numpy()
            found[block, :width] = rows[top.indices.cpu().numpy()]
        found[best == -np.inf] = -1
        return found, best

    def joined(self, other: Flat) -> Flat:
        """Both; where a row is in both, the other's vector."""
        keep = np.flatnonzero(~np.isin(self.rows, other.rows))
        rows = np.concatenate([self.rows[keep], other.rows])
        order = np.argsort(rows)
        vectors = torch.cat([self.vectors[torch.from_numpy(keep).to(self.vectors.device)], other.vectors.to(self.vectors.device)])
        return Flat(rows[order], vectors[torch.from_numpy(order).to(vectors.device)])


class Layered(Retrieval):
    """Base of `exact` and `faiss`: they index the base, search it and give its vectors back; the delta is kept here."""

    says = "alike in meaning"
    evidence = "text"
    newcomers = True
    logits = True
    rows_: NDArray[np.int64]
    stale_: NDArray[np.bool_] | None
    delta_: Flat | None

    def _learn(self, vectors: Vectors) -> None:
        """Index the vectors of `self.rows_`."""
        raise NotImplementedError

    def _nearest(self, x: Vectors, k: int, mask: NDArray[np.bool_] | None, exclude: Ragged | None) -> Found:
        """Exactly the best min(k, open and not excluded) of the base. mask: bool by position in `self.rows_`, None = all."""
        raise NotImplementedError

    def _stored(self, positions: NDArray[np.int64]) -> Vectors:
        """(m, d) vectors of the base as they are stored, by position in `self.rows_`."""
        raise NotImplementedError

    def learn(self, graph: Graph, task: Task, candidates: Nodes, encode: Encode) -> None:
        """Raises KgrecError where a vector is not finite."""
        self.rows_, vectors = encoded(candidates, encode)
        self.stale_ = self.delta_ = None
        self._learn(vectors)

    def extended(self, graph: Graph, new: Nodes, encode: Encode) -> Self:
        """A copy that also finds `new`, or finds it by its new vector; costs the encoding of `new`, no rebuild."""
        other, (rows, vectors) = copy.copy(self), encoded(new, encode)
        if len(rows):
            added = Flat(rows, torch.from_numpy(vectors))
            other.delta_ = added if self.delta_ is None else self.delta_.joined(added)
            other.stale_ = np.zeros(len(self.rows_), bool) if self.stale_ is None else self.stale_.copy()
            at = find(self.rows_, rows)
            other.stale_[at[at >= 0]] = True
        return other

    def search(self, queries: Nodes, vectors: Vectors | None, k: int, allowed: Filter | None = None, exclude: Ragged | None = None) -> Hits:
        """Exactly min(k, allowed and not excluded) hits for every query. Raises KgrecError on a query that is not finite."""
        x = np.ascontiguousarray(vectors, np.float32)
        refuse_infinite(queries, x)
        if exclude is not None and not len(exclude.rows):
            exclude = None
        found = self._nearest(x, k, usable(self.rows_, allowed, self.stale_), exclude)
        if self.delta_ is not None:
            found = merged(found, self.delta_.nearest(x, k, usable(self.delta_.rows, allowed), exclude), k)
        return Hits(*found)

    def score(self, queries: Nodes, vectors: Vectors | None, pairs: Ragged) -> NDArray[np.float32]:
        """(len(pairs.rows),) the score of every (query, candidate) pair; 0 for rows that are no candidates."""
        owner, out = pairs.owner, np.zeros(len(pairs.rows), np.float32)
        dim, step = vectors.shape[1], CELLS // max(1, vectors.shape[1])
        for start in range(0, len(vectors), TOGETHER):
            asked = slice(start, min(start + TOGETHER, len(vectors)))
            n, part = asked.stop - start, slice(pairs.indptr[start], pairs.indptr[asked.stop])
            rows = distinct(pairs.rows[part]) if n >= FEW else ()
            if len(rows) and n * len(rows) <= 32 * (part.stop - part.start) and max(n, dim) * len(rows) <= CELLS:
                place = owner[part] - start, np.searchsorted(rows, pairs.rows[part])
                out[part] = (vectors[asked] @ self.stored(rows).T)[place]  # many pairs of few candidates: one product is faster
                continue
            for at in range(part.start, part.stop, step):
                few = slice(at, min(at + step, part.stop))
                rows, where = np.unique(pairs.rows[few], return_inverse=True)
                out[few] = np.einsum("nd,nd->n", vectors[owner[few]], self.stored(rows)[where])
        return out

    def stored(self, rows: NDArray[np.int64]) -> Vectors:
        """(len(rows), d) what is stored of candidates by their rows, as precisely as the index keeps it; 0 for rows that are none."""
        at = find(self.rows_, rows)
        known = self._stored(at[at >= 0])
        out = np.zeros((len(rows), known.shape[1]), np.float32)
        out[at >= 0] = known
        if self.delta_ is not None:
            at = find(self.delta_.rows, rows)
            out[at >= 0] = self.delta_.vectors.numpy()[at[at >= 0]]
        return out


def encoded(nodes: Nodes, encode: Encode) -> tuple[NDArray[np.int64], Vectors]:
    """Rows in ascending order, each once, and their (m, d) float32 vectors. Raises KgrecError where one is not finite."""
    rows, first = np.unique(nodes.rows, return_index=True)
    nodes = nodes.take(first)
    vectors = np.ascontiguousarray(encode(nodes), np.float32)
    refuse_infinite(nodes, vectors)
    return rows, vectors


def refuse_infinite(nodes: Nodes, vectors: Vectors) -> None:
    """Raises KgrecError with the first of the nodes whose vector is not finite."""
    if np.isfinite(vectors).all():
        return
    at = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
    id = nodes.graph.gather(nodes.kind, [nodes.rows[at]], "id").item()
    raise KgrecError(
        f"{nodes.side} {nodes.kind} {id!r}: its vector holds NaN or infinity, so it cannot be compared;"
        " the encoder's weights are damaged or training diverged: lower train.lr or fit again"
    )


def find(rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the wanted rows in ascending `rows`; -1 where one is not there."""
    if not len(rows):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return np.where(rows[at] == wanted, at, -1)


def usable(rows: NDArray[np.int64], allowed: Filter | None, stale: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
    """By position, what may be returned; None = everything, which searches fastest."""
    if allowed is None and stale is None:
        return None
    mask = np.ones(len(rows), bool) if stale is None else ~stale
    if allowed is not None and len(rows):
        known = len(rows) if rows[-1] < len(allowed.rows) else int(np.searchsorted(rows, len(allowed.rows)))
        mask[:known] &= allowed.rows[rows[:known]]
        mask[known:] = False
    return None if mask.all() else mask


def none(n: int, k: int) -> Found:
    """No hits, for n queries."""
    return np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)


def merged(one: Found, two: Found, k: int) -> Found:
    """The best k of both."""
    rows, scores = (np.concatenate(pair, axis=1) for pair in zip(one, two, strict=True))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
