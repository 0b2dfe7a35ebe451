"""`history`: around any encoder of items; a query is read through what it met, and by its own text.

[encoder]
use = "history"
pooling = "mean"
[encoder.items]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core.encoder.pooling import Pool, Pooling
from kgrec_core.encoder.table import Table
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Ragged, Relation, Task, histories
from kgrec_core.interfaces import Encoder
from kgrec_core.stored import document, numbers

NEVER = np.iinfo(np.int64).min  # before all times


class History(Encoder):
    """A candidate is what `items` makes of it; a query the pooled vectors of its earlier targets, and its own vector beside them.

    Each block of a vector (see `Encoder.blocks`) is pooled to its own length, so that the parts of a fusion keep their shares. Items
    are read from a table, refreshed once per weight version, but for the latest `live` while training. They are encoded knowing none
    of the tasks' edges and no dated one: a table cannot know what each of its readers may know.

    items: the encoder of what is met. pooling: how its vectors become one; decay: weight of each step back; last: how many are read.
    live: how many of the latest get gradients. own: weight of the query's own vector beside its history; learned from there where
        both are read and `items` learns.
    """

    def __init__(
        self, *, items: Encoder, pooling: Pooling = "recency", decay: float = 0.85, last: int = 50, live: int = 3, own: float = 0.5
    ) -> None:
        super().__init__()
        self.items, self.pooling, self.decay, self.last, self.live, self.own = items, pooling, decay, last, live, own
        self.tables_: dict[str, Table] = {}
        self.told_: set[str] = set()  # the kinds of which anything is known: others take no place in a history
        self.lengths_ = torch.zeros(0)  # of the blocks, as the tables have them

    @classmethod
    def moved(cls, key: str, place: str) -> str:
        """What to write instead of a key of the encoder that this one stands around."""
        return f"what it stands around is set below [{place}.items], e.g. {place}.items.{key}"

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

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        self.items.prepare(graph, tasks)
        read = {task.relation.source: list(histories(tasks, task.relation.source)) for task in tasks}
        self._assemble(read, list(dict.fromkeys([t.relation.target for t in tasks] + [r.target for rs in read.values() for r in rs])))
        learns = any(p.requires_grad for p in self.items.parameters())
        self.own_.requires_grad_(learns and any("text" in graph.columns(kind) for kind in read))

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
        self.items.refresh(graph, new)
        whole = new is None or not self.tables_
        with self._still():
            self.lengths_ = _lengths(self.items, self.own_.device)
            changed = {
                kind: np.arange(graph.size(kind)) if whole else np.unique(new.get(kind, ())).astype(np.int64) for kind in self.kinds_
            }
            found = {kind: self._encoded(graph, kind, rows) for kind, rows in changed.items() if whole or len(rows)}
        self.told_ = (set() if whole else self.told_) | {kind for kind, vectors in found.items() if vectors.any()}
        self.tables_ = {**self.tables_, **{k: Table.of(v) if whole else self.tables_[k].changed(changed[k], v) for k, v in found.items()}}

    def save(self, folder: Path) -> None:
        """The items in items/; beside it the pooling's weights, the share of the own vector and the table."""
        (folder / "items").mkdir(parents=True, exist_ok=True)
        self.items.save(folder / "items")
        state = {f"pool.{k}": v for k, v in self.pool_.state_dict().items()} | {"own": self.own_.detach()}
        for kind, table in self.tables_.items():
            rows = np.arange(max([len(table.base), *(table.late + 1)]))
            state[f"table.{kind}"] = table.take(rows, lambda gone: self.own_.new_zeros(len(gone), self.dim))
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, folder / "history.safetensors")
        (folder / "history.json").write_text(json.dumps({"read": self.read_, "kinds": self.kinds_, "told": sorted(self.told_)}))

    def load(self, folder: Path) -> None:
        self.items.load(folder / "items")
        try:
            kept, state = document(folder / "history.json"), load_file(folder / "history.safetensors")
            self._assemble({kind: [Relation(*r) for r in relations] for kind, relations in kept["read"].items()}, kept["kinds"])
            self.pool_.load_state_dict({k.removeprefix("pool."): v for k, v in state.items() if k.startswith("pool.")})
            self.own_.data.copy_(state["own"])
            for kind in self.kinds_:
                numbers(state[f"table.{kind}"].numpy(), (None, self.dim))
            self.tables_, self.told_ = {kind: Table.of(state[f"table.{kind}"]) for kind in self.kinds_}, set(map(str, kept["told"]))
        except (OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError, SafetensorError) as error:
            raise KgrecError(f"{folder} is no saved history encoder or is damaged ({error}); fit again or restore the folder") from error
        self.eval()
        self.lengths_ = _lengths(self.items, self.own_.device)

    def _apply(self, fn, recurse: bool = True):
        """As of any module: the tables go where the weights go."""
        super()._apply(fn, recurse)
        self.tables_, self.lengths_ = {kind: table.moved(fn) for kind, table in self.tables_.items()}, fn(self.lengths_)
        return self

    # --- how --------------------------------------------------------------------------------------------------------
    def _assemble(self, read: dict[str, list[Relation]], kinds: list[str]) -> None:
        self.read_, self.kinds_ = read, kinds
        self.pool_ = Pool(self.pooling, self.dim, self.decay, self.last)
        self.own_ = nn.Parameter(torch.tensor(self.own))

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Without gradients and dropout."""
        training = self.training
        if training:
            self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            if training:
                self.train()

    def _encoded(self, graph: Graph, kind: str, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, dim) of items by what is true of them at all times."""
        nodes = Nodes(graph, kind, rows, "candidate")
        if self.items.reads_edges:
            tasks = {r for relations in self.read_.values() for r in relations if r in graph.relations and kind in (r.source, r.target)}
            hide = {r: nodes.read(r) for r in tasks if not graph.dated(r)}
            nodes = Nodes(graph, kind, rows, "candidate", np.full(len(rows), NEVER), hide)
        return self.items(nodes)

    def _known(self, graph: Graph, kind: str, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, dim) of items without gradients."""

        def unknown(rows: NDArray[np.int64]) -> torch.Tensor:
            with self._still():
                return self._encoded(graph, kind, rows)

        return self.tables_[kind].take(rows, unknown) if kind in self.tables_ else unknown(rows)

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
