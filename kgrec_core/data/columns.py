"""Which column of a user's file is which of ours: by the user's mapping, else by the names such columns commonly have."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Self

import polars as pl

from kgrec_core.data.formulas import unguarded
from kgrec_core.data.ids import identifiers, listed
from kgrec_core.data.plain import plain, plain_texts
from kgrec_core.data.reading import column_names, read
from kgrec_core.data.table import Table, written
from kgrec_core.data.times import micros, refuse_reading
from kgrec_core.errors import KgrecError, choices

log = logging.getLogger("kgrec")
# Kind of file -> our column -> how it may be called, in any case and with any blanks, bars and dashes between the words.
Known = Mapping[str, Mapping[str, str]]
PARTS = {"train": "train training", "validation": "validation valid val dev development", "test": "test testing eval evaluation"}


class Columns(NamedTuple):
    """A file's rows, which of its columns is which of ours, and the time zone and format of its times (see `kgrec_core.data.times`)."""

    table: Table
    names: Mapping[str, str]
    zone: str | None = None
    form: str | None = None

    def timed(self, zone: str | None, form: str | None) -> Self:
        """With a zone and a format of its times. Raises KgrecError for what is none, whether there are times or not."""
        refuse_reading(zone, form, "data")
        return self._replace(zone=zone, form=form)

    def get(self, name: str) -> pl.Series | None:
        """The column as it was read; None where the file lacks it."""
        return self.table.frame[self.names[name]].alias(name) if name in self.names else None

    def words(self, name: str) -> pl.Series:
        """String as ids are read: without blanks around, in NFC; null where empty or where there is no such column."""
        values = self.get(name)
        return pl.Series(name, [None] * len(self.table.frame), pl.String) if values is None else identifiers(values).alias(name)

    def line(self, name: str) -> pl.Series:
        """Plain text on one line (`kgrec_core.data.plain`)."""
        values = self.get(name)
        return self.words(name) if values is None else plain_texts(written(values)).alias(name)

    def listed(self, name: str) -> pl.Series:
        """List of String: what `kgrec_core.data.ids.listed` finds in a cell, none empty, each once; null where there is nothing."""
        values = self.get(name)
        if values is None or values.dtype == pl.List:
            cells = [None] * len(self.table.frame) if values is None else values.cast(pl.List(pl.String)).to_list()
            found = [None if cell is None else list(dict.fromkeys(filter(None, map(plain, filter(None, cell))))) for cell in cells]
        else:
            found = [None if cell is None else [plain(part) for part in listed(cell)] for cell in written(values)]
        return pl.Series(name, found, pl.List(pl.String))

    def times(self, name: str) -> pl.Series:
        """Int64 microseconds UTC; null where empty or where there is no such column."""
        values = self.get(name)
        if values is None:
            return pl.Series(name, [None] * len(self.table.frame), pl.Int64)
        return micros(values.alias(self.names[name]), self.table.place, "data", self.zone, self.form).alias(name)

    def parts(self) -> pl.Series:
        """train, validation, test or null. Raises KgrecError for another word."""
        words = self.words("split")
        meant = {word: part for part, known in PARTS.items() for word in known.split()}
        parts = words.str.to_lowercase().replace_strict(meant, default=None, return_dtype=pl.String)
        odd = parts.is_null() & words.is_not_null()
        if odd.any():
            raise KgrecError(
                f'{self.table.place(odd.arg_max())}: {self.names["split"]} "{words[odd.arg_max()]}" is no part; '
                "write train, validation or test, or nothing to leave a row out"
            )
        return parts.alias("split")

    def keep(self, mask: pl.Series) -> Columns:
        return self._replace(table=Table(self.table.path, self.table.frame.filter(mask), self.table.rows.filter(mask)))


def open_columns(path: Path, file: str, given: Mapping[str, str], known: Known, needed: Iterable[str]) -> Columns:
    """The columns of a file of the kind `file`, a key of `known`. Raises KgrecError where a needed one is not found.

    given: our column -> the file's; FILE_NAME before NAME, both before recognition.
    """
    check_names(given, known)
    found = column_names(path, f"data.{file}")
    if not found:
        raise KgrecError(f"{Path(path).name}: the table has no columns; name a file with data")
    names = match(known[file], file, found, given)
    for name, others in rivals(known[file], names, found, given).items():
        told = " and ".join(f'"{other}"' for other in others)
        log.warning(
            '%s: %s may be its %s, too; "%s" is read; to name another: data.columns.%s', Path(path).name, told, name, names[name], name
        )
    for name in needed:
        if name not in names:
            raise lacking(path, name, found)
    table = read(path, names or {"": found[0]}, "data.columns")
    return Columns(table._replace(frame=unguarded(table.frame)), names)


def match(known: Mapping[str, str], file: str, found: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our names -> columns, of those that are given or recognised. Raises KgrecError where two are called the same.

    Of several that may be meant the first in the order of `known` is taken; `open_columns` tells the others.
    """
    free: dict[str, list[str]] = {}
    for column in found:
        if column not in given.values():
            free.setdefault(plain_name(column), []).append(column)
    names = {}
    for name, spellings in known.items():
        mine = given.get(f"{file}_{name}", given.get(name))
        same = [mine] if mine is not None else next((free.pop(key) for key in spellings.split() if key in free), [])
        if len(same) > 1:
            told = " and ".join(f'"{column}"' for column in same)
            raise KgrecError(f'{file}: columns {told} are both its {name}; rename one, or name one: data.columns.{name} = "{same[0]}"')
        if same:
            names[name] = same[0]
    return names


def rivals(known: Mapping[str, str], names: Mapping[str, str], found: list[str], given: Mapping[str, str]) -> dict[str, list[str]]:
    """Recognised name -> the columns that may be meant as well and are nobody else's."""
    free, other = [column for column in found if column not in (*names.values(), *given.values())], {}
    for name, spellings in known.items():
        if name in names and names[name] not in given.values():
            alike = [column for column in free if plain_name(column) in spellings.split()]
            other |= {name: alike} if alike else {}
            free = [column for column in free if column not in alike]
    return other


def check_names(given: Mapping[str, str], known: Known) -> None:
    """Raises KgrecError for a name that is a column of no file."""
    names = {name for columns in known.values() for name in columns} | {f"{f}_{n}" for f, columns in known.items() for n in columns}
    for name in given:
        if name not in names:
            raise choices("column", name, names, "correct data.columns")


def lacking(path: Path, name: str, found: list[str]) -> KgrecError:
    """The error where no column of a file is what is needed, with the remedy."""
    return KgrecError(
        f'{Path(path).name}: no column is recognised as {name}; name it: data.columns.{name} = "..."; columns: {", ".join(found)}'
    )


def plain_name(column: str) -> str:
    """A column's name as `Known` spells it.

    >>> plain_name("Published-At")
    'publishedat'
    """
    return re.sub(r"[\W_]+", "", column.casefold())


def identity(prefix: str, content: str) -> str:
    """An id that depends on the content alone, so that it is the same in every file and after every edit elsewhere."""
    return f"{prefix}-{blake2b(content.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
