"""Parts of the queries where knowledge must pay: who has met next to nothing, and who asks in words that the answer does not use.

A slice is a mask over queries; every metric of it is the whole ranking's, of these queries alone. (`variants` is what asks another
question of the ranking: only new targets, only cold ones.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kgrec_core.evaluation.metrics import RANKED
from kgrec_core.graph import Queries, Ragged, Task

SHORT = 1  # things met, at most
WORD = re.compile(r"[^\W_]+")
LETTERS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
COMMON = 0.1  # of the texts that have a word beyond which it says nothing

Values = Mapping[str, Mapping[str, NDArray[np.float64]]]


def slices(queries: Queries, task: Task) -> dict[str, NDArray[np.bool_]]:
    """Name -> (n,) which queries are in it: "short_history", "other_words". Those without a query, and those that hold all, are left out."""
    right = queries.targets.counts > 0
    found = {"short_history": short(queries, task), "other_words": other_words(queries, task)}
    found = {name: mask & right for name, mask in found.items()}
    return {name: mask for name, mask in found.items() if mask.any() and (mask != right).any()}


def short(queries: Queries, task: Task) -> NDArray[np.bool_]:
    """Who has met one target, or none: a customer with one purchase."""
    return queries.nodes.read(task.relation, last=SHORT + 1).counts <= SHORT


def other_words(queries: Queries, task: Task) -> NDArray[np.bool_]:
    """Whose text has no word in common with any of the right answers' texts, words that many texts have aside."""
    graph, source, target = queries.nodes.graph, task.relation.source, task.relation.target
    if "text" not in graph.columns(source) or "text" not in graph.columns(target):
        return np.zeros(len(queries.nodes), bool)
    asked = [_words(text) for text in graph.gather(source, queries.nodes.rows, "text")["text"].to_list()]
    every = [_words(text) for text in graph.entities[target]["text"].to_list()]
    counts: dict[str, int] = {}
    for words in every:
        for word in words:
            counts[word] = counts.get(word, 0) + 1
    often = {word for word, n in counts.items() if n > max(1, COMMON * len(every))}
    found = np.array([bool(words - often) for words in asked])
    targets = queries.targets
    for query in np.flatnonzero(found):
        rows = targets.rows[targets.indptr[query] : targets.indptr[query + 1]]
        found[query] = not any((asked[query] & every[row]) - often for row in rows)
    return found


def masked(systems: Values, mask: NDArray[np.bool_], names: tuple[str, ...] = RANKED) -> dict[str, dict[str, NDArray[np.float64]]]:
    """The same values, NaN outside of the slice."""
    return {system: {name: np.where(mask, of[name], np.nan) for name in names if name in of} for system, of in systems.items()}


def taken(targets: Ragged, mask: NDArray[np.bool_]) -> Ragged:
    """The targets of a slice's queries."""
    return targets.take(np.flatnonzero(mask))


def _words(text: str | None) -> set[str]:
    text = (text or "").lower()
    return {word for word in WORD.findall(LETTERS.sub(" ", text)) if len(word) > 1} | set(LETTERS.findall(text))
