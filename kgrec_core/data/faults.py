"""Where a file is broken: slow, exact readers that run only after the fast one has refused a file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl

from kgrec_core.data.files import scanned, text_file
from kgrec_core.errors import KgrecError


def refuse_empty(path: Path) -> None:
    """Raises KgrecError where a file holds nothing."""
    with text_file(path) as file:
        if not file.read(1):
            raise KgrecError(f"{path.name}: the table has no rows, the file is empty")


def refuse_bytes(path: Path) -> None:
    """Raises KgrecError with line, byte and offset of what is not UTF-8, where there is such."""
    offset = 0
    with text_file(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise KgrecError(
                    f"{path.name} line {number}: byte 0x{line[error.start]:02x} at offset {offset + error.start} is not UTF-8; "
                    f"save the file as UTF-8, e.g. iconv -f windows-1252 -t utf-8 {path.name}"
                ) from None
            offset += len(line)


def refuse_ragged(path: Path, separator: str, quote: str | None) -> None:
    """Raises KgrecError with the first row that has fewer or more fields than the header, or a quote that is not closed."""
    with text_file(path) as file:
        lines = (line.decode("utf-8", "replace") for line in file)
        reader = csv.reader(lines, delimiter=separator, quotechar=quote or "\0", quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE)
        try:
            width = len(next(reader))
            for row, record in enumerate(reader, 2):
                if record and len(record) != width:
                    raise KgrecError(
                        f"{path.name} row {row}: {len(record)} fields where the header has {width} (separator {separator!r}); "
                        "quote fields that hold the separator, and write every field"
                    )
        except csv.Error as error:
            raise KgrecError(f"{path.name} line {reader.line_num}: {error}; close every quote") from None


def refuse_short_rows(path: Path, separator: str, quote: str | None, width: int) -> None:
    """polars fills short rows with nulls. Lines with too few separators are suspects; only then the slow reader looks at all of them."""
    lines = pl.scan_csv(
        scanned(path),
        separator="\x1e",
        quote_char=None,
        has_header=False,
        infer_schema=False,
        new_columns=["line"],
        truncate_ragged_lines=True,
        glob=False,
    )
    bare = pl.col("line").str.replace_all('"[^"]*"', "") if quote else pl.col("line")
    suspect = (bare.str.count_matches(separator, literal=True) < width - 1) & (bare.str.strip_chars("\r ") != "")
    open_quote = bare.str.contains('"', literal=True) if quote else pl.lit(False)
    if lines.select((suspect & ~open_quote).any()).collect().item():
        refuse_ragged(path, separator, quote)


def refuse_json(path: Path) -> None:
    """Raises KgrecError with the first row that is no JSON object."""
    with text_file(path) as file:
        for number, line in enumerate(file, 1):
            try:
                value = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError) as error:
                raise KgrecError(f"{path.name} row {number}: {error}; every line must be one JSON object") from None
            if not isinstance(value, dict):
                raise KgrecError(f"{path.name} row {number}: {line.decode().strip()[:40]!r} is no JSON object; every line must be one")
