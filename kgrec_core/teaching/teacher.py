"""Who teaches: a run, or a pretrained language model. What it makes of the student's own nodes is computed once.

Vectors of texts are kept on disk by content (`encoder/cache`), so that the next fit with this teacher computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_core import devices
from kgrec_core.encoder import fitness, named
from kgrec_core.encoder.cache import VectorCache, default_folder
from kgrec_core.encoder.pretrained import load, locate
from kgrec_core.encoder.text import Text
from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Task
from kgrec_core.interfaces import Vectors
from kgrec_core.run.folder import MANIFEST
from kgrec_core.run.run import open_run
from kgrec_core.teaching.members import Members, encoded
from kgrec_core.training.options import MEMBERS, Teacher

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

BLOCK = 512  # nodes of a pass


def opened(how: Teacher, members: Callable[[], AnyTeacher] | None = None) -> AnyTeacher:
    """members: in place of how.model. Raises KgrecError where a run or a model cannot be opened."""
    if how.also:
        first = opened(replace(how, also=()), members)
        return Ensemble([first, *(opened(replace(how, model=model, also=())) for model in how.also)])
    if members is not None:
        return members()
    return RunTeacher(how) if is_run(how.model) else ModelTeacher(how)


def is_run(model: str) -> bool:
    """Whether a teacher's name is that of a run folder."""
    return model != MEMBERS and (Path(model) / MANIFEST).is_file()


def refuse_absent(model: str) -> None:
    """Raises KgrecError for a folder in which nobody is who could teach, before anything is computed, and for a hub id that cannot be fetched now."""
    folder = Path(model)
    if model.startswith("package:"):
        locate(model)
    elif model == MEMBERS or is_run(model) or any((folder / name).is_file() for name in ("modules.json", "config.json")):
        return
    elif folder.exists() or folder.is_absolute() or model.startswith(".") or (folder.parent != Path() and folder.parent.is_dir()):
        raise KgrecError(f"train.teacher.model: {model} is no run and no model; name the folder of one, package:NAME or a hub id")
    else:
        named.refuse_absent(model, "train.teacher.model", ", or the folder of a run")


class Ensemble:
    """Several teachers as one: a score, or the logit of a class, is the mean of theirs (Hinton et al. 2015, section 5 on ensembles).

    An inner product of vectors side by side is the sum of theirs, so each is divided by the root of how many there are.
    """

    def __init__(self, of: Sequence[AnyTeacher]) -> None:
        self.of, self.share, self.texts_alone = of, len(of) ** -0.5, any(teacher.texts_alone for teacher in of)

    def on(self, graph: Graph) -> None:
        for teacher in self.of:
            teacher.on(graph)

    def classes(self, task: Task, graph: Graph, rows: NDArray[np.int64]) -> Vectors | None:
        found = [teacher.classes(task, graph, rows) for teacher in self.of]
        return None if any(vectors is None for vectors in found) else np.concatenate(found, axis=1) * self.share

    def classifies(self, task: Task) -> bool:
        return all(teacher.classifies(task) for teacher in self.of)

    def ranks(self, task: Task, graph: Graph) -> bool:
        return all(teacher.ranks(task, graph) for teacher in self.of)

    def projected(self, task: Task, nodes: Nodes) -> Vectors:
        return np.concatenate([teacher.projected(task, nodes) for teacher in self.of], axis=1) * self.share

    def vectors(self, nodes: Nodes) -> Vectors:
        return np.concatenate([teacher.vectors(nodes) for teacher in self.of], axis=1) * self.share


class ModelTeacher:
    """A pretrained language model: it has vectors of texts, and ranks by their likeness."""

    texts_alone = True

    def __init__(self, how: Teacher) -> None:
        try:
            self.how, self.tower = how, Tower(load(how.model, how.max_length)).to(devices.device()).eval()
        except KgrecError as error:
            raise KgrecError(f"train.teacher.model: {error}; or the folder of a run") from error

    def on(self, graph: Graph) -> None:
        """Nothing to prepare: it reads texts alone."""

    def classes(self, task: Task, graph: Graph, rows: NDArray[np.int64]) -> None:
        """It knows no classes."""

    def classifies(self, task: Task) -> bool:
        return False

    def ranks(self, task: Task, graph: Graph) -> bool:
        """Whether both ends of the task have a text."""
        return all("text" in graph.columns(kind) for kind in (task.relation.source, task.relation.target))

    def projected(self, task: Task, nodes: Nodes) -> Vectors:
        return self.vectors(nodes)

    def vectors(self, nodes: Nodes) -> Vectors:
        """(n, D) of length one, zero without a text."""
        if "text" not in nodes.graph.columns(nodes.kind):
            raise KgrecError(
                f"train.teacher: a {nodes.kind} has no text, so the language model {self.how.model} knows nothing of it; name a run folder"
            )
        texts = nodes.graph.gather(nodes.kind, nodes.rows, "text")["text"].fill_null("").to_list()
        prefix = self.how.query_prefix if nodes.side == "query" else self.how.candidate_prefix
        return self.encoded([prefix + text if text else "" for text in texts])

    def encoded(self, texts: Sequence[str]) -> Vectors:
        """As `vectors`. Raises KgrecError where the model cannot read half of the letters."""
        distinct = [text for text in dict.fromkeys(texts) if text]
        fitness.check(self.tower.model.tokenizer, distinct, self.how.model, setting="train.teacher.model")
        cache, out = VectorCache(default_folder(), self.tower.pristine), np.zeros((len(texts), self.tower.dim), np.float32)
        if not distinct:
            return out
        found, known = cache.get(distinct, self.tower.dim)
        missing = [text for text, k in zip(distinct, known, strict=True) if not k]
        for at in range(0, len(missing), BLOCK * 8):
            block = missing[at : at + BLOCK * 8]
            with torch.inference_mode():
                fresh = torch.nn.functional.normalize(self.tower(block), dim=1).cpu().numpy()
            cache.put(block, fresh)  # a killed fit goes on from here
            found[[i for i, k in enumerate(known) if not k][at : at + len(block)]] = fresh
        place = {text: i for i, text in enumerate(distinct)}
        some = [i for i, text in enumerate(texts) if text]
        out[some] = found[[place[texts[i]] for i in some]]
        return out


