"""The table of companies, and how an event spreads from one of them."""

from __future__ import annotations

import polars as pl
import pytest
from kgrec_finance.articles.companies import ALIAS, IN_SECTOR, SUPPLIED_BY, knowledge, open_companies, spread
from kgrec_finance.articles.sample import TWEETS_COMPANIES

from kgrec_core import Graph, KgrecError


def graph(companies: pl.DataFrame) -> Graph:
    entities, relations = knowledge(companies)
    return Graph(entities, relations, frozenset(relations))


def test_a_table(write):
    path = write(
        "c.csv", "Symbol;Firma;别名;Industry;suppliers", "AAPL;Apple Inc.;苹果 | Apple;Tech;TSM", "TSM;TSMC;;Tech;", ";Aramco;;;AAPL|TSM"
    )
    rows = open_companies(path, {"companies_name": "Firma"})
    assert rows["id"].to_list() == ["AAPL", "TSM", "Aramco"] and rows["aliases"].to_list()[0] == ["苹果", "Apple"]
    world = graph(rows)
    assert {r: len(t) for r, t in world.relations.items()} == {IN_SECTOR: 2, SUPPLIED_BY: 3, ALIAS: 2}
    assert world.entities["company"]["text"].to_list() == ["Apple Inc.", "TSMC", "Aramco"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("sector,firm", "Tech,A"), "no column is recognised as name; .*; columns: sector, firm$"),
        (("id,name", "1,A", "1,B"), 'row 3: id "1" stands in row 2 too'),
        (("id,name", "1,A", ",,"), "3 fields where the header has 2"),
        (("id,suppliers", "1,2"), 'row 2: supplier "2" is no company of this file'),
        (("id,name,sector", ",,Tech"), "row 2: id or name is empty"),
    ],
)
def test_faults(write, lines, message):
    with pytest.raises(KgrecError, match=message):
        open_companies(write("c.csv", *lines))


def test_an_event_spreads_with_decreasing_weight():
    world = graph(open_companies(TWEETS_COMPANIES))
    assert spread(world, "MCD") == {
        ("company", "MCD"): 1, ("sector", "Services"): 0.5, ("company", "KO"): 0.5, ("sector", "Consumer Goods"): 0.25,
    }  # fmt: skip
    assert spread(world, "MCD", hops=0) == {("company", "MCD"): 1}
    assert spread(world, "MSFT", 0.1) == {("company", "MSFT"): 1, ("sector", "Technology"): 0.1, ("company", "INTC"): 0.1}
    assert spread(world, "ZZZZ") == {("company", "ZZZZ"): 1}
    for settings in ({"decay": 1.0}, {"decay": 0.0}, {"hops": -1}):
        with pytest.raises(KgrecError, match="a decay lies between 0 and 1"):
            spread(world, "MCD", **settings)


def test_a_ring_of_suppliers_ends(write):
    world = graph(open_companies(write("c.csv", "id,suppliers", "a,b", "b,a")))
    assert spread(world, "a", hops=9) == {("company", "a"): 1, ("company", "b"): 0.5}
