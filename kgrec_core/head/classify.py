"""`classify`: a vector and a bias per class, learned with the encoder: for few candidates that hold for good (intents, sentiments).

[head.intent]
use = "classify"
class_weights = "balanced"
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kgrec_core.errors import KgrecError, damage
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.head.cross_entropy import cross_entropy
from kgrec_core.interfaces import Batch, Head
from kgrec_core.recipe.ranges import Amount, Dropout, Positive

FILE = "classify.safetensors"


class Classify(Head):
    """Multinomial logistic regression on top of the encoder: the dot product of the projections is the logit.

    Prefer `rank` where candidates have telling texts, come and go, or are many: it needs no example of a candidate to find it.

    label_smoothing: share of the target spread evenly over all classes that are not masked (Szegedy et al. 2016).
    focal: what is nearly certain counts less, by (1 - p) to this power; 0 = not (Lin et al. 2017); 2 is usual.
    class_weights: "balanced": an example counts by 1 / the share of its class, so rare classes count as much as frequent ones.
    temperature: logit = x @ w / temperature + bias; at .05 vectors of length one give logits between -20 and 20.
    """

    encodes_candidates: ClassVar[bool] = False
    metric: ClassVar[str] = "macro_f1"

    def __init__(
        self,
        *,
        label_smoothing: Dropout = 0.0,
        focal: Amount = 0.0,
        class_weights: Literal["none", "balanced"] = "none",
        temperature: Positive = 0.05,
    ) -> None:
        super().__init__()
        self.label_smoothing, self.focal, self.class_weights, self.temperature = label_smoothing, focal, class_weights, temperature

    def prepare(self, graph: Graph, task: Task, dim: int) -> None:
        """A random direction of length one, the same in every run, and a bias of zero for every row of the target kind."""
        size = graph.size(task.relation.target)
        directions = torch.randn(size, dim, generator=torch.Generator().manual_seed(0))
        self.weight_ = nn.Parameter(nn.functional.normalize(directions, dim=1))
        self.bias_ = nn.Parameter(torch.zeros(size))

    def start(self, vectors: torch.Tensor) -> None:
        """Let classes start from the encoder's vectors of their own texts; rows of length zero (no text) stay as they are.

        vectors: (C, dim), any scale. Raises KgrecError for another shape.
        """
        if vectors.shape != self.weight_.shape:
            raise KgrecError(f"classify: class vectors of shape {tuple(vectors.shape)} cannot start {tuple(self.weight_.shape)} weights")
        vectors = vectors.detach().to(self.weight_)
        some = vectors.norm(dim=1, keepdim=True) > 0
        with torch.no_grad():
            self.weight_.copy_(torch.where(some, nn.functional.normalize(vectors, dim=1), self.weight_))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        """(n, dim + 1): [x, 1] of a query; without x [w / temperature, bias] of the classes `nodes.rows`.

        Raises KgrecError for a class that came after the fit.
        """
        if x is not None:
            return torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        if nodes.rows.max(initial=-1) >= len(self.bias_):
            raise KgrecError(
                f"classify: {nodes.kind} row {nodes.rows.max()} came after the fit, which knew {len(self.bias_):,}; fit again, "
                'or take the head "rank", which needs no example of a class'
            )
        rows = torch.as_tensor(nodes.rows, device=self.bias_.device)
        return torch.cat([self.weight_[rows] / self.temperature, self.bias_[rows, None]], dim=1)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Weighted mean cross-entropy of the target among the classes that are not masked."""
        each = cross_entropy(q @ c.T, batch, self.label_smoothing, self.focal)
        weight = batch.weight
        if self.class_weights == "balanced":  # proportional to 1 / share; the division below sets the mean to 1
            weight = weight * torch.softmax(-batch.logq[batch.positive], 0)
        return (each * weight).sum() / weight.sum()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"weight": self.weight_.detach().cpu().contiguous(), "bias": self.bias_.detach().cpu().contiguous()}, folder / FILE)

    def load(self, folder: Path) -> None:
        with damage(f"{folder / FILE}: the class weights are missing or damaged", "fit again"):
            state = load_file(folder / FILE)
            weight, bias = state["weight"], state["bias"]
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or not bool(torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise KgrecError(f"{folder / FILE}: weights {tuple(weight.shape)} and bias {tuple(bias.shape)} are no classes; fit again")
        self.weight_, self.bias_ = nn.Parameter(weight.float()), nn.Parameter(bias.float())
