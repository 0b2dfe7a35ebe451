"""Columns of a file that still know their rows in it, so that a complaint can say where it is.

Row numbers are those a spreadsheet or an editor shows: the header of a CSV file is row 1, its first data row is row 2; Parquet
and JSONL files have no header, so their first row is row 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from kgrec_core.data.numeric import LARGEST, numbers
from kgrec_core.errors import KgrecError


class Table(NamedTuple):
    """Columns of a file as they are written in it; `rows` (UInt32) holds each row's number in the file; left_out: reason -> rows."""

    path: Path
    frame: pl.DataFrame
    rows: pl.Series
    left_out: Mapping[str, int] = MappingProxyType({})

    def place(self, index: int) -> str:
        """Where the frame's row `index` is found, e.g. "orders.csv row 812"."""
        return f"{self.path.name} row {self.rows[index]}"

    def refuse_empty(self, values: pl.Series, column: str, setting: str | None, otherwise: str = "") -> None:
        """`setting`: the recipe table whose `where` could leave such rows out; None = none. otherwise: what else could be done."""
        if values.null_count():
            leave = f", or leave them out: {setting}.where = '{quoted(column)} IS NOT NULL'" if setting else ""
            raise KgrecError(
                f"{self.place(values.is_null().arg_max())}: {column} is empty ({values.null_count():,} such rows); fill it{leave}{otherwise}"
            )

    def refuse_duplicates(self, values: pl.Series, column: str, remedy: str) -> None:
        again = ~values.is_first_distinct() & values.is_not_null()
        if again.any():
            second = again.arg_max()
            first = (values == values[second]).arg_max()
            raise KgrecError(f'{self.place(second)}: {column} "{shown(values[second])}" stands in row {self.rows[first]} too; {remedy}')

    def weights(self, column: str, setting: str, decimal: str | None = None) -> pl.Series:
        """Float64 `weight`, finite and >= 0. Raises KgrecError otherwise."""
        values = self.frame[column]
        read = numbers(values, decimal)
        flat = values if values.dtype == pl.String or values.dtype.is_numeric() else pl.Series([None] * len(values), dtype=pl.Float64)
        weights = (flat if read.values is None else read.values).cast(pl.Float64, strict=False)
        weights = weights.alias("weight")
        odd = weights.is_null() | ~weights.is_finite() | (weights < 0) | (weights > LARGEST)
        if odd.any():
            first = odd.arg_max()
            why = f" ({read.doubt})" if read.doubt and read.at == first else ""
            raise KgrecError(
                f'{self.place(first)}: {column} "{shown(values[first])}" is no weight, which is a number >= 0 ({odd.sum():,} such rows){why}; '
                f"correct it or leave such rows out: {setting}.where = '{quoted(column)} >= 0'"
            )
        return weights


def written(values: pl.Series) -> pl.Series:
    """Values as a person writes them: 13085.0 from a column of floats is "13085"; lists are joined with ", "; empty is null."""
    if values.dtype == pl.String:
        return values.set(values == "", None) if (values == "").any() else values
    if values.dtype.is_float():
        values = values.fill_nan(None)
        if (values == values.round()).all() and (values.abs() < 2**53).all():
            values = values.cast(pl.Int64)
    if values.dtype == pl.List:
        return written(values.list.eval(pl.element().cast(pl.String)).list.join(", "))
    return values.cast(pl.String)


def shown(value: object) -> str:
    """A cell in a message: on one line, and not all of a long one."""
    return " ".join(str(value).split())[:80]


def quoted(column: str) -> str:
    """A column as a condition names it."""
    return column if column.isidentifier() else f'"{column}"'
