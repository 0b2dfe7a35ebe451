"""`history`: around any encoder of items; a query is read through what it met, and by its own text.

[encoder]
use = "history"
pooling = "mean"
[encoder.items]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.encoder.kept import still
from kgrec_core.encoder.pooling import Pool, Pooling
from kgrec_core.encoder.reading import Reading
from kgrec_core.graph import Graph, Nodes, Ragged, Relation
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.ranges import Count, Share


class History(Reading):
    """A candidate is what `items` makes of it; a query the pooled vectors of its earlier targets, and its own vector beside them.

    Each block of a vector (see `Encoder.blocks`) is pooled to its own length, so that the parts of a fusion keep their shares. Items
    are read from a table, refreshed once per weight version, but for the latest `live` while training. They are encoded knowing none
    of the tasks' edges and no dated one: a table cannot know what each of its readers may know.

    items: the encoder of what is met. pooling: how its vectors become one; decay: weight of each step back; last: how many are read.
    live: how many of the latest get gradients. own: weight of the query's own vector beside its history; learned from there where
        both are read and `items` learns.
    """

    def __init__(
        self, *, items: Encoder, pooling: Pooling = "recency", decay: Share = 0.85, last: Count = 50, live: Count = 3, own: Share = 0.5
    ) -> None:
        super().__init__(items, own)
        self.pooling, self.decay, self.last, self.live = pooling, decay, last, live
        self.lengths_ = torch.zeros(0)  # of the blocks, as the tables have them

    def without_language_model(self) -> Encoder | None:
        items = self.items.without_language_model()
        if items is None or items is self.items:
            return self if items is not None else None
        return History(items=items, pooling=self.pooling, decay=self.decay, last=self.last, live=self.live, own=self.own)

    # --- the contract -----------------------------------------------------------------------------------------------
    @property
    def dim(self) -> int:
        return self.items.dim

    @property
    def blocks(self) -> tuple[tuple[int, float], ...]:
        return self.items.blocks

    def forward(self, nodes: Nodes) -> torch.Tensor:
        if nodes.side == "candidate" and not (self.training or torch.is_grad_enabled() or self.items.reads_edges):
            return self._known(nodes.graph, nodes.kind, nodes.rows)
        own = self.items(nodes)
        relations = self.read_.get(nodes.kind, []) if nodes.side == "query" else []
        relations = [r for r in relations if r in nodes.graph.relations and r.target in self.told_]
        if not relations:
            return own
        parts, pooled = [], self._pooled(nodes, relations)
        widths = [width for width, _ in self.items.blocks]
        for mine, met, (_, length) in zip(own.split(widths, 1), pooled.split(widths, 1), self.items.blocks, strict=True):
            mine, met = nn.functional.normalize(mine, dim=1), nn.functional.normalize(met, dim=1)
            said, seen = mine.detach().any(1), met.detach().any(1)
            share = torch.where(said & seen, self.own_, said.float())[:, None]  # no gradient from those that have only one of the two
            parts.append(length * nn.functional.normalize(share * mine + (1 - share) * met, dim=1))
        return torch.cat(parts, 1)

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        super().refresh(graph, new)
        with still(self):
            self.lengths_ = _lengths(self.items, self.own_.device)

    def load(self, folder: Path) -> None:
        super().load(folder)
        self.lengths_ = _lengths(self.items, self.own_.device)

    # --- how --------------------------------------------------------------------------------------------------------
    def _assemble(self, read: dict[str, list[Relation]], kinds: list[str]) -> None:
        super()._assemble(read, kinds)
        self.pool_ = Pool(self.pooling, self.dim, self.decay, self.last)

    def _learned(self) -> dict[str, torch.Tensor]:
        return super()._learned() | {f"pool.{k}": v for k, v in self.pool_.state_dict().items()}

    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        super()._restore(state)
        self.pool_.load_state_dict({k.removeprefix("pool."): v for k, v in state.items() if k.startswith("pool.")})

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        self.lengths_ = fn(self.lengths_)
        return self

    def _met(self, nodes: Nodes, relations: Sequence[Relation]) -> Ragged:
        """The latest `last` ends over all relations, oldest first; `edges` numbers the relation each comes through."""
        parts = [nodes.read(r, self.last) for r in relations]
        if len(parts) == 1:
            return Ragged(parts[0].indptr, parts[0].rows, np.zeros(len(parts[0].rows), np.int64))
        dated = [nodes.graph.dated(r) for r in relations]
        times = [
            nodes.graph.values(r, "time", p.edges) if d else np.zeros(len(p.rows)) for r, p, d in zip(relations, parts, dated, strict=True)
        ]
        owner, rows = np.concatenate([p.owner for p in parts]), np.concatenate([p.rows for p in parts])
        which = np.repeat(np.arange(len(parts)), [len(p.rows) for p in parts])
        order = np.lexsort((np.concatenate(times), owner))
        return Ragged.of(owner[order], rows[order], len(nodes), which[order]).last(self.last)

    def _pooled(self, nodes: Nodes, relations: Sequence[Relation]) -> torch.Tensor:
        """(n, dim) weighted sums of what the nodes met, zero where that is nothing."""
        met, device = self._met(nodes, relations), self.own_.device
        if not len(met.rows):
            return torch.zeros(len(nodes), self.dim, device=device)
        age = met.indptr[1:][met.owner] - 1 - np.arange(len(met.rows))
        weight = (self.pool_.decay**age).astype(np.float32)
        live = (age < self.live) & self.training
        kind_of = np.array([r.target for r in relations])[met.edges]
        scale = _lengths(self.items, device) / self.lengths_.clamp_min(1e-12)  # while training, what learns nothing may be silent
        total, rest = torch.zeros(len(nodes), self.dim, device=device), np.ones(len(met.rows), bool)
        for kind in dict.fromkeys(r.target for r in relations) if self.pool_.block is None else ():
            summed = (kind_of == kind) & ~live & ~self.tables_[kind].is_late(met.rows)
            indptr = np.concatenate([[0], np.cumsum(np.bincount(met.owner[summed], minlength=len(nodes)))])
            total = total + self.tables_[kind].sums(met.rows[summed], indptr, weight[summed]) * scale
            rest &= ~summed
        if not rest.any():
            return total
        at = np.flatnonzero(rest)
        vectors = torch.zeros(len(at), self.dim, device=device)
        for kind in dict.fromkeys(kind_of[at]):
            for graded in (False, True):
                of = np.flatnonzero((kind_of[at] == kind) & (live[at] == graded))
                rows, place = np.unique(met.rows[at[of]], return_inverse=True)
                found = self._encoded(nodes.graph, kind, rows) if graded else self._known(nodes.graph, kind, rows) * scale
                vectors = vectors.index_copy(0, torch.from_numpy(of).to(device), found[torch.from_numpy(place).to(device)])
        owner, old, weighed = (torch.from_numpy(x[at]).to(device) for x in (met.owner, age, weight))
        return total.index_add(0, owner, self.pool_.attended(vectors, owner, old) * weighed[:, None])


def _lengths(items: Encoder, device: torch.device) -> torch.Tensor:
    """(dim,) the length of the block that each dimension is in."""
    blocks = items.blocks
    lengths = torch.tensor([length for _, length in blocks], dtype=torch.float32)
    return lengths.repeat_interleave(torch.tensor([width for width, _ in blocks])).to(device)
