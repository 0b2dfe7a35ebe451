"""Item-to-item weights as CSR matrices: what is kept of each row, and how they are written to a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.stored import csr


def largest(m: sp.csr_matrix, keep: int) -> sp.csr_matrix:
    """Only the `keep` largest values of every row, by magnitude."""
    counts, kept = np.diff(m.indptr), m.data != 0
    for row in np.flatnonzero(counts > keep):
        values = np.abs(m.data[m.indptr[row] : m.indptr[row + 1]])
        kept[m.indptr[row] + np.argpartition(values, len(values) - keep)[: len(values) - keep]] = False
    indptr = np.concatenate([[0], np.cumsum(kept)])[m.indptr]
    return sp.csr_matrix((m.data[kept], m.indices[kept], indptr), shape=m.shape)


def flat(values: dict[str, Any]) -> dict[str, NDArray]:
    """Arrays under their name; a CSR matrix as four of them."""
    out = {}
    for name, value in values.items():
        if sp.issparse(value):
            out |= {f"{name}.{part}": getattr(value, part) for part in ("data", "indices", "indptr")}
            out[f"{name}.shape"] = np.array(value.shape)
        else:
            out[name] = np.ascontiguousarray(value)
    return out


def unflat(values: dict[str, NDArray], name: str) -> Any:
    """The array or matrix of that name. Raises ValueError where a matrix' indices leave it."""
    if name in values:
        return values[name]
    return csr(*(values[f"{name}.{part}"] for part in ("data", "indices", "indptr", "shape")))
