"""What stands around the loop: each takes its records and gives them on, so that a fit puts together what it needs.

for record in patient(keeping_best(finetune(learner, validate), learner, so_far), learner, so_far, 2): ...

A tracker or a pruner is one more such function.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from kgrec_core import devices
from kgrec_core.limits import Budget
from kgrec_core.stages import Progress
from kgrec_core.training.loop import Learner, Record


@dataclass
class SoFar:
    """How far a fit is. history: the records of its validations; best: the score of the best of them, weights: what learned then."""

    history: list[Record] = field(default_factory=list)
    best: float = -math.inf
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def reached(self) -> tuple[int, float]:
        """Updates done and seconds spent at the last validation."""
        return (self.history[-1]["step"], self.history[-1]["seconds"]) if self.history else (0, 0.0)


def shown(records: Iterator[Record], progress: Progress, total: int, batch: int = 0) -> Iterator[Record]:
    """Progress is told of every update; where it has a `note`, also of the loss, of what was validated, and of examples a second.

    batch: examples of an update.
    """
    note, began, first, select = getattr(progress, "note", None), time.monotonic(), None, ""
    for record in records:
        if "select" in record:
            select = "  " + ", ".join(f"{task} {value:.3f}" for task, value in record["select"].items())
        else:
            progress("fine-tuning", record["step"], total)
            first = record["step"] - 1 if first is None else first
            rate = (record["step"] - first) * batch / max(1e-9, time.monotonic() - began)
            if note is not None:
                note("fine-tuning", f"loss {record['loss']:.3f}{select}" + (f"  {rate:,.0f} examples/s" if batch else ""))
        yield record


def keeping_best(records: Iterator[Record], learner: Learner, so_far: SoFar) -> Iterator[Record]:
    """Every validation gets "best", whether it is better than all before, and a place in the history; the best weights are kept."""
    for record in records:
        if "select" in record:
            score = learner.score(record["select"])
            record["best"] = score > so_far.best
            so_far.history.append(record)
            if record["best"]:
                so_far.best, so_far.weights = score, learner.weights() | learner.instead()
        yield record


def timely(records: Iterator[Record], learner: Learner, budget: Budget) -> Iterator[Record]:
    """When the main process finds the time used up, one more update and its validation are the last."""
    for record in records:
        if "select" not in record and record["step"] + 1 < learner.total and devices.shared(lambda: budget.left() <= 0):
            done = record["step"] + 1
            budget.drop(f"fine-tuning was cut after {done:,} of {learner.total:,} updates: train.minutes or fit.minutes were used up")
            learner.total = done
        yield record


def patient(records: Iterator[Record], learner: Learner, so_far: SoFar, patience: int, least: float = 0.0) -> Iterator[Record]:
    """The records end after so many validations in a row without a gain of more than `least`; 0 = never."""

    def stopped() -> bool:
        best, since = -math.inf, 0
        for score in (learner.score(record["select"]) for record in so_far.history):
            best, since = (score, 0) if score > best + least else (best, since + 1)
        return bool(patience) and since >= patience

    while not stopped() and (record := next(records, None)) is not None:
        yield record
