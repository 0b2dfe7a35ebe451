"""A relation's edges from its file: both ends as rows of their kinds, time and weight; what an unknown id means."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_core.data.ids import identifiers, nobody
from kgrec_core.data.mapping import Edges, End
from kgrec_core.data.numbering import Numbering
from kgrec_core.data.reading import read
from kgrec_core.data.summary import Summary
from kgrec_core.data.table import Table, quoted, shown, written
from kgrec_core.data.times import micros, refuse_reading
from kgrec_core.errors import Faults, KgrecError, choices


def read_edges(name: str, spec: Edges, numbering: dict[str, Numbering], summary: Summary, broken: Collection[str] = ()) -> pl.DataFrame:
    """source, target (rows of the kinds, null = none) and, where there are, time, weight and part. numbering: of the kinds, grown where ids are
    added. broken: kinds whose file has mistakes of its own, so that no id is missed there. Raises KgrecError with place and remedy."""
    setting, faults = f"data.relations.{name}", Faults()
    if spec.parts:
        if spec.file or spec.part:
            raise KgrecError(f"{setting}: parts exclude file and part; keep the files by part, or the one file")
        one = {part: replace(spec, file=Path(file), parts={}) for part, file in spec.parts.items()}
        return pl.concat([read_edges(name, each, numbering, summary, broken).with_columns(part=pl.lit(part)) for part, each in one.items()])
    if spec.file is None:
        raise KgrecError(f'{setting}: file is missing; write file = "orders.csv", or parts with a file each')
    if spec.timeless and spec.time:
        raise KgrecError(f'{setting}: timeless = true and time = "{spec.time}" exclude each other; keep one')
    refuse_reading(spec.time_zone, spec.time_format, setting)
    asked = {"source.column": spec.source.column, "target.column": spec.target.column, "time": spec.time}
    asked |= {"weight": spec.weight, "part": spec.part}
    table = summary.read(read(spec.file, {k: c for k, c in asked.items() if c is not None}, setting, spec.where))
    out, dropped = {}, pl.repeat(False, len(table.frame), dtype=pl.Boolean, eager=True)
    for end in ("source", "target"):
        with faults:
            out[end], strange = _rows(end, spec, table, numbering, setting, summary, broken)
            dropped |= strange
    if spec.time:
        with faults:
            out["time"] = micros(table.frame[spec.time], table.place, setting, spec.time_zone, spec.time_format).alias("time")
            table.refuse_empty(out["time"], spec.time, setting)
    if spec.weight:
        with faults:
            out["weight"] = table.weights(spec.weight, setting, spec.decimal)
    if spec.part:
        out["part"] = written(table.frame[spec.part])
    faults.refuse()
    if dropped.all():
        raise KgrecError(f'{table.path.name}: {setting}.unknown = "drop" leaves none of {len(dropped):,} rows; correct the ids or the file')
    return pl.DataFrame(out).filter(~dropped)


def _rows(
    end: str, spec: Edges, table: Table, numbering: dict[str, Numbering], setting: str, summary: Summary, broken: Collection[str]
) -> tuple[pl.Series, pl.Series]:
    """Row numbers of an end's ids, null where there is none, and which rows are left out."""
    at: End = getattr(spec, end)
    unknown = at.unknown or spec.unknown
    if at.kind not in numbering:
        if unknown != "add":
            raise choices(
                "kind of entity",
                at.kind,
                numbering,
                f'add [data.entities.{at.kind}], or set {setting}.{end}.unknown = "add" to make its entities from {spec.file.name}',
            )
        numbering[at.kind] = Numbering(spec.file.name)
    known = numbering[at.kind]
    catalogued = known.count  # ids of the kind's own file
    ids = _ids(end, spec, table, known, setting, summary)
    strange = known.rows(ids).is_null() & ids.is_not_null()
    if strange.any():
        first, missing = strange.arg_max(), ids.filter(strange).n_unique()
        said = f'{table.place(first)}: {at.column} "{shown(ids[first])}" is no {at.kind}'
        if unknown == "reject" and at.kind not in broken:
            others = f" ({missing:,} such ids in {strange.sum():,} rows)" if strange.sum() > 1 else ""
            raise KgrecError(
                f'{said}{others}; {known.file} has {len(known.ids):,} ids; fix the rows or set {setting}.{end}.unknown = "add" or "drop"'
            )
        if catalogued and unknown == "add":
            told = f"{missing:,} such ids in {strange.sum():,} of {len(ids):,} rows are added without text or attributes"
            summary.doubt(f"{said} of {known.file}; {told}")
        elif catalogued and unknown == "drop":
            summary.note(f"{said} of {known.file}; {strange.sum():,} such rows are left out")
    if unknown == "add" or at.kind in broken:
        known.add(ids, named=False)
    elif unknown == "drop":
        summary.left_out(table.path.name, f"{at.column} is no {at.kind}", int(strange.sum()))
        return known.rows(ids).alias(end), strange
    return known.rows(ids).alias(end), pl.repeat(False, len(ids), dtype=pl.Boolean, eager=True)


def _ids(end: str, spec: Edges, table: Table, known: Numbering, setting: str, summary: Summary) -> pl.Series:
    """The ids of an end as its kind's own file writes them, null where there is none."""
    at: End = getattr(spec, end)
    given = identifiers(table.frame[at.column])
    ids = known.as_known(given)
    if (other := (ids != given).fill_null(False)).any() and known.count:
        first = other.arg_max()
        summary.note(
            f'{table.place(first)}: {at.column} "{shown(given[first])}" is "{shown(ids[first])}" of {known.file} ({other.sum():,} such rows)'
        )
    nothing = nobody(ids) & known.rows(ids).is_null()
    if nothing.any() and (end == "source" or spec.empty == "reject"):
        words = ", ".join(f"'{word}'" for word in table.frame[at.column].filter(nothing).unique().sort())
        raise KgrecError(
            f'{table.place(nothing.arg_max())}: {at.column} "{shown(ids[nothing.arg_max()])}" is no id but a word for none ({nothing.sum():,} such '
            f'rows); fill it, or leave them out: {setting}.where = "{quoted(at.column)} NOT IN ({words})"'
        )
    ids = ids.set(nothing, None)
    if end == "source":
        table.refuse_empty(ids, at.column, setting)
    elif spec.empty == "reject":
        table.refuse_empty(ids, at.column, setting, f', or set {setting}.empty = "keep": nothing is right for that {spec.source.kind}')
    return ids
