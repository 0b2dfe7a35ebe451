"""Lists of different length in flat columns: what a reader of many nodes' edges gets, without a Python object per node."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ragged(NamedTuple):
    """Lists of different length, end to end: list i is `rows[indptr[i]:indptr[i + 1]]`. All int64.

    `edges` holds the numbers of the edges in their relation's table, where time and weight are found.
    """

    indptr: NDArray[np.int64]
    rows: NDArray[np.int64]
    edges: NDArray[np.int64]

    @classmethod
    def empty(cls, n: int) -> Ragged:
        none = np.zeros(0, np.int64)
        return cls(np.zeros(n + 1, np.int64), none, none)

    @classmethod
    def of(cls, owner: NDArray[np.int64], rows: NDArray[np.int64], n: int, edges: NDArray | None = None) -> Ragged:
        """From parallel columns: `owner[j]` in [0, n) is the list that `rows[j]` belongs to; order within a list is kept."""
        order = np.argsort(owner, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n))]).astype(np.int64)
        edges = np.full(len(rows), -1, np.int64) if edges is None else edges
        return cls(indptr, rows[order].astype(np.int64), edges[order].astype(np.int64))

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.diff(self.indptr)

    @property
    def owner(self) -> NDArray[np.int64]:
        """For every row, the number of the list it is in."""
        if len(self.indptr) == 2:  # one query, as a service is asked: dozens of times an answer
            return np.zeros(len(self.rows), np.int64)
        return np.repeat(np.arange(len(self.indptr) - 1), self.counts)

    def keep(self, mask: NDArray[np.bool_]) -> Ragged:
        """Only the rows for which `mask` holds."""
        total = np.concatenate([[0], np.cumsum(mask)])
        return Ragged(total[self.indptr], self.rows[mask], self.edges[mask])

    def among(self, others: Ragged) -> NDArray[np.bool_]:
        """(len(rows),) which of the rows are in the other lists of the same number too."""
        width = max(self.rows.max(initial=0), others.rows.max(initial=0)) + 1
        return np.isin(self.owner * width + self.rows, others.owner * width + others.rows)

    def last(self, n: int) -> Ragged:
        """At most the last n of every list."""
        starts = np.maximum(self.indptr[:-1], self.indptr[1:] - n)
        return self.keep(np.arange(len(self.rows)) >= np.repeat(starts, self.counts))

    def take(self, index: NDArray[np.int64]) -> Ragged:
        """The lists numbered by `index`, in that order."""
        flat, indptr = ranges(self.indptr[:-1][index], self.indptr[1:][index])
        return Ragged(indptr, self.rows[flat], self.edges[flat])


def distinct(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each key once, in order: np.unique without its table of hashes, which takes ten times as long for a million keys."""
    keys = np.sort(keys)
    new = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return keys[new]


def ranges(starts: NDArray, ends: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All positions of the ranges [start, end), end to end, and their indptr."""
    counts = ends - starts
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts), indptr
