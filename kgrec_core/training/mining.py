"""`train.mined`: every query meets the wrong candidates that its present vector finds most alike."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from kgrec_core.graph import Nodes
from kgrec_core.training.examples import Examples
from kgrec_core.training.objective import Objective
from kgrec_core.training.technique import Technique

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner

log = logging.getLogger("kgrec")
BLOCK = 256  # queries scored at once


class Mining(Technique):
    """At the start and after every validation each training pair gets its `many` hardest negatives (Xiong et al. 2021, ANCE).

    Guarded against what is only unlabelled: no known target, no equal text, and nothing that scores above 1 - margin times the target itself
    (Moreira et al. 2024, "NV-Retriever", positive-aware mining). Rankings only; a classification has all classes in every batch.
    """

    def __init__(self, many: int, margin: float) -> None:
        self.many, self.margin = many, margin

    def begin(self, learner: Learner) -> None:
        if not any(_ranked(learner)):
            log.warning("%s: nothing that is learned ranks among more candidates than stand in every batch, so none is mined", self.key)

    @torch.no_grad()
    def refreshed(self, learner: Learner) -> None:
        for objective, of in _ranked(learner):
            of.mined(self._hardest(learner, objective, of))

    def _hardest(self, learner: Learner, objective: Objective, of: Examples) -> np.ndarray:
        """(pairs, many) rows of the target kind, -1 where there are fewer."""
        encode = learner.encoder
        every = [
            Nodes(of.graph, of.task.relation.target, rows, "candidate")
            for rows in np.array_split(of.catalogue, 1 + len(of.catalogue) // 1024)
        ]
        c = torch.cat([objective.project(encode(nodes), nodes) for nodes in every]).float()
        place = np.full(of.graph.size(of.task.relation.target), -1)
        place[of.catalogue] = np.arange(len(of.catalogue))
        alike, found = of.alike[of.catalogue], np.full((len(of), self.many), -1, np.int64)
        for start in range(0, len(of), BLOCK):
            pairs = np.arange(start, min(start + BLOCK, len(of)))
            nodes = of.queries.nodes.take(of.owner[pairs])
            scores = objective.project(encode(nodes), nodes).float() @ c.T
            own = torch.from_numpy(place[of.target[pairs]]).to(scores.device)
            best = scores.gather(1, own.clamp(min=0)[:, None])
            wrong = scores <= best - self.margin * best.abs()
            known = of.graph.adjacent(of.task.relation, nodes.rows)
            at, there = place[known.rows], place[known.rows] >= 0
            wrong[torch.from_numpy(known.owner[there]), torch.from_numpy(at[there])] = False
            wrong &= torch.from_numpy(alike[None] != of.alike[of.target[pairs]][:, None]).to(scores.device)
            top = scores.masked_fill(~wrong, -torch.inf).topk(min(self.many, scores.shape[1]), dim=1)
            rows = of.catalogue[top.indices.cpu().numpy()]
            found[pairs, : rows.shape[1]] = np.where(torch.isfinite(top.values).cpu().numpy(), rows, -1)
        return found


def _ranked(learner: Learner) -> Iterator[tuple[Objective, Examples]]:
    for objective in learner.vectors.objectives:
        objective = getattr(objective, "inside", objective)
        of = getattr(objective, "of", None)
        if isinstance(of, Examples) and objective.encodes_candidates and not of.every and objective.phase > 0:
            yield objective, of
