"""Linking finds the companies that a reader would, and none of the look-alikes that raised false alarms in real streams."""

from __future__ import annotations

import time
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kgrec_finance.articles.companies import COMPANY, open_companies
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.sample import TWEETS_COMPANIES, open_aliases

from kgrec_core import KgrecError

ROWS = [
    ("apple", "Apple Inc.", "AAPL", ["苹果公司"]),
    ("t", "AT&T Inc.", "T", []),
    ("d", "Dominion Energy Inc.", "D", []),
    ("a", "Agilent Technologies", "A", []),
    ("all", "Allstate Corporation", "ALL", []),
    ("it", "Gartner", "IT", []),
    ("ko", "The Coca-Cola Company", "KO", []),
    ("brka", "Berkshire Hathaway Inc.", "BRK-A", []),
    ("ms", "Morgan Stanley", "MS", []),
    ("pg", "The Procter & Gamble", "PG", []),
    ("boa", "Bank of America", "BAC", []),
    ("bnd", "Bank of India", None, []),
    ("moutai", "贵州茅台", "600519.SH", ["茅台"]),
    ("adaniports", "Adani Ports", "ADANIPORTS", ["Adani"]),
    ("adanient", "Adani Enterprises", "ADANIENT", ["Adani"]),
    ("itc", "ITC", None, []),
    ("drl", "Dr. Reddy's Laboratories", None, ["Dr Reddy's"]),
    ("fluoro", "Gujarat Fluorochemicals", None, []),
    ("lumax", "Lumax Industries", None, []),
]


def table(rows=ROWS) -> pl.DataFrame:
    return pl.DataFrame([(i, n, t, a, None, []) for i, n, t, a in rows], schema=COMPANY, orient="row")


LINKER = Linker(table())


def named(text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.company) for span in LINKER.find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Apple rises, apple pie does not", [("Apple", "apple")]),
        ("Apple's profit", [("Apple", "apple")]),
        ("Pineapple and Applebee", []),
        ("$aapl up, $AAPL.", [("$aapl", "apple"), ("$AAPL", "apple")]),
        ("AAPL beats", [("AAPL", "apple")]),
        ("aapl beats", []),
        ("$AAPL-led rally in $T/$KO", [("$AAPL", "apple"), ("$T", "t"), ("$KO", "ko")]),
        # look-alikes of real streams
        ("RT @SnoopDog: L$D", []),
        ("A$AP Rocky - L$D (LOVE x $EX x DREAMS)", []),
        ("$D gains", [("$D", "d")]),
        ("($D)", [("$D", "d")]),
        ("US$D $DD $D2 $$D", []),
        ("$BRK.A and $BRK-A and $brk_a", [("$BRK.A", "brka"), ("$BRK-A", "brka"), ("$brk_a", "brka")]),
        ("$T.TO is another share", []),
        # tickers that are words
        ("IT IS ALL A GAME", []),
        ("All in: A new IT boom", []),
        ("IT stocks and T bills", []),
        ("NYSE: T and (NYSE:ALL), NASDAQ:AAPL", [("NYSE: T", "t"), ("NYSE:ALL", "all"), ("NASDAQ:AAPL", "apple")]),
        ("AT&T (T) and Agilent Technologies, A", [("AT&T", "t"), ("T", "t"), ("Agilent Technologies", "a"), ("A", "a")]),
        ("Apple (T)", [("Apple", "apple")]),
        ("BIG NEWS FOR MS PATIENTS", []),
        ("$MS: MS upgraded", [("$MS", "ms"), ("MS", "ms")]),
        # spelling that does not count
        ("Coca Cola, coca-cola", [("Coca Cola", "ko"), ("coca-cola", "ko")]),
        ("Procter and Gamble", [("Procter and Gamble", "pg")]),
        ("Dr Reddy’s Laboratories; Dr. Reddy's up", [("Dr Reddy’s Laboratories", "drl"), ("Dr. Reddy's", "drl")]),
        ("ITC up, itc, Itc", [("ITC", "itc")]),
        ("ADANI PORTS", [("ADANI PORTS", "adaniports")]),
        # one name, several companies
        ("Adani falls", []),
        ("Adani falls, Adani Ports most", [("Adani", "adaniports"), ("Adani Ports", "adaniports")]),
        ("Bank of America", [("Bank of America", "boa")]),
        # Chinese
        ("今日贵州茅台股价上涨", [("贵州茅台", "moutai")]),
        ("买入茅台,苹果公司", [("茅台", "moutai"), ("苹果公司", "apple")]),
        ("SH600519 600519.SH（600519） 2600519", [("SH600519", "moutai"), ("600519.SH", "moutai"), ("600519", "moutai")]),
        ("in 600519 cases", []),
        # misspelt
        ("Gujarat Flourochemicals on a roll", [("Gujarat Flourochemicals", "fluoro")]),
        ("Lux Industries lists", []),
        ("gujarat flourochemicals", []),
        # what is not read
        ("http://x.co/Apple www.Apple.com jo@Apple.com @Apple", []),
        ("", []),
    ],
)
def test_what_a_text_names(text, expected):
    assert named(text) == expected


