"""Every mistake in the files of `tables`, told with its place and its remedy in one line."""

from __future__ import annotations

import pytest

from kgrec_core.data.links import Link
from kgrec_core.data.mapping import Entity, Goal
from kgrec_core.data.tables import Tables
from kgrec_core.errors import KgrecError
from tests.data.conftest import ORDERS, PRODUCTS
from tests.data.test_tables import items, load, orders


def bad(
    message: str, *, products: str | bytes = PRODUCTS, orders: str | bytes = ORDERS, item: dict | None = None, buys: dict | None = None
):
    return pytest.param(products, orders, item or {}, buys or {}, message, id=message[:50])


@pytest.mark.parametrize(
    ("products", "ordered", "item", "buys", "message"),
    [
        bad(
            "data.relations.buys.time = \"dat\" is no column of orders.csv; did you mean 'date'? columns: customer, sku",
            buys={"time": "dat"},
        ),
        bad("data.entities.item.text[1] = \"NAMES\" is no column of products.csv; did you mean 'name'?", item={"text": ("name", "NAMES")}),
        bad(
            'products.csv row 5: sku "0071" stands in row 2 too; remove one, or set data.entities.item.duplicates = "first" or "last"',
            products=PRODUCTS + "0071,Mug,,1,,,\n",
        ),
        bad(
            "products.csv row 5: sku is empty (1 such rows); fill it, or leave them out: data.entities.item.where = 'sku IS NOT NULL'",
            products=PRODUCTS + ",Mug,,1,,,\n",
        ),
        bad("orders.csv row 5: customer is empty (2 such rows)", orders=ORDERS + ",0071,2024-03-05,1\n,0071,2024-03-05,1\n"),
        bad('set data.relations.buys.empty = "keep"', orders=ORDERS + "7,,2024-03-05,1\n"),
        bad("orders.csv row 5: date is empty (1 such rows)", orders=ORDERS + "7,0071,,1\n"),
        bad(
            "no kind of entity is called 'user'; known: item; add [data.entities.user], or set data.relations.buys.source.unknown",
            buys={"unknown": "reject"},
        ),
        bad('orders.csv row 3: date "01/03/2024" is no time', orders=ORDERS.replace("2024-03-01 10:00:00", "01/03/2024")),
        bad(
            'orders.csv row 2 and row 3: date "2024-03-02" and "2024-03-01T10:00:00+02:00", one with a time zone and one without; set '
            'data.relations.buys.time_zone to what those without mean, e.g. "UTC"',
            orders=ORDERS.replace("2024-03-01 10:00:00", "2024-03-01T10:00:00+02:00"),
        ),
        bad("products.csv: the table has no rows", products="sku,name,description\n"),
        bad("orders.csv: the table has no rows, the file is empty", orders=""),
        bad(
            "orders.csv line 5: byte 0xe9 at offset 101 is not UTF-8; save the file as UTF-8, e.g. iconv",
            orders=ORDERS.encode() + b"7,caf\xe9,2024-03-05,1\n",
        ),
        bad("orders.csv row 5: 5 fields where the header has 4", orders=ORDERS + "7,0071,2024-03-05,1,1\n"),
        bad("orders.csv row 5: 3 fields where the header has 4", orders=ORDERS + "7,0071,2024-03-05\n"),
        bad(
            "orders.csv row 3: 2 fields where the header has 4", orders='customer,sku,date,quantity\n1,"00\n71",2024-03-05,1\n1,"0,,,071"\n'
        ),
        bad(
            'orders.csv row 5: quantity "nan" is no weight, which is a number >= 0',
            orders=ORDERS + "7,0071,2024-03-05,nan\n",
            buys={"weight": "quantity"},
        ),
        bad('orders.csv row 5: quantity "inf" is no weight', orders=ORDERS + "7,0071,2024-03-05,inf\n", buys={"weight": "quantity"}),
        bad('orders.csv row 5: quantity "-1" is no weight', orders=ORDERS + "7,0071,2024-03-05,-1\n", buys={"weight": "quantity"}),
        bad('orders.csv row 5: quantity "two" is no weight', orders=ORDERS + "7,0071,2024-03-05,two\n", buys={"weight": "quantity"}),
        bad('orders.csv row 5: quantity "two" is no number', orders=ORDERS + "7,0071,2024-03-05,two\n", buys={"where": "quantity > 1"}),
        bad("orders.csv: none of 3 rows is left by data.relations.buys.where = 'quantity > 9'", buys={"where": "quantity > 9"}),
        bad(
            "data.relations.buys.where = 'quantty > 9': 'quantty' is no column of orders.csv; did you mean 'quantity'?",
            buys={"where": "quantty > 9"},
        ),
        bad("'SELECT' is no column of orders.csv; columns: ", buys={"where": "sku IN (SELECT sku FROM read_csv('products.csv'))"}),
        bad("open (...) is a function or a query, and none is allowed", buys={"where": "open(sku)"}),
        bad("data.relations.buys.where = 'sku'", buys={"where": "sku"}),
        bad("orders.csv row 1: column 'sku' stands twice in the header", orders=ORDERS.replace("date", "sku", 1)),
        bad('timeless = true and time = "date" exclude each other', buys={"timeless": True}),
        bad("'since' is a column that kgrec writes itself", item={"attributes": ("since",), "since": "listed_on"}),
        bad('data.entities.item.links.b: column "brand" is not numeric', item={"links": {"b": Link(column="brand", buckets=3)}}),
        bad(
            "data.entities.item.links.b.pattern = '[' is no regular expression",
            item={"links": {"b": Link(column="name", words=True, pattern="[")}},
        ),
        bad("exclude each other; keep one", item={"links": {"b": Link(column="name", words=True, separator=" ")}}),
        bad(
            "data.relations.buys.time_zone = \"Europe/Londn\" is no time zone; did you mean 'Europe/London'?",
            buys={"time_zone": "Europe/Londn"},
        ),
    ],
)
def test_a_mistake_is_told_with_place_and_remedy_in_one_line(tmp_path, products, ordered, item, buys, message):
    for name, content in (("products.csv", products), ("orders.csv", ordered)):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(KgrecError) as caught:
        load(tmp_path, item, buys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_ids_are_counted(shop):
    (shop / "orders.csv").write_text(ORDERS + "8,88x1,2024-03-05,1\n8,99,2024-03-05,1\n8,99,2024-03-05,1\n")
    (shop / "users.csv").write_text("id\n8\n9\n")
    users = {"item": items(shop), "user": Entity(file=shop / "users.csv", id="id")}
    with pytest.raises(KgrecError) as caught:
        Tables(entities=users, relations={"buys": orders(shop, unknown="reject")}).load()
    assert str(caught.value) == (
        'orders.csv row 5: sku "88x1" is no item (2 such ids in 3 rows); products.csv has 3 ids; '
        'fix the rows or set data.relations.buys.target.unknown = "add" or "drop"'
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "order.csv",
            None,
            "is called 'order.csv'; did you mean 'orders.csv'? known: orders.csv, products.csv; correct data.relations.buys.file",
        ),
        ("no/orders.csv", None, "there is no folder"),
        ("orders.xlsx", b"x", "no table format is called 'xlsx'"),
        ("orders.parquet", b"not a parquet file", "orders.parquet cannot be read as Parquet"),
        ("orders.jsonl", b'{"customer": 1}\nnonsense\n', "orders.jsonl row 2: Expecting value"),
        ("orders.jsonl", b'{"customer": 1}\n[1, 2]\n', "orders.jsonl row 2: '[1, 2]' is no JSON object"),
        ("orders.jsonl", b"", "orders.jsonl: the table has no rows"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_named(shop, name, content, message):
    if content is not None:
        (shop / name).write_bytes(content)
    with pytest.raises(KgrecError) as caught:
        load(shop, buys={"file": shop / name})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_names_a_relation_that_there_is(shop):
    tables = Tables(entities={"item": items(shop)}, relations={"buys": orders(shop)}, tasks={"t": Goal(relation="buys", history=("view",))})
    with pytest.raises(KgrecError, match=r"no relation is called 'view'; known: buys; correct data.tasks.t.history"):
        tables.load()


def test_file_or_parts(shop):
    with pytest.raises(KgrecError, match=r"data\.relations\.buys: parts exclude file"):
        load(shop, buys={"parts": {"train": shop / "orders.csv"}})
    with pytest.raises(KgrecError, match=r'data\.relations\.buys: file is missing; write file = "orders.csv"'):
        load(shop, buys={"file": None})
