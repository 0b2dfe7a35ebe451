"""What a snapshot is asked, and a run, of its latest snapshot: answers, how sure they are, why, what is similar, vectors and probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.calibration import confidence
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.errors import KgrecError
from kgrec_core.explain.explanation import Explanation, Language
from kgrec_core.explain.why import explanations
from kgrec_core.graph import Nodes, Ragged, Task, candidates
from kgrec_core.interfaces import Filter, Hits, Retrieval, Vectors
from kgrec_core.requests import as_data
from kgrec_core.retrieval.delta import Layered
from kgrec_core.run import seen
from kgrec_core.run.asked import Query, allowed, known, with_queries
from kgrec_core.run.reasons import phrases, reasons
from kgrec_core.run.rules import Rules
from kgrec_core.run.steering import steered
from kgrec_core.run.texts import Past, Probabilities, past, probabilities

if TYPE_CHECKING:
    from kgrec_core.run.snapshot import Snapshot


class Answer(NamedTuple):
    """One candidate. attributes: its columns of the entity table; columns: what every channel thought of it; reason: that in a few words;
    explanation: where it was asked for, see `Snapshot.explain`."""

    id: str
    text: str | None
    score: float
    attributes: dict[str, Any]
    columns: dict[str, float]
    reason: str = ""
    explanation: Explanation | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; an explanation where there is one."""
        plain = {name: as_data(value) for name, value in self._asdict().items()}
        return plain if self.explanation is not None else {name: value for name, value in plain.items() if name != "explanation"}


class Asking(NamedTuple):
    """What a retrieval is asked of a task: queries, which candidates may come, what each query met, which must not, and rules."""

    task: Task
    nodes: Nodes
    allowed: Filter
    exclude: Ragged | None
    rules: Rules


class Judged(NamedTuple):
    """A query's answers, and how probable it is that the first of them is right; None where the run was not calibrated."""

    answers: list[Answer]
    probability: float | None


