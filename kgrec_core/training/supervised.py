"""`supervised`: every task's own edges, by the loss of its head: what every fit learns, after what comes before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from kgrec_core.graph import Nodes, Task, View
from kgrec_core.interfaces import Batch, Head
from kgrec_core.recipe.ranges import Amount
from kgrec_core.training.examples import Examples, examples
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Train


class Supervised(Objective):
    """Ranking where a task's head encodes candidates, classification where it has a vector for each; drawn by `train.weights`.

    epochs: passes over the training edges of all tasks.
    """

    def __init__(self, *, epochs: Amount = 1.0) -> None:
        super().__init__()
        self.epochs = epochs

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        return [Edges(of, heads[of.task.name], self.epochs, weight) for of, weight in examples(view, tasks, heads, options)]


class Edges(Objective):
    """One task's edges under its head."""

    def __init__(self, of: Examples, head: Head, epochs: float, weight: float) -> None:
        super().__init__()
        self.of, self.head, self.epochs, self.weight = of, head, epochs, weight
        self.task, self.encodes_candidates = of.task.name, head.encodes_candidates

    @property
    def batches(self) -> int:
        return self.of.batches

    def step(self, number: int) -> Step:
        return self.of.step(number)

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def logits(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.head.logits(q, c).masked_fill(batch.mask, -1e4)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        return self.head.loss(q, c, batch)
