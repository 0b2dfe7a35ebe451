"""Numbers as people write them; what has two readings stays text, and says so."""

from __future__ import annotations

import math
import re

import polars as pl
import pytest

from kgrec_core.data.mapping import Entity
from kgrec_core.data.numeric import numbers
from kgrec_core.data.tables import Tables


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["1,234.50", "3"], [1234.5, 3]),
        (["5,90", "3,00"], [5.9, 3]),
        (["1.234,50", "2"], [1234.5, 2]),
        (["1\u00a0234,50 €", "€ -5,90"], [1234.5, -5.9]),
        (["£5.90", "£3"], [5.9, 3]),
        (["USD 1'234.50", "7 USD"], [1234.5, 7]),
        (["5.90", "n/a", "-", ""], [5.9, None, None, None]),
        ([" 5.90", "3 "], [5.9, 3]),
        (["1,234,567", "12"], [1234567, 12]),
        (["1,23,456.5"], [123456.5]),
        (["inf", "1e300", "nan", "5"], [None, None, None, 5]),
    ],
)
def test_numbers_as_people_write_them(written, read):
    assert numbers(pl.Series("price", written)).values.to_list() == read


@pytest.mark.parametrize(
    ("written", "at", "doubt"),
    [
        (["7", "1,234"], 1, "decimal comma or with a decimal point"),
        (["5,90", "5.90"], 0, "decimal comma or with a decimal point"),
        (["5", "6", "ask us"], 2, r"is no number \(1 such rows\)"),
        (["$5", "€3"], 1, "another currency"),
        (["36,38,40", "38"], 0, "is no number with the decimal mark"),
    ],
)
def test_what_is_not_told_stays_text_with_a_doubt(written, at, doubt):
    found = numbers(pl.Series("price", written))
    assert found.values is None and found.at == at
    assert re.search(doubt, found.doubt)


def test_text_and_codes_are_no_doubt():
    for column in (["red", "blue", "7"], ["007", "12"], ["", None], ["n/a"]):
        assert numbers(pl.Series("code", column, dtype=pl.String)) == (None, "", 0)


def test_a_decimal_mark_that_is_given_decides():
    column = pl.Series("price", ["1,234", "2"])
    assert numbers(column, ",").values.to_list() == [1.234, 2] and numbers(column, ",").doubt == ""
    assert numbers(column, ".").values.to_list() == [1234, 2]
    assert "decimal mark" in numbers(pl.Series("price", ["1.5", "2"]), ",").doubt


def test_infinite_numbers_of_a_program_are_nothing():
    found = numbers(pl.Series("price", [1.0, math.inf, math.nan]))
    assert found.values.to_list() == [1.0, None, None] and found.at == 1 and "infinite" in found.doubt


def test_a_table_says_which_price_is_none(tmp_path):
    file = tmp_path / "products.csv"
    file.write_text('sku,price,size\nA1,"1,234",S\nB2,7,M\n')
    part = Tables(entities={"item": Entity(file=file, id="sku", attributes=("price", "size"))})
    assert part.load().graph.entities["item"]["price"].to_list() == ["1,234", "7"]
    (doubt,) = part.summary_.doubts
    assert doubt.startswith('products.csv row 2: price "1,234" can be read') and 'data.entities.item.decimal = "," or "."' in doubt
    part = Tables(entities={"item": Entity(file=file, id="sku", attributes=("price",), decimal=".")})
    assert part.load().graph.entities["item"]["price"].to_list() == [1234, 7] and not part.summary_.doubts