class Asks:
    """Base of what has a `snapshot`: each question reads it once, so that its answer is of one moment from start to end. `task` is
    everywhere a name, None = the run's first task."""

    @property
    def snapshot(self) -> Snapshot:
        raise NotImplementedError

    def put(self, queries: Sequence[Query], task: str | None = None) -> Nodes:
        """The queries as they are asked, joined with the graph: whoever asks several things of them puts them once, and asks of these."""
        at = self.snapshot
        return _nodes(at, at.task(task), queries)

    def answer(
        self,
        queries: Sequence[Query] | Nodes,
        task: str | None = None,
        k: int = 10,
        where: str | None = None,
        exclude: Sequence[str] = (),
        rules: Rules | None = None,
    ) -> list[list[Answer]]:
        """The k best candidates for every query, best first.

        A query is the id of a known source (a number is the text that it is written like), or a mapping with any of "id", "text" and "history" (target ids, oldest first): a
        shopper without an account. where: an SQL condition on the candidates' columns ("price < 5"). exclude: ids left out. rules: see `Rules`.
        Already known targets are left out unless the task allows repeats. Raises KgrecError for unknown ids and bad conditions.
        """
        return [judged.answers for judged in self.judged(queries, task, k, where, exclude, rules)]

    def judged(
        self,
        queries: Sequence[Query] | Nodes,
        task: str | None = None,
        k: int = 10,
        where: str | None = None,
        exclude: Sequence[str] = (),
        rules: Rules | None = None,
    ) -> list[Judged]:
        """`answer`, with the calibrated probability that the first answer is right: what "answer or hand over" is decided by. None where
        rules put another first."""
        at = self.snapshot
        asking = _asking(at, queries, task, k, where, exclude, rules)
        if asking is None:
            return []
        of, nodes, open_, met, rules = asking
        calibration = at.calibrations.get(of.name)
        depth = max(k, confidence.DEPTH) if calibration else k
        depth = min(depth, max(1, int(np.count_nonzero(open_.rows))))
        vectors = at.model.vectors(of, nodes)
        hits = shown = at.retrievals[of.name].search(nodes, vectors, depth, open_, met)
        seen.told(at.graph, at.tasks, of, nodes, vectors, hits)
        sure = [None] * len(nodes) if calibration is None else calibration.probability(confidence.features(hits)).tolist()
        if rules.reorder:
            shown = _steered(at, asking, k)
            sure = [p if first == was else None for p, first, was in zip(sure, shown.rows[:, 0], hits.rows[:, 0], strict=True)]
        return [Judged(*found) for found in zip(_answers(at, of, shown.rows[:, :k], shown.scores[:, :k], shown.columns), sure, strict=True)]

    def explain(
        self,
        queries: Sequence[Query] | Nodes,
        task: str | None = None,
        k: int = 10,
        where: str | None = None,
        exclude: Sequence[str] = (),
        rules: Rules | None = None,
        language: Language | None = None,
    ) -> list[list[Explanation]]:
        """Why `answer` answers as it does: of each answer what its score is the sum of, and the best paths that lead to it.

        language: "en" or "zh" of the sentence, None = as the query is written. Asks the chain once more for each thing that a query met.
        """
        at = self.snapshot
        asking = _asking(at, queries, task, k, where, exclude, rules)
        if asking is None:
            return []
        of, nodes, open_, met, rules = asking
        most = max(1, np.count_nonzero(open_.rows))
        only = _steered(at, asking, k).rows if rules.reorder else None
        k = min(k if only is None else max(100, 10 * k), most)
        found = explanations(at.model, at.retrievals[of.name], of, nodes, k, open_, met, language, only=only)
        safe = _safe(at, of)
        return found if safe is None else [[_nameable(at, of, safe, one) for one in answers] for answers in found]

    def similar(self, ids: Sequence[str], task: str | None = None, k: int = 10, where: str | None = None) -> list[list[Answer]]:
        """The k candidates whose vectors are nearest to each of the given candidates'; itself left out.

        By the index of the task's nearest-vector channel; where it has none, by comparing with all vectors.
        """
        at = self.snapshot
        of = at.task(task)
        _check_k(k)
        kind, rows = of.relation.target, known(at.graph, of.relation.target, ids)
        if not len(rows):
            return []
        asked = Nodes(at.graph, kind, rows, "candidate")
        itself = Ragged.of(np.arange(len(rows)), rows, len(rows))
        k = min(k, at.graph.size(kind))
        found = _by_vector(at, of).search(asked, at.model.vectors(of, asked), k, _open(at, of, where), itself)
        return _answers(at, of, found.rows, found.scores, {})

    def encode(self, task: str | None, queries: Sequence[Query] | Nodes) -> Vectors:
        """(n, d) float32 vectors of queries, as they are compared with the candidates'."""
        at = self.snapshot
        of = at.task(task)
        return at.model.vectors(of, _nodes(at, of, queries))

    def probabilities(self, texts: Sequence[str] | Nodes, task: str | None = None) -> Probabilities:
        """Of every label of a task for every text, to the bit the same whatever texts come together."""
        if isinstance(texts, str):
            raise KgrecError(f"{texts!r} is one text where a list belongs; write [{texts!r}]")
        at = self.snapshot
        of = at.task(task)
        queries = _nodes(at, of, texts if isinstance(texts, Nodes) else [{"text": text} for text in texts])
        return probabilities(at.graph, at.model, at.retrievals[of.name], at.calibrations.get(of.name), of, queries)

    def past(self, queries: Sequence[Query] | Nodes, task: str | None = None, k: int = 3) -> list[Past]:
        """For each query what the known sources nearest to it lead to, and k of them; empty without a channel `neighbours`."""
        at = self.snapshot
        of = at.task(task)
        return past(at.graph, at.model, at.retrievals[of.name], of, _nodes(at, of, queries), k)

    def calibration(self, task: str | None = None) -> Calibration | None:
        """P(correct) of a task's first answers; its `threshold(budget)` says from which P on to answer. None: too few queries to say."""
        at = self.snapshot
        return at.calibrations.get(at.task(task).name)


def _nodes(at: Snapshot, of: Task, queries: Sequence[Query] | Nodes) -> Nodes:
    if not isinstance(queries, Nodes):
        graph, rows = with_queries(at.graph, of, queries)
        return Nodes(graph, of.relation.source, rows, "query")
    if queries.kind != of.relation.source:
        raise KgrecError(f"task {of.name}: {of.relation.source} asks, not {queries.kind}; put the queries to this task")
    return queries


