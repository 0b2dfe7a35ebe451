"""`rank`: the dot product of query and candidate, and the losses that teach it.

[head.buys]
use = "rank"
loss = "softmax"
temperature = 0.05
adapter = true         # with a frozen encoder: minutes on a CPU
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.head.cross_entropy import cross_entropy
from kgrec_core.interfaces import Batch, Head
from kgrec_core.recipe.ranges import Amount, Dropout, Positive


class Rank(Head):
    """Scores are dot products; divided by the temperature in the loss only, which leaves their order as it is.

    temperature: the lower, the more the hardest wrong candidates count. loss: how a score becomes one, as follows.
        "softmax": cross-entropy over the batch's candidates, corrected for how often each is drawn (logQ, Bengio and Senecal
            2008; Yi et al. 2019), known targets of the query masked. The first choice.
        "bce": binary cross-entropy of the target and the sampled negatives; for calibrated yes or no.
        "bpr": the target above each negative (Rendle et al. 2009). "mse": targets towards 1, negatives towards 0.
    logq: "softmax": correct for popularity; without it popular candidates are pushed down.
    label_smoothing, focal: of "softmax", as in `classify`.
    adapter: a linear map for each side, added to the vector, which starts as it was and gets unit length again (supervised semantic
        indexing: Bai et al. 2009). What questions and answers have in common is learned at `train.head_lr`, whatever the encoder is:
        worth it where that is frozen, as its vectors are then made once. dropout: share of the vector's numbers left out while it learns.
    """

    def __init__(
        self,
        *,
        loss: Literal["softmax", "bce", "bpr", "mse"] = "softmax",
        temperature: Positive = 0.05,
        logq: bool = True,
        adapter: bool = False,
        dropout: Dropout = 0.3,
        label_smoothing: Dropout = 0.0,
        focal: Amount = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.temperature, self.logq, self.adapter, self.dropout = loss, temperature, logq, adapter, dropout
        self.label_smoothing, self.focal = label_smoothing, focal
        self.maps_ = nn.ModuleDict()

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        if not self.adapter:
            return x
        x = nn.functional.dropout(x, self.dropout, self.training)
        return nn.functional.normalize(x + self.maps_[nodes.side](x), dim=1)

    def logits(self, q: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return q @ c.T / self.temperature

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        scores = q @ c.T
        positive = scores.gather(1, batch.positive[:, None])
        wrong = ~batch.mask
        wrong = wrong.scatter(1, batch.positive[:, None], False)
        if self.kind == "softmax":
            logits = scores / self.temperature - (batch.logq if self.logq else 0)
            each = cross_entropy(logits, batch, self.label_smoothing, self.focal)
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
        """Without an adapter there is nothing to size: the vectors are compared as they are."""
        if self.adapter:
            self._size(dim)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapter:
            save_file(self.maps_.state_dict(), folder / "adapter.safetensors")

    def load(self, folder: Path) -> None:
        """Raises KgrecError where the adapter is missing or damaged."""
        if not self.adapter:
            return
        with damage(f"{folder}: the head's adapter is missing or damaged"):
            state = load_file(folder / "adapter.safetensors")
            if state["query.weight"].shape != 2 * state["query.bias"].shape:
                raise KeyError("the weights are no square")
            self._size(len(state["query.bias"]))
            self.maps_.load_state_dict(state)

    def _size(self, dim: int) -> None:
        self.maps_ = nn.ModuleDict({side: nn.Linear(dim, dim) for side in ("query", "candidate")})
        for weight in self.maps_.parameters():
            nn.init.zeros_(weight)


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return (values * where).sum(1) / where.sum(1).clamp(min=1)
