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

    starts: kind -> number of its row 0. size: how many entities. relations: by number. weight: (n,) float32, how sure each is; None = all alike.
    """

    source: NDArray[np.int64]
    relation: NDArray[np.int64]
    target: NDArray[np.int64]
    starts: Mapping[str, int]
    size: int
    relations: tuple[Relation, ...]
    weight: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: NDArray) -> Triples:
        weight = None if self.weight is None else self.weight[index]
        return replace(self, source=self.source[index], relation=self.relation[index], target=self.target[index], weight=weight)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(size,) which entities are in a triple."""
        found = np.zeros(self.size, bool)
        found[self.source] = found[self.target] = True
        return found


def triples(graph: Graph, relations: Iterable[Relation]) -> Triples:
    """Those of the named relations, in the order of the graph's tables, with the weights of knowledge; how much was bought is none."""
    named = tuple(r for r in relations if r in graph.relations)
    kinds = sorted({kind for r in named for kind in (r.source, r.target)})
    starts = dict(zip(kinds, np.cumsum([0, *map(graph.size, kinds)]).tolist(), strict=False))
    columns: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float32]] = []
    for number, relation in enumerate(named):
        sure = relation in graph.timeless and "weight" in graph.relations[relation].columns
        table = graph.relations[relation].drop_nulls(["source", "target"])
        if sure:
            table = table.sort("weight", descending=True, nulls_last=True, maintain_order=True)
        table = table.unique(["source", "target"], keep="first", maintain_order=True)
        weights.append(
            table["weight"].fill_nan(None).fill_null(1.0).to_numpy().astype(np.float32) if sure else np.ones(len(table), np.float32)
        )
        source, target = (table[end].to_numpy().astype(np.int64) for end in ("source", "target"))
        columns.append(np.stack([source + starts[relation.source], np.full(len(table), number), target + starts[relation.target]]))
    source, relation_of, target = np.concatenate(columns, 1) if columns else np.zeros((3, 0), np.int64)
    weight = np.concatenate(weights) if any((of != 1).any() for of in weights) else None
    return Triples(source, relation_of, target, starts, sum(map(graph.size, kinds)), named, weight)
