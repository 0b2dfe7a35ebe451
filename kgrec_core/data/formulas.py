"""Cells that a spreadsheet would compute: a text that begins with = + - @ is written with an apostrophe before it, and read without.

The apostrophe is a spreadsheet's own mark for "this is text". A number stays one ("-5"), whatever type its column has.
"""

from __future__ import annotations

import re

import polars as pl

_BEGINS, _NUMBER = r"^'*[=+\-@\t\r]", r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"


def guarded(frame: pl.DataFrame) -> pl.DataFrame:
    """As it goes into a CSV file, names of columns included."""
    text = pl.col(pl.String)
    risky = text.str.contains(_BEGINS) & ~text.str.contains(_NUMBER)
    frame = frame.with_columns(pl.when(risky).then(pl.lit("'") + text).otherwise(text).name.keep())
    return frame.rename({name: f"'{name}" for name in frame.columns if re.match(_BEGINS, name)})


def unguarded(frame: pl.DataFrame) -> pl.DataFrame:
    """As it was before `guarded`: an apostrophe before such a sign is no part of a text."""
    return frame.with_columns(pl.col(pl.String).str.replace(rf"^'({_BEGINS[1:]})", "${1}"))
