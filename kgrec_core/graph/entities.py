"""The entities of a graph: tables that grow and are patched at the cost of a delta, their rows found by id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, reduce
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph.edges import grow, joined, taken, widened

NONE = np.zeros(0, np.int64)


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


class Living(NamedTuple):
    """Which rows exist, and how long that holds: start <= time < end."""

    mask: NDArray[np.bool_]
    start: int
    end: int


class Kind:
    """The entities of one kind; immutable, `join` gives another that shares all that is old.

    tables: rows as they came, in stretches. fresh: rows as later deltas made them, in stretches; `places[i]` is the one in there that
    row `patched[i]` (ascending) has now. ids: id -> row, in stretches.
    """

    def __init__(
        self,
        tables: tuple[pl.DataFrame, ...],
        fresh: tuple[pl.DataFrame, ...] = (),
        patched: NDArray[np.int64] = NONE,
        places: NDArray[np.int64] = NONE,
        ids: tuple[dict[str, int], ...] | None = None,
        living: Living | None = None,
    ) -> None:
        self.tables, self.fresh, self.patched, self.places = tables, fresh, patched, places
        self._ids, self._living = ids, living

    def __len__(self) -> int:
        return sum(map(len, self.tables))

    @cached_property
    def schema(self) -> pl.Schema:
        return self.tables[0].schema

    @cached_property
    def ids(self) -> tuple[dict[str, int], ...]:
        return self._ids or ({id: row for row, id in enumerate(self._base["id"].to_list())},)

    @cached_property
    def frame(self) -> pl.DataFrame:
        return self.gather(np.arange(len(self)), list(self.schema)) if len(self.patched) else self._base

    @cached_property
    def _base(self) -> pl.DataFrame:
        return _whole(self.tables)

    def gather(self, rows: NDArray[np.int64], columns: list[str]) -> pl.DataFrame:
        """Column by column, as polars' own threads are not there after a fork."""
        found = {c: taken(self._base.get_column(c), rows) for c in columns}
        at, stale = _found(self.patched, rows)
        if stale.any():
            order, fresh = np.arange(len(rows)), _whole(self.fresh)
            order[stale] = len(rows) + np.arange(np.count_nonzero(stale))
            places = self.places[at[stale]]
            found = {c: taken(f.append(taken(fresh.get_column(c), places)), order) for c, f in found.items()}
        return pl.DataFrame(list(found.values()))

    def rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """Row numbers; -1 where an id is unknown."""
        if len(self.ids) == 1:
            find = self.ids[0].get
            return np.fromiter((find(id, -1) for id in ids), np.int64)
        return np.fromiter((self._find(id) for id in ids), np.int64)

    def _find(self, id: str) -> int:
        return next((row for known in reversed(self.ids) if (row := known.get(id)) is not None), -1)

    def alive(self, now: int) -> NDArray[np.bool_]:
        """(size,) which rows exist then; not to be written to, and the same object until one begins or ends."""
        living = self._living
        if living is None or not living.start <= now < living.end:
            dates = _dates(self.schema)
            table = self.gather(np.arange(len(self)), dates) if dates else pl.DataFrame()
            self._living = living = _living(table, len(self), now)
        return living.mask

    def join(self, tables: Sequence[pl.DataFrame], name: str, present: int = 0) -> tuple[Kind, NDArray[np.int64]]:
        """This kind, called `name`, with the rows of deltas, oldest first, and the row number each of these got, end to end.

        The same as one after the other, at the cost of one. present: when the last of them was made. A value takes the column's
        type; only integers that meet decimals become decimals. Raises KgrecError where one does not fit.
        """
        ids, counts = [id for table in tables for id in table["id"].to_list()], [len(table) for table in tables]
        rows, size = self.rows(ids), len(self)
        came: dict[str, int] = {}
        for place in np.flatnonzero(rows < 0).tolist():
            rows[place] = came.setdefault(ids[place], size + len(came))
        told = np.repeat([table.width > 1 for table in tables], counts) | (rows >= size)  # not only named, for edges to point at
        if not told.any():
            return self, rows
        touched = np.unique(rows[told])
        known = touched[: np.searchsorted(touched, size)]
        columns, starts = _columns(tables), np.cumsum([0, *counts])
        fitted = {c: _fitted([tables[i].get_column(c) for i in of], self.schema.get(c), name) for c, of in columns.items()}
        held = {**self.schema, **{c: values.dtype for c, values in fitted.items()}}
        before, found = self.gather(known, list(self.schema)) if len(known) else None, {}
        for column, dtype in held.items():
            latest = np.full(len(touched), -1)
            if column in columns:
                said = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in columns[column]])
                mine = np.flatnonzero(told[said])
                latest[np.searchsorted(touched, rows[said[mine]])] = mine  # of several for a row the last one stays
            was = None if before is None or column not in self.schema else before.get_column(column)
            found[column] = _latest(column, dtype, was, fitted.get(column), latest)
        whole = pl.DataFrame(list(found.values()))
        changed, added = whole[: len(known)], whole[len(known) :]
        stretches, fresh = self.tables, self.fresh
        if held != self.schema:
            stretches, fresh = (tuple(widened(t, held) for t in of) for of in (stretches, fresh))
        patched, places, known_ids = self.patched, self.places, self.ids
        if len(known):
            at, again = _found(patched, known)
            latest, places = sum(map(len, fresh)) + np.arange(len(known)), places.copy()
            places[at[again]] = latest[again]
            patched, places = (np.insert(of, at[~again], more[~again]) for of, more in ((patched, known), (places, latest)))
            fresh = grow(fresh, changed, joined)
        if came:
            stretches, known_ids = grow(stretches, added, joined), grow(known_ids, came, lambda a, b: {**a, **b})
        return Kind(stretches, fresh, patched, places, known_ids, self._living_with(whole, touched, present)), rows

    def _living_with(self, came: pl.DataFrame, rows: NDArray[np.int64], present: int) -> Living | None:
        """What is known of who exists, with these rows as they are now; None where it has to be found again."""
        if self._living is None or present >= self._living.end:
            return None
        mask, start, end = self._living
        theirs = _living(pl.DataFrame([came.get_column(c) for c in _dates(came.schema)]), len(came), max(start, present))
        whole = np.concatenate([mask, np.zeros(max(0, int(rows.max(initial=-1)) + 1 - len(mask)), bool)])
        whole[rows] = theirs.mask
        whole.flags.writeable = False
        return Living(whole, max(start, theirs.start), min(end, theirs.end))


