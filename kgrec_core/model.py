"""Encoder and heads together: nodes in, the vectors that are indexed and compared out, computed once per weights and graph."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core import devices
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encode, Encoder, Head, Vectors

BLOCK = 1024  # nodes of one forward pass without gradients
SOME = 16  # queries that must not all be nothing
KEPT = 2**29  # bytes of vector sets that stay in memory; the latest stays whatever it takes
ALIVE = 2**23  # what a kept set counts beside its vectors: it keeps its graph alive


Weights = list[dict[str, torch.Tensor]]  # of the encoder and each head


class Model:
    """An encoder and a head per task, on this process's device. Reading is thread-safe once `refresh` was called."""

    def __init__(self, encoder: Encoder, heads: Mapping[str, Head], tasks: tuple[Task, ...]) -> None:
        self.encoder, self.heads, self.tasks, self.device = encoder, heads, tasks, devices.device()
        self._kept: OrderedDict[Any, tuple[Graph, Vectors]] = OrderedDict()
        self._keeping = Lock()
        self._place()

    def prepare(self, graph: Graph) -> Model:
        """Learn vocabularies from the training view's graph, then encode what is read again and again."""
        self.encoder.prepare(graph, self.tasks)
        for task in self.tasks:
            self.heads[task.name].prepare(graph, task, self.encoder.dim)
        self._place()
        self.refresh(graph)
        for task in self.tasks:
            self._check_read(graph, task)
            if hasattr(self.heads[task.name], "start") and "text" in graph.columns(task.relation.target):
                every = Nodes(graph, task.relation.target, np.arange(graph.size(task.relation.target)), "candidate")
                with torch.no_grad():
                    self.heads[task.name].start(self.encoder(every))
        return self

    def _check_read(self, graph: Graph, task: Task) -> None:
        """Raise KgrecError where the encoder makes nothing of sources without texts: what they met is read by `history` alone."""
        kind, rows = task.relation.source, graph.relations[task.relation]["source"].drop_nulls()[:SOME].to_numpy().astype(np.int64)
        if len(rows) and "text" not in graph.columns(kind):
            with torch.no_grad():
                if not self.encoder(Nodes(graph, kind, rows, "query")).any():
                    raise KgrecError(
                        f"task {task.name}: a {kind} has no text, and the encoder does not read what it met; put `history` around it: "
                        '[encoder] use = "history", and what stood in [encoder] as [encoder.items]'
                    )

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> Model:
        """After the weights or the graph changed (see `Encoder.refresh`): old vectors are forgotten."""
        self.encoder.eval()
        for head in self.heads.values():
            head.eval()
        self.encoder.refresh(graph, new)
        with self._keeping:
            self._kept.clear()
        return self

    def weights(self) -> Weights:
        """A copy, on the CPU, of what fine-tuning may change: parameters that learn, and buffers. See `restore`."""
        found = []
        for part in (self.encoder, *self.heads.values()):
            frozen = {name for name, p in part.named_parameters(remove_duplicate=False) if not p.requires_grad}
            found.append({name: t.detach().to("cpu", copy=True) for name, t in part.state_dict().items() if name not in frozen})
        return found

    def restore(self, weights: Weights) -> None:
        """As it was when `weights` were taken; `refresh` is to follow."""
        for part, of in zip((self.encoder, *self.heads.values()), weights, strict=True):
            part.load_state_dict(of, strict=False)

    def encode(self, task: Task) -> Encode:
        """`encode(nodes) -> (n, d)` float32 of one task, memoised."""
        return lambda nodes: self.vectors(task, nodes)

    def vectors(self, task: Task, nodes: Nodes) -> Vectors:
        """(n, d) float32 on the CPU; the same array where the same nodes were asked for before."""
        limit = None if nodes.before is None else nodes.before.tobytes()
        hidden = None if nodes.hide is None else tuple((r, h.indptr.tobytes(), h.rows.tobytes()) for r, h in nodes.hide.items())
        key = (task.name, nodes.kind, nodes.side, id(nodes.graph), hash(nodes.rows.tobytes()), len(nodes), hash(limit), hash(hidden))
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
        found = self._compute(self.heads[task.name], nodes)
        with self._keeping:
            self._kept[key] = nodes.graph, found  # the graph is kept so that its id stays taken
            while len(self._kept) > 1 and sum(v.nbytes + ALIVE for _, v in self._kept.values()) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _compute(self, head: Head, nodes: Nodes) -> Vectors:
        with torch.inference_mode():
            if nodes.side == "candidate" and not head.encodes_candidates:
                return head.project(None, nodes).float().cpu().numpy()
            parts = (head.project(self.encoder(block).to(self.device), block) for block in nodes.blocks(BLOCK))
            return np.concatenate([part.float().cpu().numpy() for part in parts])

    def _place(self) -> None:
        for part in (self.encoder, *self.heads.values()):
            part.to(self.device)


class Silent(Model):
    """In place of a model where no part reads vectors: they are all the same."""

    def __init__(self, tasks: tuple[Task, ...]) -> None:
        super().__init__(Encoder(), {}, tasks)

    def prepare(self, graph: Graph) -> Model:
        return self

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> Model:
        return self

    def vectors(self, task: Task, nodes: Nodes) -> Vectors:
        return np.zeros((len(nodes), 1), np.float32)
