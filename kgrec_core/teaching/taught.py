"""The objectives of `[train.teacher]`: how a student learns each kind of thing that its teacher says (`distillation` says which, and from whom)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core.graph import Nodes, Task
from kgrec_core.interfaces import Encoder, Head, Vectors
from kgrec_core.teaching.members import encoded
from kgrec_core.training.examples import Examples
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Teacher, Train

SHARP = 20.0  # what differences of scores are multiplied by: the heads' own temperature is .05
ALIGNED = 2_000  # vectors by which the teacher's are turned


class Taught(Objective):
    """Batches of nodes, each with what the teacher says of it, a row of `said`; labels are not looked at."""

    def __init__(self, task: Task, nodes: Nodes, said: NDArray[np.float32], how: Teacher, options: Train) -> None:
        super().__init__()
        self.task, self.nodes, self.said, self.seed = task.name, nodes, said, options.seed
        self.size = how.batch or options.batch
        self.weight = options.weights.get(task.name, 1.0)

    @property
    def batches(self) -> int:
        return max(1, len(self.nodes) // self.size) if len(self.nodes) else 0

    def drawn(self, number: int) -> NDArray[np.int64]:
        """Places of the nodes of a batch."""
        epoch, place = divmod(number, self.batches)
        order = np.random.default_rng([self.seed, epoch, 17]).permutation(len(self.nodes))
        return np.sort(order[place * self.size : (place + 1) * self.size])


class Logits(Taught):
    """Kullback-Leibler divergence to the teacher's probabilities of the classes, both softened by a temperature."""

    encodes_candidates = False

    def __init__(
        self, task: Task, head: Head, nodes: Nodes, said: NDArray[np.float32], classes: Nodes, how: Teacher, options: Train
    ) -> None:
        super().__init__(task, nodes, said, how, options)
        self.head, self.classes, self.temperature = head, classes, how.temperature

    def step(self, number: int) -> Step:
        some = self.drawn(number)
        return Step(self.nodes.take(some), self.classes, (torch.from_numpy(self.said[some]),))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor]) -> torch.Tensor:
        student, teacher = (q @ c.T / self.temperature).log_softmax(1), (batch[0] / self.temperature).log_softmax(1)
        return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * self.temperature**2


class Alike(Taught):
    """Squared distance to the teacher's vectors, of both length one."""

    encodes_candidates = False

    def __init__(self, task: Task, nodes: Nodes, said: Vectors, how: Teacher, options: Train) -> None:
        super().__init__(task, nodes, said, how, options)
        self.register_buffer("nothing", torch.zeros(1, 1), persistent=False)

    def begin(self, encoder: Encoder) -> None:
        """Turn the teacher's vectors, by a linear map that changes as little as possible of how alike they are, towards the student's own.

        To the student's width by the best approximation of their inner products (Eckart & Young 1936), then turned (orthogonal
        Procrustes: Schoenemann 1966): what is left to learn is what the teacher knows better, not another set of axes.
        """
        some = np.sort(np.random.default_rng([self.seed, 19]).permutation(len(self.nodes))[:ALIGNED])
        own, theirs = encoded(encoder, self.nodes.take(some)), self.said[some]
        axes = np.linalg.svd(theirs, full_matrices=False)[2][: own.shape[1]].T
        left, _, right = np.linalg.svd((theirs @ axes).T @ own, full_matrices=False)
        turned = self.said @ (axes @ (left @ right))
        self.said = (turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    def step(self, number: int) -> Step:
        some = self.drawn(number)
        return Step(self.nodes.take(some), self.nodes.take(some[:0]), (torch.from_numpy(self.said[some]),))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.nothing.clone() if x is None else nn.functional.normalize(x, dim=1)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor]) -> torch.Tensor:
        return (q - batch[0]).square().sum(1).mean() * SHARP + 0.0 * c.sum()


class Margins(Objective):
    """How far each candidate of a batch is below the query's own, as the teacher has it. Labelled: the task's batches, its negatives."""

    def __init__(self, of: Examples, head: Head, queries: Vectors, items: Vectors, options: Train) -> None:
        super().__init__()
        self.of, self.head, self.queries, self.items = of, head, queries, items
        self.task, self.weight = of.task.name, options.weights.get(of.task.name, 1.0)

    @property
    def batches(self) -> int:
        return self.of.batches

    def step(self, number: int) -> Step:
        step = self.of.step(number)
        scores = self.queries[self.of.owner[self.of.pairs(number)]] @ self.items[step.candidates.rows].T
        return step._replace(batch=(step.batch.positive, step.batch.mask, torch.from_numpy(scores)))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        positive, mask, theirs = batch
        ours = q @ c.T
        wrong = (~mask).scatter(1, positive[:, None], False)
        apart = (ours.gather(1, positive[:, None]) - ours) - (theirs.gather(1, positive[:, None]) - theirs)
        return ((SHARP * apart).square() * wrong).sum() / wrong.sum().clamp(min=1)


class Unlabelled(Margins):
    """The same for texts without a label: the teacher's first candidate is above a few of its best ones."""

    best, few = 50, 3

    def __init__(self, of: Examples, head: Head, nodes: Nodes, queries: Vectors, items: Vectors, options: Train) -> None:
        super().__init__(of, head, queries, items, options)
        self.nodes, self.size, self.seed = nodes, options.batch, options.seed
        rows = of.catalogue
        blocks = [queries[i : i + 256] @ items[rows].T for i in range(0, len(queries), 256)]
        self.found = rows[np.concatenate([np.argsort(-b, axis=1, kind="stable")[:, : self.best] for b in blocks])]

    @property
    def batches(self) -> int:
        return max(1, len(self.nodes) // self.size)

    def step(self, number: int) -> Step:
        epoch, place = divmod(number, self.batches)
        order = np.random.default_rng([self.seed, epoch, 23]).permutation(len(self.nodes))
        some = np.sort(order[place * self.size : (place + 1) * self.size])
        rng = np.random.default_rng([self.seed, epoch, place, 23])
        found = self.found[some]
        rows = np.unique(np.concatenate([found[:, 0], *(found[:, i] for i in rng.integers(0, found.shape[1], self.few))]))
        positive = np.searchsorted(rows, found[:, 0])
        scores, mask = self.queries[some] @ self.items[rows].T, np.zeros((len(some), len(rows)), bool)
        nodes = self.nodes.take(some)
        return Step(
            nodes,
            Nodes(nodes.graph, self.of.task.relation.target, rows, "candidate"),
            tuple(map(torch.from_numpy, (positive, mask, scores))),
        )
