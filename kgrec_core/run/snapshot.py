"""What a reader of a run sees: graph, model, retrievals and calibrations as of one edit. It answers, and never changes.

snapshot = kgrec_core.open_run("runs/demo").snapshot
snapshot.answer(["12346", {"text": "red kitchen clock"}], k=5, where="price < 10")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.calibration import confidence
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.errors import KgrecError, choices
from kgrec_core.explain.explanation import Explanation, Language
from kgrec_core.explain.why import explanations
from kgrec_core.graph import Graph, Nodes, Ragged, Task, candidates
from kgrec_core.interfaces import Filter, Hits, Retrieval, Vectors
from kgrec_core.knowledge.build import grown
from kgrec_core.knowledge.source import Source
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.requests import as_data
from kgrec_core.retrieval.delta import Layered
from kgrec_core.run import seen
from kgrec_core.run.asked import Query, allowed, known, with_queries
from kgrec_core.run.entry import Entry
from kgrec_core.run.reasons import phrases, reasons
from kgrec_core.run.rules import Rules
from kgrec_core.run.safety import Safety
from kgrec_core.run.steering import steered
from kgrec_core.run.texts import Past, Probabilities, past, probabilities


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


@dataclass(frozen=True, eq=False)
class Snapshot:
    """edit: the number of the last edit in it; 0 = as published. safety: what may be shown, to the caller of this name. `task` is everywhere a name, None = the run's first task."""

    folder: Path
    recipe: Recipe
    graph: Graph
    model: Model
    retrievals: Mapping[str, Retrieval]
    calibrations: Mapping[str, Calibration]
    sources: Mapping[str, Source] = field(default_factory=dict)
    edit: int = 0
    safety: Safety | None = None
    caller: str = ""

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.model.tasks

    def task(self, name: str | None = None) -> Task:
        """A task by name; without one, the only or first."""
        found = {task.name: task for task in self.tasks}
        if name is not None and name not in found:
            raise choices("task of this run", name, found)
        return self.tasks[0] if name is None else found[name]

    def calibration(self, task: str | None = None) -> Calibration | None:
        """P(correct) of a task's first answers; its `threshold(budget)` says from which P on to answer. None: too few queries to say."""
        return self.calibrations.get(self.task(task).name)

    @property
    def relation_weights(self) -> dict[str, float]:
        """How much each relation of the graph counts, by name and 1 in the mean of a task's, as was learned."""
        return {name: weight for part in self.retrievals.values() for name, weight in part.relation_weights.items()}

    # --- asking -----------------------------------------------------------------------------------------------------
    def answer(
        self,
        queries: Sequence[Query],
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
        queries: Sequence[Query],
        task: str | None = None,
        k: int = 10,
        where: str | None = None,
        exclude: Sequence[str] = (),
        rules: Rules | None = None,
    ) -> list[Judged]:
        """`answer`, with the calibrated probability that the first answer is right: what "answer or hand over" is decided by. None where
        rules put another first."""
        asking = self._asking(queries, task, k, where, exclude, rules)
        if asking is None:
            return []
        of, nodes, open_, met, rules = asking
        calibration = self.calibrations.get(of.name)
        depth = max(k, confidence.DEPTH) if calibration else k
        depth = min(depth, max(1, int(np.count_nonzero(open_.rows))))
        vectors = self.model.vectors(of, nodes)
        hits = shown = self.retrievals[of.name].search(nodes, vectors, depth, open_, met)
        seen.told(self.graph, self.tasks, of, nodes, vectors, hits)
        sure = [None] * len(nodes) if calibration is None else calibration.probability(confidence.features(hits)).tolist()
        if rules.reorder:
            shown = self._steered(asking, k)
            sure = [p if first == was else None for p, first, was in zip(sure, shown.rows[:, 0], hits.rows[:, 0], strict=True)]
        columns = [{name: values[i] for name, values in shown.columns.items()} for i in range(len(nodes))]
        found = zip(shown.rows[:, :k], shown.scores[:, :k], columns, sure, strict=True)
        return [Judged(self._answers(of, *row), probability) for *row, probability in found]

    def explain(
        self,
        queries: Sequence[Query],
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
        asking = self._asking(queries, task, k, where, exclude, rules)
        if asking is None:
            return []
        of, nodes, open_, met, rules = asking
        most = max(1, np.count_nonzero(open_.rows))
        only = self._steered(asking, k).rows if rules.reorder else None
        k = min(k if only is None else max(100, 10 * k), most)
        return explanations(self.model, self.retrievals[of.name], of, nodes, k, open_, met, language, only=only)

    def similar(self, ids: Sequence[str], task: str | None = None, k: int = 10, where: str | None = None) -> list[list[Answer]]:
        """The k candidates whose vectors are nearest to each of the given candidates'; itself left out.

        By the index of the task's nearest-vector channel; where it has none, by comparing with all vectors.
        """
        of = self.task(task)
        _check_k(k)
        kind, rows = of.relation.target, known(self.graph, of.relation.target, ids)
        if not len(rows):
            return []
        asked = Nodes(self.graph, kind, rows, "candidate")
        itself = Ragged.of(np.arange(len(rows)), rows, len(rows))
        k = min(k, self.graph.size(kind))
        found = self._by_vector(of).search(asked, self.model.vectors(of, asked), k, self._open(of, where), itself)
        return [self._answers(of, r, s, {}) for r, s in zip(found.rows, found.scores, strict=True)]

    def encode(self, task: str | None, queries: Sequence[Query]) -> Vectors:
        """(n, d) float32 vectors of queries, as they are compared with the candidates'."""
        of = self.task(task)
        return self.model.vectors(of, self._nodes(of, queries))

    def probabilities(self, texts: Sequence[str], task: str | None = None) -> Probabilities:
        """Of every label of a task for every text, to the bit the same whatever texts come together."""
        of = self.task(task)
        return probabilities(self.graph, self.model, self.retrievals[of.name], self.calibrations.get(of.name), of, texts)

    def past(self, queries: Sequence[Query], task: str | None = None, k: int = 3) -> list[Past]:
        """For each query what the known sources nearest to it lead to, and k of them; empty without a channel `neighbours`."""
        of = self.task(task)
        return past(self.graph, self.model, self.retrievals[of.name], of, queries, k)

    # --- editing ----------------------------------------------------------------------------------------------------
    def after(self, entries: Sequence[Entry], edit: int) -> Snapshot:
        """The snapshot with edits, oldest first; what they bring is encoded and indexed once, however many they are.

        Raises KgrecError where one does not fit the graph, or brings what the model cannot encode; nothing is changed then.
        """
        graph, touched, calibrations = self.graph.join(*(entry.delta for entry in entries)), {}, dict(self.calibrations)
        for entry in entries:
            for kind, table in entry.delta.entities.items():
                touched.setdefault(kind, {}).update(dict.fromkeys(table["id"].to_list()))
            calibrations |= {name: Calibration.from_json(state) for name, state in entry.calibrations.items()}
        retrievals, rows = dict(self.retrievals), {kind: graph.rows(kind, ids) for kind, ids in touched.items()}
        if rows:
            self.model.refresh(graph, rows)
        for task in self.tasks:
            kind, encode = task.relation.target, self.model.encode(task)
            new = Nodes(graph, kind, rows[kind][graph.alive(kind)[rows[kind]]], "candidate") if kind in rows else ()
            if len(new):
                if not self.model.heads[task.name].encodes_candidates:
                    encode(new)  # refuses what came after the fit, whatever the channels do
                retrievals[task.name] = retrievals[task.name].extended(graph, new, encode)
        return replace(self, graph=graph, retrievals=retrievals, calibrations=calibrations, edit=edit)

    def known(self, delta: Graph) -> Graph:
        """The delta with what the sources of knowledge say of its entities."""
        return grown(self.graph, delta, self.sources, self.tasks)

    def forget(self, entry: Entry) -> None:
        """After `after` with an edit that came to nothing: what the encoder keeps by row is as of this snapshot again."""
        kinds = {kind: table["id"].to_list() for kind, table in entry.delta.entities.items() if kind in self.graph.entities}
        rows = {kind: self.graph.rows(kind, ids) for kind, ids in kinds.items()}
        self.model.refresh(self.graph, {kind: of[of >= 0] for kind, of in rows.items()})

    # --- how --------------------------------------------------------------------------------------------------------
    def _nodes(self, of: Task, queries: Sequence[Query]) -> Nodes:
        graph, rows = with_queries(self.graph, of, queries)
        return Nodes(graph, of.relation.source, rows, "query")

    def _asking(
        self, queries: Sequence[Query], task: str | None, k: int, where: str | None, exclude: Sequence[str], rules: Rules | None
    ) -> Asking | None:
        """What a retrieval is asked; None where there is no query."""
        of, rules = self.task(task), rules or Rules()
        _check_k(k)
        rules.check()
        nodes = self._nodes(of, queries)
        if not len(nodes):
            return None
        open_ = self._open(of, where, exclude, rules.related)
        return Asking(of, nodes, open_, None if of.repeats else nodes.read(of.relation), rules)

    def _open(self, of: Task, where: str | None, exclude: Sequence[str] = (), related: Sequence[str] = ()) -> Filter:
        """The candidates that may come: as the question wants them, and safe to show."""
        found = allowed(self.graph, of, where, exclude, related)
        safe = self.safety and self.safety.open(self.graph, of.relation.target, self.safety.audience(self.caller))
        if safe is None:
            return found
        if not (found.rows & safe).any():
            raise KgrecError(f"no {of.relation.target} is left to show: the rules of this run hold back all that the question leaves")
        return Filter(found.rows & safe, found.where)

    def _steered(self, asking: Asking, k: int) -> Hits:
        """The lists as their rules want them."""
        of, nodes, open_, met, rules = asking
        vectors = self.model.vectors(of, nodes)

        def encode(rows: NDArray[np.int64]) -> Vectors:
            return self.model.vectors(of, Nodes(self.graph, of.relation.target, rows, "candidate"))

        def search(depth: int, within: Filter) -> Hits:
            return self.retrievals[of.name].search(nodes, vectors, depth, within, met)

        return steered(search, rules, self.graph, of, k, open_, encode)

    def _by_vector(self, of: Task) -> Retrieval:
        """What finds candidates by their vectors."""
        layered = next((part for part in self.retrievals[of.name].inside() if isinstance(part, Layered)), None)
        if layered is not None:
            return layered

        def indexed() -> Retrieval:
            from kgrec_core.retrieval.exact import Exact

            exact = Exact(device="cpu")
            exact.build(self.graph, of, candidates(self.graph, of), self.model.encode(of))
            return exact

        return self.graph.memo.get(("similar", of), (self.model,), indexed)

    def _answers(self, of: Task, rows: NDArray, scores: NDArray, columns: Mapping[str, NDArray]) -> list[Answer]:
        found = np.flatnonzero(rows >= 0)
        answers, said = [], phrases(self.retrievals[of.name]) if columns else {}
        words = reasons(said, columns, len(rows))
        for place, entity in zip(found.tolist(), self.graph.gather(of.relation.target, rows[found]).to_dicts(), strict=True):
            why = {name: float(values[place]) for name, values in columns.items() if np.isfinite(values[place])}
            attributes = {k: v for k, v in entity.items() if k not in ("id", "text")}
            answers.append(Answer(entity["id"], entity.get("text"), float(scores[place]), attributes, why, words[place]))
        return answers


def _check_k(k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise KgrecError(f"k = {k!r} must be at least 1, and a whole number")
