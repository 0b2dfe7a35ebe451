"""Columns as relations: values, lists, paths, buckets whose borders are learned once, spellings that are one."""

from __future__ import annotations

import polars as pl
import pytest

from kgrec_core import Graph, KgrecError, Relation
from kgrec_core.knowledge.columns import Column, Columns
from kgrec_core.knowledge.linking import Pair, link, read_review, write_review

ITEMS = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "tags": ["red|blue", "red", None, ""],
        "path": ["Home > Kitchen > Mugs", "Home>Kitchen", "Garden", None],
        "price": [1.0, 2.0, 3.0, 40.0],
        "added": ["2024-01-05", "2024-02-11", None, "2023-07-01"],
        "brand": ["ACME Ltd.", "Acme ltd", "Globex Corporation", "Globex Corporatoin"],
    }
)


def edges(graph: Graph, relation: Relation) -> set[tuple[str, str]]:
    table = graph.relations[relation]
    ends = [
        graph.gather(kind, table[end].to_numpy(), "id")["id"] for end, kind in (("source", relation.source), ("target", relation.target))
    ]
    return set(zip(*ends, strict=True))


def read(items: pl.DataFrame = ITEMS, rows=None, review=None, **links: Column) -> Graph:
    source, graph = Columns(links=links, review=review), Graph({"item": items})
    source.learn(graph)
    return source.read(graph, rows)


def test_values_lists_and_paths():
    graph = read(tag=Column(column="tags", separator="|"), category=Column(column="path", levels=">"))
    assert edges(graph, Relation("item", "tag", "tag")) == {("a", "red"), ("a", "blue"), ("b", "red")}
    path = "Home > Kitchen > Mugs"
    assert edges(graph, Relation("item", "category", "category")) == {("a", path), ("b", "Home > Kitchen"), ("c", "Garden")}
    assert edges(graph, Relation("category", "parent", "category")) == {(path, "Home > Kitchen"), ("Home > Kitchen", "Home")}
    assert dict(graph.entities["category"].iter_rows())[path] == "Mugs"


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("month", {"2024-01", "2024-02", "2023-07"}), ("year", {"2024", "2023"}), ("quarter", {"2024-Q1", "2023-Q3"}),
        ("season", {"winter", "summer"}), ("weekday", {"Friday", "Sunday", "Saturday"}),
    ],
)  # fmt: skip
def test_buckets_of_dates(part, names):
    graph = read(when=Column(column="added", dates=part))
    assert {value for _, value in edges(graph, Relation("item", "when", "when"))} == names
    with pytest.raises(KgrecError, match=r'links.price: "40.0"|links.price: "1.0"'):
        read(price=Column(column="price", dates="year"))


def test_borders_are_learned_once_and_kept(tmp_path):
    source, graph = (
        Columns(links={"band": Column(column="price", buckets=2), "brand": Column(column="brand", spellings=True)}),
        Graph({"item": ITEMS}),
    )
    source.learn(graph)
    source.save(tmp_path)
    again = Columns(links=source.links)
    again.load(tmp_path)
    later = Graph({"item": ITEMS.head(1).with_columns(id=pl.lit("z"), price=pl.lit(100.0), brand=pl.lit("acme LTD"))})
    graph = again.read(later, {"item": later.rows("item", ["z"])})
    assert edges(graph, Relation("item", "band", "band")) == {("z", "band from 2.5")}
    assert edges(graph, Relation("item", "brand", "brand")) == {("z", "ACME Ltd.")}, "a spelling that was never seen"
    (tmp_path / "columns.json").write_text("{}")
    with pytest.raises(KgrecError, match=r"columns\.json is damaged"):
        again.load(tmp_path)


def test_rare_and_frequent_values_are_left_out():
    assert edges(read(tag=Column(column="tags", separator="|", min_count=2)), Relation("item", "tag", "tag")) == {
        ("a", "red"),
        ("b", "red"),
    }
    assert edges(read(tag=Column(column="tags", separator="|", max_share=0.3)), Relation("item", "tag", "tag")) == {("a", "blue")}


def test_a_column_that_is_not_there_is_told():
    with pytest.raises(KgrecError, match=r"no column of item is called 'colour'.*data.entities.item.attributes"):
        read(colour=Column(column="colour"))


def test_spellings():
    linked = link(
        "brand",
        {
            "ACME Ltd.": 5,
            "Acme ltd": 2,
            "Acme Limited": 1,
            "Globex Corp": 3,
            "Globec Corp": 1,
            "Size 10": 1,
            "Size 11": 1,
            "ab": 1,
            "ac": 1,
        },
    )
    assert (
        linked.spelling["Acme ltd"] == linked.spelling["Acme Limited"] == "ACME Ltd."
        and linked.spelling["Size 11"] == "Size 11"
        and linked.spelling["ac"] == "ac"
    )
    assert linked.doubtful == [Pair("brand", "Globex Corp", "Globec Corp", 90.9)]
    for same, wanted in ((True, "Globex Corp"), (False, "Globec Corp")):
        decided = link("brand", {"Globex Corp": 3, "Globec Corp": 1}, {("Globec Corp", "Globex Corp"): same})
        assert decided.spelling["Globec Corp"] == wanted and decided.doubtful == []


def test_legal_forms_articles_and_signs():
    linked = link("brand", {"Bolt & Co": 3, "BOLT and Company": 1, "L'Oréal": 2, "LOreal": 1, "Nike": 5, "Nike Inc.": 1, "Body Shop": 1, "The Body Shop": 2, "小米": 3, "小米有限公司": 1})  # fmt: skip
    same = {one: other for one, other in linked.spelling.items() if one != other}
    assert same == {"BOLT and Company": "Bolt & Co", "LOreal": "L'Oréal"}
    assert {(p.one, p.other) for p in linked.doubtful} == {("Nike", "Nike Inc."), ("The Body Shop", "Body Shop"), ("小米", "小米有限公司")}


def test_the_next_build_obeys_the_review(tmp_path):
    file, how = tmp_path / "review.csv", Column(column="brand", spellings=True)
    items = ITEMS.with_columns(brand=pl.Series(["Globex Corp", "Globec Corp", "Globex Corp", None]))
    source = Columns(links={"brand": how})
    source.learn(Graph({"item": items}))
    assert write_review({"columns": source.doubtful}, file) == 1
    assert len(edges(read(items, review=file, brand=how), Relation("item", "brand", "brand"))) == 3
    file.write_text(file.read_text().replace("90.9,", "90.9,yes"))
    assert {value for _, value in edges(read(items, review=file, brand=how), Relation("item", "brand", "brand"))} == {"Globex Corp"}
    assert write_review({"columns": source.doubtful}, file) == 0, "what is decided stays decided"
    file.write_text(file.read_text().replace("yes", "perhaps"))
    with pytest.raises(KgrecError, match=r"review\.csv row 2: same \"perhaps\" is no answer; write yes, no, or nothing"):
        read_review(file)
