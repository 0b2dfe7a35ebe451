"""Score a published run on labelled rows that it has not seen: next month's orders, newly answered questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.evaluation import class_metrics, class_tables, rank_tables, slices, variants
from kgrec_core.evaluation.metrics import measure
from kgrec_core.evaluation.ranks import dense_ranks
from kgrec_core.graph import Graph, Nodes, Queries, Ragged, Task, candidates
from kgrec_core.interfaces import Hits
from kgrec_core.recipe.registry import Registry

if TYPE_CHECKING:
    from kgrec_core.run.run import Run


def evaluate_file(run: Run, file: Path) -> dict[str, Any]:
    """Figures in the shape of metrics.json, of the rows of a file with the columns of the tasks' own events.

    One query per source; its targets are all that the file gives it. Of a dated relation it knows what the run knows before its
    first row in the file. A source that the run does not know is asked by its text, where the rows have one. "after" is the run's whole chain, "encoder_after" its model alone, the floor popularity before the file (of
    a classification the most frequent class). "variants" are those of a fit, as far as the rows have any.
    "skipped" counts, by task, rows that cannot be scored: sources and targets the run does not know, and rows it knows already;
    a task whose columns the file lacks has the reason instead. Raises KgrecError when nothing can be scored.
    """
    part = run.recipe.data(Registry.discover())
    if not hasattr(part, "labelled"):
        raise KgrecError(
            f"evaluate: the run's data part '{run.recipe.tables['data'].get('use')}' cannot read labelled rows from a file; "
            "give it a method `labelled`, or leave --data out to see the test figures"
        )
    if not file.is_file():
        raise KgrecError(f"evaluate: there is no file {file}; name one with the columns of the run's own events")
    found: dict[str, Any] = {"tasks": {}, "skipped": {}}
    faults = []
    for task in run.tasks:
        try:
            figures, found["skipped"][task.name] = _evaluate(run, task, part.labelled(task.relation.name, file), file)
        except KgrecError as fault:
            faults.append(fault)
            found["skipped"][task.name] = {"reason": str(fault)}
        else:
            found["tasks"][task.name] = {"test": figures}
    if not found["tasks"]:
        raise faults[0]
    return found


def _evaluate(run: Run, task: Task, rows: pl.DataFrame, file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    snapshot = run.snapshot
    model, retrieval = snapshot.model, snapshot.retrievals[task.name]
    graph = _with_new(snapshot.graph, task.relation.source, rows)
    queries, skipped = _queries(graph, task, rows, file)
    case = variants.whole(queries, task)
    nodes = candidates(graph, task)
    start = None if case.queries.nodes.before is None else int(case.queries.nodes.before.min())
    popularity = graph.degree(task.relation, nodes.rows, before=start, inverse=True).astype(np.float32)

    if not model.heads[task.name].encodes_candidates:
        hits = rank_tables.chain_hits(model, retrieval, task, case)
        answered = {"after": class_metrics.predicted(hits), "encoder_after": class_tables.model_classes(model, graph, task, case)}
        most = np.full(len(queries.nodes), nodes.rows[popularity.argmax()])
        return class_tables.table(answered, {"majority": most}, case.queries.targets, graph, task), skipped
    cases = {"whole": case, "cold": variants.cold(queries, task, graph), "cold_alone": variants.cold_alone(queries, task)}
    if task.repeats:
        cases |= {"new_only": variants.new_only(queries, task), "repeat_only": variants.repeat_only(queries, task)}
    cases = {name: of for name, of in cases.items() if name == "whole" or len(of.queries.targets.rows)}
    found: dict[tuple[bool, bool], Hits] = {}
    values, floors = {}, {}
    for name, of in cases.items():
        if of.key not in found:
            found[of.key] = rank_tables.chain_hits(model, retrieval, task, of)
        alone = measure(rank_tables.model_ranks(model, graph, task, of), of.queries.targets)
        values[name] = {"after": rank_tables.chain_values(found[of.key], of), "encoder_after": alone}
        floors[name] = {"popularity": measure(_by_popularity(of, nodes.rows, popularity), of.queries.targets)}
    for name, mask in slices.slices(queries, task).items():
        values[name], floors[name] = slices.masked(values["whole"], mask), slices.masked(floors["whole"], mask)
    tables = {name: rank_tables.table(of, floors[name], "ndcg@10", 0) for name, of in values.items()}
    return {**tables.pop("whole"), "variants": tables}, skipped


def _by_popularity(case: variants.Case, rows: NDArray[np.int64], popularity: NDArray[np.float32]) -> NDArray[np.float64]:
    """The ranks of the targets where the most popular comes first."""
    open_ = slice(None) if case.within is None else np.isin(rows, case.within)
    scores = popularity[open_]
    return dense_ranks(lambda part: np.tile(scores, (part.stop - part.start, 1)), case.queries.targets, rows[open_], case.exclude)


def _with_new(graph: Graph, kind: str, rows: pl.DataFrame) -> Graph:
    """The graph joined with the sources that it does not know and that have a text."""
    if "text" not in rows.columns or "text" not in graph.columns(kind):
        return graph
    new = (
        rows.select(id="source", text="text")
        .filter(pl.col("id").is_not_null(), pl.col("text").fill_null("") != "")
        .unique("id", maintain_order=True)
    )
    new = new.filter(pl.Series(graph.rows(kind, new["id"]) < 0))
    return graph.join(Graph({kind: new})) if len(new) else graph


def _queries(graph: Graph, task: Task, rows: pl.DataFrame, file: Path) -> tuple[Queries, dict[str, int]]:
    """One query per source, and how many rows were left out for which reason."""
    skipped: dict[str, int] = {}
    ends = {
        end: graph.rows(kind, rows[end].fill_null("")) for end, kind in (("source", task.relation.source), ("target", task.relation.target))
    }
    table = rows.with_columns(pl.Series(end, found) for end, found in ends.items()).with_columns(none=rows["target"].is_null())
    strange = {"unknown_sources": pl.col("source") < 0, "unknown_targets": (pl.col("target") < 0) & ~pl.col("none")}
    for what, lacks in strange.items():
        skipped[what] = table.filter(lacks).height
        table = table.filter(~lacks)
    known = graph.relations[task.relation]
    keys = ["source", "target", *(["time"] if "time" in table.columns else [])]
    unseen = table.join(known.select(pl.col(k).cast(pl.Int64) for k in keys), on=keys, how="anti")
    skipped["known_rows"] = table.height - unseen.height
    if not unseen.filter(~pl.col("none")).height:
        counts = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in skipped.items())
        raise KgrecError(f"{file.name}: no row is left to score for task {task.name} ({counts}); give rows whose ids the run knows")
    source, owner = np.unique(unseen["source"].to_numpy(), return_inverse=True)
    before = None
    if "time" in unseen.columns:
        before = np.full(len(source), np.iinfo(np.int64).max)
        np.minimum.at(before, owner, unseen["time"].to_numpy())
    pairs = pl.DataFrame({"owner": owner, "target": unseen["target"]}).filter(pl.col("target") >= 0).unique(maintain_order=True)
    targets = Ragged.of(pairs["owner"].to_numpy(), pairs["target"].to_numpy(), len(source))
    return Queries(Nodes(graph, task.relation.source, source, "query", before), targets), skipped
