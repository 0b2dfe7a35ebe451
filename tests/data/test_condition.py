"""condition: what it lets pass means what SQL means by it (against SQLite), and nothing else passes."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_core.data.condition import condition
from kgrec_core.errors import KgrecError

TABLE = pl.DataFrame(
    {
        "x": [1.0, 2.0, None, -3.5, 0.0, 2.0],
        "n": [1, None, 3, -3, 0, 7],
        "t": ["red", None, "Blue", "re", "", "r_d%"],
        "two words": ["red", "red", None, "x", "y", "re"],
        "code": ["1", "2.5", None, "-3", "", "4"],
        "b": [True, False, None, True, False, None],
        "day": [datetime(2024, 1, day) for day in (1, 2, 3, 4, 5, 6)],
        "tags": [["a"]] * 6,
    }
)


def rows(where: str) -> list[int]:
    met = condition(where, TABLE.schema, "where", "item")
    return met.meets(TABLE).nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("x > 1", [1, 5]),
        ("x > 1 AND NOT t = 'red' OR n = 3", [2, 5]),
        ("x + n * 2 >= 3", [0, 5]),
        ("x / n > 0", [0, 3, 5]),
        ("n % 2 = 1 AND -n < 0", [0, 2, 5]),
        ("t IN ('red', 'Blue')", [0, 2]),
        ("n NOT IN (1, -3)", [2, 4, 5]),
        ("x BETWEEN -4 AND 1 AND b IS NOT FALSE", [0, 3]),
        ("t LIKE 're%'", [0, 3]),
        ("t LIKE 'r_d%'", [0, 5]),
        ("t NOT LIKE 're%'", [2, 5]),
        ("t ILIKE 'bl_e'", [2]),
        ("t ~ '^re?' AND t !~ 'd$'", [3, 5]),
        ("t IS NULL", [1, 4]),  # an empty text is NULL
        ('"two words" = t', [0]),
        ("code > 2", [1, 5]),  # a text column beside numbers
        ("b", [0, 3]),
        ("b IS NOT TRUE", [1, 2, 4, 5]),
        ("day >= '2024-01-04' AND day <> '2024-01-05T00:00:00+00:00'", [3, 5]),
        ("t = 'it''s' OR n = 7", [5]),
        ("((((n)))) = 7", [5]),
        ("x < .5 AND x > -.5", [4]),
    ],
)
def test_a_condition_means_what_sql_means(where, kept):
    assert rows(where) == kept


def test_what_is_handed_on_is_quoted_and_means_the_same():
    met = condition("n=1 AND \"two words\" like 'r%' or x<-3", TABLE.schema, "where", "item")
    assert met.text == '"n" = 1 AND "two words" LIKE \'r%\' OR "x" < -3'
    assert rows(met.text) == rows("n=1 AND \"two words\" like 'r%' or x<-3") == [0, 3]
    assert (met.columns, met.numbers) == (("n", "two words", "x"), ())


NUMBERS = st.sampled_from(["x", "n", "2", "-3", "0.5", "x + n", "x * 2", "n - 1", "(x)"])
TEXTS = st.sampled_from(["t", '"two words"', "'red'", "'re'", "'r_d%'"])
SIGN = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])
LEAF = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(["x", "n"]), SIGN, NUMBERS),
    st.builds("{} {} {}".format, st.sampled_from(["t", '"two words"']), SIGN, TEXTS),
    st.builds("{} {}IN (1, 2, -3)".format, st.sampled_from(["x", "n"]), st.sampled_from(["", "NOT "])),
    st.builds("t {}LIKE '{}'".format, st.sampled_from(["", "NOT "]), st.text("red_%.B", max_size=4)),
    st.builds("x {}BETWEEN {} AND {}".format, st.sampled_from(["", "NOT "]), NUMBERS, NUMBERS),
    st.builds("{} IS {}NULL".format, st.sampled_from(["x", "n", "t"]), st.sampled_from(["", "NOT "])),
)
CONDITIONS = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds("{} AND {}".format, inner, inner), st.builds("({} OR {})".format, inner, inner), st.builds("NOT ({})".format, inner)
    ),
    max_leaves=6,
)


@settings(max_examples=300, derandomize=True)
@given(CONDITIONS)
def test_sqlite_keeps_the_same_rows(where):
    base = sqlite3.connect(":memory:")
    base.execute("PRAGMA case_sensitive_like = 1")
    base.execute('CREATE TABLE item (i INTEGER, x REAL, n INTEGER, t TEXT, "two words" TEXT)')
    table = TABLE.select("x", "n", pl.when(pl.col("t") != "").then("t").alias("t"), "two words").with_row_index()
    base.executemany("INSERT INTO item VALUES (?, ?, ?, ?, ?)", table.rows())
    expected = [i for (i,) in base.execute(f"SELECT i FROM item WHERE {where} ORDER BY i")]
    assert rows(where) == expected == rows(condition(where, TABLE.schema, "where", "item").text)


DEEP = "more than 32 brackets, NOTs or signs"
BAD = {
    "n IN (SELECT x FROM read_csv('/etc/passwd'))": "SELECT",
    "t IN (SELECT x FROM (VALUES (1)) v(x))": "SELECT",
    "read_csv('/etc/passwd') = t": "read_csv (...) is a function or a query",
    "EXISTS (SELECT 1)": "EXISTS (...) is a function",
    "x > 1 -- AND b": "holds a comment",
    "x /* SELECT */ > 1": "holds a comment",
    "upper(t) = 'RED'": "upper (...) is a function",
    "CAST(t AS INT) = 1": "CAST (...) is a function",
    "t::int = 1": "'::' is not allowed",
    "CASE WHEN b THEN 1 END = 1": "'CASE' is no column of item; columns: x, n",
    "x > 1; DROP TABLE item": "';' is not allowed",
    "item.x > 1": "'item' is no column",
    "x > $1": "is not allowed",
    "x > ?": "is not allowed",
    "x > :y": "is not allowed",
    "@x > 1": "is not allowed",
    "t || 'x' = 'redx'": "is not allowed",
    "x ^ 2 > 1": "is not allowed",
    "* = 1": "'*' is not allowed",
    "t = E'\\x41'": "is not allowed",
    "t = $$red$$": "is not allowed",
    "t = X'41'": "is not allowed",
    "t LIKE 'x!%' ESCAPE '!'": "'ESCAPE' is no column",
    "t LIKE t": "a pattern is a text in single quotes",
    "t ~ '(('": "cannot be applied to item: ",
    "t ~ '(a{1000}){1000}'": "cannot be applied to item: ",
    "x IN ()": "not allowed",
    "x IN n": "not allowed",
    "x IN (1, 'a')": "all of one kind",
    "x IN (n)": "stands where a number or a 'text' belongs",
    "(x, n) IN ((1, 2))": "stands where",
    "x = NULL": "write IS NULL",
    "prise < 5": "'prise' is no column of item; columns: x, n, t, two words, code, b, day, tags",
    "X > 1": "did you mean 'x'?",
    "t": "'t' is text and no condition",
    "x": "'x' is a number and no condition",
    "tags = 'a'": "tags is neither number nor text",
    "x > 'a'": "a number stands without quotes",
    "x LIKE '1%'": "'x' is a number and not text",
    "day > 'soon'": "'soon' is no time",
    "b > 1": "b is true or false and 1 is a number, which cannot be compared",
    "x < n < 3": "which cannot be compared",
    "1 = 1": "it names no column",
    "x >": "it is no condition",
    "IN = 1": "stands where a column belongs",
    "x > 30e": "'30e' is no number",
    "x > 1 n": "it is no condition",
    "": "it is no condition",
    "x = '": "it is no condition",
    "x = 1 \ud800": "is not allowed",
    "(" * 500 + "x" + ")" * 500 + " = 1": DEEP,
    "NOT " * 3000 + "b": DEEP,
    "x = " + "- " * 3000 + "1": DEEP,
    "b = NOT " * 40 + "b": DEEP,
    "+".join(["x"] * 500) + " > 1": "it is too deep",
    "x = 1 OR " * 2000 + "b": "has 8,001 words and signs, and 5,000 are allowed",
    "t = '" + "a" * 100_000 + "'": "has 100,006 characters, and 20,000 are allowed",
}


@pytest.mark.parametrize("where", BAD, ids=lambda where: where[:30].encode("ascii", "replace").decode())
def test_what_is_no_such_condition_is_one_short_line(where, capfd):
    start = time.process_time()
    with pytest.raises(KgrecError) as told:
        condition(where, TABLE.schema, "where", "item")
    line = str(told.value)
    assert BAD[where] in line and line.startswith("where = ") and "\n" not in line and len(line) < 600
    assert time.process_time() - start < 2 and capfd.readouterr() == ("", "")


def test_many_alternatives_are_no_depth():
    assert rows(" OR ".join(["n = 1"] * 1000)) == [0]
    assert rows(f"n IN ({', '.join(map(str, range(2000)))})") == [0, 2, 4, 5]


def test_words_of_sql_are_columns_where_there_are_such():
    table = pl.DataFrame({"user": [1], "if": [2], "order": [3], "select": [4], "价格": [5], "in": [6]})
    met = condition('user = 1 AND if = 2 AND order = 3 AND select = 4 AND 价格 = 5 AND "in" = 6', table.schema, "where", "item")
    assert met.meets(table).tolist() == [True]


def test_every_number_has_a_value():
    table = pl.DataFrame({"big": [2**63 - 1, 5], "u": pl.Series([2**64 - 1, 5], dtype=pl.UInt64), "f": [1e300, 5.0]})
    for where in ("big = 9223372036854775807", "u > 9223372036854775808", "f > 1e299", "big > 4 AND f * f IS NULL"):
        assert condition(where, table.schema, "where", "item").meets(table).sum() == 1, where
