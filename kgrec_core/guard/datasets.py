"""What a data part's returns must be; as `checks`, without torch."""

from __future__ import annotations

from typing import Any

from kgrec_core.graph import Dataset


def dataset(found: Any) -> str:
    """A Dataset whose tasks have names of their own, relations that are there, and edges. Ids and ends the graph has looked at itself."""
    if not isinstance(found, Dataset):
        return f"{type(found).__name__} instead of Dataset"
    if not found.tasks:
        return "a dataset needs a task"
    if len({task.name for task in found.tasks}) < len(found.tasks):
        return "two tasks have the same name"
    for task in found.tasks:
        for relation in (task.relation, *task.history):
            if relation not in found.graph.relations:
                return f"task {task.name}: the graph has no relation {relation}"
        if not len(found.graph.relations[task.relation]):
            return f"task {task.name}: {task.relation} has no edge"
    return ""


def repeated(first: Dataset, second: Dataset) -> str:
    """Loaded twice, it is the same: else no killed fit goes on, and nobody can evaluate its run again."""
    for mine, other in ((first.graph.entities, second.graph.entities), (first.graph.relations, second.graph.relations)):
        if list(mine) != list(other) or not all(mine[name].equals(other[name]) for name in mine):
            return "loading twice gives two datasets"
    return ""
