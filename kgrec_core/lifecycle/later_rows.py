"""Later rows of a run's own files as edges of its graph, each with its part: learned, on validation, or tested; see `update`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kgrec_core.data.reading import read
from kgrec_core.data.table import written
from kgrec_core.data.times import micros
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph, Task
from kgrec_core.later import Update
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.split.parts import TEST, TRAIN, VALIDATION, hold_out

PARTS = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}
DIRECT = ("task", "source", "target", "time", "text")  # columns of a table that speaks in the run's own ids
LEAST = 10  # new queries below which none is held out, and the old ones decide alone


def labelled(recipe: Recipe, registry: Registry, old: Snapshot, data: Sequence[Path]) -> tuple[dict[str, pl.DataFrame], dict[str, dict]]:
    """task -> rows of ids: source, target, perhaps time and text; and what a task could not read."""
    part = recipe.data(registry)
    if not (hasattr(part, "labelled") or all(map(_is_direct, data))):
        raise KgrecError(f"update: the data part '{recipe.tables['data'].get('use')}' reads no further files; give it a method `labelled`")
    for file in data:
        if not file.is_file():
            raise KgrecError(
                f"update: {file} is {'no file' if file.exists() else 'not there'}; name files with the columns of the run's own events"
            )
    found, skipped, faults = {}, {}, []
    for task in old.tasks:
        try:
            tables = [_direct(file, task) if _is_direct(file) else part.labelled(task.relation.name, file) for file in data]
            found[task.name] = pl.concat(tables, how="diagonal_relaxed").drop_nulls(["source", "target"]).unique(maintain_order=True)
        except KgrecError as fault:
            faults.append(fault)
            skipped[task.name] = {"reason": str(fault)}
    if not found:
        raise faults[0]
    return found, skipped


def _is_direct(file: Path) -> bool:
    """Whether a CSV file is one of feedback on the run's own answers, by its first line."""
    if file.suffix != ".csv" or not file.is_file():
        return False
    with open(file, "rb") as lines:
        return lines.readline(100).strip().decode("utf-8", "replace") == ",".join(DIRECT)


def _direct(file: Path, task: Task) -> pl.DataFrame:
    """A task's rows of it. Raises KgrecError where it has none, and for a row that is not whole."""
    table = read(file, {column: column for column in DIRECT}, "update")
    for column in DIRECT[:-1]:
        table.refuse_empty(written(table.frame[column]), column, None)
    found = table.frame.with_columns(micros(table.frame["time"], table.place, "update").alias("time"))
    found = found.filter(pl.col("task") == task.name).drop("task")
    if not len(found):
        raise KgrecError(f"{file.name} has no row of task {task.name}")
    return found.drop("text") if written(found["text"]).null_count() == len(found) else found


def joined(
    dataset: Dataset, rows: Mapping[str, pl.DataFrame], skipped: dict[str, dict[str, Any]], rule: Update, how: Any
) -> tuple[Dataset, int]:
    """The data with the new rows, every edge with its part and the number of the update that brought it; and this one's number."""
    graph, tasks = dataset
    alone = len({task.relation for task in tasks}) == 1
    parts = {task.relation: hold_out(graph, task, how, alone).part for task in tasks}
    tables = {r: graph.relations[r] for r in graph.relations}
    number = 1 + max([int(t["update"].max() or 0) for t in tables.values() if "update" in t.columns], default=0)
    for task in tasks:
        if task.name in rows:
            graph = _with_sources(graph, task.relation.source, rows[task.name])
    learned = 0
    for task in tasks:
        relation, table = task.relation, tables[task.relation]
        known = table.drop([c for c in ("part", "update") if c in table.columns]).with_columns(
            pl.Series("part", [PARTS.get(int(p)) for p in parts[relation]], pl.String),
            table["update"] if "update" in table.columns else pl.lit(0, pl.UInt16).alias("update"),
        )
        if task.name in rows:
            fresh, counts = _edges(graph, task, rows[task.name], known)
            skipped[task.name], learned = counts, learned + len(fresh)
            fresh = fresh.with_columns(part=_parts(fresh, rule, how.seed), update=pl.lit(number, pl.UInt16))
            known = pl.concat([known, fresh], how="diagonal_relaxed").select(known.columns).cast(known.schema)
        tables[relation] = known
    if not learned:
        counts = "; ".join(
            f"{task}: {', '.join(f'{n:,} {what}' for what, n in of.items())}" for task, of in skipped.items() if "reason" not in of
        )
        told = [f"{task.relation.target} {id!r}" for task in tasks if task.name in rows for id in _unknown(graph, task, rows[task.name])]
        remedy = f"; the run has no {', '.join(told[:3])}: correct the rows, or add it first" if told else ""
        raise KgrecError(f"update: no row of the files is new to the run ({counts.replace('_', ' ')}){remedy}")
    return Dataset(graph.with_edges(tables), tasks), number


