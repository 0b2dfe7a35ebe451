"""The shallow floor of a classification: what a fine-tuned model must beat, on the same views.

Its methods are channels that read no vectors: `majority` is `popular` of all time, `tfidf_lr` is `logistic` by words, the usual strong
baseline without a language model (Wang & Manning 2012). Another floor is another entry of `FLOORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from kgrec_core.comparison.floor import no_vectors
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.class_metrics import Rows, predicted, value
from kgrec_core.evaluation.variants import Case, whole
from kgrec_core.graph import Graph, Queries, Task, View, candidates
from kgrec_core.interfaces import Retrieval
from kgrec_core.retrieval.logistic import Logistic
from kgrec_core.retrieval.popular import Popular

FLOORS: Mapping[str, Callable[[], Retrieval]] = {"majority": lambda: Popular(days=0), "tfidf_lr": Logistic}
SELECTED = 4_000  # select queries that a method's figure there is of


class ClassFloor(NamedTuple):
    """predicted: method -> (n,) row of the target kind per test query. settings: method -> what it chose, and its figure on select."""

    predicted: dict[str, Rows]
    settings: dict[str, dict[str, Any]]


def class_floor(
    views: Mapping[str, View], task: Task, *, case: Callable[[Queries, Task], Case] = whole, rebuild: bool = True, seed: int = 0
) -> ClassFloor:
    """Learn from the known edges, then answer the test queries.

    case: what is out of the answers, see `variants`. rebuild: for the test, learn from the validation edges too. seed: draws the
    select queries where there are more than 4,000. `tfidf_lr` is absent where the source kind has no text, or only one class is known.
    Raises KgrecError when no edge is known.
    """
    first, later = views["train"].graph, views["test" if rebuild else "train"].graph
    known = first.degree(task.relation, candidates(first, task).rows, inverse=True)
    if not known.any():
        raise KgrecError(
            f"task {task.name}: no training edge leads to a class that is still there, so the floor cannot learn; change split.validation or split.test"
        )
    names = list(FLOORS) if _told(first, task) and np.count_nonzero(known) > 1 else ["majority"]
    asked, chosen_by = (case(views[name].queries[task.name], task) for name in ("test", "select"))
    found: dict[str, Rows] = {}
    settings: dict[str, dict[str, Any]] = {}
    for name in names:
        channel = _built(name, later, task)
        found[name] = _answers(channel, asked)
        settings[name] = dict(channel.chosen) if isinstance(channel, Logistic) else {"class": _most(later, task)}
    if "tfidf_lr" in names:
        chosen_by = chosen_by.drawn(SELECTED, seed)
        figure = value(_answers(_built("tfidf_lr", first, task), chosen_by), chosen_by.queries.targets, "macro_f1")
        settings["tfidf_lr"]["select_macro_f1"] = None if np.isnan(figure) else figure
    return ClassFloor(found, settings)


def _built(name: str, graph: Graph, task: Task) -> Retrieval:
    channel = FLOORS[name]()
    channel.build(graph, task, candidates(graph, task), no_vectors)
    return channel


def _answers(channel: Retrieval, case: Case) -> Rows:
    return predicted(channel.search(case.queries.nodes, None, 1, exclude=case.exclude))


def _told(graph: Graph, task: Task) -> bool:
    """Whether some source of a known edge has a text with a word in it."""
    kind, rows = task.relation.source, graph.relations[task.relation]["source"].drop_nulls().to_numpy().astype(np.int64)
    return "text" in graph.columns(kind) and bool(graph.gather(kind, rows, "text")["text"].str.contains(r"\w").any())


def _most(graph: Graph, task: Task) -> str:
    rows = candidates(graph, task).rows
    top = rows[graph.degree(task.relation, rows, inverse=True).argmax()]
    return graph.gather(task.relation.target, [top], "id")["id"][0]
