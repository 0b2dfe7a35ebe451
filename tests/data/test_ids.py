"""Ids as people and programs write them: one product is one product, nobody is nobody, and what is added or left out is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_core.data.ids import identifier, identifiers, listed
from kgrec_core.data.mapping import Edges, End, Entity, Goal
from kgrec_core.data.tables import Tables
from kgrec_core.errors import KgrecError


def shop(folder: Path, orders: str, products: str = "sku,name\n100,Mug\n200,Cup\nA1 ,Pot\n", **ends: str) -> Tables:
    (folder / "products.csv").write_text(products)
    (folder / "orders.csv").write_text("customer,sku\n" + orders)
    source = End(kind="user", column="customer", unknown=ends.get("source", "add"))
    buys = Edges(file=folder / "orders.csv", source=source, target=End(kind="item", column="sku", unknown=ends.get("target")))
    items = Entity(file=folder / "products.csv", id="sku", text=("name",))
    return Tables(entities={"item": items}, relations={"buys": buys}, tasks={"buys": Goal(relation="buys")})


def ids(part: Tables, kind: str) -> list[str]:
    return part.load().graph.entities[kind]["id"].to_list()


def test_the_same_id_written_otherwise_is_the_same_product(tmp_path):
    part = shop(tmp_path, "7.0,100.0\n8.0, 200\n9.0,A1\u00a0\n")
    assert ids(part, "item") == ["100", "200", "A1"] and ids(part, "user") == ["7", "8", "9"]
    assert part.summary_.notes == ['orders.csv row 2: sku "100.0" is "100" of products.csv (1 such rows)']
    decomposed = shop(tmp_path, "7,Caf\u0065\u0301\n", "sku,name\nCaf\u00e9,Pot\n")
    assert ids(decomposed, "item") == ["Caf\u00e9"]
    assert ids(shop(tmp_path, "7,100\n", "sku,name\n100.0,Mug\n"), "item") == ["100.0"]
    assert ids(shop(tmp_path, "7,1.10\n7,1.0\n", "sku,name\n1.10,Mug\n1.0,Cup\n"), "item") == ["1.10", "1.0"]  # versions stay


def test_words_for_nothing_are_no_ids(tmp_path):
    with pytest.raises(KgrecError) as caught:
        shop(tmp_path, "nan,100\nNULL,200\n7,100\n").load()
    assert str(caught.value) == (
        'orders.csv row 2: customer "nan" is no id but a word for none (2 such rows); fill it, or leave them out: '
        "data.relations.buys.where = \"customer NOT IN ('NULL', 'nan')\""
    )
    assert ids(shop(tmp_path, "7,None\n", "sku,name\nNone,The band\n"), "item") == ["None"]  # it is in the catalogue


def test_what_a_catalogue_lacks_is_an_error_or_counted(tmp_path, caplog):
    rows = "7,100\n7,300\n8,300\n8,400\n"
    with pytest.raises(KgrecError, match=r'sku "300" is no item \(2 such ids in 3 rows\).*buys.target.unknown = "add" or "drop"'):
        shop(tmp_path, rows).load()
    added = shop(tmp_path, rows, target="add")
    assert ids(added, "item")[-2:] == ["300", "400"]
    assert added.summary_.doubts == [
        'orders.csv row 3: sku "300" is no item of products.csv; 2 such ids in 3 of 4 rows are added without text or attributes'
    ]
    assert added.summary_.doubts[0] in caplog.text
    dropped = shop(tmp_path, rows, target="drop")
    graph = dropped.load().graph
    assert graph.size("item") == 3 and [len(t) for t in graph.relations.values()] == [1]
    assert dropped.summary_.files["orders.csv"] == {"rows": 4, "sku is no item": 3}
    with pytest.raises(KgrecError, match="leaves none of 1 rows"):
        shop(tmp_path, "7,300\n", target="drop").load()


def test_every_mistake_is_told_at_once(tmp_path):
    (tmp_path / "products.csv").write_text("sku,name,listed\n1,Mug,soon\n1,Cup,2024-01-01\n")
    (tmp_path / "orders.csv").write_text("customer,sku,date,n\n,1,2024-01-01,1\n7,2,never,-1\n")
    items = Entity(file=tmp_path / "products.csv", id="sku", text=("name",), since="listed")
    ends = {"source": End(kind="user", column="customer", unknown="add"), "target": End(kind="item", column="sku")}
    buys = Edges(file=tmp_path / "orders.csv", time="date", weight="n", **ends)
    goals = {"buys": Goal(relation="bought"), "views": Goal(relation="buys", history=("saw",))}
    with pytest.raises(KgrecError) as caught:
        Tables(entities={"item": items}, relations={"buys": buys}, tasks=goals).load()
    told = [str(mistake) for mistake in caught.value.every]
    expected = ("listed", "stands in row 2", "customer is empty", "date", "is no weight", "'bought'", "'saw'")
    assert [word for word, said in zip(expected, told, strict=True) if word in said] == list(expected)
    assert str(caught.value) == f"{told[0]} (and 6 more mistakes, which `check` lists)"


@pytest.mark.parametrize("value", [12, 12.0, np.int64(12), np.float64(12), " 12", "12\u00a0"])
def test_an_id_from_python_is_text(value):
    assert identifier(value) == "12"


def test_columns_of_ids_and_cells_of_several():
    assert identifiers(pl.Series([" a", "", None, "\u200bb\ufeff"])).to_list() == ["a", None, None, "b"]
    assert identifiers(pl.Series([1.0, None])).to_list() == ["1", None]
    assert listed("a|b\\|c") == ["a", "b|c"] and listed("B?\nC?\r\nD?") == ["B?", "C?", "D?"]
    assert listed('["B?", "C|D?"]') == ["B?", "C|D?"] and listed("['x', \"y's\"]") == ["x", "y's"]
    assert listed("[sic] a; b") == ["[sic] a; b"] and listed("[[1]]") == ["[[1]]"]
