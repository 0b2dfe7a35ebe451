"""Telephone numbers as people write them at home, without +CC: by the form that a country's numbers have, or by the word before them.

A form counts where little else has it. North America: 3-3-4 digits, no area or exchange ends in 11, no area in 00 (NANP); with blanks
only behind a word or a bracket, as numbers in a row look alike. With a trunk 0 (UK, most of the EU, China's landlines): an area, a
separator, 9 to 12 digits in all, and no date; UK mobiles also in one piece; France's five pairs. Behind a word such as "tel" or 电话:
7 to 15 digits however they are parted. Prices and order numbers have none of these forms, or stand behind other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BEFORE, AFTER = r"(?<![0-9A-Za-z_])(?<![0-9][./-])", r"(?![0-9A-Za-z_]|[./-][0-9])"
_AMERICAN = re.compile(rf"{BEFORE}(?:1[ .-])?(?:\(([2-9][0-9]{{2}})\) ?|([2-9][0-9]{{2}})([.-]))([2-9][0-9]{{2}})[ .-][0-9]{{4}}{AFTER}")
_TRUNK = re.compile(
    rf"{BEFORE}(?:\(0[1-9][0-9]{{1,4}}\) ?|0[1-9][0-9]{{0,4}}[ /-])(?:[0-9]{{2,8}}(?:[ -][0-9]{{2,8}}){{0,4}}){AFTER}"
    rf"|{BEFORE}0[1-9](?:([ .-])[0-9]{{2}})(?:\1[0-9]{{2}}){{3}}{AFTER}"
    rf"|{BEFORE}07[1-57-9][0-9]{{2}} ?[0-9]{{3}} ?[0-9]{{3}}{AFTER}"
)
_DATE = re.compile(r"0[1-9]([./ -])[0-9]{1,2}\1(?:19|20)[0-9]{2}")
_WORD = (
    r"(?:(?<![A-Za-z])(?i:tel(?:efon|[eé]fono|ephone|éphone)?|phone|mobile|mobil|m[oó]vil|cell(?:ulare)?|handy|fax|whatsapp|call(?: me)?(?: at| on)?|"
    r"text me at|portable)|电话|電話|手机|手機|联系方式)"
)
_LABELLED = re.compile(
    rf"{_WORD}(?:[ .]?(?i:no|nr|number|num|n°|is|was|号码|號碼|是)){{0,3}}[.:：]?[ ]{{0,2}}(\(?[0-9](?:[ ./()-]{{0,2}}[0-9]){{6,14}}){AFTER}"
)


def national(plain: str) -> Iterator[tuple[int, int]]:
    """(start, end) of each, in a text whose digits are ASCII."""
    for found in _LABELLED.finditer(plain):
        if found.group(1).count(".") != 1:  # one lone point is a decimal's
            yield found.span(1)
    for found in _AMERICAN.finditer(plain):
        area, exchange = found.group(1) or found.group(2), found.group(4)
        if area[1:] not in ("00", "11") and exchange[1:] != "11":
            yield found.span()
    for found in _TRUNK.finditer(plain):
        amount = re.match(r"0[0-9]{2} ", found.group()) and re.search(r"[0-9],$", plain[max(0, found.start() - 2) : found.start()])
        if 9 <= sum(c.isdigit() for c in found.group()) <= 12 and not _DATE.match(found.group()) and not amount:
            yield found.span()
