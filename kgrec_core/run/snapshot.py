"""What a reader of a run sees: graph, model, retrievals and calibrations as of one edit. It answers, and never changes.

snapshot = kgrec_core.open_run("runs/demo").snapshot
snapshot.answer(["12346", {"text": "red kitchen clock"}], k=5, where="price < 10")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kgrec_core.calibration.calibration import Calibration
from kgrec_core.errors import choices
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Retrieval
from kgrec_core.knowledge.build import grown
from kgrec_core.knowledge.source import Source
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.run.asks import Asks
from kgrec_core.run.entry import Entry
from kgrec_core.run.safety import Safety


@dataclass(frozen=True, eq=False)
class Snapshot(Asks):
    """edit: the number of the last edit in it; 0 = as published. safety: what may be shown, to the caller of this name."""

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
    def snapshot(self) -> Snapshot:
        """Itself: what a run is asked of its latest one, it is asked as it is."""
        return self

    @property
    def tasks(self) -> tuple[Task, ...]:
        return self.model.tasks

    def task(self, name: str | None = None) -> Task:
        """A task by name; without one, the only or first."""
        found = {task.name: task for task in self.tasks}
        if name is not None and name not in found:
            raise choices("task of this run", name, found)
        return self.tasks[0] if name is None else found[name]

    @property
    def relation_weights(self) -> dict[str, float]:
        """How much each relation of the graph counts, by name and 1 in the mean of a task's, as was learned."""
        return {name: weight for part in self.retrievals.values() for name, weight in part.relation_weights.items()}

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
