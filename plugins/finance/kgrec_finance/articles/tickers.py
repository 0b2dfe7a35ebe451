"""Tickers in a text: behind `$`, behind an exchange, or bare in capitals; and which of them are doubtful.

`$AAPL` is a ticker in any case where neither a letter, digit nor `$` stands right before it (`L$D` is not `$D`), and nothing of a longer
symbol behind it (`$BRK-A` is not `$BRK`). "NYSE: T", "SH600519", "600519.SH" and "(600519)" name their market.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_WORDS = (
    "A AI ALL AM AN AND ANY ARE AS AT BE BIG BUY BY CAN CAR CASH CAT CEO CFO COO COST DAY DD DO EAT EPS ET EV FAST FOR FREE FUN GAS GDP GO GOOD "
    "HAS HE HOLD HOME I ICE IN IPO IS IT ITS KEY LIFE LOVE LOW MA ME MO MS MY NEW NEWS NEXT NICE NO NOW OF OIL OLD ON ONE OPEN OR OUT PAY PC PE "
    "PLAY PM POST REAL RE RUN SAFE SEE SELL SO STAY SUN TEAM TECH THE TO TOP TRUE TV TWO UK UP US USA WELL WE WORK YOU"
)
COMMON = frozenset(_WORDS.split())
_NAMES = (  # words that names of companies are made of and that texts say of other things
    "a advance american and auto best big bath beyond body buy capital children city costs direct discover dollar dow energy first five "
    "foot for gap general global good health home international life live locker lots low main market morning national new next of old "
    "one open palace parts people place progressive public realty simply smart star storage street summit sun super target the time "
    "travel tree united universal us vital waste water western whole works world"
)
ORDINARY = frozenset(_NAMES.split())
_EXCHANGE = "NYSE|NASDAQ|Nasdaq|AMEX|LSE|BSE|NSE|HKEX|HKG|SSE|SZSE|SEHK|TSE|TSX|ASX|XETRA|ETR|EPA|TYO|SHA|SHE"
_MARKED = re.compile(
    r"(?<![\w$])\$([A-Za-z][A-Za-z0-9]{0,9}(?:[-._/][A-Za-z]{1,2})?|\d{4,6}(?:\.[A-Za-z]{2})?)(?![\w$]|[-._/][A-Za-z]{1,2}\b)"
    rf"|(?<!\w)(?:{_EXCHANGE})\s?[:：]\s?([A-Za-z0-9]{{1,10}}(?:[-.][A-Z]{{1,2}})?)(?!\w)"
    r"|(?<![\w.])((?:SH|SZ|HK|BJ)[:：]?\d{4,6}|\d{4,6}\.(?:SH|SS|SZ|HK|BJ)|(?<=[(（])\d{6}(?=[)）]))(?!\w)"
)
_BARE = re.compile(r"(?<![\w$.@-])([A-Z][A-Z0-9]{0,9}(?:[-.][A-Z]{1,2})?)(?![\w$@]|-[a-z0-9])")
_NUMBER = re.compile(r"(?:(?:SH|SZ|HK|BJ):?)?(\d{4,6})(?:-(?:SH|SS|SZ|HK|BJ))?")


class Ticker(NamedTuple):
    """text[start:end] is written as a ticker; doubtful: it may well be a word."""

    start: int
    end: int
    symbol: str
    doubtful: bool = False


def symbol(ticker: str) -> str:
    """One spelling for all: "$brk.b" is BRK-B, "SH600519" and "600519.SH" are 600519."""
    plain = re.sub(r"[._/]", "-", ticker.strip().lstrip("$").upper().replace("：", ":"))
    number = _NUMBER.fullmatch(plain)
    return number[1] if number else plain


def marked(text: str) -> Iterator[tuple[Ticker, bool]]:
    """Tickers that say so, and whether by `$`."""
    for hit in _MARKED.finditer(text):
        yield Ticker(hit.start(), hit.end(), symbol(hit[hit.lastindex])), hit.lastindex == 1


def bare(text: str) -> Iterator[Ticker]:
    """Words in capitals. One letter, a word of COMMON, and any in a text that is all in capitals are doubtful."""
    loud = text.isupper()
    for hit in _BARE.finditer(text):
        yield Ticker(hit.start(), hit.end(), symbol(hit[1]), loud or len(hit[1]) == 1 or hit[1] in COMMON)
