"""A published run: opened, asked, edited. Reading is thread-safe; an answer reads one snapshot from start to end.

run = kgrec_core.open_run("runs/demo")
run.answer(["12346", {"text": "red kitchen clock"}], k=5, where="price < 10")
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.calibration import confidence
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.errors import KgrecError, choices
from kgrec_core.evaluation import rank_tables, variants
from kgrec_core.graph import Graph, Nodes, Relation, Task, candidates
from kgrec_core.interfaces import Filter, Retrieval
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import Recipe, resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import folder as run_folder
from kgrec_core.run.asked import Query, known, with_queries
from kgrec_core.run.log import Live
from kgrec_core.run.texts import Past, Probabilities, past, probabilities


class Answer(NamedTuple):
    """One candidate. attributes: its columns of the entity table; columns: what every channel thought of it."""

    id: str
    text: str | None
    score: float
    attributes: dict[str, Any]
    columns: dict[str, float]


class Judged(NamedTuple):
    """A query's answers, and how probable it is that the first of them is right; None where the run was not calibrated."""

    answers: list[Answer]
    probability: float | None


class Snapshot(NamedTuple):
    """What a reader sees: swapped by one reference, never changed."""

    graph: Graph
    retrievals: Mapping[str, Retrieval]
    edit: int


def open_run(path: str | Path, allow: Iterable[str] = (), registry: Registry | None = None) -> Run:
    """Open a run folder that fit published, with its later edits.

    allow: parts from files (`my_file:MyPart`) that may be executed. Raises KgrecError for a damaged, foreign or newer folder.
    """
    folder, registry = Path(path), registry or Registry.discover()
    manifest = run_folder.verified(folder)
    recipe = resolve(folder / "recipe.toml")
    foreign = [use for use in recipe.foreign if use not in set(allow)]  # not from the manifest, which a stranger may have written
    if foreign:
        raise KgrecError(
            f"{folder} uses code from a file: {', '.join(foreign)}; if you trust it, open with allow={foreign} (--allow {foreign[0]})"
        )
    tasks = tuple(
        Task(t["name"], Relation(*t["relation"]), tuple(Relation(*r) for r in t["history"]), t["repeats"]) for t in manifest["tasks"]
    )
    graph = run_folder.load_graph(folder / "knowledge")
    encoder = recipe.encoder(registry)
    encoder.load(folder / "encoder")
    encoder.eval()
    heads = {task.name: recipe.head(registry, task.name) for task in tasks}
    retrievals = {}
    for task in tasks:
        heads[task.name].load(folder / "head" / task.name)
        heads[task.name].eval()
        retrievals[task.name] = recipe.retrieval(registry, task.name)
        retrievals[task.name].load(folder / "retrieval" / task.name, graph, task)
    return Run(folder, recipe, manifest, Model(encoder, heads, tasks).refresh(graph, {}), Snapshot(graph, retrievals, 0))


