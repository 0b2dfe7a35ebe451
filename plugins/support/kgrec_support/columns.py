"""The files of a support desk and how their columns are commonly called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from kgrec_core.domain import Columns as Read
from kgrec_core.domain import choices, identity
from kgrec_core.domain import match as matched
from kgrec_core.domain import open_columns as opened
from kgrec_support.plain import plain

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


class Columns(Read):
    """With texts in plain text."""

    def texts(self, name: str, lines: bool = False) -> pl.Series:
        """String in plain text, null where nothing of it is left."""
        return pl.Series(name, [plain(v, lines) or None if v else None for v in self.words(name)], pl.String)


def open_columns(path: Path, file: str, given: Mapping[str, str], needed: Iterable[str] | None = None) -> Columns:
    """See `kgrec_core.data.columns.open_columns`; file: "faq", "intents" or "dialogues"."""
    return Columns(*opened(path, file, given, KNOWN, NEEDED[file] if needed is None else needed))


def match(file: str, found: list[str], given: Mapping[str, str]) -> dict[str, str]:
    return matched(KNOWN[file], file, found, given)


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


def named(values: Iterable[str | None], prefix: str) -> list[str | None]:
    return [None if value is None else identity(prefix, value) for value in values]
