"""The answered blocks of a bulk job as one file: JSONL as they are, CSV and Parquet with a row for each answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from kgrec_core.data.formulas import guarded
from kgrec_core.outputs import output

FORMS = (".csv", ".jsonl", ".parquet")


def joined(blocks: Sequence[Path], out: Path, fields: Sequence[str]) -> Counter[str]:
    """Write `out` beside itself and rename; how often each error stands in the blocks, in their order.

    fields: names of the request's fields: where a result has one of the same name, its column is "result.NAME".
    """
    refused: Counter[str] = Counter()
    schema = pl.DataFrame()
    for block in blocks:
        records = list(_records(block))
        refused.update(record["error"] for record in records if record["error"] is not None)
        if out.suffix != ".jsonl":
            schema = pl.concat([schema, _frame(records, fields).clear()], how="diagonal_relaxed")
    place = {name: number for number, name in enumerate([*fields, "place"])}
    schema = schema.select(sorted(schema.columns, key=lambda name: (name == "error", place.get(name, len(place)))))
    schema = schema.cast({name: pl.String for name, of in schema.schema.items() if of == pl.Null})
    with output(out) as beside, open(beside, "wb") as file:
        write, close = _writer(out.suffix, file, schema)
        for block in blocks:
            if out.suffix == ".jsonl":
                file.write(block.read_bytes())
            else:
                write(pl.concat([schema, _frame(list(_records(block)), fields)], how="diagonal_relaxed"))
        close()
    return refused


def _records(block: Path) -> Iterator[dict[str, Any]]:
    with open(block, encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _frame(records: Sequence[dict[str, Any]], fields: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame([row for record in records for row in _rows(record, fields)], infer_schema_length=None)


def _rows(record: dict[str, Any], fields: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each element of a list of results, with its place; one for any other result, an empty list or an error."""
    asked = {name: _cell(value) for name, value in record.items() if name not in ("result", "error")}
    result, error = record["result"], {"error": record["error"]}
    if not isinstance(result, list):
        yield {**asked, **_flat(result, fields), **error}
    for place, one in enumerate(result if isinstance(result, list) else (), 1):
        yield {**asked, "place": place, **_flat(one, fields), **error}
    if result == []:
        yield {**asked, **error}


def _flat(result: Any, fields: Sequence[str]) -> dict[str, Any]:
    """{"price": 5, "columns": {"popular": .1}} -> {"price": 5, "columns.popular": .1}"""
    if not isinstance(result, dict):
        return {} if result is None else {"result": _cell(result)}
    flat: dict[str, Any] = {}
    for name, value in result.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{below}": _cell(cell) for below, cell in value.items()}
        else:
            flat[f"result.{name}" if name in fields else name] = _cell(value)
    return flat


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _writer(form: str, file: BinaryIO, schema: pl.DataFrame) -> tuple[Callable[[pl.DataFrame], Any], Callable[[], Any]]:
    if form == ".parquet":
        import pyarrow.parquet as pq

        arrow = schema.to_arrow().schema
        writer = pq.ParquetWriter(file, arrow)
        return lambda frame: writer.write_table(frame.to_arrow().cast(arrow)), writer.close
    if form == ".csv":
        guarded(schema.clear()).write_csv(file)
    return lambda frame: guarded(frame).write_csv(file, include_header=False), lambda: None
