"""Files -> frames, with errors that name file, row, column and remedy. Every data part reads through here.

Delimited files are read as text only: an id keeps its zeros, and only what has a numeric meaning becomes a number.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from kgrec_core.data.condition import condition
from kgrec_core.data.faults import refuse_bytes, refuse_empty, refuse_json, refuse_ragged, refuse_short_rows
from kgrec_core.data.files import readable, scanned, text_file
from kgrec_core.data.numeric import NOTHING, numbers
from kgrec_core.data.table import Table
from kgrec_core.errors import Faults, KgrecError, choices, no_column

DELIMITED, PARQUET, JSONL = ("csv", "tsv", "tab", "txt", "dat"), ("parquet", "pq"), ("jsonl", "ndjson")
ROWS = 250_000  # that are read between two words of progress
_ROW, _KEEP, _BLANK, _SHORT = "__row__", "__keep__", "__blank__", "__short__"


def read(
    path: Path,
    columns: Mapping[str, str],
    setting: str,
    where: str | None = None,
    form: str | None = None,
    separator: str | None = None,
    quote: str | None = '"',
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """The named columns of a CSV, TSV, Parquet or JSONL file, in file order; blank lines of delimited files are left out.

    columns: recipe key -> column, e.g. {"time": "InvoiceDate"}. setting: the recipe table that asked, for messages.
    where: a condition in SQL over the file's columns, e.g. "Quantity > 0 AND StockCode ~ '^[0-9]{5}'"; a text column that the
        condition compares with numbers is read as numbers; empty text and NaN are NULL (`data.condition` has what it may hold).
    form: "csv", "parquet" or "jsonl"; None = by the file's name. separator: of a delimited file; None = what the header has most of:
        comma, semicolon, tab or bar. quote: None = no quoting. names: of the columns, instead of those in the header.
    progress: told how many rows are read, and of how many, every ROWS.

    Raises KgrecError: no such file or column, unknown format, 0 rows, not UTF-8, rows with too few or many fields, bad `where`.
    """
    path = Path(path)
    form = form or form_of(path, setting)
    delimited = form in DELIMITED
    with _readable(path, form, separator, quote):
        separator = (separator or separator_of(path)) if delimited else ""
        lazy = _scan(path, form, separator, quote)
        header = lazy.collect_schema().names()
        lazy = lazy if names is None else lazy.rename(dict(zip(header, names, strict=True)))
        schema = lazy.collect_schema()
    faults = Faults()
    for key, column in columns.items():
        with faults:
            if column not in schema:
                raise no_column(f'{setting}.{key} = "{column}"', column, path.name, schema)
    faults.refuse()
    wanted = list(dict.fromkeys(columns.values()))
    with _readable(path, form, separator, quote):
        found, number = _collect(lazy, wanted, path, schema, where, setting, delimited, progress)
    if found[_SHORT].any():
        with _readable(path, form, separator, quote):
            refuse_short_rows(path, separator, quote, len(header))
    total = int((~found[_BLANK]).sum())
    if not total:
        raise KgrecError(f"{path.name}: the table has no rows; name a file with data")
    for column in number:
        _refuse_words(path, found, column, where)
    kept = found.filter(pl.col(_KEEP) & ~pl.col(_BLANK)) if where is not None or total < len(found) else found
    if not len(kept):
        raise KgrecError(f"{path.name}: none of {total:,} rows is left by {setting}.where = {where!r}; loosen the condition")
    gone = {"blank lines": len(found) - total, "rows that do not meet where": total - len(kept)}
    return Table(path, kept.select(wanted), kept[_ROW], {why: count for why, count in gone.items() if count})


def column_names(path: Path, setting: str) -> list[str]:
    """The columns of a file that `read` reads; raises KgrecError as it does."""
    path, quote = Path(path), '"'
    form = form_of(path, setting)
    with _readable(path, form, "", quote):
        separator = separator_of(path) if form in DELIMITED else ""
        return _scan(path, form, separator, quote).collect_schema().names()


def _collect(
    lazy: pl.LazyFrame,
    wanted: list[str],
    path: Path,
    schema: pl.Schema,
    where: str | None,
    setting: str,
    delimited: bool,
    progress: Callable[[int, int], None] | None,
) -> tuple[pl.DataFrame, list[str]]:
    """All rows of the columns as written, with row number, whether `where` holds, the line is blank or may be short; and the columns
    that `where` compares with numbers."""
    met = None if where is None else condition(where, schema, f"{setting}.where", path.name, _number)
    used = () if met is None else met.columns
    blank = pl.all_horizontal(pl.all().is_null()) if delimited else pl.lit(False)
    last, whole = pl.col(schema.names()[-1]), lazy
    short = last.is_null() & ~pl.col(_BLANK) if delimited and len(schema) > 1 else pl.lit(False)
    lazy = lazy.with_columns(blank.alias(_BLANK)).with_columns(short.alias(_SHORT))
    lazy = lazy.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(_ROW) + (2 if delimited else 1),
        *dict.fromkeys([*wanted, *used]),
        pl.col(_BLANK, _SHORT),
    )
    found = _in_parts(lazy, whole.select(pl.len()).collect().item(), progress) if progress else lazy.collect()
    keep = pl.repeat(True, len(found), eager=True) if met is None else pl.Series(met.meets(found))
    return found.with_columns(keep.alias(_KEEP)), [] if met is None else list(met.numbers)


def _in_parts(lazy: pl.LazyFrame, total: int, progress: Callable[[int, int], None]) -> pl.DataFrame:
    """The same rows, `progress` told of each part of them."""
    parts, done = [lazy.clear().collect()], 0
    for part in lazy.collect_batches(chunk_size=ROWS):
        parts.append(part)
        progress(done := done + len(part), total)
    return pl.concat(parts)


def _number(values: pl.Series) -> pl.Series:
    """A column of text as the numbers in it, null where a cell has none."""
    read = numbers(values).values
    return values.cast(pl.Float64, strict=False) if read is None else read.cast(pl.Float64)


def form_of(path: Path, setting: str) -> str:
    """ "csv", "parquet", ... by a name's end. Raises KgrecError where there is no such file, with those that are there, or no such format."""
    told = f"{setting}.file" if setting.startswith(("data.entities.", "data.relations.", "knowledge.")) else setting
    if path.exists() and not path.is_file():
        what = "a folder; name a file in it" if path.is_dir() else "a pipe or a device, which is read once only; save it as a file"
        raise KgrecError(f"{told} = {path} is {what}")
    if not path.is_file():
        folder = path.parent
        if not folder.is_dir():
            relative = "" if "." not in setting else "; paths are relative to the recipe that names them"
            raise KgrecError(f'{told} = "{path}": there is no folder {folder}{relative}')
        found = sorted(p.name for p in folder.iterdir() if p.is_file())
        raise choices(f"file in {folder}", path.name, found[:20], f"correct {told}")
    form = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lstrip(".").lower()
    if form not in (*DELIMITED, *PARQUET, *JSONL):
        raise choices("table format", form, (*DELIMITED, *PARQUET, *JSONL), f"save {path.name} as one of them and correct {told}")
    return form


