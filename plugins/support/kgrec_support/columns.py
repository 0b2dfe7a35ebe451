"""Which column of a file is which of ours: by the user's mapping, else by the names such columns commonly have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kgrec_core.data.reading import column_names, read
from kgrec_core.data.table import Table, written
from kgrec_core.data.times import micros
from kgrec_core.errors import KgrecError, choices
from kgrec_support.plain import plain

# File -> our column -> how it may be called, in any case and with any blanks, bars and dashes between the words.
KNOWN: Mapping[str, Mapping[str, str]] = {
    "faq": {
        "id": "id faqid answerid entryid entry pid key 编号 編號",
        "question": "question questions q query title 问题 問題 标准问题 標準問題 提问 提問",
        "answer": "answer answers a response reply solution 答案 回答 答复 答覆 回复 回覆",
        "variants": "variants variant alternatives paraphrases similarquestions synonyms 相似问题 相似問題 相似问 扩展问 擴展問",
        "category": "category topic section tag 分类 分類 类别 類別",
        "locale": "locale language lang 语言 語言",
        "valid_from": "validfrom from since start startdate 生效日期 开始日期 開始日期",
        "valid_until": "validuntil validto until expires expiry end enddate 失效日期 到期日 结束日期 結束日期",
        "split": "split fold subset",
    },
    "intents": {
        "text": "text question utterance query sentence message 文本 问题 問題 句子",
        "label": "label intent labels category class 意图 意圖 标签 標籤 类别 類別",
        "locale": "locale language lang 语言 語言",
        "split": "split fold subset",
    },
    "dialogues": {
        "session": "session sessionid conversation conversationid dialogue dialogueid dialogid chat chatid ticket ticketid 会话 会话编号 會話",
        "role": "role sender speaker author sendertype isagent sentbyagent 角色 发送方 發送方 是否客服发送",
        "time": "time timestamp date datetime createdat sentat 时间 時間",
        "text": "text message content utterance body 内容 內容 消息",
        "locale": "locale language lang 语言 語言",
    },
}
NEEDED = {"faq": ("question", "answer"), "intents": ("text", "label"), "dialogues": ("session", "role", "text")}
PARTS = {"train": "train training", "validation": "validation valid val dev development", "test": "test testing eval evaluation"}


class Columns(NamedTuple):
    """A file's rows, which of its columns is which of ours, and the time zone and format of its times (see `kgrec_core.data.times`)."""

    table: Table
    names: Mapping[str, str]
    zone: str | None = None
    form: str | None = None

    def get(self, name: str) -> pl.Series | None:
        """The column as it was read; None where the file lacks it."""
        return self.table.frame[self.names[name]].alias(name) if name in self.names else None

    def words(self, name: str) -> pl.Series:
        """String as written, stripped; null where empty or where there is no such column."""
        values = self.get(name)
        if values is None:
            return pl.Series(name, [None] * len(self.table.frame), pl.String)
        values = written(values).str.strip_chars()
        return values.set(values == "", None)

    def texts(self, name: str, lines: bool = False) -> pl.Series:
        """String in plain text, null where nothing of it is left."""
        return pl.Series(name, [plain(v, lines) or None if v else None for v in self.words(name)], pl.String)

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


def open_columns(path: Path, file: str, given: Mapping[str, str], needed: Iterable[str] | None = None) -> Columns:
    """The columns of a file of the kind `file` ("faq", "intents", "dialogues"). Raises KgrecError where a needed one is not found."""
    check_names(given)
    found = column_names(path, f"data.{file}")
    names = match(file, found, given)
    for name in NEEDED[file] if needed is None else needed:
        if name not in names:
            raise KgrecError(
                f'{Path(path).name}: no column is recognised as {name}; name it: data.columns.{name} = "..."; columns: {", ".join(found)}'
            )
    return Columns(read(path, names, "data.columns"), names)


def match(file: str, found: list[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our names -> columns, of those that are given or recognised; FILE_NAME before NAME, both before recognition."""
    free = {_key(column): column for column in reversed(found) if column not in given.values()}
    names = {}
    for name, known in KNOWN[file].items():
        mine = given.get(f"{file}_{name}", given.get(name))
        column = mine if mine is not None else next((free.pop(key) for key in known.split() if key in free), None)
        if column is not None:
            names[name] = column
    return names


def check_names(given: Mapping[str, str]) -> None:
    known = {name for columns in KNOWN.values() for name in columns} | {f"{f}_{n}" for f, columns in KNOWN.items() for n in columns}
    for name in given:
        if name not in known:
            raise choices("column", name, known, "correct data.columns")


def in_locale(files: Mapping[str, Columns], locale: str | None) -> dict[str, Columns]:
    """The files' rows in a locale, and those without one. Raises KgrecError where no file has the locale."""
    if locale is None:
        return dict(files)
    column = {file: tag(columns.words("locale")) for file, columns in files.items() if "locale" in columns.names}
    known = {value for values in column.values() for value in values.drop_nulls().unique()}
    wanted = tag(pl.Series([locale]))[0]
    if wanted not in known:
        raise choices("locale", locale, known, "correct data.locale" if known else "no file has a column `locale`; leave data.locale out")
    keep = {file: (values == wanted) | values.is_null() for file, values in column.items()}
    return {file: columns.keep(keep[file]) if file in keep else columns for file, columns in files.items()}


def tag(values: pl.Series) -> pl.Series:
    """Locales in one spelling: zh_TW is zh-tw."""
    return values.str.to_lowercase().str.replace_all("_", "-", literal=True)


def identity(prefix: str, content: str) -> str:
    """An id that depends on the content alone, so that it is the same in every file and after every edit elsewhere."""
    return f"{prefix}-{blake2b(content.encode(), digest_size=8).hexdigest()}"


def named(values: Iterable[str | None], prefix: str) -> list[str | None]:
    return [None if value is None else identity(prefix, value) for value in values]


def _key(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.casefold())
