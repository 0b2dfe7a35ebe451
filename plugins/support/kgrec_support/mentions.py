"""Which things answers speak of: names of products, acronyms and codes, found by how they are written, without a model.

In scripts that have capitals: two or more capitalised words in a row (Google Pay), words with a capital inside (PayPal, iPhone),
acronyms (IBAN) and codes of letters and digits (XR-500). In Chinese and Japanese: what stands in 「」, 『』 or 《》, and any of the above
within the text. Of capitalised words at the start of a sentence the first may be any word: it counts only where the same words
are found elsewhere too.
Names in plain lower case are not found; what one wants linked for certain belongs into a column of one's own.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

_SLOT = re.compile(r"\{\w+\}|<[A-Z_]+>|\[[^\[\]]*\]|\S+://\S+")  # what a template leaves open, what was masked, links
_SENTENCE = re.compile(r"(?<=[.!?。！？:：;；])\s+|(?<=[。！？；])|\n")
_CAPITAL, _LETTER = "A-Z\u00c0-\u00de\u0391-\u03a9\u0410-\u042f", "A-Za-z0-9\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff'’&-"
_RUN = re.compile(rf"(?<![{_LETTER}_])[{_CAPITAL}][{_LETTER}]*(?:[ \u00a0][{_CAPITAL}][{_LETTER}]*)+")
# At most 16 characters: longer ones are keys and parts of addresses.
_CODE = re.compile(
    r"(?<![A-Za-z0-9_-])(?![A-Za-z0-9-]{17})(?=[A-Za-z0-9-]*[A-Za-z])(?=[A-Za-z0-9-]*[0-9])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?![A-Za-z0-9_-])"
)
_ACRONYM = re.compile(r"(?<![A-Za-z0-9_-])[A-Z][A-Z&]+[A-Z]?(?![A-Za-z0-9_-])")
_INNER = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z]?[a-z]+[A-Z][A-Za-z]*(?![A-Za-z0-9_-])")
_QUOTED = re.compile("[「『《]([^「」『』《》]{2,20})[」』》]")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th|am|pm|h|s|x|k|m|kg|g|cm|mm|km|gb|mb)$", re.IGNORECASE)


def mentions(texts: Sequence[str], min_count: int = 2) -> tuple[list[list[int]], list[str]]:
    """(the numbers of the things in each text, the things as they are mostly written), both in order of first appearance.

    min_count: texts that must speak of a thing. Case makes no difference between two things.
    """
    found = [_candidates(text) for text in texts]
    sure = {name.casefold() for names, initial in found for name in [*names, *filter(_RUN.fullmatch, map(_rest, initial))]}
    kept: list[dict[str, None]] = []
    written: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for names, initial in found:
        keys: dict[str, None] = {}
        for name in [*names, *_accepted(initial, sure)]:
            keys[name.casefold()] = None
            written[name.casefold()][name] += 1
        kept.append(keys)
    often = Counter(key for keys in kept for key in keys)
    number = {key: i for i, key in enumerate(k for k, n in often.items() if n >= min_count)}
    things = [written[key].most_common(1)[0][0] for key in number]
    return [[number[key] for key in keys if key in number] for keys in kept], things


def _candidates(text: str) -> tuple[list[str], list[str]]:
    """Names that stand for themselves, and runs of capitalised words at the start of a sentence."""
    names: list[str] = []
    initial: list[str] = []
    for sentence in _SENTENCE.split(_SLOT.sub(" · ", text)):
        start = len(sentence) - len(sentence.lstrip(" \"'(·-*•"))
        for run in _RUN.finditer(sentence):
            (initial if run.start() <= start else names).append(run.group())
        hits = (hit.group() for pattern in (_CODE, _ACRONYM, _INNER) for hit in pattern.finditer(sentence))
        names += [hit for hit in hits if not _ORDINAL.match(hit)]
        names += [quoted.strip() for quoted in _QUOTED.findall(sentence)]
    return names, initial


def _accepted(runs: Iterable[str], sure: set[str]) -> list[str]:
    """Of a run at the start of a sentence: all of it or all but its first word, whichever is known from elsewhere."""
    options = ((run, _rest(run)) for run in runs)
    return [known for either in options if (known := next((o for o in either if o.casefold() in sure), None))]


def _rest(run: str) -> str:
    return run.split(maxsplit=1)[1]
