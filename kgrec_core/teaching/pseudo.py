"""`pseudo`: self-training. Of texts that an earlier run is sure of, what it says of their classes is learned beside the labels.

[train.objectives.pseudo]
use = "pseudo"
run = "runs/first"           # fitted with the same [split] on the labels that there are
texts = "questions.txt"
wrong = 0.05                 # of the labels that are taken

(Scudder 1965; Lee 2013, "Pseudo-Label"; Mukherjee & Awadallah 2020, "Uncertainty-aware Self-training"; that the shares of all classes teach
more than the first alone: Hinton et al. 2015; Xie et al. 2020, "Noisy Student".) How sure it is says its own calibration, which was learned
from queries that nothing else learned from. What it says of a text is then spread to the texts nearest to it (see `spreading`). It answers by
what its training part knows: no held-out edge speaks in a pseudo-label.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core import devices
from kgrec_core.calibration.confidence import features
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task, View, candidates
from kgrec_core.interfaces import Head, Hits
from kgrec_core.recipe.ranges import Amount, Share, Size
from kgrec_core.retrieval.profile import matrix
from kgrec_core.run.run import open_run
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.teaching.spreading import spread
from kgrec_core.teaching.taught import Taught
from kgrec_core.teaching.unlabelled import joined, texts_of
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Teacher, Train

log = logging.getLogger("kgrec")
DEPTH = 20  # classes of a text that are learned


class Said(NamedTuple):
    """Of n texts: classes (n, k) graph rows, best first, -1 for none; shares (n, k) of probability; sure (n,) P(correct) of the run's answer."""

    classes: NDArray[np.int64]
    shares: NDArray[np.float32]
    sure: NDArray[np.float64]


class Pseudo(Objective):
    """Of every classification, the texts whose label is sure enough; each class counts as much as any other.

    run: a run folder. texts: unlabelled ones, .txt with one a line or a table with a column for them; column: its name. wrong: the share of
    wrong labels that is allowed. threshold: the P(correct) from which on a label is taken, in place of that; 0 = of all texts, by their
    shares: better on banking77, where all are of these classes and sixty queries calibrated the run. spread: how much of what is learned
    of a text the texts nearest to it say, with and without labels, 0 = nothing; .8 where what is alike means the same (intents, topics).
    neighbours: how many of them. epochs: passes over what is taken. weight: of its loss.
    """

    def __init__(
        self,
        *,
        run: Path,
        texts: Path,
        column: str = "text",
        wrong: Share = 0.05,
        threshold: Share | None = None,
        spread: Share = 0.5,
        neighbours: Size = 10,
        epochs: Amount = 1.0,
        weight: Amount = 1.0,
    ) -> None:
        super().__init__()
        self.run, self.texts, self.column, self.wrong, self.threshold = run, texts, column, wrong, threshold
        self.spread, self.neighbours, self.epochs, self.weight = spread, neighbours, epochs, weight

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        texts, first = texts_of(self.texts, "train.objectives.pseudo.texts", self.column), open_run(self.run).snapshot
        found: list[Objective] = []
        for task in tasks:
            if heads[task.name].encodes_candidates or options.weights.get(task.name, 1.0) <= 0:
                continue
            graph, rows = joined(view.graph, task.relation.source, texts)
            how = str(self.run), self.threshold is not None, self.neighbours, self.spread
            told = devices.shared(lambda task=task, graph=graph, rows=rows, how=how: said(first, task, graph, rows, *how))
            from_on = self.threshold if self.threshold is not None else least(told.sure, self.wrong)
            kept = (told.classes[:, 0] >= 0) & (told.sure >= from_on)
            taken = f"{kept.sum():,} of {len(rows):,}"
            log.warning("%s: %s unlabelled texts are taken with a label, P >= %.3f", task.name, taken, from_on)
            if kept.any():
                nodes = Nodes(graph, task.relation.source, rows[kept], "query")
                found.append(Labelled(task, heads[task.name], nodes, *(of[kept] for of in told[:2]), candidates(graph, task), options))
        for objective in found:
            objective.epochs, objective.weight = self.epochs, objective.weight * self.weight
        return found


