"""`contrastive`: before a classification, queries of one class are drawn together, which needs no class vectors and few examples.

(Khosla et al. 2020, "Supervised Contrastive Learning"; with few examples a class, SetFit: Tunstall et al. 2022.)

[train.objectives.contrastive]      # as `train.contrastive = 0.5`
use = "contrastive"
epochs = 0.5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from kgrec_core.graph import Nodes, Task, View
from kgrec_core.interfaces import Batch, Encoder, Head
from kgrec_core.recipe.ranges import Amount, Positive
from kgrec_core.training.examples import Examples, examples
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Train


class Contrastive(Objective):
    """The encoder's own vectors of queries: each query's partner against the partners of the batch that are of other classes.

    Afterwards class vectors start from the mean of their queries. Tasks whose candidates are encoded have no part in it.

    epochs: passes over the training edges of all classifications. temperature: of the softmax.
    """

    def __init__(self, *, epochs: Amount = 1.0, temperature: Positive = 0.05) -> None:
        super().__init__()
        self.epochs, self.temperature = epochs, temperature

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        classes = tuple(task for task in tasks if not heads[task.name].encodes_candidates)
        return [Alike(of, heads[of.task.name], self, weight) for of, weight in examples(view, classes, heads, options)]


class Alike(Objective):
    """Batches of (query, another query of its class) of one task."""

    phase = 0

    def __init__(self, of: Examples, head: Head, how: Contrastive, weight: float) -> None:
        super().__init__()
        self.of, self.epochs, self.temperature, self.weight = of, how.epochs, how.temperature, weight
        self.heads = [head]  # no part of this module: its weights do not learn here
        self.task = of.task.name
        self.order = np.argsort(of.target, kind="stable")
        self.ends = np.cumsum(np.bincount(of.target))

    @property
    def batches(self) -> int:
        return self.of.batches

    def step(self, number: int) -> Step:
        of = self.of
        epoch, place = divmod(number, self.batches)
        shuffled = np.random.default_rng([of.seed, epoch, 11]).permutation(len(of))
        pairs = shuffled[place * of.size : (place + 1) * of.size]
        # Another of the class: a place in the class's stretch of `order`, moved on where it would be the query itself.
        label = of.target[pairs]
        first = np.where(label > 0, self.ends[label - 1], 0)
        many = self.ends[label] - first
        rng = np.random.default_rng([of.seed, epoch, place, 11])
        drawn = first + rng.integers(0, np.maximum(many, 1))
        drawn = np.where((self.order[drawn] == pairs) & (many > 1), first + (drawn - first + 1) % many, drawn)
        partners = self.order[drawn]
        mask = label[:, None] == label[None]
        np.fill_diagonal(mask, False)
        batch = Batch(torch.arange(len(pairs)), torch.from_numpy(mask), torch.zeros(len(pairs)), torch.ones(len(pairs)))
        nodes = of.queries.nodes
        return Step(nodes.take(of.owner[pairs]), nodes.take(of.owner[partners]), batch)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        return nn.functional.cross_entropy((q @ c.T / self.temperature).masked_fill(batch.mask, float("-inf")), batch.positive)

    def finish(self, encoder: Encoder) -> None:
        """Class vectors start from the mean of their queries as they are encoded now."""
        self.heads[0].start(means(encoder, self.of, self.of.graph.size(self.of.task.relation.target)))


def means(encode: Callable[[Nodes], torch.Tensor], of: Examples, size: int, most: int = 100) -> torch.Tensor:
    """(size, dim) sum of the vectors of at most `most` training queries of every class, zero where there is none. encode(nodes) -> (n, dim)."""
    rng = np.random.default_rng(of.seed)
    shuffled = rng.permutation(len(of))
    shuffled = shuffled[np.argsort(of.target[shuffled], kind="stable")]
    label = of.target[shuffled]
    kept = shuffled[np.arange(len(label)) - np.searchsorted(label, label) < most]
    vectors = encode(of.queries.nodes.take(of.owner[kept]))
    total = torch.zeros(size, vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    return total.index_add(0, torch.from_numpy(of.target[kept]).to(vectors.device), vectors)