def _asking(
    at: Snapshot, queries: Sequence[Query] | Nodes, task: str | None, k: int, where: str | None, exclude: Sequence[str], rules: Rules | None
) -> Asking | None:
    """What a retrieval is asked; None where there is no query."""
    of, rules = at.task(task), rules or Rules()
    _check_k(k)
    rules.check()
    nodes = _nodes(at, of, queries)
    if not len(nodes):
        return None
    open_ = _open(at, of, where, exclude, rules.related)
    return Asking(of, nodes, open_, None if of.repeats else nodes.read(of.relation), rules)


def _open(at: Snapshot, of: Task, where: str | None, exclude: Sequence[str] = (), related: Sequence[str] = ()) -> Filter:
    """The candidates that may come: as the question wants them, and safe to show."""
    found, safe = allowed(at.graph, of, where, exclude, related), _safe(at, of)
    if safe is None:
        return found
    if not (found.rows & safe).any():
        raise KgrecError(f"no {of.relation.target} is left to show: the rules of this run hold back all that the question leaves")
    return Filter(found.rows & safe, found.where)


def _safe(at: Snapshot, of: Task) -> NDArray[np.bool_] | None:
    """By row which targets the caller may see; None = all."""
    return None if at.safety is None else at.safety.open(at.graph, of.relation.target, at.safety.audience(at.caller))


def _nameable(at: Snapshot, of: Task, safe: NDArray[np.bool_], why: Explanation) -> Explanation:
    """Without the ways over what may not be shown: a query may have met it before there was a rule. safe: by row of the targets."""
    kind = of.relation.target

    def shown(ids: list[str]) -> bool:
        return bool(safe[at.graph.rows(kind, ids)].all())

    return replace(why, paths=tuple(way for way in why.paths if shown([node.id for node in way.nodes if node.kind == kind and node.id])))


def _steered(at: Snapshot, asking: Asking, k: int) -> Hits:
    """The lists as their rules want them."""
    of, nodes, open_, met, rules = asking
    vectors = at.model.vectors(of, nodes)

    def encode(rows: NDArray[np.int64]) -> Vectors:
        return at.model.vectors(of, Nodes(at.graph, of.relation.target, rows, "candidate"))

    def search(depth: int, within: Filter) -> Hits:
        return at.retrievals[of.name].search(nodes, vectors, depth, within, met)

    return steered(search, rules, at.graph, of, k, open_, encode)


def _by_vector(at: Snapshot, of: Task) -> Retrieval:
    """What finds candidates by their vectors."""
    layered = next((part for part in at.retrievals[of.name].inside() if isinstance(part, Layered)), None)
    if layered is not None:
        return layered

    def indexed() -> Retrieval:
        from kgrec_core.retrieval.exact import Exact

        exact = Exact(device="cpu")
        exact.build(at.graph, of, candidates(at.graph, of), at.model.encode(of))
        return exact

    return at.graph.memo.get(("similar", of), (at.model,), indexed)


def _answers(at: Snapshot, of: Task, rows: NDArray, scores: NDArray, columns: Mapping[str, NDArray]) -> list[list[Answer]]:
    """Of (n, k) rows and scores, -1 = none; columns: (n, k or more) what every channel thought of them."""
    answers: list[list[Answer]] = [[] for _ in rows]
    retrieval = at.retrievals[of.name]
    said = at.graph.memo.get(("phrases",), (retrieval,), lambda: phrases(retrieval)) if columns else {}
    words = [reasons(said, {name: values[i] for name, values in columns.items()}, rows.shape[1]) for i in range(len(rows))]
    query, place = np.nonzero(rows >= 0)
    thought = {name: values[query, place].tolist() for name, values in columns.items()}
    every = zip(query.tolist(), place.tolist(), at.graph.gather(of.relation.target, rows[query, place]).to_dicts(), strict=True)
    for number, (i, j, entity) in enumerate(every):
        why = {name: values[number] for name, values in thought.items() if math.isfinite(values[number])}
        attributes = {k: v for k, v in entity.items() if k not in ("id", "text")}
        answers[i].append(Answer(entity["id"], entity.get("text"), float(scores[i, j]), attributes, why, words[i][j]))
    return answers


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise KgrecError(f"k = {k!r} must be at least 1, and a whole number")
