"""Feedback as tables: counts for people, every event with its arm and propensity, and what `update` learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_core.errors import KgrecError
from kgrec_core.lifecycle.later_rows import DIRECT
from kgrec_core.outputs import output
from kgrec_core.serving.feedback import EVENTS

COLUMNS = ("at", "event", "id", "source", "text", "run", "edit", "arm", "propensity", "answered", "request", "caller")


def counts(events: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each run and arm: how many answers were spoken of, and how many of each event."""
    found = [["run", "arm", "answers", *EVENTS]]
    for run, arm in dict.fromkeys((event["run"], event["arm"]) for event in events):
        of = [event for event in events if (event["run"], event["arm"]) == (run, arm)]
        each = [sum(event["event"] == name for event in of) for name in EVENTS]
        found.append([run, arm, f"{len({event['key'] for event in of}):,}", *(f"{n:,}" for n in each)])
    return found


def everything(events: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Every event, times as ISO 8601 UTC."""
    table = pl.DataFrame([{name: event[name] for name in COLUMNS} for event in events], infer_schema_length=None)
    return table.with_columns(_iso(name) for name in ("at", "answered")) if len(table) else table


def edges(events: Sequence[Mapping[str, Any]], learn: Collection[str], task: str, texts: bool) -> pl.DataFrame:
    """Source, target and time of the events that say so much, for `update --data`. texts: whether a source is its text, as a question is.

    Raises KgrecError where no event says who or what was asked for.
    """
    rows = []
    for event in events:
        text = event["text"] if texts else None
        source = f"asked-{hashlib.sha256(text.encode()).hexdigest()[:16]}" if text else event["source"]
        if event["event"] in learn and event["id"] and source:
            rows.append({"task": task, "source": source, "target": event["id"], "at": event["at"], "text": text})
    if not rows:
        raise KgrecError(
            f"no event ({', '.join(learn)}) names both an id and {'the text that was asked' if texts else 'a source'}; send them with the feedback"
        )
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(_iso("at").alias("time")).select(DIRECT).unique(maintain_order=True)


def write(table: pl.DataFrame, file: Path) -> None:
    """As CSV, Parquet or JSON lines, whole or not there. Raises KgrecError for another ending, and where it cannot be written."""
    ways = {".csv": table.write_csv, ".parquet": table.write_parquet, ".jsonl": table.write_ndjson}
    if file.suffix not in ways:
        raise KgrecError(f"{file}: a table ends in {', '.join(ways)}")
    with output(file) as place:
        ways[file.suffix](place)


def _iso(name: str) -> pl.Expr:
    return pl.from_epoch((pl.col(name) * 1e6).cast(pl.Int64), "us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias(name)
