"""`train.rdrop`: each batch goes through the model twice, with other dropout, and both answers shall agree."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kgrec_core.graph import Nodes
from kgrec_core.interfaces import Encoder
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.technique import Technique


class RDrop(Technique):
    """Around every objective that scores candidates (Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks")."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def around(self, objective: Objective) -> Objective:
        scores = type(objective).logits is not Objective.logits
        return Twice(objective, self.weight) if scores else objective


class Twice(Objective):
    """Another objective's batches: the mean of both passes' losses, and `alpha` times how far their probabilities are apart (symmetric KL)."""

    passes = 2

    def __init__(self, inside: Objective, alpha: float) -> None:
        super().__init__()
        self.inside, self.alpha = inside, alpha
        self.phase, self.epochs, self.weight, self.task = inside.phase, inside.epochs, inside.weight, inside.task
        self.encodes_candidates, self.language_model = inside.encodes_candidates, inside.language_model

    @property
    def batches(self) -> int:
        return self.inside.batches

    def step(self, number: int) -> Step:
        return self.inside.step(number)

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.inside.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Any) -> torch.Tensor:
        pairs = list(zip(q.chunk(2), c.chunk(2) if self.encodes_candidates else (c, c), strict=True))
        one, other = (self.inside.logits(*pair, batch).log_softmax(1) for pair in pairs)
        apart = nn.functional.kl_div(one, other, log_target=True, reduction="batchmean")
        apart = apart + nn.functional.kl_div(other, one, log_target=True, reduction="batchmean")
        return sum(self.inside.loss(*pair, batch) for pair in pairs) / 2 + self.alpha * apart / 2

    def finish(self, encoder: Encoder) -> None:
        self.inside.finish(encoder)
