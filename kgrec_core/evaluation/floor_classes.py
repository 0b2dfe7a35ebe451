"""The shallow floor of a classification: what a fine-tuned model must beat, on the same views.

`majority` answers every query with the most frequent class. `tfidf_lr` is multinomial logistic regression on TF-IDF of the query's
own text: word 1-2-grams, or character 1-3-grams (scripts without spaces, misspelt words), whichever does better on `select`,
as does the strength of its L2 penalty. It is the usual strong baseline (Wang & Manning 2012) and uses no language model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.class_metrics import Rows, best, value
from kgrec_core.evaluation.ranks import Score
from kgrec_core.evaluation.variants import Case, whole
from kgrec_core.graph import Graph, Nodes, Queries, Task, View, candidates

NGRAMS: Mapping[str, dict[str, Any]] = {
    "words 1-2": {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
    "characters 1-3": {"analyzer": "char", "ngram_range": (1, 3)},
}
STRENGTHS = (1, 10, 100)  # C: the inverse of the L2 penalty
LEARNED, SELECTED = 20_000, 4_000  # examples and select queries that choose; what is tested learns from all


class ClassFloor(NamedTuple):
    """predicted: method -> (n,) row of the target kind per test query. settings: method -> what select chose."""

    predicted: dict[str, Rows]
    settings: dict[str, dict[str, Any]]


class _Examples(NamedTuple):
    nodes: Nodes
    rows: Rows


def class_floor(
    views: Mapping[str, View], task: Task, *, case: Callable[[Queries, Task], Case] = whole, rebuild: bool = True, seed: int = 0
) -> ClassFloor:
    """Choose by macro F1 on `select`, learning from the training edges, then answer the test queries.

    case: what is out of the answers, see `variants`. rebuild: for the test, learn from the validation edges too. seed: draws the
    examples and select queries that choose where there are more than 20,000 and 4,000. `tfidf_lr` is absent where the source
    kind has no text or only one class is known. Raises KgrecError when no edge is known or no select query has a target.
    """
    rows = candidates(views["test"].graph, task).rows
    known = _examples(views["train"].graph, task, rows)
    later = _examples(views["test"].graph, task, rows) if rebuild else known
    asked, chosen_by = (case(views[name].queries[task.name], task) for name in ("test", "select"))
    draw = np.random.default_rng(seed)
    chosen_by = _take(chosen_by, _some(draw, np.flatnonzero(chosen_by.queries.targets.counts), SELECTED))
    if not len(known.rows) or not len(chosen_by.queries.nodes):
        what = "no query of select has a target" if len(known.rows) else "no training edge leads to a class that is still there"
        raise KgrecError(f"task {task.name}: {what}, so the floor cannot learn; change split.validation or split.test")
    counts = np.bincount(later.rows, minlength=rows.max() + 1)[rows].astype(np.float32)
    top = views["test"].graph.gather(task.relation.target, [rows[counts.argmax()]], "id")["id"][0]
    found = {"majority": _answers(lambda part: np.tile(counts, (part.stop - part.start, 1)), asked, rows)}
    settings: dict[str, dict[str, Any]] = {"majority": {"class": top}}
    if not _texts(known.nodes).str.contains(r"\w").any() or len(np.unique(known.rows)) < 2:
        return ClassFloor(found, settings)

    index = _some(draw, np.arange(len(known.rows)), LEARNED)
    learn = _Examples(known.nodes.take(index), known.rows[index])
    if len(np.unique(learn.rows)) < 2:
        learn = known

    def score(ngrams: str, strength: float) -> float:
        return value(
            _answers(_Classifier(learn, chosen_by, rows, ngrams, strength), chosen_by, rows), chosen_by.queries.targets, "macro_f1"
        )

    grid = {of: score(*of) for of in product(NGRAMS, STRENGTHS)}
    ngrams, strength = max(grid, key=grid.__getitem__)
    found["tfidf_lr"] = _answers(_Classifier(later, asked, rows, ngrams, strength), asked, rows)
    settings["tfidf_lr"] = {"ngrams": ngrams, "C": strength, "select_macro_f1": grid[ngrams, strength], "examples": len(later.rows)}
    return ClassFloor(found, settings)


class _Classifier:
    """Learns from the examples; a Score of the case's queries: probabilities of the candidates, -1 for classes without an example."""

    def __init__(self, examples: _Examples, case: Case, rows: Rows, ngrams: str, strength: float) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        vectors = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **NGRAMS[ngrams])
        self.model = make_pipeline(vectors, LogisticRegression(C=strength, max_iter=1_000))
        self.model.fit(_texts(examples.nodes), examples.rows)
        self.texts, self.width = _texts(case.queries.nodes), len(rows)
        self.places = np.searchsorted(rows, self.model[-1].classes_)

    def __call__(self, part: slice) -> NDArray[np.float32]:
        scores = np.full((part.stop - part.start, self.width), -1, np.float32)
        scores[:, self.places] = self.model.predict_proba(self.texts[part])
        return scores


def _examples(graph: Graph, task: Task, rows: Rows) -> _Examples:
    """The task's edges to the classes `rows`, each one an example."""
    edges = graph.relations[task.relation].select(pl.col("source", "target").cast(pl.Int64)).drop_nulls()
    source, target = (edges[end].to_numpy() for end in ("source", "target"))
    keep = np.isin(target, rows)
    return _Examples(Nodes(graph, task.relation.source, source[keep], "query"), target[keep])


def _texts(nodes: Nodes) -> pl.Series:
    """(n,) the nodes' own texts, empty where they have none."""
    if "text" not in nodes.graph.columns(nodes.kind):
        return pl.Series([""] * len(nodes), dtype=pl.String)
    return nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].fill_null("")


def _answers(score: Score, case: Case, rows: Rows) -> Rows:
    return best(score, len(case.queries.nodes), rows, case.exclude)


def _some(draw: np.random.Generator, index: Rows, most: int) -> Rows:
    return index if len(index) <= most else np.sort(draw.choice(index, most, replace=False))


def _take(case: Case, index: Rows) -> Case:
    return Case(case.queries.take(index), None if case.exclude is None else case.exclude.take(index))
