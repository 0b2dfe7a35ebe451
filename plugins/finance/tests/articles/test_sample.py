"""The embedded headlines and tweets are the published ones, small, attributed, and have the real events in them."""

from __future__ import annotations

import csv
import gzip
import importlib.util
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from kgrec_finance.articles.assembly import EXPRESSES, OF_COMPANY, TOWARDS
from kgrec_finance.articles.companies import open_companies
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.sample import FOLDER, TWEETS, TWEETS_COMPANIES, Sentfin, open_aliases
from kgrec_finance.feeds.follow import follow
from kgrec_finance.monitoring.stories import Stories

from kgrec_core import Split
from kgrec_core.domain import Registry, split
from kgrec_core.testing import check_data


@pytest.fixture(scope="module")
def dataset():
    return Sentfin().load()


def test_counts(dataset):
    graph = dataset.graph
    assert (graph.size("article"), graph.size("mention"), len(graph.relations[TOWARDS]), len(graph.relations[OF_COMPANY])) == (10_753, 14_405, 14_405, 14_405)  # fmt: skip
    moods = Counter(graph.gather("sentiment", graph.relations[TOWARDS]["target"].to_numpy(), "id")["id"])
    assert moods == {"neutral": 5_517, "positive": 5_074, "negative": 3_814}
    assert len(graph.relations[EXPRESSES]) == 10_753 - 1_233, "without the conflicting headlines"
    assert [task.name for task in dataset.tasks] == ["sentiment", "entity_sentiment"]
    assert [task.name for task in Sentfin(agreed=False).load().tasks] == ["entity_sentiment"]


def test_every_mention_is_marked(dataset):
    mentions = dataset.graph.entities["mention"]
    assert mentions["text"].str.contains("TARGET").all()
    assert mentions.filter(pl.col("id") == "9|Silver")["text"].item() == "Silver: OTHER shines on seasonal demand; TARGET dull"
    linked = dataset.graph.gather("company", dataset.graph.relations[OF_COMPANY]["target"].to_numpy(), "id")["id"]
    assert linked.is_in(open_aliases()["id"].implode()).mean() > 0.55


def test_mentions_of_a_headline_stay_in_one_part(dataset):
    views = split(dataset, Split(by="random", group="group", test=0.2))
    parts = {}
    for name, view in views.items():  # each kind halves its validation queries by itself
        part = "validation" if name in ("select", "adjust") else name
        for task, kind in (("entity_sentiment", "mention"), ("sentiment", "article")):
            for group in dataset.graph.gather(kind, view.queries[task].nodes.rows, "group")["group"]:
                assert parts.setdefault(group, part) == part


def test_conformance():
    check_data(Sentfin)


def test_the_linker_against_the_annotations():
    """Recall over the annotated names that the table knows; the annotation leaves out many mentions, so precision is a lower bound."""
    rows, table = pl.read_parquet(FOLDER / "headlines.parquet"), open_aliases()
    linker, known = Linker(table), {}
    for id, aliases in table.select("id", "aliases").iter_rows():
        for alias in aliases:
            known.setdefault(alias.lower(), set()).add(id)
    right = missed = wrong = 0
    for text, names in rows.group_by("id", "text", maintain_order=True).agg("company").select("text", "company").iter_rows():
        meant = [known[name.lower()] for name in names if name.lower() in known]
        found = {span.company for span in linker.find(text)}
        right += sum(bool(one & found) for one in meant)
        missed += sum(not one & found for one in meant)
        wrong += sum(not any(company in one for one in meant) for company in found)
    recall, precision = right / (right + missed), right / (right + wrong)
    assert recall > 0.92 and precision > 0.7, (recall, precision)


def test_the_stream_has_real_events_in_it():
    """By distinct stories a day: the profit warning of WMT stands out, the spam that names KO does not."""
    linker, stories, told = Linker(open_companies(TWEETS_COMPANIES)), Stories(), Counter()
    raw = Counter()
    for event, _ in follow(TWEETS, columns={"time": "created_at"}, wait=False):
        day = event.raw["created_at"][:10]
        for company in {span.company for span in linker.find(event.text)}:
            raw[company, day] += 1
            told[company, day] += stories.add(f"{event.id}|{company}", f"{company} {event.text}", event.time).size == 1

    def surge(company: str, day: str, counts: Counter) -> float:
        usual = sorted(counts[company, f"2015-{month:02}-{d:02}"] for month in (7, 8, 9, 10) for d in range(1, 31))
        return counts[company, day] / max(usual[len(usual) // 2], 1)

    assert surge("WMT", "2015-10-14", told) > 5 and surge("CAT", "2015-09-24", told) > 5
    assert surge("KO", "2015-10-30", raw) > 10 and surge("KO", "2015-10-30", told) <= 4


def test_files_are_small_and_attributed(real):
    files = [path for path in FOLDER.iterdir() if path.suffix in (".parquet", ".gz", ".csv")]
    assert len(files) == 4 and sum(path.stat().st_size for path in files) < 1e6
    text = (FOLDER / "ATTRIBUTION.txt").read_text()
    for word in ("SEntFiN", "StockNet", "MIT", "Changes", "(c) 2021", "(c) 2018", "Permission is hereby granted"):
        assert word in text


def test_the_script_makes_the_files(real, tmp_path):
    spec = importlib.util.spec_from_file_location("build_sample", Path(__file__).parents[2] / "build_sample.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.build(real("sentfin").parent, tmp_path)
    for name in ("headlines.parquet", "aliases.parquet"):
        assert pl.read_parquet(tmp_path / name).equals(pl.read_parquet(FOLDER / name))
    assert gzip.decompress((tmp_path / TWEETS.name).read_bytes()) == gzip.decompress(TWEETS.read_bytes())
    listed = (real("stocknet_tweets") / "events.csv").read_text().splitlines()
    known = {(row["ticker"], row["date"]): row["kind"] for row in csv.DictReader(listed)}
    assert (known["WMT", "2015-10-14"], known["CAT", "2015-09-24"], known["KO", "2015-10-30"]) == ("news", "news", "spam_flood")


def test_the_plugin_is_listed():
    registry = Registry.discover()
    assert {registry.component("data", name, []).name for name in ("news", "sentfin")} == {"news", "sentfin"}