def _scan(path: Path, form: str, separator: str, quote: str | None) -> pl.LazyFrame:
    if form in PARQUET:
        return pl.scan_parquet(path, glob=False)
    if form in JSONL:
        return pl.scan_ndjson(scanned(path), infer_schema_length=None)
    return pl.scan_csv(scanned(path), separator=separator, quote_char=quote, infer_schema=False, glob=False)


def separator_of(path: Path) -> str:
    """The separator that the header has most of; refuses a header that names one column twice."""
    with text_file(path) as file:
        header = file.readline().decode("utf-8-sig", "replace").strip("\r\n")
    separator = max(",;\t|", key=lambda s: len(re.sub('"[^"]*"', "", header).split(s)))
    try:
        names = next(csv.reader([header], delimiter=separator), [])
    except csv.Error as error:
        raise KgrecError(f"{path.name} row 1: the header cannot be read ({error}); correct it") from None
    twice = [n for i, n in enumerate(names) if n in names[:i]]
    if twice:
        raise KgrecError(f"{path.name} row 1: column {twice[0]!r} stands twice in the header; rename one of them")
    return separator


@contextmanager
def _readable(path: Path, form: str, separator: str, quote: str | None) -> Iterator[None]:
    """Turns polars' complaint about a file into one that says where the fault is."""
    try:
        with readable(path):
            yield
    except PolarsError as error:
        if form not in PARQUET:
            refuse_empty(path)
            refuse_bytes(path)
        if form in DELIMITED:
            refuse_ragged(path, separator, quote)
        if form in JSONL:
            refuse_json(path)
        kind = "Parquet" if form in PARQUET else "JSONL" if form in JSONL else "delimited text"
        raise KgrecError(f"{path.name} cannot be read as {kind}: {str(error).splitlines()[0]}; check the file") from error


def _refuse_words(path: Path, found: pl.DataFrame, column: str, where: str | None) -> None:
    odd = _number(found[column]).is_null() & found[column].is_not_null() & ~found[column].str.to_lowercase().is_in(list(NOTHING))
    if odd.any():
        first = odd.arg_max()
        raise KgrecError(
            f'{path.name} row {found[_ROW][first]}: {column} "{found[column][first]}" is no number, and {where!r} compares it with one; '
            "correct the row or the condition"
        )