class Labelled(Taught):
    """Cross-entropy of the shares that were said."""

    encodes_candidates = False

    def __init__(
        self, task: Task, head: Head, nodes: Nodes, said: NDArray[np.int64], shares: NDArray[np.float32], classes: Nodes, options: Train
    ) -> None:
        super().__init__(task, nodes, shares, Teacher(model=""), options)
        self.head, self.classes = head, classes
        self.place = np.searchsorted(classes.rows, np.maximum(said, classes.rows[0]))  # none has no share, wherever it is
        counts = np.bincount(self.place[:, 0], minlength=len(classes))
        self.balance = (len(said) / np.maximum(counts, 1) / max(1, (counts > 0).sum())).astype(np.float32)[self.place[:, 0]]

    def step(self, number: int) -> Step:
        some = self.drawn(number)
        return Step(self.nodes.take(some), self.classes, tuple(torch.from_numpy(of[some]) for of in (self.place, self.said, self.balance)))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        place, shares, balance = batch
        each = -(shares * (q @ c.T).log_softmax(1).gather(1, place)).sum(1)
        return (each * balance).sum() / balance.sum()


def said(run: Snapshot, task: Task, graph: Graph, rows: NDArray[np.int64], name: str, plain: bool, neighbours: int, share: float) -> Said:
    """Of each row, by a run that knows the edges of `graph` alone, and by so many neighbours, whose share is `share`. plain: whether the
    share of its scores will do where it was not calibrated.

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
    blocks = list(Nodes(graph, task.relation.source, rows, "query").blocks(512))
    hits = [retrieval.search(block, model.vectors(task, block), min(DEPTH, len(here.rows))) for block in blocks]
    shares = np.concatenate([_shares(of, retrieval.logits) for of in hits])
    sure = shares[:, 0] if calibration is None else np.concatenate([calibration.probability(features(of)) for of in hits])
    every = np.zeros((len(rows), len(here.rows)), np.float32)
    place = np.searchsorted(here.rows, np.concatenate([of.rows for of in hits]).clip(here.rows[0]))  # none has no share, wherever it is
    np.add.at(every, (np.arange(len(rows))[:, None], place), shares)
    if share:
        labels, known = _labels(graph, task, here.rows)
        vectors = [model.vectors(task, block) for block in (*blocks, known)]
        every = spread(every, np.concatenate(vectors[:-1]), labels, vectors[-1], neighbours, share)
    best = np.argsort(-every, axis=1, kind="stable")[:, :DEPTH]
    shares = np.take_along_axis(every, best, axis=1)
    shares /= np.maximum(shares.sum(1, keepdims=True), 1e-12)
    return Said(np.where(shares > 0, here.rows[best], -1), shares, sure)


def _labels(graph: Graph, task: Task, classes: NDArray[np.int64]) -> tuple[NDArray[np.float32], Nodes]:
    """(m, classes) rows of sum 1 of the queries that have a label, and these queries."""
    labels = matrix(graph, task.relation, 0)[:, classes]
    known = np.flatnonzero(np.diff(labels.indptr))
    labels = labels[known].toarray()
    return labels / labels.sum(1, keepdims=True), Nodes(graph, task.relation.source, known, "query")


def _shares(hits: Hits, logits: bool) -> NDArray[np.float64]:
    """(n, k) of the softmax, or of the sum of the scores."""
    scores = np.where(hits.rows >= 0, hits.scores, -np.inf).astype(np.float64)
    scores = np.exp(scores - scores.max(1, keepdims=True)) if logits else np.clip(np.nan_to_num(scores, neginf=0.0), 0, None)
    return scores / np.maximum(scores.sum(1, keepdims=True), 1e-12)


def least(sure: NDArray[np.float64], wrong: float) -> float:
    """The lowest P(correct) from which on so many of the labels are expected to be wrong, on average; above 1 where all are too unsure."""
    down = np.sort(sure)[::-1]
    within = np.flatnonzero(np.cumsum(1 - down) <= wrong * np.arange(1, len(down) + 1) + 1e-12)
    return float(down[within[-1]]) if len(within) else 2.0
