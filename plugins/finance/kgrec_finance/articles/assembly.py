"""Articles, mentions, companies and labels -> the graph and its tasks.

article -expresses-> sentiment, article -about-> topic; mention (article x company) -expresses-> sentiment, -in-> article, -of-> company;
company -in-> sector, -supplied_by-> company, -alias-> alias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from kgrec_core import Dataset, Graph, KgrecError, Relation, Task
from kgrec_core.domain import choices
from kgrec_core.parts import near_duplicates
from kgrec_finance.articles.companies import knowledge

EXPRESSES = Relation("article", "expresses", "sentiment")
ABOUT = Relation("article", "about", "topic")
TOWARDS = Relation("mention", "expresses", "sentiment")
IN_ARTICLE = Relation("mention", "in", "article")
OF_COMPANY = Relation("mention", "of", "company")
TASKS = {  # a known article keeps its label: it may be found again
    "sentiment": Task("sentiment", EXPRESSES, repeats=True),
    "topic": Task("topic", ABOUT, repeats=True),
    "entity_sentiment": Task("entity_sentiment", TOWARDS, repeats=True),
}
MEANT: Mapping[str, str] = {
    "negative": "negative news: a loss, a fall, trouble",
    "neutral": "neutral news: a fact without good or bad",
    "positive": "positive news: a gain, a rise, success",
    "mixed": "mixed news: good and bad at once",
    "负面": "负面消息：亏损、下跌、风险",
    "中性": "中性消息：没有好坏",
    "正面": "正面消息：盈利、上涨、利好",
}
ARTICLE = {"id": pl.String, "text": pl.String, "time": pl.Int64, "split": pl.String}
MENTION = {"id": pl.String, "text": pl.String, "article": pl.String, "company": pl.String}
LABELLED = {"id": pl.String, "label": pl.String}


class Source(NamedTuple):
    """articles: ARTICLE, ids distinct, times all or none. mentions: MENTION, ids distinct. labels: task -> LABELLED, by the id of an
    article or mention. companies: COMPANY. texts: task -> what its labels mean; a task that is named there has no other labels."""

    articles: pl.DataFrame
    mentions: pl.DataFrame
    labels: Mapping[str, pl.DataFrame]
    companies: pl.DataFrame
    texts: Mapping[str, Mapping[str, str]]


def assemble(source: Source, duplicates: float) -> Dataset:
    """Tasks are those with a labelled example; where there is none, those whose labels are described (to be found by their text).

    duplicates: similarity from which two articles are one `group` (split.group), with all their mentions.
    Raises KgrecError for a label that is not described although its task's labels are, and where there is nothing to predict.
    """
    articles, mentions = source.articles, source.mentions
    group = pl.Series("group", near_duplicates(articles["text"].to_list(), duplicates)).cast(pl.String)
    articles = articles.with_columns(group)
    of = mentions.select(id="article").join(articles, on="id", how="left", maintain_order="left").select("group", "split", "time")
    mentions = pl.concat([mentions, of], how="horizontal")
    entities, timeless = knowledge(source.companies) if len(source.companies) else ({}, {})
    entities["article"] = _known(articles.select("id", "text", "group", "split", "time"))
    relations = {}
    if len(mentions):
        entities["mention"] = _known(mentions.select("id", "text", "group", "split", "time"))
        relations[IN_ARTICLE] = _edges(mentions, "article", articles["id"])
        relations[OF_COMPANY] = _edges(mentions, "company", source.companies["id"])
    counted = {}
    for name, (_, relation, *_) in TASKS.items():
        labelled = source.labels.get(name, pl.DataFrame(schema=LABELLED))
        described = source.texts.get(name, {})
        if not len(labelled) and not described:
            continue
        if relation.source not in entities:
            raise KgrecError(f"task {name} has labels but no mention of a company; name a column company or a table of companies")
        odd = labelled.filter(~pl.col("label").is_in(list(described))) if described else labelled.clear()
        if len(odd):
            raise choices(f"label of {name}", odd["label"][0], described, "correct it or add it to the table of labels")
        counted[name] = len(labelled)
        entities[relation.target] = _with(entities.get(relation.target), labelled["label"], described)
        rows = {"article": articles, "mention": mentions}[relation.source]
        rows = rows.select("id", "time", source=pl.int_range(pl.len(), dtype=pl.UInt32))
        relations[relation] = labelled.join(rows, on="id", how="left", maintain_order="left").unique(maintain_order=True)
    for name in counted:
        relation, labels = TASKS[name].relation, relations[TASKS[name].relation]
        labels = labels.with_columns(target=_rows(labels["label"], entities[relation.target]["id"]))
        relations[relation] = _known(labels.select("source", "target", "time"))
    if not counted:
        raise KgrecError("data: nothing to predict; name a column sentiment, topic or entity_sentiment, or a table of labels")
    tasks = tuple(TASKS[name] for name, n in counted.items() if n or not any(counted.values()))
    undated = frozenset(r for r in (IN_ARTICLE, OF_COMPANY) if r in relations and "time" not in relations[r].columns)
    return Dataset(Graph(entities, relations | timeless, frozenset(timeless) | undated), tasks)


def readable(label: str) -> str:
    """What a label means where nobody says: a sentence for the common sentiments, else its words.

    >>> readable("merger_and_acquisition"), readable("Negative")
    ('merger and acquisition', 'negative news: a loss, a fall, trouble')
    """
    return MEANT.get(label.lower()) or " ".join(label.replace("_", " ").replace("-", " ").split()) or label


def _with(table: pl.DataFrame | None, labels: pl.Series, described: Mapping[str, str]) -> pl.DataFrame:
    """id and text of a label kind, the described ones first; one kind may serve two tasks."""
    known = {} if table is None else dict(table.iter_rows())
    known |= described
    known = known | {label: readable(label) for label in labels.drop_nulls().unique(maintain_order=True).sort() if label not in known}
    return pl.DataFrame({"id": list(known), "text": list(known.values())}, schema={"id": pl.String, "text": pl.String})


def _known(table: pl.DataFrame) -> pl.DataFrame:
    """Without `time` and `split` where no row has any."""
    return table.drop([name for name in ("time", "split") if name in table.columns and table[name].null_count() == len(table)])


def _edges(mentions: pl.DataFrame, end: str, ids: Sequence[str] | pl.Series) -> pl.DataFrame:
    return _known(
        pl.DataFrame(
            {"source": pl.Series(range(len(mentions)), dtype=pl.UInt32), "target": _rows(mentions[end], ids), "time": mentions["time"]}
        )
    )


def _rows(values: pl.Series, ids: Sequence[str] | pl.Series) -> pl.Series:
    return values.cast(pl.Enum(ids)).to_physical().cast(pl.UInt32)
