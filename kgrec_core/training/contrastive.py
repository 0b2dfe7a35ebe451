"""Before a classification: queries of one class are drawn together, which needs no class vectors and few examples.

(Khosla et al. 2020, "Supervised Contrastive Learning"; with few examples a class, SetFit: Tunstall et al. 2022.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from kgrec_core.graph import Nodes
from kgrec_core.interfaces import Batch, Head
from kgrec_core.training.examples import Examples, Step

TEMPERATURE = 0.05


class Together(Head):
    """The encoder's own vectors; each query's partner against the other partners of the batch."""

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return x

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        return nn.functional.cross_entropy((q @ c.T / TEMPERATURE).masked_fill(batch.mask, float("-inf")), batch.positive)


class Alike:
    """Batches of (query, another query of its class); other classes' queries are the negatives. As `Examples`, from seed and number."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self.order = np.argsort(examples.target, kind="stable")
        self.ends = np.cumsum(np.bincount(examples.target))

    @property
    def batches(self) -> int:
        return self.examples.batches

    def step(self, number: int) -> Step:
        of = self.examples
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


def means(encode: Callable[[Nodes], torch.Tensor], examples: Examples, size: int, most: int = 100) -> torch.Tensor:
    """(size, dim) mean vector of at most `most` training queries of every class, zero where there is none. encode(nodes) -> (n, dim)."""
    rng = np.random.default_rng(examples.seed)
    shuffled = rng.permutation(len(examples))
    shuffled = shuffled[np.argsort(examples.target[shuffled], kind="stable")]
    label = examples.target[shuffled]
    kept = shuffled[np.arange(len(label)) - np.searchsorted(label, label) < most]
    vectors = encode(examples.queries.nodes.take(examples.owner[kept]))
    total = torch.zeros(size, vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    return total.index_add(0, torch.from_numpy(examples.target[kept]).to(vectors.device), vectors)
