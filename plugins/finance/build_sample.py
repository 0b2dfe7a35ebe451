"""Writes the embedded sample from sentfin and stocknet_tweets (see kgrec_finance/articles/sample/ATTRIBUTION.txt).

python plugins/finance/build_sample.py ../shared/data
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import re
import sys
from pathlib import Path

import polars as pl

SAMPLE = Path(__file__).parent / "kgrec_finance" / "articles" / "sample"
_PAIR = re.compile(r"'(.+?)': '(neutral|positive|negative)'")  # names with an apostrophe break the literal
_TORN = {"neutraling": "Holding", "negative": "sell"}  # the source replaced "Hold" and "sell" by a mood within names, too
SINCE, UNTIL = "2015-07-01", "2015-10-31"
TICKERS = "BA CAT CSCO CVX DIS GE HD HON INTC JNJ KO MCD MRK MSFT PEP PFE PG UTX WMT XOM".split()  # noqa: SIM905


def build(source: Path, folder: Path) -> None:
    """Write headlines.parquet, aliases.parquet and tweets.jsonl.gz into `folder`."""
    headlines(source / "sentfin").write_parquet(folder / "headlines.parquet", compression="zstd", compression_level=19, statistics=False)
    aliases(source / "sentfin").write_parquet(folder / "aliases.parquet", compression="zstd", compression_level=19, statistics=False)
    lines = "".join(json.dumps(tweet, ensure_ascii=False) + "\n" for tweet in tweets(source / "stocknet_tweets"))
    (folder / "tweets.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def headlines(source: Path) -> pl.DataFrame:
    """id, text, company (as written in the headline), sentiment: one row per company of a headline, in the source's order."""
    rows = []
    with (source / "SEntFiN.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, mood in _moods(row["Decisions"]).items():
                rows.append((row["S No."], row["Title"], _mended(name, row["Title"]), mood))
    return pl.DataFrame(rows, schema=["id", "text", "company", "sentiment"], orient="row")


def aliases(source: Path) -> pl.DataFrame:
    """id (the symbol) and aliases (list) of companies, sectors, commodities and authorities."""
    with (source / "entity_list_comprehensive.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["Symbol"], [a for a in map(str.strip, row["Entity"].split(",")) if a]) for row in csv.DictReader(file)]
    return pl.DataFrame(rows, schema={"id": pl.String, "aliases": pl.List(pl.String)}, orient="row").unique("id", maintain_order=True)


def tweets(source: Path) -> list[dict[str, str]]:
    """id, created_at, companies ("KO|WMT"), text of the slice, by time; a tweet that stands under several tickers is one."""
    found: dict[str, dict[str, str]] = {}
    with gzip.open(source / "tweets.jsonl.gz", "rt", encoding="utf-8") as file:
        for tweet in map(json.loads, file):
            if tweet["ticker"] not in TICKERS or not SINCE <= tweet["date"] <= UNTIL:
                continue
            kept = found.setdefault(
                tweet["id"], {"id": tweet["id"], "created_at": tweet["created_at"], "companies": "", "text": tweet["text"]}
            )
            kept["companies"] = "|".join(dict.fromkeys([*filter(None, kept["companies"].split("|")), tweet["ticker"]]))
    return sorted(found.values(), key=lambda tweet: (tweet["created_at"], tweet["id"]))


def _moods(written: str) -> dict[str, str]:
    try:
        return ast.literal_eval(written)
    except SyntaxError:
        return dict(_PAIR.findall(written))


def _mended(name: str, title: str) -> str:
    for torn, right in _TORN.items():
        if torn in name and name.replace(torn, right) in title:
            return name.replace(torn, right)
    return name


if __name__ == "__main__":
    build(Path(sys.argv[1]), SAMPLE)
    print({path.name: path.stat().st_size for path in SAMPLE.iterdir() if path.suffix in (".parquet", ".gz")})
