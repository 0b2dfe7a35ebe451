"""A published run: opened, asked, edited. Reading is thread-safe; an answer reads one snapshot from start to end.

run = kgrec_core.open_run("runs/demo")
run.answer(["12346", {"text": "red kitchen clock"}], k=5, where="price < 10")
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import polars as pl

from kgrec_core import devices
from kgrec_core.calibration import confidence
from kgrec_core.calibration.calibration import Calibration
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Task
from kgrec_core.graph.edges import widened
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import folder as run_folder
from kgrec_core.run import stored_graph
from kgrec_core.run.asked import known
from kgrec_core.run.asks import Asks
from kgrec_core.run.carry import compact_apart
from kgrec_core.run.certain import recalibrated
from kgrec_core.run.entry import Entry
from kgrec_core.run.log import Live, Mark
from kgrec_core.run.origin import check_owners
from kgrec_core.run.safety import Safety
from kgrec_core.run.seen import Sample
from kgrec_core.run.seen import load as load_sample
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.stored import document


def open_run(path: str | Path, allow: Iterable[str] = (), registry: Registry | None = None, device: str = "auto") -> Run:
    """Open a run folder that fit published, with its later edits.

    allow: parts from files (`my_file:MyPart`) that may be executed. device: "cpu", "cuda:1", "mps"; "auto" = an accelerator where there
    is one. Raises KgrecError for a damaged, foreign or newer folder, and for a device that is not there.
    """
    folder, registry, allow = Path(path), registry or Registry.discover(), set(allow)
    if folder.name in ("", ".."):  # "." has no name beside which edits could be
        folder = Path(os.path.abspath(folder))
    while True:
        with devices.chosen(device), run_folder.pinned(folder) as place:
            manifest = run_folder.verified(place)
            read = {
                name: (place / name).read_bytes()
                for name in manifest["files"]
                if name in KEPT or name.startswith(("calibration/", "seen/"))
            }
            check_owners(folder, manifest, registry)
            published, data = snapshot_in(place, folder, manifest, allow, registry), run_folder.checksum(place / run_folder.MANIFEST)
        try:
            return Run(manifest, published, Live(folder, data), read, allow)
        except KgrecError:
            if run_folder.checksum(folder / run_folder.MANIFEST) == data:
                raise  # else another run was published just now, and the edits are that one's


log = logging.getLogger("kgrec")
KEPT = ("metrics.json", "history.jsonl")  # read on opening, as another run may be in the place later
MANY = 2_000  # edits after which a run is compacted by itself, once: by a process that the one begins who writes the next edit


def snapshot_in(place: Path, folder: Path, manifest: dict[str, Any], allow: Collection[str], registry: Registry) -> Snapshot:
    """A run as it lies in `place`, called `folder`."""
    recipe = resolve(place / "recipe.toml")
    foreign = [use for use in recipe.foreign if use not in allow]  # not from the manifest, which a stranger may have written
    if foreign:
        raise KgrecError(
            f"{folder} uses code from a file: {', '.join(foreign)}; if you trust it, open with allow={foreign} (--allow {foreign[0]})"
        )
    graph = stored_graph.load_graph(place / "knowledge")
    tasks = stored_graph.load_tasks(folder, manifest, graph)
    sources = recipe.knowledge(registry)
    for name, source in sources.items():
        source.load(place / "knowledge" / "sources" / name)
    encoder = recipe.encoder(registry)
    encoder.load(place / "encoder")
    encoder.eval()
    heads = {task.name: recipe.head(registry, task.name) for task in tasks}
    retrievals = {}
    for task in tasks:
        heads[task.name].load(place / "head" / task.name)
        heads[task.name].eval()
        retrievals[task.name] = recipe.retrieval(registry, task.name)
        retrievals[task.name].load(place / "retrieval" / task.name, graph, task)
    calibrations = confidence.load_calibrations(place / "calibration")
    return Snapshot(folder, recipe, graph, Model(encoder, heads, tasks).refresh(graph, {}), retrievals, calibrations, sources)


class Run(Asks):
    """Made by `open_run`. folder, recipe, manifest, tasks: what was published. It swaps snapshots: an edit is built, then committed,
    then shown. What is asked is asked of the latest snapshot; who asks several things of one moment takes `run.snapshot`."""

    def __init__(self, manifest: dict[str, Any], published: Snapshot, live: Live, read: dict[str, bytes], allow: Collection[str]) -> None:
        self.folder, self.recipe, self.manifest, self.tasks = published.folder, published.recipe, manifest, published.tasks
        self._live, self._read, self._allow, self._locks, self._compacting = live, read, allow, (os.getpid(), RLock()), None
        mark, self._learned = live.start()
        self._baked = mark.number
        safety = Safety(published.folder, published.tasks[0].relation.target)
        self._latest = replace(published, edit=mark.number, safety=safety), mark
        self._catch_up()

    @property
    def snapshot(self) -> Snapshot:
        """The latest, with every edit that is committed, this process's and others'.

        Raises KgrecError where the log of edits was deleted, cut or replaced since it was read.
        """
        return self.latest[0]

    @property
    def latest(self) -> tuple[Snapshot, Mark]:
        """The latest snapshot, and how far the log was read for it."""
        if not self._live.current(self._latest[1]):
            self._catch_up()
        return self._latest

    @property
    def graph(self) -> Graph:
        return self.snapshot.graph

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json: the test figures, written once by fit."""
        return self._kept("metrics.json", document)

    @property
    def history(self) -> list[dict[str, Any]]:
        """history.jsonl: one record per validation of the fine-tuning."""
        return self._kept("history.jsonl", lambda whole: [document(line) for line in whole.splitlines()])

    def seen(self, task: str | None = None) -> Sample | None:
        """What a task's queries looked like when the run was published; None where there were none to look at."""
        return load_sample(self.folder, self._read, self.task(task).name)

    def _kept(self, name: str, read: Callable[[bytes], Any]) -> Any:
        try:
            return read(self._read[name])
        except (LookupError, ValueError) as error:
            raise KgrecError(f"{self.folder}: {name} is missing or damaged ({error}); restore it from a copy or fit again") from None

    def task(self, name: str | None = None) -> Task:
        """A task by name; without one, the only or first."""
        return self._latest[0].task(name)

    # --- editing ----------------------------------------------------------------------------------------------------
    def add(self, delta: Graph, undoes: int | None = None) -> None:
        """Add or change entities and edges: durable when it returns, visible to every process, nothing is trained again.

        What the recipe's sources of knowledge say of its entities is added to it.
        undoes: the number of the edit that this one takes back. Raises KgrecError, and nothing is written, where the delta fits neither
        the graph nor the model, and where it cannot be saved.
        """
        self._commit(lambda snapshot, now: _entry(snapshot.graph, replace(snapshot.known(delta), present=now), undoes))

    def remove(self, kind: str, ids: Sequence[str]) -> None:
        """Entities are never found again from now on; their rows and edges stay, and adding them again brings them back."""

        def ended(snapshot: Snapshot, now: int) -> Entry:
            rows = known(snapshot.graph, kind, ids)
            table = snapshot.graph.gather(kind, rows, "id").with_columns(until=pl.lit(now, pl.Int64))
            return _entry(snapshot.graph, Graph({kind: table}, present=now))

        self._commit(ended)

    def undo(self) -> int:
        """Take the last edit back, by another edit, so that history is kept; returns the number of the edit that is undone.

        Changed entities get their earlier columns again, new ones are no longer found; edges that came with it stay. Undone again, the
        edit before it is taken back. Raises KgrecError where there is no edit left.
        """

        def inverse(snapshot: Snapshot, now: int) -> Entry:
            number = self._live.undoable()
            if number is None:
                before = f"; those up to number {self._baked} were baked in by a compaction" if self._baked else ""
                raise KgrecError(f"{self.folder} has no edit to undo{before}")
            edit = self._live.entry(number)
            if edit.old is None:
                raise KgrecError(f"{self.folder}: edit {number} was written without what was there before it, so it cannot be undone")
            return _entry(snapshot.graph, _inverse(edit, now), number)

        return self._commit(inverse).undoes

    def edits(self) -> list[dict[str, Any]]:
        """Every edit since the run was published, oldest first: number, time, entities by kind, and which edit it took back."""
        return [
            {"number": n, "time": h.get("time"), "entities": dict(zip(h["entities"], h["sizes"], strict=True)), "undoes": h["undoes"]}
            for n, h in reversed(list(self._live.heads()))
            if not h.get("calibrations")
        ]

    def recalibrate(self, task: str | None = None, share: float | None = None) -> Calibration:
        """Learn P(correct) again by what the run finds now, after edits: from the adjust queries, or where these were too few from known
        ones. Durable, and seen by every process.

        share: of the queries to come that nothing here answers, for which its budgets are stated from now on; None = as before.
        Nothing is trained. Raises KgrecError where the run has no calibration to renew, or none that knows such queries.
        """
        of = self.task(task)

        def learned(snapshot: Snapshot, now: int) -> Entry:
            found = recalibrated(snapshot, of, self._read.get(f"calibration/{of.name}.parquet"), share)
            return Entry(Graph({}, present=now), calibrations={of.name: found.to_json()})

        self._commit(learned)
        return self._latest[0].calibrations[of.name]

    # --- how --------------------------------------------------------------------------------------------------------
    def _commit(self, make: Callable[[Snapshot, int], Entry]) -> Entry:
        """Build an edit into the latest snapshot, write it right behind what that has read, and only then show it.

        make(snapshot, now) -> the edit; asked again where another process was first. Times only grow, whatever the clock does.
        """
        with self._lock():
            entry, number = self._committed(make), self._latest[1].number
        if self._compacting is not None:
            self._compacting.poll()  # so that nothing is left of a process that has ended
        if number > MANY and (number - 1) % MANY == 0:
            try:
                self._compacting = compact_apart(self.folder, self._allow)
            except OSError as error:  # the edit is safe; the next MANY edits bring the next try
                log.warning("%s was not compacted: %s", self.folder, error)
        return entry

    def _committed(self, make: Callable[[Snapshot, int], Entry]) -> Entry:
        while True:
            snapshot, mark = self._catch_up(), None
            entry = make(snapshot, max(int(time.time() * 1e6), snapshot.graph.present + 1))
            try:
                built = snapshot.after([entry], snapshot.edit + 1)
                mark = self._live.append(entry, self._latest[1])
            finally:
                if mark is None:
                    snapshot.forget(entry)
            if mark is not None:
                self._latest = built, mark
                return entry

    def _catch_up(self) -> Snapshot:
        with self._lock():
            snapshot, mark = self._latest
            if not self._live.current(mark) and (found := self._live.after(mark)):
                mark = found[-1][0]
                entries = [e if m.number > self._learned else e._replace(calibrations={}) for m, e in found]
                self._latest = snapshot.after(entries, mark.number), mark
            return self._latest[0]

    def _lock(self) -> RLock:
        """Of this process: a fork may find the parent's taken by a thread that it does not have."""
        if self._locks[0] != os.getpid():
            self._locks = os.getpid(), RLock()
        return self._locks[1]


def _entry(graph: Graph, delta: Graph, undoes: int | None = None) -> Entry:
    """An edit, with what its entities are before it, in the columns that it or its undoing changes."""
    old = {}
    for kind, table in delta.entities.items():
        rows = graph.rows(kind, table["id"].to_list()) if kind in graph.entities else np.zeros(0, np.int64)
        if (rows >= 0).any():
            held = {**table.schema, "until": pl.Int64}
            before = graph.gather(kind, rows[rows >= 0], *(c for c in held if c in graph.columns(kind)))
            old[kind] = widened(before, {**held, **before.schema})
    return Entry(delta, old, undoes)


def _inverse(edit: Entry, now: int) -> Graph:
    """What gives the edit's entities their columns of before again; those that were not there end now."""
    kinds = {}
    for kind, table in edit.delta.entities.items():
        old = edit.old.get(kind, pl.DataFrame(schema={"id": pl.String, "until": pl.Int64}))
        were = set(old["id"].to_list())
        new = [id for id in table["id"].to_list() if id not in were]
        ended = pl.DataFrame({"id": new, "until": [now] * len(new)}, schema={"id": pl.String, "until": pl.Int64})
        kinds[kind] = old.vstack(widened(ended, old.schema))
    return Graph(kinds, present=now)
