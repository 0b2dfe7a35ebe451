"""What a run's own known questions say of its certainty, where validation has too few: see `kgrec_core.calibration.prior`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kgrec_core.calibration import prior
from kgrec_core.calibration.calibration import SMALLEST, Calibration
from kgrec_core.calibration.confidence import DEPTH, as_if_new, asked_again, calibrated
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation import rank_tables, variants
from kgrec_core.graph import Graph, Task
from kgrec_core.interfaces import Filter, Retrieval
from kgrec_core.model import Model
from kgrec_core.retrieval.delta import Layered
from kgrec_core.retrieval.lexical import Lexical
from kgrec_core.retrieval.merge import Around
from kgrec_core.retrieval.neighbours import Neighbours

if TYPE_CHECKING:
    from kgrec_core.run.snapshot import Snapshot

MOST = 1_000  # known questions that are asked again
SHARE = 0.1  # of the queries to come that nothing here answers, where nobody says how many


def known_certainty(
    graph: Graph,
    model: Model,
    retrieval: Retrieval,
    task: Task,
    tasks: Iterable[Task],
    *,
    learned: bool,
    share: float = SHARE,
    seed: int = 0,
) -> Calibration | None:
    """A calibration by known sources, each asked as if it were new; None where there are too few, or no channel that it can speak for.

    learned: whether encoder or head learned from them; they then only say how near wrong answers come. share: of the queries to come
    that nothing answers. Takes seconds: at most 1,000 of them are asked, by a seed.
    """
    kind, relation = task.relation.source, task.relation
    found, head = roles(retrieval), model.heads.get(task.name)
    if head is not None and not head.encodes_candidates:
        return None  # its classes are no texts, its scores no cosines
    if not found or retrieval.learns or "text" not in graph.columns(kind) or graph.dated(relation):
        return None
    every = np.flatnonzero(graph.alive(kind))
    alive = graph.alive(relation.target)
    led = graph.adjacent(relation, every)
    led = led.keep(alive[led.rows])
    every, led = every[led.counts > 0], led.take(np.flatnonzero(led.counts > 0))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(every))[:MOST])
    if not len(chosen):
        return None
    queries = as_if_new(graph, task, tasks, every[chosen], led.take(chosen))
    targets = queries.targets
    width = DEPTH + int(targets.counts.max())
    hits = retrieval.search(queries.nodes, model.vectors(task, queries.nodes), min(width, int(alive.sum())), Filter(alive))
    asked = np.bincount(led.rows, minlength=graph.size(relation.target))
    siblings = np.minimum.reduceat(asked[targets.rows], targets.indptr[:-1]) > 1
    again = siblings & ~(learned or model.encoder.reads_edges)
    made = prior.calibrated(hits, targets, found, again, share, seed)
    return None if made is None else replace(made, learned=learned)


def by_known(
    graph: Graph, model: Model, retrievals: Mapping[str, Retrieval], but: Container[str], *, learned: bool, share: float, seed: int = 0
) -> dict[str, Calibration]:
    """`known_certainty` of all tasks `but` those that validation could calibrate."""
    tasks = [task for task in model.tasks if task.name in retrievals and task.name not in but]
    how = {"learned": learned, "share": share, "seed": seed}
    found = {task.name: known_certainty(graph, model, retrievals[task.name], task, model.tasks, **how) for task in tasks}
    return {name: calibration for name, calibration in found.items() if calibration is not None}


def recalibrated(snapshot: Snapshot, task: Task, adjust: bytes | None, share: float | None) -> Calibration:
    """What the snapshot's calibration of a task is by what is found now. adjust: the queries that it was learned from, None = known ones.

    share: of queries that nothing here answers, from now on; None = as before. Raises KgrecError where there is none, or nothing says so.
    """
    before = snapshot.calibrations.get(task.name)
    if before is None:
        raise KgrecError(f"task {task.name} of {snapshot.folder} has no calibration: {uncalibrated(snapshot.graph, task)}")
    model, retrieval = snapshot.model, snapshot.retrievals[task.name]
    if before.pseudo:
        mix = before.share if share is None else share
        found = known_certainty(snapshot.graph, model, retrieval, task, snapshot.tasks, learned=before.learned, share=mix or 0.0)
    else:
        queries = asked_again(adjust, snapshot.graph, task, snapshot.tasks)
        found = calibrated(rank_tables.chain_hits(model, retrieval, task, variants.whole(queries, task)), queries.targets)
        found = found if found is None or share is None else replace(found, share=share)
    if found is None:
        raise KgrecError(f"task {task.name}: too few of its queries find an answer now; fit again")
    found.guarantee(0.5, share=share)  # refuses a share where none of them was seen
    return found


def uncalibrated(graph: Graph, task: Task) -> str:
    """Why a task of a fit has no calibration, how much would be enough, and what to do."""
    kind = task.relation.source
    known, texts = len(graph.adjacent(task.relation, np.flatnonzero(graph.alive(kind))).rows), "text" in graph.columns(kind)
    if texts and known < prior.LEAST:
        return f"{known} known {kind} entries are too few, at least {prior.LEAST} are needed; add some and fit again"
    return (
        f"at least {SMALLEST} {kind} queries of the half of validation that calibrates must find an answer; "
        "give more of them, or widen split.validation, and fit again"
    )


def roles(retrieval: Retrieval) -> dict[str, prior.Role]:
    """Channel -> what it compares a query with; "" where the retrieval is one channel. Without those that compare otherwise."""
    channels = retrieval.channels if isinstance(retrieval, Around) else {"": retrieval}
    return {name: role for name, channel in channels.items() if (role := _role(channel)) is not None}


def _role(channel: Retrieval) -> prior.Role | None:
    if isinstance(channel, Neighbours):
        return "question" if channel.by == "vectors" and channel.per == "max" else None
    if isinstance(channel, Lexical):
        return "words"
    return "text" if isinstance(channel, Layered) else None
