"""Names that are nearly written: "Gujarat Flourochemicals". And the units that names and texts are cut into to be compared.

Stretches of capitalised words are compared with the names of several words and eight letters or more that begin with the same two
letters (rapidfuzz, normalised edit similarity): a short name or a single word has too many neighbours that mean another thing.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rapidfuzz import fuzz, process

_WIDE = "\u3005\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\U00020000-\U0003ffff"
_UNIT = re.compile(rf"[{_WIDE}]|[^\W_{_WIDE}]+|[&'’+$%]")
_RUN = re.compile(r"[A-ZÀ-Þ][\w&'’-]*(?:[ .]{1,2}(?:(?:of|and|&|the|de) )?[A-ZÀ-Þ&][\w&'’-]*)*")
LONG, WORDS = 8, 6  # letters of a name at least, units at most
FIRST = 80  # similarity of the first words, in percent: "Lux Industries" is not "Lumax Industries"


def units(text: str) -> Iterator[tuple[str, int, int]]:
    """(folded, start, end) of words, numbers, signs that names have, and single characters of scripts without spaces."""
    for hit in _UNIT.finditer(text):
        unit = hit.group()
        folded = unit.lower() if unit.isascii() else _folded(unit)
        yield "&" if folded == "and" else "'" if folded == "’" else folded, hit.start(), hit.end()


def _folded(unit: str) -> str:
    """Latin letters without their accents: "Nestlé" is written "Nestle", too."""
    plain = unicodedata.normalize("NFKC", unit).casefold()
    if max(plain) > "\u024f":
        return plain
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))


class Misspelt:
    """names: units and the one company that they name. least: similarity in [0, 1] from which a stretch is a name; 1 = never."""

    def __init__(self, names: Iterable[tuple[tuple[str, ...], str]], least: float) -> None:
        self.least = least
        self._names: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for name, company in names if least < 1 else ():
            joined = " ".join(name)
            if len(name) > 1 and len(joined) >= LONG and joined.isascii() and not any(c.isdigit() for c in joined):
                self._names[joined[:2]][joined] = company

    def find(self, text: str, busy: Sequence[tuple[int, int]]) -> list[tuple[int, int, str, float]]:
        """(start, end, company, similarity) outside of the busy stretches; none overlap, the most similar win, of equals the longer."""
        found: list[tuple[float, int, int, str]] = []
        for run in _RUN.finditer(text) if self._names else ():
            if run.end() - run.start() < LONG - 1:
                continue
            parts = [(unit, run.start() + start, run.start() + end) for unit, start, end in units(run.group())]
            for at, (first, start, _) in enumerate(parts):
                near = self._names.get(first[:2])
                if near is None:
                    continue
                for size in range(2, min(WORDS, len(parts) - at) + 1):
                    end = parts[at + size - 1][2]
                    if any(start < e and s < end for s, e in busy):
                        break
                    joined = " ".join(unit for unit, *_ in parts[at : at + size])
                    best = process.extractOne(joined, near.keys(), scorer=fuzz.ratio, score_cutoff=100 * self.least)
                    if best and not any(c.isdigit() for c in joined) and fuzz.ratio(first, best[0].split()[0]) >= FIRST:
                        found.append((best[1] / 100, start, end, near[best[0]]))
        kept: list[tuple[int, int, str, float]] = []
        for score, start, end, company in sorted(found, key=lambda f: (-f[0], f[1] - f[2])):
            if not any(start < other[1] and other[0] < end for other in kept):
                kept.append((start, end, company, score))
        return kept
