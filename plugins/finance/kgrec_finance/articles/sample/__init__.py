"""`sentfin` and a stream of real tweets, carried in the package, so that the domain runs before any file of one's own.

See ATTRIBUTION.txt for sources and licences.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kgrec_core.parts import Count, Share, Size

if TYPE_CHECKING:
    import polars as pl

    from kgrec_core import Dataset

FOLDER = Path(__file__).parent
TWEETS, TWEETS_COMPANIES = FOLDER / "tweets.jsonl.gz", FOLDER / "companies.csv"


class Sentfin:
    """10,753 English headlines with 14,405 sentiments towards companies, sectors and commodities (SEntFiN 1.0, MIT).

    agreed: headlines that say the same of all their companies (9,520) also are examples of the task `sentiment`.
    duplicates: similarity from which two headlines are one `group`. headlines: only so many of them, drawn. seed: of that.

    Tasks `entity_sentiment` and `sentiment`. A mention is a headline with a name as it is written there; the company is the one that
    the alias table of the source has for it, else one of that name. Undated; split.by = "random" with group = "group".
    """

    def __init__(self, *, agreed: bool = True, duplicates: Share = 0.8, headlines: Size | None = None, seed: Count = 0) -> None:
        self.agreed, self.duplicates, self.headlines, self.seed = agreed, duplicates, headlines, seed

    def load(self) -> Dataset:
        import polars as pl

        from kgrec_finance.articles.assembly import ARTICLE, LABELLED, MENTION, Source, assemble
        from kgrec_finance.articles.companies import COMPANY
        from kgrec_finance.articles.linking import Linker
        from kgrec_finance.articles.marking import marked, occurrences

        rows, companies = pl.read_parquet(FOLDER / "headlines.parquet"), open_aliases()
        if self.headlines is not None:
            ids = rows["id"].unique(maintain_order=True)
            rows = rows.filter(pl.col("id").is_in(ids.sample(min(self.headlines, len(ids)), seed=self.seed).implode()))
        linker, empty = Linker(companies), pl.lit(None)
        known = {name: linker.resolve(name) or name for name in rows["company"].unique(maintain_order=True)}
        new = [(id, id, None, [], None, []) for id in dict.fromkeys(known.values()) if linker.resolve(id) != id]
        companies = pl.concat([companies, pl.DataFrame(new, schema=COMPANY, orient="row")])
        articles = rows.unique("id", keep="first", maintain_order=True).select("id", "text", time=empty, split=empty).cast(ARTICLE)
        of = dict(rows.group_by("id").agg("company").iter_rows())
        texts = [
            marked(text, name, occurrences(text, name), [s for other in of[id] if other != name for s in occurrences(text, other)])
            for id, text, name in rows.select("id", "text", "company").iter_rows()
        ]
        mentions = rows.select(
            pl.concat_str("id", "company", separator="|").alias("id"),
            pl.Series("text", texts),
            article="id",
            company=pl.col("company").replace_strict(known, return_dtype=pl.String),
        ).cast(MENTION)
        labels = {"entity_sentiment": mentions.select("id").with_columns(label=rows["sentiment"]).cast(LABELLED)}
        if self.agreed:
            one = rows.filter(pl.col("sentiment").n_unique().over("id") == 1)
            labels = {"sentiment": one.select("id", label="sentiment").unique(maintain_order=True).cast(LABELLED)} | labels
        return assemble(Source(articles, mentions, labels, companies, {}), self.duplicates)

    def labelled(self, relation: str, file: Path) -> pl.DataFrame:
        """The labelled rows of another file, to score a run on or to learn from. See `News.labelled`."""
        from kgrec_finance.articles.data import News

        return News(articles=file).labelled(relation, file)


def open_aliases() -> pl.DataFrame:
    """COMPANY rows (`kgrec_finance.articles.companies`) of the alias table of SEntFiN: 1,009 companies, sectors, commodities and authorities.

    Their ids are its symbols. Some are words (GOLD, BANK), so none is a ticker.
    """
    import polars as pl

    from kgrec_finance.articles.companies import COMPANY

    table, empty = pl.read_parquet(FOLDER / "aliases.parquet"), pl.lit(None)
    names = pl.col("aliases").list.first()
    return (
        table.select("id", "aliases", name=names, ticker=empty, sector=empty, suppliers=pl.lit([], pl.List(pl.String)))
        .select(*COMPANY)
        .cast(COMPANY)
    )
