"""A graph's edges as triples of numbers: what entity embeddings are learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Graph, Relation


@dataclass(frozen=True, eq=False)
class Triples:
    """source, relation, target: (n,) int64; every triple once. Entities are numbered through all kinds.

    starts: kind -> number of its row 0. size: how many entities. relations: by number.
    """

    source: NDArray[np.int64]
    relation: NDArray[np.int64]
    target: NDArray[np.int64]
    starts: Mapping[str, int]
    size: int
    relations: tuple[Relation, ...]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: NDArray) -> Triples:
        return replace(self, source=self.source[index], relation=self.relation[index], target=self.target[index])

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(size,) which entities are in a triple."""
        found = np.zeros(self.size, bool)
        found[self.source] = found[self.target] = True
        return found


def triples(graph: Graph, relations: Iterable[Relation]) -> Triples:
    """Those of the named relations, in the order of the graph's tables; dates and weights are left out."""
    named = tuple(r for r in relations if r in graph.relations)
    kinds = sorted({kind for r in named for kind in (r.source, r.target)})
    starts = dict(zip(kinds, np.cumsum([0, *map(graph.size, kinds)]).tolist(), strict=False))
    columns: list[NDArray[np.int64]] = []
    for number, relation in enumerate(named):
        table = graph.relations[relation].select("source", "target").drop_nulls().unique(maintain_order=True)
        source, target = (table[end].to_numpy().astype(np.int64) for end in ("source", "target"))
        columns.append(np.stack([source + starts[relation.source], np.full(len(table), number), target + starts[relation.target]]))
    source, relation_of, target = np.concatenate(columns, 1) if columns else np.zeros((3, 0), np.int64)
    return Triples(source, relation_of, target, starts, sum(map(graph.size, kinds)), named)
