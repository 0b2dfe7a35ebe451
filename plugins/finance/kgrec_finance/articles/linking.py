"""Which companies a text speaks of, and where: names and tickers from a table, by rules that a person can check. No model.

A text is cut into words, numbers and signs; Chinese and Japanese characters stand for themselves, so that their names are found as
substrings and all other names on word borders only. Every name is looked up by its first unit, the longest match wins.
Two names are told apart by these rules:

- Blanks, dots and hyphens within a name do not count, "and" is "&": "Coca Cola", "Dr Reddy's", "Procter and Gamble".
- A name of one word must have its capitals ("Apple", not "apple"; "ITC", not "Itc"), from five letters on the first of them only
  ("Maruti" for MARUTI); names of several words may be in any case.
- A name of ordinary words alone must have its capitals, too ("Best Buy", not "best buy"), and is none in front of a word with which it
  means another thing ("Target price", "Dow Jones").
- A ticker counts in capitals, and in any case behind `$` or an exchange. Where it is doubtful (`tickers`), it counts only so marked or
  right behind a name of its company: "AT&T (T)".
- A name that several companies share counts only where another name says which of them is meant.
- What is left may be a misspelt name (`misspelt`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import polars as pl

from kgrec_core import KgrecError
from kgrec_finance.articles.misspelt import Misspelt, units
from kgrec_finance.articles.tickers import ORDINARY, bare, marked, symbol

_GAP = re.compile(r"[\s.·\-‐-―]{0,3}\Z")
_HIDDEN = re.compile(r"\S+://\S+|www\.\S+|\S+@\S+\.\S+")
_LEGAL = re.compile(
    r"[\s,]+(?:inc|incorporated|corp|corporation|company|co|ltd|limited|plc|llc|l\.p|p\.l\.c|s\.a|n\.v|ag|se|nv|sa)\.?\s*$", re.IGNORECASE
)
_ANOTHER = re.compile(r"\s+(?:prices?|dates?|ranges?|rates?|zones?|audiences?|jones)\b", re.IGNORECASE)  # "Target price", "Dow Jones"
How = Literal["alias", "cashtag", "ticker", "fuzzy"]


class Span(NamedTuple):
    """text[start:end] names the company (its id); score in (0, 1], 1 = exact."""

    start: int
    end: int
    company: str
    how: How
    score: float


class _Name(NamedTuple):
    units: tuple[str, ...]  # folded, without what is optional
    capitals: tuple[bool, ...] | None  # of a one-word name: which of its letters must be capitals
    companies: tuple[str, ...]


class Linker:
    """Finds the companies of a table (`kgrec_finance.articles.companies`: COMPANY) in texts.

    fuzzy: least similarity (0 to 1) of a misspelt name, 1 = exact names only. names: id -> name of the companies.
    Raises KgrecError for a table without names.
    """

    def __init__(self, companies: pl.DataFrame, *, fuzzy: float = 0.92) -> None:
        self._tickers: dict[str, str] = {}
        self.names: dict[str, str] = dict(
            zip(companies["id"], companies["name"] if "name" in companies.columns else companies["id"], strict=True)
        )
        written: defaultdict[str, dict[str, None]] = defaultdict(dict)
        columns = (
            companies[name].to_list() if name in companies.columns else [None] * len(companies) for name in ("name", "ticker", "aliases")
        )
        for id, name, ticker, aliases in zip(companies["id"], *columns, strict=True):
            if ticker:
                self._tickers.setdefault(symbol(ticker), id)
            for alias in filter(None, [name, *(aliases or [])]):
                written[alias.strip()][id] = None
                if (short := _plain_name(alias)) != alias:
                    written[short][id] = None
        if not written and not self._tickers:
            raise KgrecError("the table of companies has neither names nor tickers; fill name, ticker or aliases")
        self._names: defaultdict[str, list[_Name]] = defaultdict(list)
        for name in _named(written, self._tickers):
            self._names[name.units[0]].append(name)
        self._misspelt = Misspelt(((name.units, name.companies[0]) for name in _of_one(self._names)), fuzzy)
        for names in self._names.values():
            names.sort(key=lambda name: len(name.units), reverse=True)

    def find(self, text: str) -> list[Span]:
        """The mentions in their order; none overlap. What stands in links and mail addresses is not read."""
        if not text:
            return []
        shown = _HIDDEN.sub(lambda hit: " " * len(hit.group()), text)
        found = [*self._marked(shown), *self._spelled(shown)]
        taken = _apart(found)
        sure = {companies[0] for *_, companies, _ in taken if len(companies) == 1}
        spans = [
            Span(start, end, meant[0], how, 1.0)
            for start, end, companies, how in taken
            if len(meant := [c for c in companies if len(companies) == 1 or c in sure]) == 1
        ]
        spans += self._bare(shown, spans)
        busy = [(one[0], one[1]) for one in (*taken, *spans)]
        spans += [Span(start, end, company, "fuzzy", score) for start, end, company, score in self._misspelt.find(shown, busy)]
        return sorted(spans)

    def resolve(self, name: str) -> str | None:
        """The company of an id, a ticker ("AAPL", "$AAPL") or a whole name; None where it is unknown or several have it."""
        name = name.strip()
        if name in self.names:
            return name
        if (found := self._tickers.get(symbol(name))) is not None:
            return found
        asked = tuple(unit for unit, *_ in units(name))
        same = [known.companies for known in self._names.get(asked[0], ()) if known.units == asked] if asked else []
        one = {company for companies in same for company in companies}
        return one.pop() if len(one) == 1 else None

    def _marked(self, text: str) -> Iterator[tuple[int, int, tuple[str, ...], How]]:
        """Tickers behind `$` or an exchange."""
        for ticker, cash in marked(text):
            if (company := self._tickers.get(ticker.symbol)) is not None:
                yield ticker.start, ticker.end, (company,), "cashtag" if cash else "ticker"

    def _spelled(self, text: str) -> Iterator[tuple[int, int, tuple[str, ...], How]]:
        """Of every place where a name begins the longest one."""
        parts = list(units(text))
        for at, (first, start, end) in enumerate(parts):
            if start and text[start - 1] in "$@" and first.isascii():
                continue  # a ticker, or somebody's account
            for name in self._names.get(first, ()):
                last = at + len(name.units)
                if last > at + 1:
                    if tuple(unit for unit, *_ in parts[at:last]) != name.units:
                        continue
                    if any(not _GAP.match(text[parts[i][2] : parts[i + 1][1]]) for i in range(at, last - 1)):
                        continue
                    if all(unit in ORDINARY for unit in name.units) and not all(text[s].isupper() for _, s, _ in parts[at:last]):
                        continue  # "five best buy rated stocks"
                elif (first in ORDINARY and _ANOTHER.match(text, end)) or not _written(text[start:end], name.capitals):
                    continue
                yield start, parts[last - 1][2], name.companies, "alias"
                break

    def _bare(self, text: str, spans: list[Span]) -> list[Span]:
        """Tickers in capitals that do not overlap the spans; doubtful ones only right behind a name of their company."""
        named = {span.end: span.company for span in spans}
        found = []
        for ticker in bare(text):
            company = self._tickers.get(ticker.symbol)
            if company is None or any(span.start < ticker.end and ticker.start < span.end for span in spans):
                continue
            before = len(text[: ticker.start].rstrip(" (（[,:"))
            if not ticker.doubtful or (named.get(before) == company and before < ticker.start):
                found.append(Span(ticker.start, ticker.end, company, "ticker", 1.0))
        return found


def _named(written: dict[str, dict[str, None]], tickers: dict[str, str]) -> list[_Name]:
    """Names with what they must look like; one that is some company's ticker in capitals is left to the rules of tickers."""
    merged: dict[tuple[tuple[str, ...], tuple[bool, ...] | None], dict[str, None]] = {}
    for alias, ids in written.items():
        parts = tuple(unit for unit, *_ in units(alias))
        if not parts or (len(alias) < 2 and alias.isascii()) or (alias.isupper() and tickers.get(symbol(alias)) in ids):
            continue
        letters = alias if len(alias) < 5 else alias[:1]
        capitals = tuple(c.isupper() for c in letters) if len(parts) == 1 and any(c.isupper() for c in letters) else None
        merged.setdefault((parts, capitals), {}).update(ids)
    return [_Name(*key, tuple(ids)) for key, ids in merged.items()]


