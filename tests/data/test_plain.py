"""One rule for texts, whoever brings them: HTML goes, words that only look like it stay."""

from __future__ import annotations

import polars as pl
import pytest

from kgrec_core.data.mapping import Entity
from kgrec_core.data.plain import plain, plain_texts
from kgrec_core.data.tables import Tables


@pytest.mark.parametrize(
    "text",
    [
        "Press <q> to quit, or <s> to save first.",
        "The <title> element names the page.",
        "To <address>, with your <code>.",
        "What does the <br> tag do?",
        "<p> elements, and the tag <hr>",
        "<br>标签是什么",
        "See https://a.example/track?id=7&region=eu&section=2&copy=1&para=x",
        "a < b && b > c, AT&T; 5 &unknown; 6",
        "Is <PHONE> or {order_id} right?",
    ],
)
def test_what_is_no_html_stays_as_it_is_written(text):
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<p>Yes, <b>very</b>.</p><br>Line two", "Yes, very. Line two"),
        ("<p>Unclosed <a href='x'>link", "Unclosed link"),
        ("<ul><li>one<li>two</ul>", "one two"),
        ("<script>alert(1)</script>Hi<!-- no -->", "Hi"),
        ("Yes&nbsp;&mdash; AT&amp;T, 5 &lt; 6 &#8364;", "Yes — AT&T, 5 < 6 €"),
        ("e\u0301 \x00\x07\u202eabc\u200b \ud800d", "é abc d"),
    ],
)
def test_html_and_control_characters_go(text, said):
    assert plain(text) == said


def test_lines_are_kept_where_they_are_asked_for():
    assert plain("<p>one</p>\n\n<p>two</p>", lines=True) == "one\ntwo"


def test_columns_are_cleaned_like_single_texts(tmp_path):
    texts = ["as it is", "two  blanks", " <b>bold</b> ", "", None, "<q>", "caf\u0065\u0301"]
    assert plain_texts(pl.Series(texts)).to_list() == ["as it is", "two blanks", "bold", None, None, "<q>", "café"]
    (tmp_path / "products.csv").write_text("sku,name\n1,Salt &amp; pepper<br>set\n")
    graph = Tables(entities={"item": Entity(file=tmp_path / "products.csv", id="sku", text=("name",))}).load().graph
    assert graph.entities["item"]["text"].to_list() == ["Salt & pepper set"]
