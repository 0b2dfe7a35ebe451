"""What an update can die of: no memory, and numbers that are none. What it says names the batch and what to change."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from kgrec_core.errors import KgrecError
from kgrec_core.training.objective import Step
from kgrec_core.training.together import out_of_memory

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner

log = logging.getLogger("kgrec")
SMALLER = "set train.chunk (nodes in memory at once, same result), train.gradient_checkpointing = true or train.precision = \"bf16\", or lower max_length of the encoder or train.batch"  # fmt: skip


class Failed(KgrecError):
    """An update that cannot be made as the settings are: its numbers are none, or the memory does not hold it. Others may do."""


def within_memory(learner: Learner, step: Step, gradients: Callable[[], float]) -> float:
    """The loss of a batch. Short of memory, it is computed in halves from then on, once in a fit; after that Failed is raised.

    Of several processes all halve, where one of them is short.
    """
    try:
        return gradients()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if learner.halved:
            raise Failed(f"the memory does not hold a batch of [train], not even in parts of {learner.chunk} nodes; {SMALLER}") from error
    learner.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    nodes = -(-(len(step.queries) + len(step.candidates)) // learner.accelerator.num_processes)
    learner.halved, learner.chunk = True, max(1, (learner.chunk or nodes) // 2)
    log.warning(
        "the memory does not hold a whole batch: it is computed in parts of %d nodes now, with the same result; to go on so, %s",
        learner.chunk,
        SMALLER,
    )
    return within_memory(learner, step, gradients)


def must_be_finite(value: float, what: str, learner: Learner, number: int, which: int, step: Step) -> None:
    """Raises Failed for a loss or a gradient that is not; the checkpoint of the last validation stays as it is."""
    if math.isfinite(value):
        return
    objective = learner.vectors.objectives[which]
    nodes = step.queries
    ids = nodes.graph.gather(nodes.kind, nodes.rows[:3], "id")["id"].to_list()
    used = ", ".join(technique.key for technique in learner.techniques) or "none"
    task = f" of task {objective.task}" if objective.task else ""
    raise Failed(
        f"update {number + 1}: the {what} is {value} for the batch of {nodes.kind} {', '.join(map(repr, ids))}, ... "
        f"({type(getattr(objective, 'inside', objective)).__name__}{task}; techniques: {used}); the checkpoint of the last validation stays. "
        f'Lower train.lr or train.head_lr, set train.clip = 1.0 or train.precision = "fp32", or leave a technique out'
    )
