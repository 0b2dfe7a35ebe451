"""What stands around an encoder of items and reads what a query met: the items' vectors wait in tables, read again and again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core.encoder.kept import NEVER, still
from kgrec_core.encoder.table import Table
from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Nodes, Relation, Task, histories
from kgrec_core.interfaces import Encoder
from kgrec_core.stored import document, numbers


class Reading(Encoder):
    """Base of `history` and `sequence`: items are read from a table, refreshed once per weight version.

    They are encoded knowing none of the tasks' edges and no dated one: a table cannot know what each of its readers may know.

    kept: numbers of a vector as the table keeps it. file: name of what is written beside the items.
    """

    file = "history"

    def __init__(self, items: Encoder, own: float) -> None:
        super().__init__()
        self.items, self.own = items, own
        self.tables_: dict[str, Table] = {}
        self.told_: set[str] = set()  # the kinds of which anything is known: others take no place in a history

    @classmethod
    def moved(cls, key: str, place: str) -> str:
        """What to write instead of a key of the encoder that this one stands around."""
        return f"what it stands around is set below [{place}.items], e.g. {place}.items.{key}"

    @property
    def kept(self) -> int:
        return self.items.dim

    def prepare(self, graph: Graph, tasks: Sequence[Task]) -> None:
        self.items.prepare(graph, tasks)
        read = {task.relation.source: list(histories(tasks, task.relation.source)) for task in tasks}
        self._assemble(read, list(dict.fromkeys([t.relation.target for t in tasks] + [r.target for rs in read.values() for r in rs])))
        self.own_.requires_grad_(self._learning() and any("text" in graph.columns(kind) for kind in read))

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        self.items.refresh(graph, new)
        whole = new is None or not self.tables_
        with still(self):
            changed = {
                kind: np.arange(graph.size(kind)) if whole else np.unique(new.get(kind, ())).astype(np.int64) for kind in self.kinds_
            }
            found = {kind: self._encoded(graph, kind, rows) for kind, rows in changed.items() if whole or len(rows)}
        self.told_ = (set() if whole else self.told_) | {kind for kind, vectors in found.items() if vectors.any()}
        self.tables_ = {**self.tables_, **{k: Table.of(v) if whole else self.tables_[k].changed(changed[k], v) for k, v in found.items()}}

    def save(self, folder: Path) -> None:
        """The items in items/; beside it what is learned above them and the table."""
        (folder / "items").mkdir(parents=True, exist_ok=True)
        self.items.save(folder / "items")
        state = self._learned()
        for kind, table in self.tables_.items():
            rows = np.arange(max([len(table.base), *(table.late + 1)]))
            state[f"table.{kind}"] = table.take(rows, lambda gone: self.own_.new_zeros(len(gone), self.kept))
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, folder / f"{self.file}.safetensors")
        (folder / f"{self.file}.json").write_text(json.dumps({"read": self.read_, "kinds": self.kinds_, "told": sorted(self.told_)}))

    def load(self, folder: Path) -> None:
        self.items.load(folder / "items")
        with damage(f"{folder} is no saved {self.file} encoder or is damaged"):
            kept, state = document(folder / f"{self.file}.json"), load_file(folder / f"{self.file}.safetensors")
            self._assemble({kind: [Relation(*r) for r in relations] for kind, relations in kept["read"].items()}, kept["kinds"])
            self._restore(state)
            for kind in self.kinds_:
                numbers(state[f"table.{kind}"].numpy(), (None, self.kept))
            self.tables_, self.told_ = {kind: Table.of(state[f"table.{kind}"]) for kind in self.kinds_}, set(map(str, kept["told"]))
        self.eval()

    # --- how --------------------------------------------------------------------------------------------------------
    def _assemble(self, read: dict[str, list[Relation]], kinds: list[str]) -> None:
        self.read_, self.kinds_ = read, kinds
        self.own_ = nn.Parameter(torch.tensor(self.own))

    def _learned(self) -> dict[str, torch.Tensor]:
        """What `_restore` takes: weights above the items."""
        return {"own": self.own_.detach()}

    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        self.own_.data.copy_(state["own"])

    def _apply(self, fn, recurse: bool = True):
        """As of any module: the tables go where the weights go."""
        super()._apply(fn, recurse)
        self.tables_ = {kind: table.moved(fn) for kind, table in self.tables_.items()}
        return self

    def _learning(self) -> bool:
        """Whether the items learn."""
        return any(p.requires_grad for p in self.items.parameters())

    def _encoded(self, graph: Graph, kind: str, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, kept) what the table keeps of items."""
        return self._told(self._said(graph, kind, rows))

    def _said(self, graph: Graph, kind: str, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, items.dim) of items by what is true of them at all times."""
        nodes = Nodes(graph, kind, rows, "candidate")
        if self.items.reads_edges:
            tasks = {r for relations in self.read_.values() for r in relations if r in graph.relations and kind in (r.source, r.target)}
            hide = {r: nodes.read(r) for r in tasks if not graph.dated(r)}
            nodes = Nodes(graph, kind, rows, "candidate", np.full(len(rows), NEVER), hide)
        return self.items(nodes)

    def _told(self, vectors: torch.Tensor) -> torch.Tensor:
        """(n, kept) what the table keeps of the items' vectors."""
        return vectors

    def _known(self, graph: Graph, kind: str, rows: NDArray[np.int64]) -> torch.Tensor:
        """(n, kept) of items without gradients."""

        def unknown(rows: NDArray[np.int64]) -> torch.Tensor:
            with still(self):
                return self._encoded(graph, kind, rows)

        return self.tables_[kind].take(rows, unknown) if kind in self.tables_ else unknown(rows)
