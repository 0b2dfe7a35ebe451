"""`propagate`: around an encoder of texts; vectors spread along who met what, so that what the same people choose lies together.

[encoder]
use = "propagate"
[encoder.text]
use = "text"
model = "sentence-transformers/all-MiniLM-L6-v2"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.encoder.facts import behaviours, facts
from kgrec_core.encoder.fusion import Fusion, named
from kgrec_core.encoder.kept import Kept
from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Nodes, Relation, Task
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.ranges import Count


class Propagate(Fusion):
    """text + one learned share of each layer: the first is the mean of the neighbours' texts, the second that of what these
    neighbours' neighbours are, both by 1 / sqrt(edges) at either end (LightGCN, He et al. 2020, started from texts instead of free
    vectors). The shares start at zero.

    A node reads what it may know: edges before its time, none that are hidden from it. In training a candidate's time is that of the
    batch's earliest query, or its own edges of the batch are hidden, so that no vector has seen the edge that is asked for; the second
    layer leads on from there alone. In the tables of a history, whose readers may not know the same, items are their texts.

    text: the encoder that it stands around. layers: how far. last: at most so many of the latest edges of a node and relation.
    """

    def __init__(self, *, text: Encoder, layers: Literal[1, 2] = 2, last: Count = 20) -> None:
        super().__init__()
        self.text, self.layers, self.last = text, layers, last
        self.kept_ = Kept()

    reads_edges = True

    def learn(self, graph: Graph, tasks: Sequence[Task]) -> dict[str, Any]:
        return {"relations": named(behaviours(tasks))}

    def assemble(self, settings: dict[str, Any]) -> None:
        self.relations_ = [Relation(*map(str, names)) for names in settings["relations"]]
        self.shares_ = nn.Parameter(torch.zeros(self.layers))

    def forward(self, nodes: Nodes) -> torch.Tensor:
        fused = text = self.text(nodes)
        for number in range(self.layers):
            layer = nn.functional.normalize(self._spread(nodes, number + 1), dim=1).to(text.device)
            fused = fused + self.shares_[number] * layer
        return self.as_long(fused, text)

    def refresh(self, graph: Graph, new: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        super().refresh(graph, new)
        kinds = dict.fromkeys(kind for r in self.relations_ for kind in (r.source, r.target))
        self.kept_ = self.kept_.refreshed(self.text, graph, kinds, new)

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.kept_.save(folder / "texts.safetensors")

    def load(self, folder: Path) -> None:
        super().load(folder)
        with damage(f"{folder} is no saved fusion 'propagate' or is damaged"):
            self.kept_ = Kept.load(folder / "texts.safetensors", self.text.dim)

    def _apply(self, fn, recurse: bool = True):
        """As of any module: the tables go where the weights go."""
        super()._apply(fn, recurse)
        self.kept_ = self.kept_.moved(fn)
        return self

    @torch.no_grad()
    def _spread(self, nodes: Nodes, steps: int) -> torch.Tensor:
        """(n, dim) what comes to the nodes from `steps` edges away; of none, their texts."""
        if steps == 0:
            return self.kept_.take(self.text, nodes.graph, nodes.kind, nodes.rows)
        total = torch.zeros(len(nodes), self.dim, device=self.shares_.device)
        met = facts(nodes, [r for r in self.relations_ if r in nodes.graph.relations], self.last)
        before = None if nodes.before is None else nodes.before[met.owner]
        known = [r for r in self.relations_ if r in nodes.graph.relations]
        for number in np.unique(met.relation):
            for onward in (True, False):
                of = np.flatnonzero((met.relation == number) & (met.onward == onward))
                if not len(of):
                    continue
                relation, limit = known[number], None if before is None else before[of]
                kind, side = (relation.target, "candidate") if onward else (relation.source, "query")
                # The same end at the same moment is asked once.
                keys = met.rows[of][:, None] if limit is None else np.stack([met.rows[of], limit], 1)
                distinct, place = np.unique(keys, axis=0, return_inverse=True)
                ends = Nodes(nodes.graph, kind, distinct[:, 0], side, None if limit is None else distinct[:, 1])
                edges = nodes.graph.degree(relation, ends.rows, ends.before, inverse=onward)
                vectors = self._spread(ends, steps - 1).to(total.device)
                vectors = vectors * torch.from_numpy(np.maximum(edges, 1) ** -0.5).float().to(total.device)[:, None]
                owner, which = (torch.from_numpy(x).to(total.device) for x in (met.owner[of], place.ravel()))
                indptr = torch.searchsorted(owner, torch.arange(len(nodes), device=total.device))
                total += nn.functional.embedding_bag(which, vectors, indptr, mode="sum")
        return total