def _living(dates: pl.DataFrame, size: int, now: int) -> Living:
    """dates: the columns `since` and `until`, as far as there are any."""
    mask, start, end = np.ones(size, bool), -(2**63), 2**63 - 1
    for column, first in (("since", 1), ("until", 0)):  # exists from the microsecond after `since` until that before `until`
        if column not in dates.columns or dates[column].null_count() == size:
            continue
        there = dates[column].is_not_null()
        turns, there = dates[column].filter(there).to_numpy() + first, there.to_numpy()
        start, end = max(start, turns[turns <= now].max(initial=start)), min(end, turns[turns > now].min(initial=end))
        mask[there] &= turns <= now if first else turns > now
    mask.flags.writeable = False
    return Living(mask, int(start), int(end))


def _dates(schema: pl.Schema) -> list[str]:
    return [c for c in ("since", "until") if c in schema]


def _found(rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the wanted stand in ascending `rows`, or would stand, and which of them are there."""
    at = np.searchsorted(rows, wanted)
    there = at < len(rows)
    there[there] = rows[at[there]] == wanted[there]
    return at, there


def _whole(tables: tuple[pl.DataFrame, ...]) -> pl.DataFrame:
    return reduce(pl.DataFrame.vstack, tables)


def _columns(tables: Sequence[pl.DataFrame]) -> dict[str, list[int]]:
    """Column -> the numbers of the tables that have it."""
    found: dict[str, list[int]] = {}
    for number, table in enumerate(tables):
        for column in table.columns:
            found.setdefault(column, []).append(number)
    return found


def _latest(name: str, dtype: pl.DataType, was: pl.Series | None, came: pl.Series | None, latest: NDArray[np.int64]) -> pl.Series:
    """What a column holds: the value of `came` at `latest`; where that is -1 what `was` there in the first rows, nothing behind them."""
    if came is not None and (latest >= 0).all():
        return came if np.array_equal(latest, np.arange(len(came))) else taken(came, latest)
    nothing = pl.Series(name, [None], dtype).new_from_index(0, len(latest) - (0 if was is None else len(was)))
    if was is None and came is None:
        return nothing
    parts = [part if part.dtype == dtype else part.cast(dtype) for part in (was, nothing, came) if part is not None]
    return taken(pl.concat(parts), np.where(latest < 0, np.arange(len(latest)), len(latest) + latest))


def _fitted(series: Sequence[pl.Series], held: pl.DataType | None, kind: str) -> pl.Series:
    """Values of a column of type `held` that came one after the other, end to end."""
    fit = []
    for one in series:
        fit.append(one if held is None else _fit(one, held, kind))
        held = fit[-1].dtype
    return fit[0] if len(fit) == 1 else pl.concat([one if one.dtype == held else one.cast(held) for one in fit], rechunk=True)


def _fit(added: pl.Series, held: pl.DataType, kind: str) -> pl.Series:
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
