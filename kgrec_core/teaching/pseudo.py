"""`pseudo`: self-training. Texts that an earlier run is sure of are learned as if somebody had labelled them.

[train.objectives.pseudo]
use = "pseudo"
run = "runs/first"           # fitted with the same [split] on the labels that there are
texts = "questions.txt"
wrong = 0.05                 # of the labels that are taken

(Scudder 1965; Lee 2013, "Pseudo-Label"; Mukherjee & Awadallah 2020, "Uncertainty-aware Self-training".) How sure it is says its own
calibration, which was learned from queries that nothing else learned from. It answers by what its training part knows: no held-out
edge speaks in a pseudo-label.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core import devices
from kgrec_core.calibration.confidence import features
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task, View, candidates
from kgrec_core.interfaces import Head, Hits
from kgrec_core.recipe.ranges import Amount, Share
from kgrec_core.run.run import open_run
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.teaching.taught import Taught
from kgrec_core.teaching.unlabelled import joined, texts_of
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Teacher, Train

log = logging.getLogger("kgrec")


class Pseudo(Objective):
    """Of every classification, the texts whose label is sure enough; each class counts as much as any other.

    run: a run folder. texts: unlabelled ones, .txt with one a line or a table with a column for them; column: its name. wrong: the share of
    wrong labels that is allowed. threshold: the P(correct) from which on a label is taken, in place of that. epochs: passes over what is taken.
    """

    def __init__(
        self,
        *,
        run: Path,
        texts: Path,
        column: str = "text",
        wrong: Share = 0.05,
        threshold: Share | None = None,
        epochs: Amount = 1.0,
        weight: Amount = 1.0,
    ) -> None:
        super().__init__()
        self.run, self.texts, self.column, self.wrong, self.threshold = run, texts, column, wrong, threshold
        self.epochs, self.weight = epochs, weight

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        texts, first = texts_of(self.texts, "train.objectives.pseudo.texts", self.column), open_run(self.run).snapshot
        found: list[Objective] = []
        for task in tasks:
            if heads[task.name].encodes_candidates or options.weights.get(task.name, 1.0) <= 0:
                continue
            graph, rows = joined(view.graph, task.relation.source, texts)
            label, sure = devices.shared(
                lambda task=task, graph=graph, rows=rows: said(first, task, graph, rows, str(self.run), self.threshold is not None)
            )
            from_on = self.threshold if self.threshold is not None else least(sure, self.wrong)
            kept = (label >= 0) & (sure >= from_on)
            taken = f"{kept.sum():,} of {len(rows):,}"
            log.warning("%s: %s unlabelled texts are taken with a label, P >= %.3f", task.name, taken, from_on)
            if kept.any():
                nodes = Nodes(graph, task.relation.source, rows[kept], "query")
                found.append(Labelled(task, heads[task.name], nodes, label[kept], candidates(graph, task), options))
        for objective in found:
            objective.epochs, objective.weight = self.epochs, objective.weight * self.weight
        return found


class Labelled(Taught):
    """Cross-entropy of the labels that were taken."""

    encodes_candidates = False

    def __init__(self, task: Task, head: Head, nodes: Nodes, label: NDArray[np.int64], classes: Nodes, options: Train) -> None:
        super().__init__(task, nodes, label, Teacher(model=""), options)
        self.head, self.classes = head, classes
        self.place = np.searchsorted(classes.rows, label)
        counts = np.bincount(self.place, minlength=len(classes))
        self.share = (len(label) / np.maximum(counts, 1) / max(1, (counts > 0).sum())).astype(np.float32)

    def step(self, number: int) -> Step:
        some = self.drawn(number)
        place = self.place[some]
        return Step(self.nodes.take(some), self.classes, (torch.from_numpy(place), torch.from_numpy(self.share[place])))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        each = torch.nn.functional.cross_entropy(q @ c.T, batch[0], reduction="none")
        return (each * batch[1]).sum() / batch[1].sum()


def said(
    run: Snapshot, task: Task, graph: Graph, rows: NDArray[np.int64], name: str, plain: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(n,) the label of each row, and P(correct) of it, by a run that knows the edges of `graph` alone; -1 where it finds nothing.

    plain: whether the share of its scores will do where it was not calibrated.

    Raises KgrecError where it knows no such task, has other classes, or was not calibrated.
    """
    if task.name not in {of.name for of in run.tasks}:
        raise KgrecError(f"train.objectives.pseudo: {name} predicts {', '.join(of.name for of in run.tasks)}, not {task.name}")
    own, here = candidates(run.graph, task), candidates(graph, task)
    ids = [of.graph.gather(task.relation.target, of.rows, "id")["id"].to_list() for of in (own, here)]
    if own.rows.tolist() != here.rows.tolist() or ids[0] != ids[1]:
        raise KgrecError(f"train.objectives.pseudo: {name} knows other classes of {task.name} than this fit; fit it on the same labels")
    calibration = run.calibrations.get(task.name)
    if calibration is None and not plain:
        raise KgrecError(
            f"train.objectives.pseudo: {name} was not calibrated for {task.name}: it had too few validation queries; give it more, or a threshold"
        )
    model, retrieval = run.model.refresh(graph), run.retrievals[task.name]
    retrieval.build(graph, task, here, model.encode(task))
    blocks = Nodes(graph, task.relation.source, rows, "query").blocks(512)
    hits = [retrieval.search(block, model.vectors(task, block), min(20, len(here.rows))) for block in blocks]
    sure = np.concatenate([_share(of, retrieval.logits) if calibration is None else calibration.probability(features(of)) for of in hits])
    return np.concatenate([of.rows[:, 0] for of in hits]), sure


def _share(hits: Hits, logits: bool) -> NDArray[np.float64]:
    """(n,) of the first answer: of the softmax, or of the sum of the scores."""
    scores = np.where(hits.rows >= 0, hits.scores, -np.inf).astype(np.float64)
    scores = np.exp(scores - scores.max(1, keepdims=True)) if logits else np.clip(np.nan_to_num(scores, neginf=0.0), 0, None)
    return scores[:, 0] / np.maximum(scores.sum(1), 1e-12)


def least(sure: NDArray[np.float64], wrong: float) -> float:
    """The lowest P(correct) from which on so many of the labels are expected to be wrong, on average; above 1 where all are too unsure."""
    down = np.sort(sure)[::-1]
    within = np.flatnonzero(np.cumsum(1 - down) <= wrong * np.arange(1, len(down) + 1) + 1e-12)
    return float(down[within[-1]]) if len(within) else 2.0
