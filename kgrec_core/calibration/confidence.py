"""What is known of an answer's certainty before anybody says whether it is right: the features that P(correct) is learned from."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.calibration.calibration import SMALLEST, Calibration, calibrate
from kgrec_core.errors import damage
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task, histories
from kgrec_core.interfaces import Hits
from kgrec_core.stored import document, parquet
from kgrec_core.stored import rows as stored_rows

log = logging.getLogger("kgrec")
DEPTH = 20  # answers that the features look at


def features(hits: Hits) -> NDArray[np.float64]:
    """(n, 2 + 2 x channels) of every query's first answer; not finite where nothing was found.

    Its score and how far ahead of the second it is; of every channel (in order of name) its score there, and how far ahead of the
    channel's best other answer.
    """
    hits = Hits(hits.rows[:, :DEPTH], hits.scores[:, :DEPTH], {name: column[:, :DEPTH] for name, column in hits.columns.items()})
    n, k = hits.rows.shape
    top = hits.scores[:, 0].astype(np.float64) if k else np.full(n, -np.inf)
    second = hits.scores[:, 1] if k > 1 else np.full(n, -np.inf)
    found = [top, np.subtract(top, second, out=np.abs(top), where=np.isfinite(second))]
    for name in sorted(hits.columns):
        column = np.nan_to_num(hits.columns[name].astype(np.float64), nan=0.0, neginf=0.0, posinf=0.0)
        others = column[:, 1:].max(1, initial=0.0)
        found += [column[:, 0], column[:, 0] - others]
    return np.column_stack(found)


def calibrated(hits: Hits, targets: Ragged, budget: float | None = None) -> Calibration | None:
    """P(first answer is right), or None with a message where too few queries are there to say.

    hits: of queries that nothing behind them has learned from. A query without a target has no right answer.
    """
    scores = features(hits)
    if np.isfinite(scores).all(1).sum() < SMALLEST:
        log.info("no calibration: %d answered adjust queries, at least %d are needed", np.isfinite(scores).all(1).sum(), SMALLEST)
        return None
    return calibrate(scores, right(hits, targets), budget, scope=targets.counts > 0)


def right(hits: Hits, targets: Ragged) -> NDArray[np.bool_]:
    """(n,) whether the first answer is among the targets."""
    first = hits.rows[:, 0] if hits.rows.shape[1] else np.full(len(hits.rows), -1)
    wanted = np.zeros(len(first), bool)
    hit = targets.rows == first[targets.owner]
    np.logical_or.at(wanted, targets.owner, hit)
    return wanted & (first >= 0)


def save_calibration(folder: Path, name: str, calibration: Calibration, asked: pl.DataFrame | None = None) -> None:
    """NAME.json, and in NAME.parquet the queries it was learned from (`as_table`), so that it can be learned again after edits; None = known ones."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(calibration.to_json()))
    if asked is not None:
        asked.write_parquet(folder / f"{name}.parquet")


def as_table(queries: Queries) -> pl.DataFrame:
    """source, before and targets of every query, as a run keeps them beside its calibration."""
    nodes, targets = queries
    lists = [targets.rows[a:b].tolist() for a, b in zip(targets.indptr, targets.indptr[1:], strict=False)]
    before = [None] * len(nodes) if nodes.before is None else nodes.before.tolist()
    schema = {"source": pl.UInt32, "before": pl.Int64, "targets": pl.List(pl.UInt32)}
    return pl.DataFrame({"source": nodes.rows, "before": before, "targets": lists}, schema=schema)


def load_calibrations(folder: Path) -> dict[str, Calibration]:
    """Task name -> calibration. Raises KgrecError for a damaged file."""
    with damage(f"{folder}: a calibration cannot be read", "fit again"):
        return {file.stem: Calibration.from_json(document(file)) for file in sorted(folder.glob("*.json"))}


def asked_again(file: Path | bytes, graph: Graph, task: Task, tasks: Iterable[Task]) -> Queries:
    """The queries that `save_calibration` kept, on another graph, which may know their answers: those are hidden from them.

    Without times, so is all that other tasks say of them: a question's intent would tell its answer.
    """
    with damage(f"task {task.name}: the queries of its calibration are damaged", "fit again"):
        return of_table(parquet(file, {"source": pl.UInt32, "before": pl.Int64, "targets": pl.List(pl.UInt32)}), graph, task, tasks)


def of_table(table: pl.DataFrame, graph: Graph, task: Task, tasks: Iterable[Task]) -> Queries:
    """What `as_table` wrote, on a graph; see `asked_again`. Raises ValueError for rows that it does not have."""
    rows = stored_rows(table["source"].cast(pl.Int64).to_numpy(), graph.size(task.relation.source), ascending=False)
    right = table["targets"].explode().drop_nulls().cast(pl.Int64).to_numpy()
    stored_rows(right, graph.size(task.relation.target), ascending=False)
    targets = Ragged.of(np.repeat(np.arange(len(rows)), table["targets"].list.len().to_numpy()), right, len(rows))
    before = None if table["before"].null_count() else table["before"].to_numpy()
    return as_if_new(graph, task, tasks, rows, targets, before)


def as_if_new(
    graph: Graph, task: Task, tasks: Iterable[Task], rows: NDArray[np.int64], targets: Ragged, before: NDArray[np.int64] | None = None
) -> Queries:
    """Known sources as queries from which their targets are hidden, by time or one by one; then also all that other tasks say of them."""
    others = {r: graph.adjacent(r, rows) for r in histories(tasks, task.relation.source)}
    hide = {**others, task.relation: targets} if before is None else None
    return Queries(Nodes(graph, task.relation.source, rows, "query", before=before, hide=hide), targets)
