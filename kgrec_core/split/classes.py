"""Whether a classification can be learned as it is split: two classes at least in training, and none asked for that training never shows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import numpy as np

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Task, View

log = logging.getLogger("kgrec")
ASKED = ("select", "adjust", "test")


def doubted(views: Mapping[str, View], tasks: Iterable[Task], strict: bool = False) -> list[str]:
    """What is said of classes that are asked for and cannot be learned; tasks: those whose head learns a vector per class.

    strict: such a class is an error. Raises KgrecError where all that is learned from is of one class.
    """
    found = []
    for task in tasks:
        queries = views["train"].queries[task.name]
        learned = np.unique(queries.targets.rows)
        if len(learned) == 1:
            (name,) = _names(views["train"], task, learned)
            raise KgrecError(
                f"task {task.name}: all {len(queries.nodes):,} training queries are of one {task.relation.target}, {name!r}, so there is nothing "
                f"to tell apart; give rows of another one, or leave the task out"
            )
        asked = np.concatenate([views[part].queries[task.name].targets.rows for part in ASKED])
        never = np.setdiff1d(asked, learned)
        if len(never) and len(learned):
            names = ", ".join(map(repr, _names(views["train"], task, never[:3]))) + ", ..." * (len(never) > 3)
            found.append(
                f"task {task.name}: {len(never):,} of {len(np.union1d(asked, learned)):,} {task.relation.target} stand in no training row, only in "
                f"{np.isin(asked, never).sum():,} of validation or test ({names}): a classification never learns them, and they count as wrong; "
                "give training rows of them, leave them out, or change [split]"
            )
            log.warning("%s", found[-1])
    if found and strict:
        raise KgrecError(f"{found[0]} (a doubt, and --strict)")
    return found


def _names(view: View, task: Task, rows: np.ndarray) -> list[str]:
    return view.graph.gather(task.relation.target, rows, "id")["id"].to_list()