class Run:
    """Made by `open_run`. folder, recipe, manifest, tasks: what was published; graph: with all edits so far."""

    def __init__(self, folder: Path, recipe: Recipe, manifest: dict[str, Any], model: Model, snapshot: Snapshot) -> None:
        self.folder, self.recipe, self.manifest, self.tasks = folder, recipe, manifest, model.tasks
        self._model, self._snapshot, self._writing = model, snapshot, Lock()
        self._live = Live(folder, run_folder.checksum(folder / run_folder.MANIFEST))
        renewed = {name: Calibration.from_json(state) for name, state in self._live.calibrations().items()}
        self._calibrations = {**confidence.load_calibrations(folder / "calibration"), **renewed}
        self._catch_up()

    @property
    def graph(self) -> Graph:
        return self._catch_up().graph

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json: the test figures, written once by fit."""
        return json.loads((self.folder / "metrics.json").read_text())

    @property
    def history(self) -> list[dict[str, Any]]:
        """history.jsonl: one record per validation of the fine-tuning."""
        return [json.loads(line) for line in (self.folder / "history.jsonl").read_text().splitlines()]

    def task(self, name: str | None = None) -> Task:
        """A task by name; without one, the only or first."""
        if name is None:
            return self.tasks[0]
        found = {task.name: task for task in self.tasks}
        if name not in found:
            raise choices("task of this run", name, found)
        return found[name]

    def chain(self, task: Task) -> tuple[Graph, Model, Retrieval]:
        """What answers a task's queries, of one snapshot."""
        snapshot = self._catch_up()
        return snapshot.graph, self._model, snapshot.retrievals[task.name]

    # --- asking -----------------------------------------------------------------------------------------------------
    def answer(
        self, queries: Sequence[Query], task: str | None = None, k: int = 10, where: str | None = None, exclude: Sequence[str] = ()
    ) -> list[list[Answer]]:
        """The k best candidates for every query, best first.

        A query is the id of a known source, or a mapping with any of "id", "text" and "history" (target ids, oldest first): a
        shopper without an account. where: an SQL condition on the candidates' columns ("price < 5"). exclude: ids left out.
        Already known targets are left out unless the task allows repeats. Raises KgrecError for unknown ids and bad conditions.
        """
        return [judged.answers for judged in self.judged(queries, task, k, where, exclude)]

    def judged(
        self, queries: Sequence[Query], task: str | None = None, k: int = 10, where: str | None = None, exclude: Sequence[str] = ()
    ) -> list[Judged]:
        """`answer`, with the calibrated probability that the first answer is right: what "answer or hand over" is decided by."""
        of, snapshot = self.task(task), self._catch_up()
        _check_k(k)
        if not len(queries):
            return []
        graph, rows = with_queries(snapshot.graph, of, queries)
        nodes = Nodes(graph, of.relation.source, rows, "query")
        allowed = Filter(self._allowed(snapshot.graph, of, where, exclude), where)
        met = None if of.repeats else nodes.read(of.relation)
        calibration = self.calibration(of.name)
        depth = max(k, confidence.DEPTH) if calibration else k
        hits = snapshot.retrievals[of.name].search(
            nodes, self._model.vectors(of, nodes), min(depth, max(1, int(allowed.rows.sum()))), allowed, met
        )
        sure = [None] * len(rows) if calibration is None else calibration.probability(confidence.features(hits)).tolist()
        found = zip(hits.rows[:, :k], hits.scores[:, :k], _by_query(hits.columns, len(rows)), sure, strict=True)
        return [Judged(_answers(snapshot.graph, of, *row), probability) for *row, probability in found]

    def calibration(self, task: str | None = None) -> Calibration | None:
        """P(correct) of a task's first answers; its `threshold(budget)` says from which P on to answer. None: too few queries to say."""
        return self._calibrations.get(self.task(task).name)

    def recalibrate(self, task: str | None = None) -> Calibration:
        """Learn P(correct) again from the adjust queries, by what the run finds now: after edits. Durable; nothing is trained.

        Raises KgrecError where the run has no calibration to renew.
        """
        of, snapshot = self.task(task), self._catch_up()
        if of.name not in self._calibrations:
            raise KgrecError(
                f"task {of.name} of {self.folder} has no calibration: too few validation queries; widen split.validation and fit again"
            )
        queries = confidence.asked_again(self.folder / "calibration" / f"{of.name}.parquet", snapshot.graph, of, self.tasks)
        hits = rank_tables.chain_hits(self._model, snapshot.retrievals[of.name], of, variants.whole(queries, of))
        found = confidence.calibrated(hits, queries.targets)
        if found is None:
            raise KgrecError(f"task {of.name}: too few of its {len(queries.nodes):,} adjust queries find an answer now; fit again")
        self._live.calibrate(of.name, found.to_json())
        self._calibrations = {**self._calibrations, of.name: found}
        return found

    def similar(self, ids: Sequence[str], task: str | None = None, k: int = 10, where: str | None = None) -> list[list[Answer]]:
        """The k candidates whose vectors are nearest to each of the given candidates'; itself left out."""
        of, snapshot = self.task(task), self._catch_up()
        _check_k(k)
        rows = known(snapshot.graph, of.relation.target, ids)
        nodes = candidates(snapshot.graph, of)
        scores = self._model.vectors(of, Nodes(snapshot.graph, of.relation.target, rows, "candidate")) @ self._model.vectors(of, nodes).T
        scores[:, ~self._allowed(snapshot.graph, of, where, ())[nodes.rows]] = -np.inf
        scores[nodes.rows[None] == rows[:, None]] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, 1)
        found = np.where(np.isfinite(best), nodes.rows[order], -1)
        return [_answers(snapshot.graph, of, r, s, {}) for r, s in zip(found, best, strict=True)]

    def probabilities(self, texts: Sequence[str], task: str | None = None) -> Probabilities:
        """Of every label of a task for every text, to the bit the same whatever texts come together."""
        of, snapshot = self.task(task), self._catch_up()
        return probabilities(snapshot.graph, self._model, snapshot.retrievals[of.name], self.calibration(of.name), of, texts)

    def past(self, queries: Sequence[Query], task: str | None = None, k: int = 3) -> list[Past]:
        """For each query what the known sources nearest to it lead to, and k of them; empty without a channel `neighbours`."""
        of, snapshot = self.task(task), self._catch_up()
        return past(snapshot.graph, self._model, snapshot.retrievals[of.name], of, queries, k)

    # --- editing ----------------------------------------------------------------------------------------------------
    def add(self, delta: Graph, undoes: int | None = None) -> None:
        """Add or change entities and edges: durable when it returns, visible to every process, nothing is trained again.

        undoes: the number of the edit that this one takes back.
        """
        self._snapshot.graph.join(delta)  # refuses what does not fit before anything is written
        self._live.append(delta, undoes)
        self._catch_up()

    def remove(self, kind: str, ids: Sequence[str]) -> None:
        """Entities are never found again from now on; their rows and edges stay, and adding them again brings them back."""
        known(self.graph, kind, ids)
        now = int(time.time() * 1e6)
        self.add(Graph({kind: pl.DataFrame({"id": list(ids), "until": [now] * len(ids)}, schema={"id": pl.String, "until": pl.Int64})}))

    def undo(self) -> int:
        """Take the last edit back, by another edit, so that history is kept; returns the number of the edit that is undone.

        Changed entities get their earlier columns again, new ones are no longer found; edges that came with it stay. Undone again, the
        edit before it is taken back. Raises KgrecError where there is no edit left.
        """
        number, delta = self._live.undoable()
        if delta is None:
            raise KgrecError(f"{self.folder} has no edit to undo")
        graph = run_folder.load_graph(self.folder / "knowledge")
        for _, earlier in self._live.between(0, number):
            graph = graph.join(earlier)
        self.add(_inverse(delta, graph), undoes=number)
        return number

    def edits(self) -> list[dict[str, Any]]:
        """Every edit since the run was published, oldest first: number, time, entities by kind, and which edit it took back."""
        return self._live.log()

    def _catch_up(self) -> Snapshot:
        """The latest snapshot, with every edit that is committed, this process's and others'."""
        if self._live.latest() == self._snapshot.edit:
            return self._snapshot
        with self._writing:
            if edits := list(self._live.after(self._snapshot.edit)):
                self._snapshot = self._joined(self._snapshot, edits)
        return self._snapshot

    def _joined(self, snapshot: Snapshot, edits: Sequence[tuple[int, Graph]]) -> Snapshot:
        """With edits, oldest first; what they bring is encoded and indexed once, however many they are."""
        graph, touched = snapshot.graph, {}
        for _, delta in edits:
            graph = graph.join(delta)
            for kind, table in delta.entities.items():
                touched.setdefault(kind, {}).update(dict.fromkeys(table["id"].to_list()))
        self._model.refresh(graph, {kind: graph.rows(kind, ids) for kind, ids in touched.items()})
        retrievals = dict(snapshot.retrievals)
        for task in self.tasks:
            kind = task.relation.target
            if kind in touched:
                rows = graph.rows(kind, touched[kind])
                new = Nodes(graph, kind, rows[graph.alive(kind)[rows]], "candidate")
                if len(new):
                    retrievals[task.name] = retrievals[task.name].extended(graph, new, self._model.encode(task))
        return Snapshot(graph, retrievals, edits[-1][0])

    def _allowed(self, graph: Graph, task: Task, where: str | None, exclude: Sequence[str]) -> NDArray[np.bool_]:
        kind = task.relation.target
        allowed = graph.alive(kind).copy()
        if exclude:
            allowed[known(graph, kind, exclude)] = False
        if where:
            table = graph.entities[kind]
            try:
                kept = table.select(pl.sql_expr(where)).to_series()
            except Exception as error:
                reason = str(error).splitlines()[0][:160]
                raise KgrecError(
                    f"where = {where!r} cannot be applied ({reason}); columns of {kind}: {', '.join(table.columns)}"
                ) from error
            if kept.dtype != pl.Boolean or len(kept) != len(table):
                raise KgrecError(
                    f'where = {where!r} is no condition on each {kind}; write one such as "price < 5"; columns: {", ".join(table.columns)}'
                )
            allowed &= kept.fill_null(False).to_numpy()
        if not allowed.any():
            raise KgrecError(f"no {kind} is left to choose from: where = {where!r} and exclude leave none of {len(allowed)}")
        return allowed


