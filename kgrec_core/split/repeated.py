"""Whether a ranking is asked for what it may never recommend: what a source had met before, where a task says that nothing is met twice."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import numpy as np

from kgrec_core.graph import Task, View

log = logging.getLogger("kgrec")
MUCH = 0.2  # of what the test asks for: more says that what was met does come back


def doubted(views: Mapping[str, View], tasks: Iterable[Task]) -> list[str]:
    """What is said of tasks without `repeats` whose test asks for much that had been met; each of them counts as not found."""
    found = []
    for task in tasks:
        nodes, targets = views["test"].queries[task.name]
        if task.repeats or not len(targets.rows):
            continue
        met = np.mean(targets.among(nodes.read(task.relation)))
        if met > MUCH:
            found.append(
                f"task {task.name}: {met:.0%} of what the test asks for its {task.relation.source} had met before, and it is never recommended; "
                f"if it may come back, set data.tasks.{task.name}.repeats = true"
            )
            log.warning("%s", found[-1])
    return found
