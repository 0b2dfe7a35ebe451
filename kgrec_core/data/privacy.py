"""Personal data in texts becomes <PHONE>, <EMAIL>, ... on import, so that no model, index or report ever holds it.

Numbers are masked where they prove themselves: by a check digit (resident ID: GB 11643, ISO 7064 MOD 11-2; bank card: Luhn, ISO/IEC
7812; IBAN: ISO 13616, MOD 97) or by a form that little else has (mobile phone, +CC phone, national phone (`phones`), e-mail in any
script, IPv4, IPv6 of a network, US social security number). Any other number stays. About
one in ten numbers of a card's prefix and length passes Luhn, and 11 digits from 13 to 19 on look like a mobile: such order numbers go too.
Names are left in, unless presidio-analyzer (extra `pii`) and a spaCy model of the language are installed; none is ever downloaded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import IPv6Address
from itertools import zip_longest
from typing import Any

from kgrec_core.data.phones import national
from kgrec_core.errors import KgrecError

# ASCII for its full-width forms, one character for one, so that places stay.
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_WORTH = re.compile("[0-9@０-９＠]")
_BEFORE, _AFTER = r"(?<![0-9A-Za-z_])(?<![0-9]\.)", r"(?![0-9A-Za-z_]|\.[0-9])"
_LABELLED = "(?:" + "|".join([_BEFORE, *(rf"(?<={label})" for label in ("tel", "Tel", "TEL", "vx", "VX", "wx", "WX"))]) + ")"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s<>\"',;\u0080-\U0010ffff]+")
_SIGNED_IN = re.compile(r"://[^/?#]*@")  # https://user:password@host
_PLACEHOLDER = re.compile(r"<[A-Z_]+>")
_PROVINCES = {*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82}
# Prefix of a card's number -> its lengths.
_CARDS = (
    (r"4", (13, 16, 19)),
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
    (r"3[47]", (15,)),
    (r"30[0-5]|3[689]", (14,)),
    (r"35|60", (16,)),
    (r"50|5[6-8]|6[1-9]|81|9558", (16, 17, 18, 19)),
)
# Length of an IBAN -> the countries that have it.
_IBANS = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
# What presidio adds; the rest of it is found above, or too often in numbers that are nobody's.
_FURTHER = {"PERSON": "PERSON", "US_SSN": "SSN", "CRYPTO": "WALLET", "MAC_ADDRESS": "MAC"}


def mask(texts: Iterable[str], language: str = "auto", counts: Counter[str] | None = None) -> list[str]:
    """The texts with <EMAIL>, <ID_CARD>, <IBAN>, <BANK_CARD>, <SSN>, <PHONE>, <IP>, and <URL> for a link with a user name in it.

    Other links stay: of them only e-mail addresses and what follows "?" is looked at. Full-width digits count as digits; what is
    masked already is left alone, so masking twice changes nothing. Where presidio-analyzer is installed it adds <MAC>, <WALLET>,
    and <PERSON> where spaCy has a model of the language. Raises KgrecError for a presidio too old to go without one.
    language: of all texts, for presidio ("en", "zh", ...); "auto" = Chinese where a text has a Chinese character, else English.
    counts: is added to, per type without the brackets; the report of an import.

    >>> mask(["Call +1 (212) 555-0147 or mail jo@example.com, order 20240501123456"])
    ['Call <PHONE> or mail <EMAIL>, order 20240501123456']
    """
    found = Counter() if counts is None else counts
    return [_masked(text, language, found) for text in texts]


def _masked(text: str, language: str, counts: Counter[str]) -> str:
    if _WORTH.search(text):
        while spans := _spans(text):
            text = _replaced(text, spans, counts)
    if find_spec("presidio_analyzer"):
        text = _replaced(text, _further(text, language), counts)
    return text


def _replaced(text: str, spans: list[tuple[int, int, str]], counts: Counter[str]) -> str:
    parts, at = [], 0
    for start, end, kind in sorted(spans):
        parts += [text[at:start], f"<{kind}>"]
        at = end
        counts[kind] += 1
    return "".join([*parts, text[at:]])


def _spans(text: str) -> list[tuple[int, int, str]]:
    """(start, end, type) that do not overlap: of two the type that proves more, the order of `_RECOGNISERS`."""
    plain, taken, used, kept = text if text.isascii() else text.translate(_NARROW), [], bytearray(len(text)), bytearray(len(text))
    for link in _URL.finditer(text):
        if _SIGNED_IN.search(link.group()):
            taken.append((*link.span(), "URL"))
            used[link.start() : link.end()] = b"\1" * len(link.group())
        else:
            shown = len(link.group().partition("?")[0])
            kept[link.start() : link.start() + shown] = b"\1" * shown
    for kind, recognise in _RECOGNISERS:
        for start, end in recognise(plain):
            if used.find(1, start, end) < 0 and (kind == "EMAIL" or kept.find(1, start, end) < 0):
                taken.append((start, end, kind))
                used[start:end] = b"\1" * (end - start)
    return taken


def _matches(pattern: str, proves: Callable[[str], bool] = bool) -> Callable[[str], Iterator[tuple[int, int]]]:
    compiled = re.compile(pattern)
    return lambda plain: (m.span() for m in compiled.finditer(plain) if proves(m.group()))


def _resident(number: str) -> bool:
    """18 digits: the last is a check over the others, X = 10. 15 digits (until 1999) have none: province and birthday must be possible."""
    if len(number) == 18:
        total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(number[:17]))
        if "10X98765432"[total % 11] != number[17].upper():
            return False
        born = number[6:14]
    else:
        born = "19" + number[6:12]
    try:
        date(int(born[:4]), int(born[4:6]), int(born[6:]))
    except ValueError:
        return False
    return int(number[:2]) in _PROVINCES and 1900 <= int(born[:4]) < 2100


def _card(number: str) -> bool:
    digits = re.sub("[ .-]", "", number)
    if not any(len(digits) in lengths and re.match(prefix, digits) for prefix, lengths in _CARDS):
        return False
    pairs = zip_longest(digits[::-2], digits[-2::-2], fillvalue="0")
    return sum(int(one) + sum(divmod(2 * int(two), 10)) for one, two in pairs) % 10 == 0


def _ibans(plain: str) -> Iterator[tuple[int, int]]:
    """The country says how many characters follow; blanks between them do not count."""
    for start in re.finditer(r"(?<![0-9A-Za-z_])[A-Za-z]{2}[0-9]{2}", plain):
        more = next((length for length, countries in _IBANS.items() if start.group()[:2].upper() in countries.split()), 4) - 4
        whole = re.compile(rf"(?:[ -]?[0-9A-Za-z]){{{more}}}(?![0-9A-Za-z_])").match(plain, start.end()) if more else None
        if whole:
            account = re.sub("[ -]", "", whole.group()) + start.group()
            if int("".join(str(int(c, 36)) for c in account)) % 97 == 1:
                yield start.start(), whole.end()


def _international(number: str) -> bool:
    """8 to 15 digits (E.164); one lone point is a decimal's."""
    return 8 <= sum(c.isdigit() for c in number) <= 15 and number.count(".") != 1