def _check_k(k: int) -> None:
    if k < 1:
        raise KgrecError(f"k = {k} must be at least 1")


def _inverse(delta: Graph, before: Graph) -> Graph:
    """What gives the delta's entities their columns of before again; those that were not there end now."""
    kinds, now = {}, int(time.time() * 1e6)
    for kind, table in delta.entities.items():
        rows = before.rows(kind, table["id"].to_list()) if kind in before.entities else np.full(len(table), -1)
        new = table.filter(pl.Series(rows < 0)).select("id", until=pl.lit(now, pl.Int64))
        old = before.gather(kind, rows[rows >= 0]) if (rows >= 0).any() else None
        if old is not None and "until" not in old.columns:
            old = old.with_columns(until=pl.lit(None, pl.Int64))
        kinds[kind] = new if old is None else pl.concat([old, new], how="diagonal") if len(new) else old
    return Graph(kinds)


def _by_query(columns: Mapping[str, NDArray], n: int) -> list[dict[str, NDArray]]:
    return [{name: values[i] for name, values in columns.items()} for i in range(n)]


def _answers(graph: Graph, task: Task, rows: NDArray, scores: NDArray, columns: Mapping[str, NDArray]) -> list[Answer]:
    kind, found = task.relation.target, np.flatnonzero(rows >= 0)
    table = graph.gather(kind, rows[found]).to_dicts()
    answers = []
    for place, entity in zip(found.tolist(), table, strict=True):
        why = {name: float(values[place]) for name, values in columns.items() if np.isfinite(values[place])}
        attributes = {k: v for k, v in entity.items() if k not in ("id", "text")}
        answers.append(Answer(entity["id"], entity.get("text"), float(scores[place]), attributes, why))
    return answers
