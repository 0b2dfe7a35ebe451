"""The same split once more, inside what training knows: further held-out edges, none of which is one of the outer split's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Task, View
from kgrec_core.split.parts import Split
from kgrec_core.split.views import split


def inside(views: Mapping[str, View], tasks: tuple[Task, ...], how: Split) -> list[View]:
    """Two earlier rounds, the later first: what a split of the training edges would test and validate on; none where they are too few.

    By time the rounds are as long as the validation (rolling origin, Tashman 2000), by "last" they are everybody's last edges but one, by
    "random" and "targets" they are drawn again; a column said nothing of them, so they are the last ones, or drawn where nothing has a time.
    """
    graph = views["train"].graph
    known = all(graph.dated(task.relation) for task in tasks)
    again = replace(how, by="last" if known else "random", test=None) if how.by == "column" else how
    if how.by == "time":
        end, step = graph.as_of, views["test"].graph.as_of - graph.as_of
        again = replace(how, test=_written(end - step), validation=_written(end - 2 * step))
    try:
        found = split(Dataset(graph, tasks), replace(again, seed=how.seed + 1))
    except KgrecError:
        return []
    return [found["test"], found["select"], found["adjust"]]


def _written(time: int) -> str:
    """Microseconds as [split] takes a moment."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).isoformat()
