"""`rank`: the dot product of query and candidate, and the losses that teach it.

[head.buys]
use = "rank"
loss = "softmax"
temperature = 0.05
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import nn

from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Batch, Head


class Rank(Head):
    """Scores are dot products; divided by the temperature in the loss only, which leaves their order as it is.

    loss:
        "softmax": cross-entropy over the batch's candidates, corrected for how often each is drawn (logQ, Bengio and Senecal
            2008; Yi et al. 2019), known targets of the query masked. The first choice.
        "bce": binary cross-entropy of the target and the sampled negatives; for calibrated yes or no.
        "bpr": the target above each negative (Rendle et al. 2009). "mse": targets towards 1, negatives towards 0.
    logq: "softmax": correct for popularity; without it popular candidates are pushed down.
    """

    def __init__(self, *, loss: Literal["softmax", "bce", "bpr", "mse"] = "softmax", temperature: float = 0.05, logq: bool = True) -> None:
        super().__init__()
        self.kind, self.temperature, self.logq = loss, temperature, logq

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return x

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        scores = q @ c.T
        positive = scores.gather(1, batch.positive[:, None])
        wrong = ~batch.mask
        wrong = wrong.scatter(1, batch.positive[:, None], False)
        if self.kind == "softmax":
            logits = scores / self.temperature - (batch.logq if self.logq else 0)
            logits = logits.masked_fill(batch.mask, float("-inf"))
            each = nn.functional.cross_entropy(logits, batch.positive, reduction="none")
        elif self.kind == "bce":
            each = nn.functional.softplus(-positive[:, 0] / self.temperature) + _mean(
                nn.functional.softplus(scores / self.temperature), wrong
            )
        elif self.kind == "bpr":
            each = _mean(nn.functional.softplus((scores - positive) / self.temperature), wrong)
        else:
            each = (1 - positive[:, 0]) ** 2 + _mean(scores**2, wrong)
        return (each * batch.weight).sum() / batch.weight.sum()

    def prepare(self, graph: Graph, task: Task, dim: int) -> None:
        """Nothing to size: the vectors are compared as they are."""

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, folder: Path) -> None:
        """Nothing was learned."""


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return (values * where).sum(1) / where.sum(1).clamp(min=1)
