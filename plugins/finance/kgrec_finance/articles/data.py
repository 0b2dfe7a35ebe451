"""`news`: articles, the companies they mention and what is said about them, from a news desk's own files.

[data]
use = "news"
articles = "news.csv"               # text or title; also id, time, sentiment, topic, company, entity_sentiment, split
companies = "companies.csv"         # id or name; also ticker, aliases, sector, suppliers
labels = "labels.csv"               # task, label, text
[data.columns]
text = "Meldung"                    # where a column is not recognised by its name
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import polars as pl

from kgrec_core import Dataset, Graph, KgrecError
from kgrec_core.domain import Columns, Summary, choices, column_names, identity, lacking
from kgrec_core.parts import Share
from kgrec_finance.articles.assembly import ARTICLE, LABELLED, MENTION, TASKS, Source, assemble
from kgrec_finance.articles.columns import open_columns
from kgrec_finance.articles.companies import COMPANY, open_companies
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.mentions import delta, mentions

log = logging.getLogger("kgrec")


class News:
    """Financial news as a graph; tasks `sentiment`, `topic` and `entity_sentiment`, whichever have labels.

    articles: table of articles, CSV, TSV, JSONL or Parquet. Title and text are read as one. Rows with the same id, or without ids the
        same text, are one article: one row per company with an `entity_sentiment` of its own. "a|b" in `company` are two companies.
    companies: table of companies; without a column `company` the articles are searched for their names.
    labels: table of task (sentiment, topic, entity_sentiment), label and text, what the label means. It may stand alone: labels
        without any example are found by their text.
    columns: our column -> the file's, where its name is not a common one: text = "Meldung", companies_name = "Firma".
    unknown: a company that the table lacks is an error ("reject") or becomes a company of that name ("add").
    duplicates: similarity from which two articles are one `group`, for split.group, with all their mentions.
    feed: what `follow` reads: a file that grows (.jsonl, .csv), "-" (standard input) or the address of an RSS or Atom feed.
    time_zone: of times without one, "Europe/London"; in a feed such times are refused where it is not set. time_format: see `tables`.
    """

    def __init__(
        self,
        *,
        articles: Path,
        companies: Path | None = None,
        labels: Path | None = None,
        columns: Mapping[str, str] | None = None,
        unknown: Literal["reject", "add"] = "reject",
        duplicates: Share = 0.8,
        feed: str | None = None,
        time_zone: str | None = None,
        time_format: str | None = None,
    ) -> None:
        self.articles, self.companies, self.labels, self.columns = articles, companies, labels, columns or {}
        self.unknown, self.duplicates, self.feed, self.time_zone, self.time_format = unknown, duplicates, feed, time_zone, time_format

    def load(self) -> Dataset:
        """Read the files. Raises KgrecError that names file, row, column and remedy."""
        self.summary_ = Summary()
        source = self._source(self.articles)
        if not source.labels and not source.texts:
            found = ", ".join(column_names(self.articles, "data.articles"))
            raise KgrecError(
                f"{Path(self.articles).name}: nothing to predict; name a column sentiment, topic or entity_sentiment, e.g. by "
                f'data.columns.sentiment = "...", or a table of labels; columns: {found}'
            )
        return assemble(source, self.duplicates)

    def labelled(self, relation: str, file: Path) -> pl.DataFrame:
        """The labelled rows of another file: ids `source` and `target`, `text`, and `time` where there is one.

        relation: "about", or "expresses": of mentions where the file has a column entity_sentiment, else of articles.
        """
        if relation not in (known := {task.relation.name for task in TASKS.values()}):
            raise choices("relation with a file", relation, known)
        source = self._source(file)
        name = "topic" if relation == "about" else "entity_sentiment" if "entity_sentiment" in source.labels else "sentiment"
        if name not in source.labels:
            raise KgrecError(f"{Path(file).name}: no column is recognised as {name}; name it: data.columns.{name}")
        times = source.articles.select(article="id", time="time")
        texts = (
            source.mentions.select("id", "text", "article")
            if name == "entity_sentiment"
            else source.articles.select("id", "text", article="id")
        )
        rows = (
            source.labels[name]
            .join(texts, on="id", how="left", maintain_order="left")
            .join(times, on="article", how="left", maintain_order="left")
        )
        rows = rows.select("text", "time", source="id", target="label")
        return (rows.drop("time") if rows["time"].null_count() else rows).unique(maintain_order=True)

    def follow(self, offset: str | None = None) -> Iterator[tuple[Graph, str]]:
        """What is new in the feed, one article with its mentions at a time, and the offset to go on from."""
        from kgrec_finance.feeds.follow import follow

        if self.feed is None:
            raise KgrecError("data.feed is not set; name a file that grows, - or the address of a feed")
        known = self._companies()
        linker = Linker(known) if len(known) else None
        dated = "time" in open_columns(self.articles, "articles", self.columns).names
        for event, after in follow(self.feed, offset, time_zone=self.time_zone, time_format=self.time_format):
            yield delta(event, linker, dated), after

    def _source(self, path: Path) -> Source:
        file = open_columns(path, "articles", self.columns).timed(self.time_zone, self.time_format)
        if (summary := getattr(self, "summary_", None)) is not None:
            summary.read(file.table)
        if not {"title", "text"} & file.names.keys():
            raise lacking(path, "text", column_names(path, "data.articles"))
        rows, known = self._rows(file), self._companies()
        articles = rows.group_by("id", maintain_order=True).agg(pl.col("text", "time").first(), pl.col("split").drop_nulls().first())
        if summary is not None:
            _doubt(rows, len(articles), file, summary)
            shared = known.filter(pl.col("name").is_duplicated())["name"]
            if len(shared):
                summary.doubt(
                    f"{Path(self.companies).name}: {len(shared):,} companies share their name with another one, e.g. {shared[0]}: a text that "
                    "says no more is of none of them; give a company one row, or names that tell them apart"
                )
        found = mentions(rows, articles, known, file, self.unknown)
        labels = {}
        for name in ("sentiment", "topic"):
            if name in file.names:
                labels[name] = rows.select("id", label=name).drop_nulls().unique(maintain_order=True).cast(LABELLED)
        if "entity_sentiment" in file.names:
            labels["entity_sentiment"] = found.labels
        texts = open_labels(self.labels, self.columns) if self.labels else {}
        return Source(
            articles.select(*ARTICLE).cast(ARTICLE), found.mentions.select(*MENTION).cast(MENTION), labels, found.companies, texts
        )

    def _rows(self, file: Columns) -> pl.DataFrame:
        title, text = file.line("title"), file.line("text")
        whole = pl.select(pl.concat_str([pl.lit(title), pl.lit(text)], separator=". ", ignore_nulls=True).alias("text")).to_series()
        whole = whole.set(whole == "", None)
        file.table.refuse_empty(whole, "text", None)
        given = file.line("id")
        ids = pl.Series("id", [identity("a", t) if i is None else i for i, t in zip(given, whole, strict=True)], pl.String)
        times = file.times("time")
        if 0 < times.null_count() < len(times):
            file.table.refuse_empty(times, file.names["time"], None)
        rows = pl.DataFrame([ids, whole, times, file.parts(), file.listed("company")])
        rows = rows.with_columns(
            file.line("sentiment").str.to_lowercase(), file.line("topic"), file.line("entity_sentiment").str.to_lowercase()
        )
        odd = rows.select(pl.col("text") != pl.col("text").first().over("id")).to_series()
        if odd.any():
            at = odd.arg_max()
            raise KgrecError(
                f'{file.table.place(at)}: id "{ids[at]}" has another text in an earlier row; give each article an id of its own'
            )
        return rows

    def _companies(self) -> pl.DataFrame:
        return open_companies(self.companies, self.columns) if self.companies else pl.DataFrame(schema=COMPANY)


def _doubt(rows: pl.DataFrame, articles: int, file: Columns, summary: Summary) -> None:
    """Say which rows tell an article again, and of which two sentiments are right."""
    if again := len(rows) - articles:
        summary.note(f"{file.table.path.name}: {again:,} rows are of an article that an earlier row has")
    several = (
        rows.drop_nulls("sentiment").group_by("id", maintain_order=True).agg(pl.col("sentiment").n_unique()).filter(pl.col("sentiment") > 1)
    )
    if len(several):
        at = file.table.place((rows["id"] == several["id"][0]).arg_max())
        summary.doubt(
            f"{len(several):,} articles have two sentiments, and both count as right: the first is that of {at}; keep one row of each"
        )


def open_labels(path: Path, columns: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """task -> label -> what it means, of a table of labels. Raises KgrecError for another task and for a label twice."""
    file = open_columns(path, "labels", columns or {})
    texts: dict[str, dict[str, str]] = {}
    for at, (task, label, text) in enumerate(zip(*(file.line(name) for name in ("task", "label", "text")), strict=True)):
        if task not in TASKS:
            raise choices("task", str(task), TASKS, f"correct {file.table.place(at)}")
        if label is None or text is None:
            raise KgrecError(f"{file.table.place(at)}: a label needs a name and a text; fill both")
        label = label if task == "topic" else label.lower()
        if label in texts.setdefault(task, {}):
            raise KgrecError(f'{file.table.place(at)}: label "{label}" of {task} stands in an earlier row too; keep one')
        texts[task][label] = text
    return texts