class RunTeacher:
    """A run: it encodes the student's nodes, on the student's graph, by its own weights."""

    texts_alone = False

    def __init__(self, how: Teacher) -> None:
        self.how, self.run = how, open_run(how.model)
        self.model = self.run.snapshot.model
        for part in self.model.encoder.modules():
            if isinstance(part, Text):
                part.keep()
        self.known = self.run.snapshot.graph

    def on(self, graph: Graph) -> None:
        """Raises KgrecError where it cannot read the student's texts, or learned from rows of a graph that is another one."""
        for kind in dict.fromkeys(task.relation.source for task in self.run.tasks if task.relation.source in graph.entities):
            if "text" in graph.columns(kind):
                texts = graph.entities[kind]["text"].drop_nulls().to_list()
                lost = fitness.unread_by(self.model.encoder, texts[:: max(1, len(texts) // fitness.SAMPLE)])
                if len(lost) and lost.mean() > fitness.MOST:
                    raise KgrecError(
                        f"train.teacher: the run {self.how.model} cannot read {lost.mean():.0%} of the letters of the {kind} texts; take a teacher that knows their language"
                    )
        self._refuse_other_rows(graph)
        self.model.refresh(graph)

    def _refuse_other_rows(self, graph: Graph) -> None:
        """An encoder that reads the graph has a place for every row of it."""
        if not self.model.encoder.reads_knowledge:
            return
        for kind, table in self.known.entities.items():
            own = graph.entities[kind]["id"].to_list() if kind in graph.entities else []
            if own[: len(table)] != table["id"].to_list():
                raise KgrecError(
                    f"train.teacher: the encoder of {self.how.model} reads its graph, and {kind} is another there than here; "
                    "a run that reads texts alone can teach other data"
                )

    def classes(self, task: Task, graph: Graph, rows: NDArray[np.int64]) -> Vectors | None:
        """(len(rows), d) what it compares a query with, for the student's classes; None where it classifies no such thing.

        Raises KgrecError where it knows other classes.
        """
        own = _same(self.run, task)
        if own is None or not self.classifies(task) or _learned_nothing(self.run, own):
            return None
        kind = task.relation.target
        ids = graph.gather(kind, rows, "id")["id"].to_list()
        refuse_other_classes(self.run, self.how.model, task, ids)
        nodes = Nodes(self.known, kind, self.known.rows(kind, ids), "candidate")
        return self.model.heads[own.name].project(None, nodes).detach().float().cpu().numpy()

    def classifies(self, task: Task) -> bool:
        own = _same(self.run, task)
        return own is not None and not self.model.heads[own.name].encodes_candidates

    def ranks(self, task: Task, graph: Graph) -> bool:
        own = _same(self.run, task)
        return own is not None and self.model.heads[own.name].encodes_candidates

    def projected(self, task: Task, nodes: Nodes) -> Vectors:
        """(n, d) what its head compares."""
        return self.model.vectors(_same(self.run, task) or task, nodes)

    def vectors(self, nodes: Nodes) -> Vectors:
        """(n, D) of its encoder, of length one."""
        return encoded(self.model.encoder, nodes)


def refuse_other_classes(run: Run, model: str, task: Task, ids: Sequence[str]) -> None:
    """Raises KgrecError where a run could teach its probabilities of a task's classes, and knows others than these. model: as it was named."""
    own = _same(run, task)
    if own is None or run.snapshot.model.heads[own.name].encodes_candidates or _learned_nothing(run, own):
        return
    graph, kind = run.snapshot.graph, task.relation.target
    theirs = graph.gather(kind, np.flatnonzero(graph.alive(kind)), "id")["id"].to_list()
    lacking, further = sorted(set(ids) - set(theirs)), sorted(set(theirs) - set(ids))
    if lacking or further:
        said = [f"it lacks {', '.join(lacking[:3])}"] * bool(lacking) + [f"it has {', '.join(further[:3])} more"] * bool(further)
        raise KgrecError(
            f"train.teacher: {model} knows other classes of {task.name} than this fit: {'; '.join(said)}; "
            'fit a teacher on the same labels, or let it teach vectors: train.teacher.what = ["vectors"]'
        )


def _same(run: Run, task: Task) -> Task | None:
    """The run's task of the same relation."""
    same = [t for t in run.tasks if t.relation == task.relation]
    return next((t for t in same if t.name == task.name), same[0] if same else None)


def _learned_nothing(run: Run, own: Task) -> bool:
    """Whether its fine-tuning was dropped: its class vectors are then as they began."""
    return run.metrics["tasks"][own.name].get("referee", {}).get("system", "after") == "before"


AnyTeacher = RunTeacher | ModelTeacher | Ensemble | Members


def bare(nodes: Nodes, task: Task) -> Nodes:
    """Candidates that know none of the task's edges: a teacher must not see in them what it is asked for."""
    if nodes.graph.dated(task.relation):
        return replace(nodes, before=np.full(len(nodes), np.iinfo(np.int64).min))
    return replace(nodes, hide={**(nodes.hide or {}), task.relation: nodes.read(task.relation)})
