"""Which company each article mentions, and the text in which that company is the one that is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from kgrec_core import Graph, KgrecError
from kgrec_core.domain import Columns
from kgrec_finance.articles.assembly import IN_ARTICLE, LABELLED, MENTION, OF_COMPANY
from kgrec_finance.articles.companies import COMPANY
from kgrec_finance.articles.linking import Linker, Span
from kgrec_finance.articles.marking import marked, occurrences

if TYPE_CHECKING:
    from kgrec_finance.feeds.follow import Event


class Found(NamedTuple):
    """mentions: MENTION. labels: LABELLED by the mention's id. companies: COMPANY, with those that were added."""

    mentions: pl.DataFrame
    labels: pl.DataFrame
    companies: pl.DataFrame


def mentions(rows: pl.DataFrame, articles: pl.DataFrame, companies: pl.DataFrame, file: Columns, unknown: str) -> Found:
    """rows: id, text, company (list), entity_sentiment of the file's rows. articles: id, text, distinct. See `News` for `unknown`.

    Named companies are mentions, whether their names stand in the text or not; where the file names none, those that the text names.
    Raises KgrecError for a company that the table does not know and for a mention with two sentiments.
    """
    linker = Linker(companies) if len(companies) else None
    named = _each(rows, file).explode("company", "entity_sentiment").drop_nulls("company")
    if len(named):
        ids = {name: linker.resolve(name) if linker else None for name in named["company"].unique(maintain_order=True)}
        new = [name for name, id in ids.items() if id is None]
        if new and linker and unknown == "reject":
            at = named.filter(pl.col("company") == new[0])["row"][0]
            raise KgrecError(
                f'{file.table.place(at)}: company "{new[0]}" is none of the {len(companies):,} in the table of companies; '
                'give it a row or an alias there, or set data.unknown = "add"'
            )
        added = pl.DataFrame([(name, name, None, None, None, []) for name in new], schema=COMPANY, orient="row")
        companies = pl.concat([companies, added])
        linker = Linker(companies)
        named = named.with_columns(pl.col("company").replace_strict({name: id or name for name, id in ids.items()}, return_dtype=pl.String))
    elif linker is None:
        return Found(pl.DataFrame(schema=MENTION), pl.DataFrame(schema=LABELLED), companies)
    given = dict(named.group_by("id", maintain_order=True).agg(pl.col("company").unique(maintain_order=True)).iter_rows())
    found = [
        row
        for id, text in articles.select("id", "text").iter_rows()
        for row in of_article(id, text, linker.find(text), given.get(id, [] if named.height else None), linker.names)
    ]
    labels = named.select(id=pl.concat_str("id", "company", separator="|"), label="entity_sentiment", row="row").drop_nulls()
    odd = labels.filter(pl.col("label") != pl.col("label").first().over("id"))
    if len(odd):
        (article, _, company), at = odd["id"][0].rpartition("|"), odd["row"][0]
        first = file.table.rows[labels.filter(id=odd["id"][0])["row"][0]]
        said = f"what {article} says of {company} has another sentiment in row {first}"
        raise KgrecError(f"{file.table.place(at)}: {said} ({odd['id'].n_unique():,} such mentions); keep one row of each")
    return Found(pl.DataFrame(found, schema=MENTION, orient="row"), labels.select(*LABELLED).unique(maintain_order=True), companies)


def _each(rows: pl.DataFrame, file: Columns) -> pl.DataFrame:
    """row, id, company and entity_sentiment, both lists of one length: `positive|negative` is of two companies in turn, one word of all."""
    said = pl.col("entity_sentiment").str.split("|").list.eval(pl.element().str.strip_chars())
    frame = rows.select("id", "company", said).with_row_index("row")
    given, wanted = pl.col("entity_sentiment").list.len().fill_null(1), pl.col("company").list.len().fill_null(0).clip(1)
    odd = frame.filter(given > 1, given != wanted)
    if len(odd):
        row, _, companies, values = odd.row(0)
        raise KgrecError(
            f"{file.table.place(row)}: {len(values)} values of entity_sentiment for {len(companies or ())} companies; "
            "give one for all of them or one for each"
        )
    one = pl.col("entity_sentiment").list.first().repeat_by(wanted)
    return frame.with_columns(
        pl.when(pl.col("company").list.len() > 0).then("company").otherwise(pl.lit([None], pl.List(pl.String))),
        pl.when(given > 1).then("entity_sentiment").otherwise(one),
    )


def of_article(
    id: str, text: str, spans: Sequence[Span], companies: Sequence[str] | None, names: dict[str, str]
) -> list[tuple[str, str, str, str]]:
    """MENTION rows of one article. companies: who is mentioned; None = whoever the spans name."""
    rows = []
    for company in dict.fromkeys(span.company for span in spans) if companies is None else companies:
        mine = [(span.start, span.end) for span in spans if span.company == company]
        mine = mine or occurrences(text, names.get(company, company))
        others = [(span.start, span.end) for span in spans if span.company != company]
        rows.append((f"{id}|{company}", marked(text, names.get(company, company), mine, others), id, company))
    return rows


def delta(event: Event, linker: Linker | None, dated: bool) -> Graph:
    """An event as a graph of its own: the article, its mentions, and what links them; edges have a time where `dated`.

    Companies that the event names itself and the linker knows are mentions too.
    """
    spans = linker.find(event.text) if linker else []
    told = (linker.resolve(name) for name in event.companies or ()) if linker else ()
    companies = list(dict.fromkeys([*(span.company for span in spans), *filter(None, told)]))
    time = {"time": pl.lit(event.time, pl.Int64)} if dated else {}
    article = pl.DataFrame({"id": [event.id], "text": [event.text]}).with_columns(**time)
    rows = pl.DataFrame(of_article(event.id, event.text, spans, companies, linker.names if linker else {}), schema=MENTION, orient="row")
    if not len(rows):
        return Graph({"article": article})
    number = pl.Series(range(len(rows)), dtype=pl.UInt32)
    ends = {IN_ARTICLE: pl.Series([0] * len(rows), dtype=pl.UInt32), OF_COMPANY: number}
    edges = {relation: pl.DataFrame({"source": number, "target": target}).with_columns(**time) for relation, target in ends.items()}
    entities = {"article": article, "mention": rows.select("id", "text").with_columns(**time), "company": rows.select(id="company")}
    return Graph(entities, edges, frozenset() if dated else frozenset(edges))
