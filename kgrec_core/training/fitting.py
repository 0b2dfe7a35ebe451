"""One fit from beginning to end: the loop, what stands around it, and the best weights in place at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kgrec_core import devices
from kgrec_core.graph import View
from kgrec_core.limits import Budget
from kgrec_core.model import Model
from kgrec_core.stages import Progress
from kgrec_core.training import checkpoint
from kgrec_core.training.ensemble import soup
from kgrec_core.training.loop import Learner, finetune
from kgrec_core.training.options import Train
from kgrec_core.training.passes import refuse_precision
from kgrec_core.training.records import keeping_best, patient, shown, timely
from kgrec_core.training.tracking import refuse_trackers, tracked

log = logging.getLogger("kgrec")


def possible(options: Train) -> Train:
    """The options. Raises KgrecError for what this machine cannot do, which is better known before a fit has computed anything."""
    refuse_precision(options)
    refuse_trackers(options)
    if options.precision == "bf16" and not devices.bf16(kind := devices.device().type):
        log.warning('train.precision = "bf16": this %s only emulates it, many times slower than "fp32" is; take that', kind)
    return options


def train(
    model: Model,
    view: View,
    options: Train,
    validate: Callable[[], dict[str, float]],
    file: Path,
    purpose: str,
    progress: Progress,
    budget: Budget | None = None,
) -> list[dict[str, Any]]:
    """Fine-tune on the training view; the best weights stay. Returns the history, a record per validation.

    validate() -> task -> metric, of the model as it is. file: checkpoint; a killed fit continues from it and ends with the same numbers.
    purpose: what the checkpoint must belong to. budget: beside train.minutes.
    """
    budget = budget or Budget(0)
    if options.ensemble > 1:

        def member(own: Train, number: int, left: Budget) -> list[dict[str, Any]]:
            return train(model, view, own, validate, file.with_name(f"{file.name}-{number}"), purpose, progress, left)

        return soup(model, view, options, validate, member, budget)
    learner = Learner(model.encoder, model.heads, model.tasks, view, options)
    if not learner.total:
        return []
    try:
        so_far = checkpoint.resumed(learner, file, purpose)
        updates = shown(finetune(learner, validate, *so_far.reached), progress, learner.total, options.batch)
        updates = tracked(updates, options, file.stem)
        updates = timely(updates, learner, budget.part(options.minutes, 0))
        updates = checkpoint.written(keeping_best(updates, learner, so_far), learner, so_far, file, purpose)
        for _ in patient(updates, learner, so_far, options.patience, options.min_delta):
            pass
        learner.load(so_far.weights)
    finally:
        learner.end()
    model.refresh(view.graph)
    return so_far.history
