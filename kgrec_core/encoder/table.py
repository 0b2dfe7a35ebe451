"""Gradient-free vectors by row: one matrix, and beside it the few rows that came or changed since it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Table(NamedTuple):
    """Never changed; an edit gives another one that shares the matrix.

    base: (size, dim) vectors of the first rows. late: (m,) int64, ascending, the rows whose vectors stand in `fresh`, (m, dim), instead.
    """

    base: torch.Tensor
    late: NDArray[np.int64]
    fresh: torch.Tensor

    @classmethod
    def of(cls, vectors: torch.Tensor) -> Table:
        return cls(vectors, np.zeros(0, np.int64), vectors[:0])

    def changed(self, rows: NDArray[np.int64], vectors: torch.Tensor) -> Table:
        """With other vectors of some rows, which are distinct; what it costs does not depend on the matrix."""
        kept = ~np.isin(self.late, rows)
        late, fresh = np.concatenate([self.late[kept], rows]), torch.cat([self.fresh[torch.from_numpy(kept)], vectors])
        order = np.argsort(late)
        return Table(self.base, late[order], fresh[torch.from_numpy(order)])

    def is_late(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether a row's vector is not in the matrix: it came later, or nobody has given it yet."""
        return (rows >= len(self.base)) | np.isin(rows, self.late)

    def take(self, rows: NDArray[np.int64], unknown: Callable[[NDArray[np.int64]], torch.Tensor]) -> torch.Tensor:
        """(n, dim) vectors of rows. unknown(rows) -> vectors is asked for those that the table has not."""
        late = self.is_late(rows)
        if not late.any():
            return self.base[torch.from_numpy(rows)]
        out = self.base.new_zeros(len(rows), self.base.shape[1])
        out[torch.from_numpy(~late)] = self.base[torch.from_numpy(rows[~late])]
        place = np.minimum(np.searchsorted(self.late, rows), max(0, len(self.late) - 1))
        have = late & (self.late[place] == rows if len(self.late) else False)
        out[torch.from_numpy(have)] = self.fresh[torch.from_numpy(place[have])]
        if (late & ~have).any():
            out[torch.from_numpy(late & ~have)] = unknown(rows[late & ~have])
        return out

    def sums(self, rows: NDArray[np.int64], indptr: NDArray[np.int64], weights: NDArray[np.float32]) -> torch.Tensor:
        """(n, dim) weighted sum of each list of rows of the matrix, list i being rows[indptr[i]:indptr[i + 1]]."""
        device = self.base.device
        index, bounds, weighed = (torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (rows, indptr, weights))
        return torch.nn.functional.embedding_bag(index, self.base, bounds, mode="sum", per_sample_weights=weighed, include_last_offset=True)

    def moved(self, to: Callable[[torch.Tensor], torch.Tensor]) -> Table:
        return Table(to(self.base), self.late, to(self.fresh))
