"""What a referee goes by where select queries are few: what else is held out of those who learned nothing from it.

Among some 25 simple methods the best of 60 queries is often so by luck. Whoever did not learn from the adjust queries is asked these, too; of a
classification that did, what its folds said of those that they had not seen counts. What reads no vectors is built on earlier rounds inside
the training edges and asked what followed (rolling origin, Tashman 2000).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec_core.comparison.results import TUNED, Results
from kgrec_core.evaluation.class_metrics import predicted, right
from kgrec_core.graph import Graph, Task, View, candidates
from kgrec_core.interfaces import Hits, Retrieval
from kgrec_core.model import Model, Silent
from kgrec_core.split import Split
from kgrec_core.split.inside import inside

ENOUGH = 300  # select queries from which on nothing else is asked
EDGES = 200_000  # training edges above which nothing is built on earlier rounds


class Evidence:
    """The further queries of every task, and what is found for them."""

    def __init__(self, views: Mapping[str, View], results: Mapping[str, Results], how: Split) -> None:
        self.views, self.results, self.how = views, results, how
        self.rounds: list[View] | None = None

    def views_of(self, task: Task, tasks: tuple[Task, ...]) -> list[View]:
        """The adjust queries, then those of earlier rounds; none where select has enough, rounds only of who has a history and no text."""
        select, graph = self.views["select"].queries[task.name], self.views["train"].graph
        if np.count_nonzero(select.targets.counts) >= ENOUGH:
            return []
        found = [self.views["adjust"]]
        if "text" in graph.columns(task.relation.source) or len(graph.relations[task.relation]) > EDGES:
            return found
        if self.rounds is None:
            self.rounds = inside(self.views, tasks, self.how)
        return found + [view for view in self.rounds if len(view.queries[task.name].nodes)]

    def values(
        self, task: Task, name: str, model: Model, part: Retrieval, anew: Callable[[], Retrieval], unseen: Hits | None = None
    ) -> NDArray[np.float64]:
        """Per further query, NaN where a contender has learned from it, or would have to be fitted again.

        part: built on the training view; anew: gives it not yet built; unseen: what its folds found for the adjust queries.
        """
        result, found, silent, built = self.results[task.name], [], Silent(model.tasks), {}
        for view in self.views_of(task, model.tasks):
            graph, asked = view.graph, view.queries[task.name]
            earlier = graph is not self.views["train"].graph
            folded = unseen is not None and (unseen.rows >= 0).any()  # a ranker may have no folds
            if folded and not earlier and result.metric == "accuracy":
                found.append(right(predicted(unseen), asked.targets))
                continue
            if part.learns or (part.reads == "vectors" if earlier else TUNED in name):
                found.append(np.full(len(asked.nodes), np.nan))
                continue
            if earlier and id(graph) not in built:
                built[id(graph)] = anew()
                build(built[id(graph)], task, silent, graph)
            found.append(result.asked(*((silent, built[id(graph)]) if earlier else (model, part)), view))
        return np.concatenate([np.zeros(0), *found])


def build(part: Retrieval, task: Task, model: Model, graph: Graph) -> None:
    part.build(graph, task, candidates(graph, task), model.encode(task))


def ahead(values: Sequence[NDArray[np.float64]]) -> int:
    """Which is best by what each was asked in common with the best so far; the first of equals."""
    best = 0
    for number in range(1, len(values)):
        both = values[number] - values[best]
        if not np.isnan(both).all() and np.nanmean(both) > 0:
            best = number
    return best
