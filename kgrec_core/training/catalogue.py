"""`catalogue`: before the language model is opened, thousands of cheap updates of what stands above its vectors.

[train.objectives.catalogue]
use = "catalogue"
epochs = 5
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from kgrec_core.graph import Nodes, Task, View, candidates
from kgrec_core.interfaces import Head
from kgrec_core.recipe.ranges import Amount, Count, Positive, Size
from kgrec_core.training.examples import Examples, examples
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Train


class Catalogue(Objective):
    """Softmax over the whole catalogue, of every moment of every history: what comes next, knowing what was before.

    The language models in the encoder stay as they are meanwhile, so that each text is encoded once and an update costs milliseconds.
    It pays with an encoder that has weights above them: `sequence`, a gate, attention over neighbours. What a query met is no wrong
    answer where the task has no repeats. (Full softmax beats sampled pairs: Klenitskiy & Vasilev 2023, "Turning Dross into Gold Loss".)

    epochs: passes over the training queries of all rankings; steps: at most so many updates a task, 0 = all. batch: queries of an update.
    whole: above so many candidates some are drawn, beside the batch's own targets, and corrected for how often each gets into a batch (logQ:
    Bengio & Senecal 2008; Yi et al. 2019). negatives: how many. temperature: scores are divided by.
    """

    def __init__(
        self,
        *,
        epochs: Amount = 5.0,
        steps: Count = 0,
        batch: Size = 128,
        whole: Count = 20_000,
        negatives: Count = 4_096,
        temperature: Positive = 0.1,
    ) -> None:
        super().__init__()
        self.epochs, self.steps, self.batch, self.whole, self.negatives, self.temperature = (
            epochs,
            steps,
            batch,
            whole,
            negatives,
            temperature,
        )

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        ranked = tuple(task for task in tasks if heads[task.name].encodes_candidates)
        return [Next(of, heads[of.task.name], self, weight) for of, weight in examples(view, ranked, heads, options)]


class Next(Objective):
    """One task's queries against its catalogue."""

    phase = 0
    language_model = False

    def __init__(self, of: Examples, head: Head, how: Catalogue, weight: float) -> None:
        super().__init__()
        self.queries, self.task, self.repeats, self.relation, self.seed = (
            of.queries,
            of.task.name,
            of.task.repeats,
            of.task.relation,
            of.seed,
        )
        self.head, self.weight, self.size, self.temperature = head, weight, how.batch, how.temperature
        self.rows = candidates(of.graph, of.task).rows
        self.drawn = how.negatives if len(self.rows) > how.whole else 0
        self.which = np.unique(of.owner)
        self.share = of.share[self.rows] * len(of.target) / max(1, len(self.which))  # how often a query has it as its target
        self.targets = of.queries.targets.keep(np.isin(of.queries.targets.rows, self.rows))
        self.epochs = min(how.epochs, how.steps / self.batches) if how.steps else how.epochs

    @property
    def batches(self) -> int:
        return max(1, len(self.which) // self.size) if len(self.which) else 0

    def step(self, number: int) -> Step:
        """Batch: owner and column (t,) of every target; share (t,) of its query; logq (m,); mask (n, m) of what is no wrong answer."""
        epoch, place = divmod(number, self.batches)
        order = np.random.default_rng([self.seed, epoch, 13]).permutation(self.which)
        some = np.sort(order[place * self.size : (place + 1) * self.size])
        nodes, targets = self.queries.nodes.take(some), self.targets.take(some)
        columns, logq = np.arange(len(self.rows)), np.zeros(len(self.rows))
        if self.drawn:
            rng = np.random.default_rng([self.seed, epoch, place, 13])
            own = np.searchsorted(self.rows, targets.rows)
            columns = np.union1d(own, rng.choice(len(self.rows), min(self.drawn, len(self.rows)), replace=False))
            by_draw, by_target = self.drawn / len(self.rows), 1 - (1 - np.minimum(self.share[columns], 1)) ** len(some)
            logq = np.log(1 - (1 - by_draw) * (1 - by_target))
        rows = self.rows[columns]
        mask = np.zeros((len(some), len(rows)), bool)
        if not self.repeats:
            met = nodes.read(self.relation)
            at = np.minimum(np.searchsorted(rows, met.rows), len(rows) - 1)
            known = rows[at] == met.rows
            mask[met.owner[known], at[known]] = True
        column = np.searchsorted(rows, targets.rows)
        mask[targets.owner, column] = False
        share = 1 / np.sqrt(np.maximum(targets.counts, 1))[targets.owner]
        found = (targets.owner, column, share.astype(np.float32), logq.astype(np.float32), mask)
        return Step(nodes, Nodes(nodes.graph, self.relation.target, rows, "candidate"), tuple(map(torch.from_numpy, found)))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        owner, column, share, logq, mask = batch
        logits = (q @ c.T / self.temperature - logq).masked_fill(mask, -torch.inf)
        return -(logits.log_softmax(1)[owner, column] * share).sum() / share.sum()
