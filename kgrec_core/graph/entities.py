"""The entities of a graph: tables that grow and are patched at the cost of a delta, their rows found by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph.edges import grow


class Kinds(Mapping[str, pl.DataFrame]):
    """The public view of the kinds: a table each, with replaced rows in place."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds

    def __getitem__(self, kind: str) -> pl.DataFrame:
        return self.kinds[kind].frame

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


class Kind:
    """The entities of one kind: appended tables, the rows that later deltas replaced, and id -> row dictionaries."""

    def __init__(
        self, frame: pl.DataFrame, patches: Mapping[int, dict[str, Any]] | None = None, ids: tuple[dict[str, int], ...] | None = None
    ):
        self.base, self.patches, self._ids = frame, patches or {}, ids

    @cached_property
    def ids(self) -> tuple[dict[str, int], ...]:
        return self._ids if self._ids is not None else (dict(zip(self.base["id"].to_list(), range(len(self.base)), strict=True)),)

    @cached_property
    def frame(self) -> pl.DataFrame:
        return self.gather(np.arange(len(self.base)), self.base.columns) if self.patches else self.base

    def gather(self, rows: NDArray[np.int64], columns: list[str]) -> pl.DataFrame:
        table = self.base[columns][rows]
        stale = [i for i, row in enumerate(rows.tolist()) if row in self.patches] if self.patches else []
        if not stale:
            return table
        fresh = pl.DataFrame([{c: self.patches[int(rows[i])][c] for c in columns} for i in stale], schema=table.schema)
        order = np.arange(len(rows))
        order[stale] = len(rows) + np.arange(len(stale))
        return pl.concat([table, fresh])[order]

    def find(self, id: str) -> int:
        for ids in reversed(self.ids):
            if (row := ids.get(id)) is not None:
                return row
        return -1

    def join(self, delta: pl.DataFrame, name: str) -> tuple[Kind, NDArray[np.int64]]:
        """This kind, called `name`, with the delta's rows, and the row number each of them got.

        A value takes the column's type; only integers that meet decimals become decimals. Raises KgrecError where one does not fit.
        """
        rows = np.array([self.find(id) for id in delta["id"].to_list()], np.int64)
        known, new = rows >= 0, np.flatnonzero(rows < 0)
        base = self.base
        missing = [c for c in delta.columns if c not in base.columns]
        if missing:
            base = base.with_columns(pl.lit(None, delta.schema[c]).alias(c) for c in missing)
        delta = pl.DataFrame([_fitted(delta[c], base.schema[c], name) for c in delta.columns])
        changed = {c: t for c, t in delta.schema.items() if t != base.schema[c]}
        base = base.cast(changed) if changed else base
        rows[new] = len(base) + np.arange(len(new))
        patches = self.patches
        if missing and patches:
            patches = {r: {**dict.fromkeys(missing), **d} for r, d in patches.items()}
        if known.any():
            old = self.gather(rows[known], self.base.columns).to_dicts()
            blank = dict.fromkeys(base.columns)
            patches = {
                **patches,
                **{int(r): {**blank, **o, **d} for r, o, d in zip(rows[known], old, delta.filter(known).to_dicts(), strict=True)},
            }
        ids = self.ids
        if len(new):
            added = delta[new]
            base = pl.concat([base, added], how="diagonal", rechunk=False)
            base = base.rechunk() if max(s.n_chunks() for s in base.get_columns()) > 32 else base
            ids = grow(ids, dict(zip(added["id"].to_list(), rows[new].tolist(), strict=True)), lambda a, b: {**a, **b})
        return Kind(base, patches, ids), rows


def _fitted(added: pl.Series, held: pl.DataType, kind: str) -> pl.Series:
    """Values for a column of type `held`; a whole number in a column of text is written "12", not "12.0"."""
    if added.dtype == held or held == pl.Null:
        return added
    if held == pl.String and added.dtype.is_float():
        whole = added.cast(pl.Int64, strict=False)
        return whole.cast(pl.String).zip_with((whole == added).fill_null(False), added.cast(pl.String))
    for wanted in (held, pl.Float64) if held.is_integer() else (held,):
        try:
            fit = added.cast(wanted, strict=False)
        except pl.exceptions.InvalidOperationError:  # there is no way from the one type to the other
            fit = pl.Series(added.name, [None] * len(added), wanted)
        wrong = added.is_not_null() & fit.is_null()
        if not wrong.any() and not (wanted.is_integer() and added.dtype.is_float() and (fit != added).any()):
            return fit
    raise KgrecError(f"entities {kind}: {added.name} holds {held}, but the added {added.filter(wrong)[0]!r} is none; correct it")


def check_entities(kind: str, table: pl.DataFrame) -> None:
    """Raise KgrecError unless the table has a column of unique, non-null string ids."""
    if "id" not in table.columns or table.schema["id"] != pl.String:
        raise KgrecError(f"entities {kind}: the table needs a column 'id' of strings; it has {dict(table.schema)}")
    if table["id"].null_count():
        raise KgrecError(f"entities {kind} row {table['id'].is_null().arg_max() + 1}: the id is null; give every entity an id")
    if table["id"].n_unique() < len(table):
        where = table["id"].is_duplicated().arg_true()[:2].to_list()
        raise KgrecError(
            f"entities {kind}: id {table['id'][where[0]]!r} stands in rows {where[0] + 1} and {where[1] + 1}; ids must be unique"
        )
