"""Gradient-free vectors of whole kinds, by row: what a fusion reads of neighbours, once per version of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from kgrec_core.encoder.table import Table
from kgrec_core.graph import Graph, Nodes
from kgrec_core.interfaces import Encoder
from kgrec_core.stored import numbers

NEVER = np.iinfo(np.int64).min  # before all times
BLOCK = 1024  # nodes of a pass


class Kept:
    """Never changed: `refreshed` gives another one. A vector is what is true at all times: no dated edge is known to it."""

    def __init__(self, tables: Mapping[str, Table] | None = None) -> None:
        self.tables = dict(tables or {})

    def refreshed(self, encoder: Encoder, graph: Graph, kinds: Iterable[str], new: Mapping[str, NDArray[np.int64]] | None) -> Kept:
        """As `Encoder.refresh`: of all rows, or of the new ones alone where the others are known."""
        tables = dict(self.tables)
        for kind in kinds:
            if new is None or kind not in tables:
                tables[kind] = Table.of(encoded(encoder, graph, kind, np.arange(graph.size(kind))))
            elif len(rows := np.unique(new.get(kind, ())).astype(np.int64)):
                tables[kind] = tables[kind].changed(rows, encoded(encoder, graph, kind, rows))
        return Kept(tables)

    def take(self, encoder: Encoder, graph: Graph, kind: str, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, dim) of rows; what is in no table is encoded now."""

        def unknown(rows: NDArray[np.int64]) -> torch.Tensor:
            return encoded(encoder, graph, kind, rows)

        return self.tables[kind].take(rows, unknown) if kind in self.tables else unknown(rows)

    def moved(self, to: Callable[[torch.Tensor], torch.Tensor]) -> Kept:
        return Kept({kind: table.moved(to) for kind, table in self.tables.items()})

    def save(self, file: Path) -> None:
        state = {}
        for kind, table in self.tables.items():
            rows = np.arange(max([len(table.base), *(table.late + 1)]))
            whole = table.take(rows, lambda gone, like=table.base: like.new_zeros(len(gone), like.shape[1]))
            state[kind] = whole.detach().cpu().contiguous()
        save_file(state, file)

    @classmethod
    def load(cls, file: Path, dim: int) -> Kept:
        """Raises ValueError, OSError or SafetensorError where the file is damaged."""
        state = load_file(file)
        return cls({kind: Table.of(torch.from_numpy(numbers(vectors.numpy(), (None, dim)))) for kind, vectors in state.items()})


def encoded(encoder: Encoder, graph: Graph, kind: str, rows: NDArray[np.int64]) -> torch.Tensor:
    """(n, dim) as candidates that know no dated edge."""
    nodes = Nodes(graph, kind, rows, "candidate", np.full(len(rows), NEVER))
    with still(encoder):
        return torch.cat([encoder(block) for block in nodes.blocks(BLOCK)])


@contextmanager
def still(encoder: Encoder) -> Iterator[None]:
    """Without gradients and dropout."""
    training = encoder.training
    if training:
        encoder.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if training:
            encoder.train()