WORDS = Linker(
    table(
        [
            ("ET", "Energy Transfer LP", "ET", []),
            ("AI", "C3.ai, Inc.", "AI", []),
            ("DOW", "Dow Inc.", "DOW", []),
            ("TGT", "Target Corporation", "TGT", []),
            ("BBY", "Best Buy Co., Inc.", "BBY", []),
            ("ICE", "Intercontinental Exchange", "ICE", []),
            ("HP", "HP Inc.", None, []),
            ("BP", "BP plc", None, []),
            ("MMM", "3M Company", None, []),
            ("EY", "EY Ltd", None, []),
            ("nestle", "Nestlé SA", None, []),
        ]
    )
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Decision due at 3 p.m. ET on Friday", []),
        ("Chip makers gain on AI demand", []),
        ("The Dow Jones index loses 200 points", []),
        ("ICE raids a farm", []),
        ("Ten best buy rated funds", []),
        ("Broker lifts Target price to $70", []),
        ("Energy Transfer (NYSE: ET) raises payout", ["ET"]),
        ("$AI rises as C3.ai reports", ["AI"]),
        ("Dow Inc. cuts jobs, Best Buy hires, Target shares fall", ["BBY", "DOW", "TGT"]),
        ("HP falls as BP gains, 3M settles, EY audits", ["BP", "EY", "HP", "MMM"]),
        ("turn the hp up by 20 bp", []),
        ("Nestle, Nestlé and NESTLE\u0301", ["nestle"]),
    ],
)
def test_names_that_are_words_and_short_names(text, expected):
    assert sorted({span.company for span in WORDS.find(text)}) == expected


def test_how_and_how_sure():
    spans = LINKER.find("Apple $AAPL AAPL Gujarat Flourochemicals")
    assert [span.how for span in spans] == ["alias", "cashtag", "ticker", "fuzzy"]
    assert [span.score for span in spans[:3]] == [1, 1, 1] and 0.92 <= spans[3].score < 1
    assert not Linker(table(), fuzzy=1).find("Gujarat Flourochemicals")


def test_resolve():
    known = {
        "aapl": "apple",
        "$AAPL": "apple",
        "apple": "apple",
        "Apple Inc.": "apple",
        "600519": "moutai",
        "茅台": "moutai",
        "Brk.A": "brka",
    }
    assert {name: LINKER.resolve(name) for name in known} == known
    assert LINKER.resolve("ZZZZ") is None and LINKER.resolve("Adani") is None and LINKER.resolve(" ") is None


def test_a_table_without_names_is_refused():
    with pytest.raises(KgrecError, match="neither names nor tickers"):
        Linker(pl.DataFrame({"id": ["1"]}))


ALPHABET = st.text(st.sampled_from("Ap$aleTDA&. -L'ITC茅台贵州()@\n:"), max_size=60)


@given(ALPHABET)
def test_spans_are_ordered_apart_and_inside_the_text(text):
    spans = LINKER.find(text)
    assert all(0 <= s.start < s.end <= len(text) and 0 < s.score <= 1 for s in spans)
    assert all(one.end <= two.start for one, two in pairwise(spans))


@given(ALPHABET, st.sampled_from(["Apple", "$AAPL", "贵州茅台", "Bank of America"]), ALPHABET)
def test_a_name_between_blanks_is_found_whatever_stands_around_it(before, name, after):
    text = f"{before} | {name} | {after}"
    at = len(before) + 3
    assert any(s.start <= at and s.end >= at + len(name) for s in LINKER.find(text))


@given(st.text(max_size=200))
def test_any_text_can_be_read(text):
    LINKER.find(text)


def test_the_work_of_linking_grows_with_the_text_alone():
    """CPU seconds of this process, so that a busy machine changes nothing; quadratic work would be 16 times as much."""
    linker = Linker(open_aliases())
    assert len(linker.find("Sun Pharma and Dr. Reddy's are top pharma stocks: Mitesh Thacker, Infosys falls")) >= 2

    def seconds(words: int) -> float:
        start = time.process_time()
        linker.find("Apple Gujarat of " * words)
        return time.process_time() - start

    assert seconds(8_000) < 8 * min(seconds(2_000) for _ in range(3)) + 0.2


def test_real_look_alikes_and_real_tickers():
    linker = Linker(open_companies(TWEETS_COMPANIES))
    spam = "RT @bstrongstocks: $NGCG @NewGenCG IT'S GO TIME local and national retail chains ~  $TILE $NXPI $KO $…"
    assert [s.company for s in linker.find(spam)] == ["KO"], "$NGCG is nobody we know; that $KO is spam is seen by its copies"
    assert linker.find('WILL BE BIGGER THAN " $SSFT "') == []
    assert {s.company for s in linker.find("Walmart shares took a beating $WMT")} == {"WMT"}
