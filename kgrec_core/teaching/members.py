"""Who teaches where `train.teacher.model = "members"`: what the fits of an ensemble learned, as weights of the model that they taught, and the
vectors of an encoder as it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core.encoder.kept import still
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Encoder, Vectors
from kgrec_core.model import Model, Weights

BLOCK = 512  # nodes of a pass


class Members:
    """One model that takes each member's weights in turn, and has its own again afterwards; a score is the mean of theirs, as in `Ensemble`."""

    texts_alone = False

    def __init__(self, model: Model, members: Sequence[Weights]) -> None:
        self.model, self.members, self.graph = model, members, None

    def on(self, graph: Graph) -> None:
        self.graph = graph

    def classes(self, task: Task, graph: Graph, rows: NDArray[np.int64]) -> Vectors | None:
        if not self.classifies(task):
            return None
        return self._each(lambda: self.model.vectors(task, Nodes(graph, task.relation.target, rows, "candidate")))

    def classifies(self, task: Task) -> bool:
        return not self.model.heads[task.name].encodes_candidates

    def ranks(self, task: Task, graph: Graph) -> bool:
        return not self.classifies(task)

    def projected(self, task: Task, nodes: Nodes) -> Vectors:
        return self._each(lambda: self.model.vectors(task, nodes))

    def vectors(self, nodes: Nodes) -> Vectors:
        return self._each(lambda: encoded(self.model.encoder, nodes))

    def _each(self, ask: Callable[[], Vectors]) -> Vectors:
        own, said = self.model.weights(), []
        try:
            for weights in self.members:
                self._put(weights)
                said.append(ask())
        finally:
            self._put(own)
        return np.concatenate(said, axis=1) * len(self.members) ** -0.5

    def _put(self, weights: Weights) -> None:
        self.model.restore(weights)
        self.model.refresh(self.graph)


def encoded(encoder: Encoder, nodes: Nodes) -> Vectors:
    """(n, D) of length one, without gradients; the mode of the encoder stays as it is."""
    with still(encoder):
        found = torch.cat([encoder(block) for block in nodes.blocks(BLOCK)])
        return torch.nn.functional.normalize(found.float(), dim=1).cpu().numpy()
