"""Ids -> row numbers while a graph is being built, in columns."""

from __future__ import annotations

import polars as pl

from kgrec_core.data.ids import without_fractions


class Numbering:
    """The ids of one kind in row order; an id's row number is its place."""

    def __init__(self, file: str, ids: pl.Series | None = None) -> None:
        self.ids = pl.Series("id", [], pl.String) if ids is None else ids
        self.count, self.file, self.texts = len(self.ids), file, [self.ids.clear()]

    def rows(self, ids: pl.Series) -> pl.Series:
        """UInt32, null where an id is unknown: a cast to an enumeration is a hash join without its frames."""
        return ids.cast(pl.Enum(self.ids), strict=False).to_physical().cast(pl.UInt32)

    def as_known(self, ids: pl.Series) -> pl.Series:
        """Ids as this kind writes them: "100.0" is "100" where only that is known, and the other way round; so are whole new columns."""
        new = self.rows(ids).is_null() & ids.is_not_null() & ids.str.contains(r"^-?\d+(\.0+)?$")
        if not new.any():
            return ids
        plain, mine = without_fractions(ids), without_fractions(self.ids)
        first = mine.is_first_distinct()
        found = plain.set(~new, None).replace_strict(mine.filter(first), self.ids.filter(first), default=None, return_dtype=pl.String)
        whole = (new | ids.is_null()).all()  # nothing but whole numbers that are new: a column with gaps, written by a program
        return found.fill_null(plain if whole else ids).alias(ids.name)

    def add(self, ids: pl.Series, named: bool) -> None:
        """Number the ids that are new, by first appearance; `named` says that an id is a name to be read."""
        new = ids.drop_nulls().unique(maintain_order=True)
        new = new.filter(self.rows(new).is_null()).alias("id")
        self.ids = pl.concat([self.ids, new])
        self.texts.append(new if named else new.clear(len(new)))

    def extend(self, table: pl.DataFrame | None) -> pl.DataFrame:
        """The kind's table with a row for every id that was added."""
        added, text = pl.DataFrame({"id": self.ids[self.count :]}), pl.concat(self.texts)
        if text.null_count() < len(text) or (table is not None and "text" in table.columns):
            added = added.with_columns(text.fill_null("").alias("text"))
        table = added if table is None else pl.concat([table, added], how="diagonal") if len(added) else table
        return table.with_columns(pl.col("text").fill_null("")) if "text" in table.columns else table
