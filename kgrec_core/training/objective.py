"""What fine-tuning learns from. An objective's keyword-only, annotated constructor parameters are the keys of its recipe table.

[train.objectives.pull]
use = "my_pull:Pull"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from kgrec_core.graph import Nodes, Task, View
from kgrec_core.interfaces import Encoder, Head

if TYPE_CHECKING:
    from kgrec_core.model import Model, Weights
    from kgrec_core.training.options import Train


class Step(NamedTuple):
    """One batch of an objective: the queries (n), the candidates (m) and how they belong together.

    batch: a `Batch`, or a tuple or mapping of tensors that an objective needs instead; the loss gets them on the device of the vectors.
    """

    queries: Nodes
    candidates: Nodes
    batch: Any


class Objective(nn.Module):
    """What fine-tuning learns from, batch by batch: the tasks' own edges, queries of one class, duplicates, the vectors of a teacher.

    phase: objectives of one phase are mixed, the phases follow each other; the tasks' own is 1. epochs: passes over its batches.
    weight: how often its batches are drawn, relative to the others of its phase. task: whose validation is to choose the best weights.
    encodes_candidates: False: `project` gets x = None for the candidates and gives vectors of its own. language_model: False for all
    objectives of a phase: what came pretrained stays as it is in that phase, and rates rise and fall within it.

    members: True: it learns from what the members of `train.ensemble` know, so it takes part in one more fit, see `after`.

    passes: how often a batch's nodes are encoded, each time with other dropout: q is then (passes * n, d), c (passes * m, d) where it encodes
    candidates, one pass behind the other.

    Constructors only store. Weights of its own learn at `train.head_lr` and end with the fit, unless they are a head's.
    """

    phase: int = 1
    epochs: float = 1.0
    weight: float = 1.0
    task: str | None = None
    encodes_candidates: bool = True
    language_model: bool = True
    passes: int = 1
    members: bool = False

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        """Learn from the training view what the batches need; returns what takes part: itself, one for every task, or nothing."""
        return [self]

    def begin(self, encoder: Encoder) -> None:
        """Called once, before any update, of a resumed fit too: the encoder as it was pretrained."""

    @property
    def batches(self) -> int:
        """Of a pass over all there is to learn from; 0 = nothing, it takes no part."""
        raise NotImplementedError

    def step(self, number: int) -> Step:
        """The batch of update `number`: it depends on the seed and the number alone, so that a resumed fit sees the same."""
        raise NotImplementedError

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        """(n, d) from the encoder's vectors x; its weights have gradients."""
        return x

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: Any) -> torch.Tensor:
        """Scalar, of all processes' vectors q (n, d) and c (m, d). A pure function of tensors, as a head's loss is."""
        raise NotImplementedError

    def logits(self, q: torch.Tensor, c: torch.Tensor, batch: Any) -> torch.Tensor:
        """(n, m) whose softmax is the probability of each candidate; what no candidate may be is far below. Only objectives that score."""
        raise NotImplementedError

    def after(self, model: Model, members: Sequence[Weights]) -> Objective:
        """What takes its place in one more fit, once the members of `train.ensemble` have learned, of which these are the weights."""
        raise NotImplementedError

    def finish(self, encoder: Encoder) -> None:
        """Called once, before the first update of the phase that follows."""