def _address(ip: str) -> bool:
    """25.000.000.000 is an amount."""
    return all(int(part) < 256 and part == str(int(part)) for part in ip.split("."))


def _network(ip: str) -> bool:
    """An IPv6 address of the internet, a site or a link; a::b is C++."""
    try:
        return IPv6Address(ip.rstrip(".")).packed[0] in (*range(0x20, 0x40), 0xFC, 0xFD, 0xFE, 0xFF)
    except ValueError:
        return False


def _ipv6(plain: str) -> Iterator[tuple[int, int]]:
    for found in _COLONS.finditer(plain):
        end = found.end() - len(found.group()) + len(found.group().rstrip(".:"))
        if _network(plain[found.start() : end]) or _network(plain[found.start() : (end := found.end())]):
            yield found.start(), end


def _security(number: str) -> bool:
    """Areas 000, 666 and 9xx, group 00 and serial 0000 are never issued."""
    area, group, serial = number.split("-")
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


_COLONS = re.compile(
    r"(?<![0-9A-Za-z:.])[0-9A-Fa-f]{3,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4})(?![0-9A-Za-z:])"
)
# Letters of scripts that part words by blanks, and of those that do not; of these an address has its own endings.
_SPACED = "\u00c0-\u024f\u0370-\u052f\u0590-\u06ff\u0900-\u0dff\u0e00-\u0eff"
_DENSE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_DENSE_ENDS = "中国|中國|公司|网络|網絡|公益|政务|在线|中文网|集团|移动|手机|网址|网站|商城|商店|新闻|广告|游戏|企业|娱乐|香港|台湾|台灣|新加坡|한국|닷컴|みんな|コム"
_MAIL_LOCAL = rf"(?:[0-9A-Za-z{_SPACED}][0-9A-Za-z{_SPACED}._%+-]{{0,63}}|[{_DENSE}][0-9A-Za-z{_DENSE}._%+-]{{0,63}})"
_MAIL_DOMAIN = (
    rf"(?:(?:[0-9A-Za-z{_SPACED}-]{{1,63}}\.)+(?:[A-Za-z]{{2,24}}|xn--[0-9A-Za-z-]{{2,59}}|[{_SPACED}]{{2,24}})(?![A-Za-z{_SPACED}])"
    rf"|(?:[0-9A-Za-z{_DENSE}-]{{1,63}}\.)+(?:{_DENSE_ENDS}|[A-Za-z]{{2,24}}(?![A-Za-z])))"
)

