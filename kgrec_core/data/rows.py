"""A table read a few rows at a time, never whole: what is asked in bulk. Its values come as they are written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kgrec_core.data.faults import refuse_bytes
from kgrec_core.data.files import readable, text_file
from kgrec_core.data.reading import DELIMITED, PARQUET, column_names, form_of, separator_of
from kgrec_core.errors import KgrecError

LONGEST = 1 << 26  # characters of a cell: an article may be a book, and a quote that nobody closes must not take all memory
Row = dict[str, Any] | KgrecError  # empty cells are left out; the error of a row that cannot be read stands in its place


def header(path: Path, setting: str) -> list[str]:
    """The columns of a CSV, TSV or Parquet file; the keys of the first line of JSONL. Raises KgrecError as `reading.read` does."""
    form = form_of(path, setting)
    if form in (*DELIMITED, *PARQUET):
        return column_names(path, setting)
    first = next(rows(path, setting), {})
    if isinstance(first, KgrecError):
        raise first
    return list(first)


def rows(path: Path, setting: str) -> Iterator[Row]:
    """Every row in file order; blank lines of a delimited file are none."""
    form = form_of(path, setting)
    if form in PARQUET:
        return _parquet(path)
    return _delimited(path) if form in DELIMITED else _lines(path)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with readable(path):
            for batch in pq.ParquetFile(path).iter_batches(1024):
                yield from (_filled(row) for row in batch.to_pylist())
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise KgrecError(f"{path.name} cannot be read as Parquet: {' '.join(str(error).split())[:160]}; check the file") from None


def _delimited(path: Path) -> Iterator[Row]:
    try:
        with readable(path), text_file(path) as raw:
            csv.field_size_limit(LONGEST)
            reader = csv.reader(io.TextIOWrapper(raw, "utf-8-sig", newline=""), delimiter=separator_of(path))
            names = next(reader, [])
            for cells in reader:
                if len(cells) == len(names):
                    yield _filled(dict(zip(names, cells, strict=True)))
                elif cells:
                    yield KgrecError(f"{path.name} line {reader.line_num}: {len(cells)} fields where the header has {len(names)}")
    except UnicodeDecodeError:
        refuse_bytes(path)
    except csv.Error as error:
        raise KgrecError(f"{path.name} line {reader.line_num}: {error}; close every quote") from None


def _lines(path: Path) -> Iterator[Row]:
    with readable(path), text_file(path) as raw:
        for number, line in enumerate(raw, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield KgrecError(f"{path.name} line {number} is no JSON: {error}")
            else:
                wrong = KgrecError(f'{path.name} line {number}: write one object a line, such as {{"user": "7"}}')
                yield _filled(row) if isinstance(row, dict) else wrong


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and value != ""}
