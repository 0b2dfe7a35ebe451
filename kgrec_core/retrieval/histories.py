"""What sources met, as features to learn from: rare things count more, rows have length one for each relation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Nodes, Relation
from kgrec_core.retrieval.profile import matrix, profile, rarity, unit_rows


@dataclass(frozen=True, eq=False)
class Met:
    """The relations' targets side by side. rarity: (all of them,) their inverse document frequency; widths: how many each relation has."""

    relations: Sequence[Relation]
    rarity: NDArray[np.float32]
    widths: NDArray[np.int64]
    now: int

    @classmethod
    def of(cls, graph: Graph, relations: Sequence[Relation], now: int) -> Self:
        every = [rarity(matrix(graph, relation, now)) for relation in relations]
        return cls(relations, np.concatenate(every), np.array([len(of) for of in every], np.int64), now)

    def __call__(self, nodes: Nodes) -> sp.csr_matrix:
        """(n, targets) of what the nodes met, once each, as far as they may know it."""
        blocks = []
        for relation, width, rare in zip(self.relations, self.widths, np.split(self.rarity, np.cumsum(self.widths)[:-1]), strict=True):
            met = profile(nodes, relation, int(width), self.now)
            met.sum_duplicates()
            met.data = rare[met.indices]
            blocks.append(unit_rows(met))
        return sp.hstack(blocks).tocsr().astype(np.float32)
