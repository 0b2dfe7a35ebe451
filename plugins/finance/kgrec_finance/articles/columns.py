"""The files of a news desk and how their columns are commonly called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kgrec_core import domain
from kgrec_core.domain import Columns, Known, check_names

KNOWN: Known = {
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
        "source": "source outlet publisher provider sourcename site domain 来源 來源 媒体 媒體",
    },
    "companies": {
        "id": "id companyid",
        "name": "name company companyname 公司 名称 名稱 简称 簡稱",
        "ticker": "ticker symbol code 代码 代碼",
        "aliases": "aliases alias names synonyms 别名 別名",
        "sector": "sector industry 行业 行業 板块 板塊",
        "suppliers": "suppliers supplier suppliedby 供应商 供應商",
    },
    "labels": {"task": "task kind 任务 任務", "label": "label id name 标签 標籤", "text": "text description meaning 描述 说明 說明"},
}
NEEDED = {"articles": (), "companies": (), "labels": ("task", "label", "text")}


def open_columns(path: Path, file: str, given: Mapping[str, str]) -> Columns:
    """See `kgrec_core.domain.open_columns`; file: "articles", "companies" or "labels".

    A plain name is a column of the first kind of file that has one ("text": of articles); labels_text is that of the labels.
    """
    check_names(given, KNOWN)
    first = {name: kind for kind, known in reversed(KNOWN.items()) for name in known}
    mine = {name: column for name, column in given.items() if first.get(name, file) == file}
    return domain.open_columns(path, file, mine, KNOWN, NEEDED[file])