def _unknown(graph: Graph, task: Task, rows: pl.DataFrame) -> list[str]:
    """The targets of rows that the graph lacks."""
    ids = rows["target"].drop_nulls().unique(maintain_order=True)
    return ids.filter(pl.Series(graph.rows(task.relation.target, ids) < 0)).to_list()


def _with_sources(graph: Graph, kind: str, rows: pl.DataFrame) -> Graph:
    """The graph with the sources that it does not know: by their text, where the kind has texts."""
    texts = "text" in graph.columns(kind)
    if texts and "text" not in rows.columns:
        return graph
    new = rows.select(id="source", **({"text": "text"} if texts else {})).unique("id", maintain_order=True)
    new = new.filter(pl.col("text").fill_null("") != "") if texts else new
    new = new.filter(pl.Series(graph.rows(kind, new["id"]) < 0))
    return graph.join(Graph({kind: new})) if len(new) else graph


def _edges(graph: Graph, task: Task, rows: pl.DataFrame, known: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """New rows as edges, and how many were left out for which reason."""
    relation, dated = task.relation, "time" in known.columns
    if dated and "time" not in rows.columns:
        raise KgrecError(f"update: {relation} is dated, and the rows have no time; give files with the same columns as the run's own")
    table = rows.select(
        pl.Series("source", graph.rows(relation.source, rows["source"])), pl.Series("target", graph.rows(relation.target, rows["target"])),
        *(["time"] if dated else []),
    )  # fmt: skip
    counts = {"unknown_sources": table.filter(pl.col("source") < 0).height, "unknown_targets": table.filter(pl.col("target") < 0).height}
    table = table.filter(pl.col("source") >= 0, pl.col("target") >= 0).cast({"source": pl.UInt32, "target": pl.UInt32})
    keys = ["source", "target", *(["time"] if dated else [])]
    unseen = table.join(known.select(keys), on=keys, how="anti").unique(maintain_order=True)
    return unseen, {**counts, "known_rows": table.height - unseen.height}


def _parts(fresh: pl.DataFrame, rule: Update, seed: int) -> pl.Series:
    """Of dated rows the latest are held out, of others those of some sources; of very few none."""
    rank = fresh["time"].rank("max").to_numpy() / max(1, len(fresh)) if "time" in fresh.columns else None
    sources = fresh["source"].to_numpy()
    if len(np.unique(sources)) < LEAST:
        return pl.Series("part", ["train"] * len(fresh), pl.String)
    if rank is None:
        rows, place = np.unique(sources, return_inverse=True)
        rank = (np.random.default_rng([seed, len(rows)]).permutation(len(rows)) + 1)[place] / len(rows)
    part = np.where(rank > 1 - rule.held_out / 2, TEST, np.where(rank > 1 - rule.held_out, VALIDATION, TRAIN))
    return pl.Series("part", [PARTS[int(p)] for p in part], pl.String)
