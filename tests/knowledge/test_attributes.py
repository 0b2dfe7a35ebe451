"""What names say: heads and themes are learned, lists are read, English and Chinese; lists and patterns fail where they should."""

from __future__ import annotations

import polars as pl
import pytest

from kgrec_core import Graph
from kgrec_core.knowledge.attributes import LISTS, Attributes, learned, values_of
from kgrec_core.knowledge.descriptions import described, parted
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


PROSE = {
    "m": ("Red mug", "A lovely mug made of ceramic with a rose print. For kids. Set of 2, 9 cm high. Comes in a blue box"),
    "l": ("Glass lamp", "Not made of plastic; its base is 100% oak."),
    "t": ("毛巾", "材质：纯棉，适合儿童使用。小兔图案"),
    "s": ("St. Ives bowl", None),
}


@pytest.mark.parametrize("column", [None, "about"])
def test_a_description_fills_what_the_name_leaves_open(column):
    names, about = zip(*PROSE.values(), strict=True)
    texts = names if column else [f"{name}. {more}" if more else name for name, more in PROSE.values()]
    items = pl.DataFrame({"id": list(PROSE), "text": [*texts], "about": [*about]})
    extra = pl.DataFrame({"id": [f"x{n}" for n in range(len(CORPUS))], "text": CORPUS})
    source = Attributes(description=column)
    graph = Graph({"item": pl.concat([items, extra], how="diagonal")})
    source.learn(graph)
    told: dict[str, dict[str, set[str]]] = {id: {} for id in PROSE}
    found = source.read(graph, {"item": graph.rows("item", list(PROSE))})
    for relation, edges in found.relations.items():
        for one, other in edges.iter_rows() if relation.source == "item" else ():
            ends = found.entities["item"]["id"][one], found.entities[relation.target]["id"][other]
            told[ends[0]].setdefault(relation.target, set()).add(ends[1])
    assert told["m"] == {"type": {"mug"}, "colour": {"red"}, "material": {"ceramic"}, "theme": {"rose"}, "audience": {"children"}, "count": {"2"}, "size": {"9 cm"}}  # fmt: skip
    assert told["l"] == {"type": {"lamp"}, "material": {"glass"}}, "what the name says stays"
    assert told["t"]["material"] == {"棉"} and told["t"]["audience"] == {"儿童"} and told["s"]["type"] == {"bowl"}


def test_prose_is_cut_at_sentences_and_what_is_denied_is_no_fact():
    assert parted("LAMP NO. 3 FOR THE WALL BY DAY") == ("LAMP NO. 3 FOR THE WALL BY DAY", "")
    assert parted("Blue lamp. Stands on a wooden table by day") == ("Blue lamp", "Stands on a wooden table by day")
    open_ = ("material", "colour")
    assert described("Stands on a wooden table. Not made of glass. Leather look", str, LISTS, (), open_) == {}
    assert described("Colour: red. 80% cotton, 20% linen", str, LISTS, (), open_) == {"colour": ["red"], "material": ["cotton", "linen"]}