def _written(word: str, capitals: tuple[bool, ...] | None) -> bool:
    """Whether a word has its capitals."""
    return all(c.isupper() for c, must in zip(word, capitals or (), strict=False) if must)


def _of_one(names: dict[str, list[_Name]]) -> Iterator[_Name]:
    return (name for listed in names.values() for name in listed if len(name.companies) == 1)


def _apart(found: Iterable[tuple[int, int, tuple[str, ...], How]]) -> list[tuple[int, int, tuple[str, ...], How]]:
    """Without overlaps: the longer wins, of equals the earlier."""
    kept: list[tuple[int, int, tuple[str, ...], How]] = []
    for one in sorted(found, key=lambda f: (f[0] - f[1], f[0])):
        if not any(one[0] < other[1] and other[0] < one[1] for other in kept):
            kept.append(one)
    return kept


def _plain_name(name: str) -> str:
    """Without legal form and a leading article: what people call it.

    >>> _plain_name("The Procter & Gamble Company"), _plain_name("Apple Inc."), _plain_name("Gold")
    ('Procter & Gamble', 'Apple', 'Gold')
    """
    plain = name.strip()
    while (cut := _LEGAL.sub("", plain)) != plain and len(cut) > 1:
        plain = cut
    plain = plain.rstrip(" ,&")
    return plain.removeprefix("The ") or name
