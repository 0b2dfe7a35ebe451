"""What a data part promises."""

from __future__ import annotations

from collections.abc import Callable

from kgrec_core.interfaces import Data


def check_data(factory: Callable[[], Data]) -> None:
    """Loading gives valid tasks with edges, and the same dataset each time."""
    first, second = factory().load(), factory().load()
    assert first.tasks, "a dataset needs a task"
    assert len({task.name for task in first.tasks}) == len(first.tasks), "two tasks have the same name"
    for task in first.tasks:
        for relation in (task.relation, *task.history):
            assert relation in first.graph.relations, f"task {task.name}: the graph has no relation {relation}"
        assert len(first.graph.relations[task.relation]), f"task {task.name}: {task.relation} has no edge"
    for mine, other in ((first.graph.entities, second.graph.entities), (first.graph.relations, second.graph.relations)):
        assert list(mine) == list(other) and all(mine[name].equals(other[name]) for name in mine), "loading twice gives two datasets"
