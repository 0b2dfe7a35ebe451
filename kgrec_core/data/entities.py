"""A kind's entities from its file: ids, texts, attributes, when each is there, one row an id."""

from __future__ import annotations

import polars as pl

from kgrec_core.data.ids import identifiers
from kgrec_core.data.mapping import Entity
from kgrec_core.data.numeric import numbers
from kgrec_core.data.plain import plain_texts
from kgrec_core.data.reading import read
from kgrec_core.data.summary import Summary
from kgrec_core.data.table import shown, written
from kgrec_core.data.times import micros, refuse_reading
from kgrec_core.errors import Faults, KgrecError


def read_entities(kind: str, spec: Entity, summary: Summary) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The kind's table, and the columns of the file for its links, row by row. Raises KgrecError with place and remedy of every mistake."""
    setting, faults = f"data.entities.{kind}", Faults()
    taken = {"id", *(n for n in ("text", "since", "until") if getattr(spec, n))} & set(spec.attributes)
    if taken:
        raise KgrecError(
            f"{setting}.attributes: '{min(taken)}' is a column that kgrec writes itself; rename it in {spec.file.name} or leave it out"
        )
    refuse_reading(spec.time_zone, spec.time_format, setting)
    asked = {"id": spec.id, "since": spec.since, "until": spec.until}
    asked |= {f"text[{i}]": c for i, c in enumerate(spec.text)} | {f"attributes[{i}]": c for i, c in enumerate(spec.attributes)}
    asked |= {f"{setting}.column": link.column for setting, link in spec.columns.values()}
    table = summary.read(read(spec.file, {k: c for k, c in asked.items() if c is not None}, setting, spec.where))
    ids, times = identifiers(table.frame[spec.id]), {}
    with faults:
        table.refuse_empty(ids, spec.id, setting)
    for end in ("since", "until"):
        if (column := getattr(spec, end)) is not None:
            with faults:
                times[end] = micros(table.frame[column], table.place, setting, spec.time_zone, spec.time_format)
    if spec.duplicates == "reject":
        with faults:
            table.refuse_duplicates(ids, spec.id, f'remove one, or set {setting}.duplicates = "first" or "last"')
    faults.refuse()
    frame = table.frame.select(list(dict.fromkeys([*spec.text, *spec.attributes, *(k.column for _, k in spec.columns.values())])))
    read_as = {}
    for column in spec.attributes:
        read_as[column] = numbers(frame[column], spec.decimal)
        if read_as[column].doubt:
            at, told = read_as[column].at, read_as[column].doubt.replace("decimal =", f"{setting}.decimal =")
            summary.doubt(f'{table.place(at)}: {column} "{shown(frame[column][at])}" {told}')
    as_numbers = [of.values.alias(f"__{column}__") for column, of in read_as.items() if of.values is not None]
    frame = frame.hstack(as_numbers)
    if spec.duplicates != "reject":
        ids, frame, times = _merged(ids, frame, times, spec.duplicates)
        summary.left_out(spec.file.name, f"rows of a {kind} that other rows tell of", len(table.frame) - len(ids))
    out = {"id": ids.alias("id")}
    if spec.text:
        parts = [plain_texts(written(frame[c])).alias(str(i)) for i, c in enumerate(spec.text)]
        out["text"] = pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=spec.joiner, ignore_nulls=True)).to_series()
    for column in spec.attributes:
        out[column] = frame[f"__{column}__" if f"__{column}__" in frame.columns else column].alias(column)
    return pl.DataFrame(out | times), frame


def _merged(
    ids: pl.Series, frame: pl.DataFrame, times: dict[str, pl.Series], which: str
) -> tuple[pl.Series, pl.DataFrame, dict[str, pl.Series]]:
    """One row per id, by first appearance: its first or last value that is not empty, earliest `since`, latest `until`."""
    key, stamps = "__id__", [s.alias(f"__{n}__") for n, s in times.items()]
    whole = pl.DataFrame([ids.alias(key), *stamps, *frame.get_columns()])
    if "since" in times:
        whole = whole.sort("__since__", maintain_order=True, nulls_last=True)
    present = [pl.col(column).drop_nulls() for column in frame.columns]
    whole = whole.group_by(key, maintain_order=True).agg(
        *(column.first() if which == "first" else column.last() for column in present),
        *(pl.col(s.name).min() if s.name == "__since__" else pl.col(s.name).max() for s in stamps),
    )
    return whole[key], whole.select(frame.columns), {n: whole[f"__{n}__"].alias(n) for n in times}
