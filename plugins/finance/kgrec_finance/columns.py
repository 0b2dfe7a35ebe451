"""Which column of a file is which of ours: by the user's mapping, else by the names such columns commonly have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kgrec_core.data.reading import column_names, read
from kgrec_core.data.table import Table, written
from kgrec_core.data.times import micros
from kgrec_core.errors import KgrecError, choices

# File -> our column -> how it may be called, in any case and with any blanks, bars and dashes between the words.
KNOWN: Mapping[str, Mapping[str, str]] = {
    "articles": {
        "id": "id articleid newsid docid guid 编号 編號",
        "title": "title headline 标题 標題",
        "text": "text sentence body content summary description news article 正文 文本 内容 內容",
        "time": "time timestamp published publishedat date datetime createdat pubdate 时间 時間 日期",
        "sentiment": "sentiment label polarity 情感 正负面 正負面",
        "topic": "topic category section 主题 主題 类别 類別",
        "company": "company companies entity ticker symbol 公司 代码 代碼",
        "entity_sentiment": "entitysentiment companysentiment sentimenttowards",
        "split": "split fold subset",
    },
    "companies": {
        "id": "id companyid",
        "name": "name company companyname 公司 名称 名稱 简称 簡稱",
        "ticker": "ticker symbol code 代码 代碼",
        "aliases": "aliases alias names synonyms 别名 別名",
        "sector": "sector industry 行业 行業 板块 板塊",
        "suppliers": "suppliers supplier suppliedby 供应商 供應商",
    },
    "labels": {
        "task": "task kind 任务 任務",
        "label": "label id name 标签 標籤",
        "text": "text description meaning 描述 说明 說明",
    },
}
NEEDED = {"articles": (), "companies": (), "labels": ("task", "label", "text")}
PARTS = {"train": "train training", "validation": "validation valid val dev development", "test": "test testing eval evaluation"}


class Columns(NamedTuple):
    """A file's rows, which of its columns is which of ours, and the time zone and format of its times (see `kgrec_core.data.times`)."""

    table: Table
    names: Mapping[str, str]
    zone: str | None = None
    form: str | None = None

    def words(self, name: str) -> pl.Series:
        """String as written, white space collapsed; null where empty or where there is no such column."""
        if name not in self.names:
            return pl.Series(name, [None] * len(self.table.frame), pl.String)
        values = written(self.table.frame[self.names[name]]).alias(name).str.replace_all(r"[\s\x00-\x1f]+", " ").str.strip_chars()
        return values.set(values == "", None)

    def listed(self, name: str) -> pl.Series:
        """List of String: "a|b" split by the bar, in order, none empty; null where there is nothing."""
        if name in self.names and self.table.frame[self.names[name]].dtype == pl.List:
            values = self.table.frame[self.names[name]].cast(pl.List(pl.String)).alias(name)
        else:
            values = self.words(name).str.split("|")
        values = values.list.eval(pl.element().str.strip_chars()).list.eval(pl.element().filter(pl.element() != "")).list.drop_nulls()
        return values.list.unique(maintain_order=True)

    def times(self) -> pl.Series:
        """Int64 microseconds UTC; null where empty or where there is no such column."""
        if "time" not in self.names:
            return pl.Series("time", [None] * len(self.table.frame), pl.Int64)
        values = self.table.frame[self.names["time"]]
        return micros(values, self.table.place, "data", self.zone, self.form).alias("time")

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


def open_columns(path: Path, file: str, given: Mapping[str, str]) -> Columns:
    """The columns of a file of the kind `file` ("articles", "companies", "labels"). Raises KgrecError where a needed one is not found."""
    known = {name for columns in KNOWN.values() for name in columns} | {f"{f}_{n}" for f, columns in KNOWN.items() for n in columns}
    for name in given:
        if name not in known:
            raise choices("column", name, known, "correct data.columns")
    found = column_names(path, f"data.{file}")
    names = match(file, found, given)
    for name in NEEDED[file]:
        if name not in names:
            raise lacking(path, name, found)
    return Columns(read(path, names or {"": found[0]}, "data.columns"), names)


def match(file: str, found: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our names -> columns, of those that are given or recognised; given before recognised.

    A plain name is a column of the first kind of file that has one ("text": of articles); labels_text is that of the labels.
    """
    free = {_key(column): column for column in reversed(found) if column not in given.values()}
    names = {}
    for name, known in KNOWN[file].items():
        first = next(kind for kind, columns in KNOWN.items() if name in columns) == file
        mine = given.get(f"{file}_{name}", given.get(name) if first else None)
        column = mine if mine is not None else next((free.pop(key) for key in known.split() if key in free), None)
        if column is not None:
            names[name] = column
    return names


def lacking(path: Path, name: str, found: list[str]) -> KgrecError:
    return KgrecError(
        f'{Path(path).name}: no column is recognised as {name}; name it: data.columns.{name} = "..."; columns: {", ".join(found)}'
    )


def identity(prefix: str, content: str) -> str:
    """An id that depends on the content alone, so that it is the same in every file and after every edit elsewhere."""
    return f"{prefix}-{blake2b(content.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _key(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.casefold())
