"""What names say: heads and themes are learned, lists are read, English and Chinese; lists and patterns fail where they should."""

from __future__ import annotations

import pytest

from kgrec_core.knowledge.attributes import learned, values_of
from kgrec_core.knowledge.phrases import phrase, singulars

CORPUS = [
    form.format(colour, theme, thing)
    for form, colour in (("{0} {1} {2}", "RED"), ("{1} DESIGN {2} {0}", "BLUE"), ("{2} {1} {0}", "WHITE"))
    for theme in ("CHRISTMAS", "ROSE", "HEART", "VINTAGE")
    for thing in ("MUG", "LAMP", "CANDLES", "MONEY BOX", "BOWL", "APRON")
]


@pytest.fixture(scope="module")
def known():
    return learned([*CORPUS, "CANDLE IN A BOX", "BOX OF MATCHES", "GIFT BOX"])


def read(text, known):
    return values_of(phrase(text, singulars(known.words)), known)


def test_the_head_is_the_type_wherever_it_stands(known):
    assert read("SMALL GLASS CHRISTMAS CANDLE RED", known) == {
        "type": ["candle"], "colour": ["red"], "material": ["glass"], "size": ["small"], "theme": ["christmas"]
    }  # fmt: skip
    assert read("APRON, CHILDRENS ROSE DESIGN", known) == {"type": ["apron"], "audience": ["children"], "theme": ["rose"]}
    assert read("LAMP WITH HEART BOWL", known)["type"] == ["lamp"]
    assert read("VINTAGE MONEY BOX", known)["type"] == ["money box"]
    assert "type" not in read("RED", known)


def test_a_theme_stands_before_many_types_and_is_none_of_them(known):
    assert known.themes == {"christmas", "rose", "heart", "vintage"} and "money box" in known.compounds


@pytest.mark.parametrize(
    ("text", "counts", "measures"),
    [
        ("SET/6 MUGS", ["6"], []), ("SET OF THREE BOWLS", ["3"], []), ("S/4 CANDLES", ["4"], []), ("PACK OF 12 LAMPS", ["12"], []),
        ("4 PINK CANDLES", ["4"], []), ("PAIR OF LAMPS", ["2"], []), ("MUG 15CM", [], ["15 cm"]), ("3 TIER CAKE STAND", [], []),
        ("60 CM BOWL", [], ["60 cm"]), ("RUG 40X60CM", [], ["40 x 60 cm"]), ("MUG NO 7", [], []), ("1 MUG", [], []),
        ("陶瓷碗6件套", ["6"], []), ("红色杯子300ml", [], ["300 ml"]),
    ],
)  # fmt: skip
def test_counts_and_measures(text, counts, measures):
    found = phrase(text)
    assert (list(found.counts), list(found.measures)) == (counts, measures)


def test_chinese_names():
    names = [
        f"{colour}{theme}{thing}" for colour in ("红色", "蓝色") for theme in ("圣诞", "卡通") for thing in ("杯子", "台灯", "雨伞", "毛巾")
    ]
    known = learned(names)
    assert read("儿童红色卡通陶瓷杯子2个装", known) == {
        "type": ["杯子"], "colour": ["红色"], "material": ["陶瓷"], "count": ["2"], "audience": ["儿童"], "theme": ["卡通"]
    }  # fmt: skip


def test_equal_corpora_learn_equal_things(known):
    assert learned([*CORPUS, "CANDLE IN A BOX", "BOX OF MATCHES", "GIFT BOX"]) == known
    assert learned([]).themes == frozenset() and learned(["", "!!", "|"]).heads == {}