_RECOGNISERS = (
    ("EMAIL", _matches(rf"(?<![A-Za-z0-9{_SPACED}._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]{{1,63}}\.)+[A-Za-z]{{2,24}}(?![A-Za-z])")),
    ("EMAIL", _matches(rf"(?<![0-9A-Za-z{_SPACED}._%+-]){_MAIL_LOCAL}@{_MAIL_DOMAIN}", lambda mail: not mail.isascii())),
    ("ID_CARD", _matches(rf"{_BEFORE}[1-8][0-9]{{14}}(?:[0-9]{{2}}[0-9Xx])?{_AFTER}", _resident)),
    ("IBAN", _ibans),
    ("BANK_CARD", _matches(rf"{_BEFORE}[2-689](?:[0-9]{{12,18}}|[0-9]{{3}}(?:([ .-])[0-9]{{4}}(?:\1[0-9]{{4}}){{2}}"
                           rf"(?:\1[0-9]{{1,3}})?|([ .-])[0-9]{{6}}\2[0-9]{{4,5}})){_AFTER}", _card)),
    ("SSN", _matches(rf"{_BEFORE}(?<![-/])[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}(?![-/]){_AFTER}", _security)),
    ("PHONE", _matches(rf"{_LABELLED}(?:(?:\+|00)?86[ -]?)?1[3-9][0-9]([ -]?)[0-9]{{4}}\1[0-9]{{4}}{_AFTER}")),
    ("PHONE", _matches(rf"{_BEFORE}(?<!\+)\+[1-9](?:[ .()-]{{0,2}}[0-9]){{6,14}}{_AFTER}", _international)),
    ("PHONE", national),
    ("IP", _ipv6),
    ("IP", _matches(rf"{_BEFORE}(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}{_AFTER}", _address)),
)  # fmt: skip


def _further(text: str, language: str) -> list[tuple[int, int, str]]:
    """What presidio finds beside placeholders, with a score of at least .5, the best first where two overlap."""
    code = language if language != "auto" else "zh" if re.search("[\u4e00-\u9fff]", text) else "en"
    names, engine = _presidio(code)
    if not names and not _WORTH.search(text):
        return []
    blank = _PLACEHOLDER.sub(lambda m: " " * len(m.group()), text)
    spans: list[tuple[int, int, str]] = []
    wanted = [kind for kind in engine.get_supported_entities(code) if kind in _FURTHER]
    for hit in sorted(engine.analyze(blank, language=code, entities=wanted, score_threshold=0.5), key=lambda h: (-h.score, h.start)):
        covered = any(hit.start < b and a < hit.end for a, b, _ in spans) or any(
            hit.start < p.end() and p.start() < hit.end for p in _PLACEHOLDER.finditer(text)
        )
        if not covered:
            spans.append((hit.start, hit.end, _FURTHER[hit.entity_type]))
    return spans


@lru_cache
def _presidio(language: str) -> tuple[bool, Any]:
    """Whether it knows names, and presidio's engine: on the language's spaCy model if one is installed, else by patterns alone."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry

    try:
        from presidio_analyzer.nlp_engine import NoOpNlpEngine, SpacyNlpEngine
    except ImportError:
        raise KgrecError(
            'this presidio-analyzer cannot do without a language model; pip install "presidio-analyzer>=2.2.364", or uninstall it'
        ) from None
    from spacy.util import get_installed_models

    model = next((m for m in sorted(get_installed_models()) if m.startswith(f"{language}_core_")), "")
    models = [{"lang_code": language, "model_name": model}]
    reader = SpacyNlpEngine(models) if model else NoOpNlpEngine(models)
    reader.load()
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=reader)
    return bool(model), AnalyzerEngine(registry=registry, nlp_engine=reader, supported_languages=[language])
