"""A product name as tokens: words in one number, phrases cut where a preposition or a comma ends them, counts and measures read out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import NamedTuple

from kgrec_core.errors import KgrecError
from kgrec_core.knowledge.lexicon import BREAKS, NUMBERS

HAN = re.compile(r"[\u3400-\u9fff]")
BREAK, WITH = "|", "+"  # a comma; a preposition: what follows comes with it
POSSESSIVE = frozenset(("girl's", "boy's", "kid's", "child's"))
_NUMBER = "|".join(NUMBERS)
_COUNTS = (
    rf"\b(?:set|pack|box|pkt|packet|bag|tube|bunch|case|pair|roll|book|sheet)s? ?(?:of|/) ?(\d{{1,3}}|{_NUMBER})\b(?! ?(?:cm|mm|in|inch|ml|g|kg))",
    r"\b(?:set|pack|s|p)/(\d{1,3})\b",
    r"\b(?:pack|set) (\d{1,3})\b",
    rf"\b(\d{{1,3}}|{_NUMBER})[ -]?(?:piece|pieces|pc|pcs|pce|pack|count|ct)\b",
    r"(\d{1,4}) ?(?:件套|件装|个装|只装|片装|包装|支装|条装|双装|张装|瓶装|套装|件|个|只|片|包|支|条|双|张|瓶|枚|袋)",
    r"\b(\d{1,3}) (?:cones|sticks|sheets|cards|bags|tablets|capsules)\b",
)
_LED = re.compile(rf"(\d{{1,3}}|{_NUMBER}) (?=[a-z])(?!\w+(?:th|st|nd|rd)\b|tier|drawer|hook|strand|cm|mm|litre|ltr|day|door|way)(.+)")
_PAIR = re.compile(r"\b(?:pair of|pr\.? of)\b")
_MEASURE = re.compile(
    r"(?<![a-z\d.,])(\d+(?:[.,]\d+)?(?: ?[x*×] ?\d+(?:[.,]\d+)?){0,2})[ -]?(cm|mm|m|ml|l|ltr|litre|litres|kg|g|gsm|(?:fluid |fl\.? ?)?(?:ounces?|oz)|inch|inches|ft|\"|厘米|毫米|毫升|升|克|千克|寸)(?![a-z])"
)
_TOKEN = re.compile(r"[\u3400-\u9fff]+|(?<=\d)'s|[^\W\d_]+(?:[-'’][^\W\d_]+)*(?:/(?=[^\W\d_]))?|\d+|[,;:()\[\]|!?]+|[^\w\s]")


class Phrase(NamedTuple):
    """words: of the whole name in order, BREAK or WITH where a phrase ends. counts: "6"; measures: "15 cm"."""

    words: tuple[str, ...]
    counts: tuple[str, ...]
    measures: tuple[str, ...]


def phrase(text: str, singular: Callable[[str], str] = str) -> Phrase:
    """Read one name. singular: word -> the form it is counted as.

    >>> phrase("SET/3 PINK CANDLES, WITH LID 15CM")
    Phrase(words=('pink', 'candles', '|', '+', 'lid'), counts=('3',), measures=('15 cm',))
    """
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    measures = tuple(dict.fromkeys(f"{re.sub(r' ?[x*×] ?', ' x ', size)} {_unit(unit)}" for size, unit in _MEASURE.findall(plain)))
    plain, counts = _MEASURE.sub(" ", plain), []
    if _PAIR.search(plain):
        counts, plain = ["2"], _PAIR.sub(" ", plain)
    if (led := _LED.match(plain.strip())) and _plural(led[2], last=not led[1].isdigit()):
        counts, plain = [*counts, NUMBERS.get(led[1], led[1])], led[2]
    for pattern in _COUNTS:
        counts += [NUMBERS.get(found, found.lstrip("0")) for found in re.findall(pattern, plain.strip())]
        plain = re.sub(pattern, " ", plain.strip())
    return Phrase(tuple(_words(plain, singular)), tuple(dict.fromkeys(c for c in counts if c and c != "1")), measures)


def singulars(vocabulary: Mapping[str, int]) -> Callable[[str], str]:
    """How the words of a corpus are counted: a plural as its singular, if the corpus has that or the ending is regular."""

    def singular(word: str) -> str:
        if word in ("girls", "boys", "kids"):  # for whom; a girl is what it shows
            return word
        if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
            return word
        forms = [word[:-3] + "y"] * word.endswith("ies") + [word[:-2]] * word.endswith(("ses", "xes", "ches", "shes", "oes")) + [word[:-1]]
        return next((form for form in forms if form in vocabulary), word if word.endswith("as") else forms[0])

    return singular


def _words(plain: str, singular: Callable[[str], str]) -> Iterable[str]:
    for found in _TOKEN.finditer(plain):
        token = found.group().rstrip("/")
        if HAN.match(token):
            yield from (WITH if word in BREAKS else word for word in _cut(token))
        elif token in BREAKS:
            yield WITH
        elif token in ",;:()[]|!?":
            yield BREAK
        elif token[0].isalpha():
            yield token if token in POSSESSIVE else singular(token.removesuffix("'s"))


def _plural(words: str, last: bool) -> bool:
    """Whether what a leading number counts is more than one: one of the words is a plural, after a number in letters the last ("five cats
    hanging decoration" is one decoration)."""
    found = [word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "as", "is")) for word in re.findall(r"[a-z]+", words)]
    return bool(found) and (found[-1] if last else any(found) or "mice" in words)


def _cut(run: str) -> list[str]:
    """Han by rjieba's dictionary. Raises KgrecError where it is not installed."""
    if not find_spec("rjieba"):
        raise KgrecError("knowledge from Chinese names needs the package rjieba; pip install rjieba")
    from rjieba import cut

    return cut(run)


def _unit(unit: str) -> str:
    return {'"': "inch", "inches": "inch", "ltr": "l", "litre": "l", "litres": "l"}.get(
        unit, "oz" if ("o" in unit and "z" in unit) or "ounce" in unit else unit
    )
