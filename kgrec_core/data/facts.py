"""What a data set looks like once it is a graph: how many, with text in which scripts, how many are never met, from when to when."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from kgrec_core.data.summary import Summary
from kgrec_core.graph import DAY, Dataset, Graph, Relation

SAMPLE = 5_000  # texts whose scripts are counted
SCRIPTS = [
    "Latin", "Han", "Hiragana", "Katakana", "Hangul", "Cyrillic", "Arabic", "Hebrew", "Greek", "Thai", "Devanagari", "Bengali",
    "Tamil", "Telugu",
]  # fmt: skip


def summary_of(dataset: Dataset, said: Summary | None = None) -> Summary:
    """With what the data part said itself, if it did."""
    found, graph = said or Summary(), dataset.graph
    asked = {task.relation for task in dataset.tasks}
    for kind in graph.entities:
        found.entities[kind] = _kind(graph, kind, asked)
    names = [relation.name for relation in graph.relations]
    for relation, table in graph.relations.items():
        alone = names.count(relation.name) == 1
        found.relations[relation.name if alone else f"{relation.source} {relation.name}"] = _edges(table)
        if relation in asked:
            _doubt_times(relation, table, found)
    if dataset.tasks and not speaks(dataset):
        kinds = " nor ".join(dict.fromkeys(end for task in dataset.tasks for end in (task.relation.target, task.relation.source)))
        found.doubt(f"neither {kinds} has a text, so no language model is read; name text columns in data.entities")
    for kind, of in found.entities.items():
        if 0 < of.get("text", 1.0) < 0.5:
            found.doubt(f"{kind}: only {of['text']:.0%} have a text; name a text column that is filled, or correct the ids")
    return found


def speaks(dataset: Dataset) -> bool:
    """Whether a source or a target of some task has a text."""
    kinds = {kind for task in dataset.tasks for kind in (task.relation.source, task.relation.target)}
    said = [dataset.graph.entities[kind]["text"] for kind in kinds if "text" in dataset.graph.columns(kind)]
    return any((text.fill_null("") != "").any() for text in said)


def _kind(graph: Graph, kind: str, asked: set[Relation]) -> dict[str, Any]:
    of: dict[str, Any] = {"count": graph.size(kind)}
    if "text" in graph.columns(kind) and of["count"]:
        text = graph.entities[kind]["text"].drop_nulls()
        text = text.filter(text != "")
        of |= {"text": round(len(text) / of["count"], 4), "scripts": scripts(text)}
    for relation in asked:
        for end in {end for end in ("source", "target") if getattr(relation, end) == kind}:
            met = graph.relations[relation][end].drop_nulls().n_unique()
            of.setdefault("never", {})[relation.name] = of["count"] - met
    return of


def scripts(texts: pl.Series) -> dict[str, float]:
    """Share of the letters of a few texts by script, the largest first; what is below a hundredth is left out."""
    some = texts.gather(np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts)), dtype=np.int64)) if len(texts) else texts
    counts = {script: int(some.str.count_matches(rf"\p{{{script}}}").sum()) for script in SCRIPTS}
    whole = max(1, int(some.str.count_matches(r"\p{L}").sum()))
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return {script: round(count / whole, 4) for script, count in ranked if count * 100 >= whole}


def _edges(table: pl.DataFrame) -> dict[str, Any]:
    of: dict[str, Any] = {"edges": len(table), "sources": table["source"].n_unique(), "targets": table["target"].drop_nulls().n_unique()}
    if "time" in table.columns and len(table):
        of |= {"first": _day(table["time"].min()), "last": _day(table["time"].max())}
    return of


def _doubt_times(relation: Relation, table: pl.DataFrame, found: Summary) -> None:
    if "time" not in table.columns:
        return
    late = table["time"] > int(time.time() * 1e6) + DAY
    if late.any():
        found.doubt(f"{relation.name}: {late.sum():,} of {len(table):,} times lie in the future, the last is {_day(table['time'].max())}")
    zero = (table["time"] >= 0) & (table["time"] < DAY)
    if zero.any():
        found.doubt(f"{relation.name}: {zero.sum():,} of {len(table):,} times are of 1 January 1970, as a missing time is often written")


def _day(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros // 1_000_000, UTC):%Y-%m-%d}"
