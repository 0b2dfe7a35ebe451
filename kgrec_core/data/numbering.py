"""Ids -> row numbers while a graph is being built, in columns."""

from __future__ import annotations

import polars as pl


class Numbering:
    """The ids of one kind in row order; an id's row number is its place."""

    def __init__(self, file: str, ids: pl.Series | None = None) -> None:
        self.ids = pl.Series("id", [], pl.String) if ids is None else ids
        self.count, self.file, self.texts = len(self.ids), file, [self.ids.clear()]

    def rows(self, ids: pl.Series) -> pl.Series:
        """UInt32, null where an id is unknown: a cast to an enumeration is a hash join without its frames."""
        return ids.cast(pl.Enum(self.ids), strict=False).to_physical().cast(pl.UInt32)

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
