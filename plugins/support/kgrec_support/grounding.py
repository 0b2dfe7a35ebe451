"""Whether an entry says what a sentence says: the check that every composed sentence must pass, and how texts become sentences.

It is made to refuse too much rather than too little: a number, a name or a word that turns the meaning ("only", "until", "must") that
the entry does not have, or a negation on one side alone, refuses the whole sentence. What it cannot see: who does what to whom ("from A
to B" and "from B to A" have the same words), and a place or a time that the sentence leaves out ("within the country").
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], NDArray]  # texts -> (n, d), rows of length 1
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_ENDS = re.compile(r"(?<=[。！？；])(?![。！？；”’」』)）])|(?<=[.!?])(?=[\s\u2026])|(?<=[.!?][\"'”’)\]])(?=\s)|\n+")
_ABBREVIATED = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|approx|incl|excl|nr|mr|mrs|ms|dr|ext|tel|[a-z])|^\W*[0-9]{1,3})\.$", re.IGNORECASE)
_TOKEN = re.compile(
    rf"(?P<exact>https?://\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|[£$€¥]? ?[A-Za-z-]{{0,12}}[0-9][\w.,'’/:-]*%?)|(?P<han>[{_HAN}])"
    rf"|(?P<word>[^\W\d_{_HAN}]+(?:['’][^\W\d_{_HAN}]+)*)|(?P<stop>[,;:()\[\]、，；：（）。.!?！？\u2013\u2014\n])"
)
_PLAIN = (
    "a about also am an and any are as at be been being both but by can could did do does doing for from get gets had has have having he "
    "her here hers him his how i if in into is it its itself just let like may me might mine my of off on or our ours out over own please "
    "she should so some such than that the their theirs them then there these they this those through to too up us via was we were what "
    "when where which while who whom why will with would yes you your yours yourself i'm i've it's that's you're you've we're they're"
)
# Words that turn a meaning: as exact as a number.
_EXACT = (
    "after all always before both each either every except free first last least less max maximum min minimum more most must never once "
    "only optional per required shall than twice unless until within"
)
_WHEN = "after before except if only once unless until when"
_CONDITIONS, _CONDITIONS_ZH = frozenset(_WHEN.split()), ("如果", "若", "除非", "仅", "只")
_NOT = "not no never none nobody nothing neither nor without cannot unable"
_COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
_FUNCTION, _TURNING, _NEGATIONS = frozenset(_PLAIN.split()), frozenset(_EXACT.split()), frozenset(_NOT.split())
_NEGATIONS_ZH, _FUNCTION_ZH = frozenset("不没沒无無未勿别別非"), frozenset("的了吗呢吧啊么呀是在和与及就都也请您你我们他她它这那个着把被让")
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED.split())}
_NEAR, _AFTER_NUMBER, _COUNT, _OPPOSITES = 3, 4, 2, ("un", "in", "im", "ir", "dis", "non")


class Entry(NamedTuple):
    """What can be cited; a kgrec_core.run.run.Answer serves as well."""

    id: str
    text: str


class Cited(Protocol):
    """What an answer may stand on."""

    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str | None: ...


class Facts(NamedTuple):
    """Of a stretch of text. words: stem -> whether it stands negated (both where it stands twice); spelled: every token, case-folded;
    exact: numbers, addresses, names and turning words, of which each must be found; after: number -> the next content words, wherever it
    stands; conditions: the words that bind what is said to a case."""

    words: dict[str, set[bool]]
    spelled: frozenset[str]
    exact: frozenset[str]
    after: dict[str, set[tuple[str, ...]]]
    conditions: frozenset[str]


def split(text: str) -> list[str]:
    """Sentences of English, Chinese and alike; a line is its own. Abbreviations, decimals, links and list numbers do not end one.

    >>> split("Open e.g. Cards. It costs 2.50! 卡丢了怎么办？请挂失。")
    ['Open e.g. Cards.', 'It costs 2.50!', '卡丢了怎么办？', '请挂失。']
    """
    found: list[str] = []
    held = ""
    for part in _ENDS.split(text):
        held = f"{held} {part.strip()}".strip() if held else part.strip()
        if held and not _ABBREVIATED.search(held):
            found.append(held)
            held = ""
    return [*found, held] if held else found


def supported(
    sentence: str, entries: Sequence[Cited], *, threshold: float = 1.0, encode: Encode | None = None, similarity: float = 0.6
) -> tuple[bool, str | None, float]:
    """(whether one entry says it, that entry's id or the nearest one's, the share of its words found there).

    One stretch of one entry, a sentence or two neighbouring ones (only one for a sentence with numbers), must have all numbers,
    addresses, names and turning words, each number before the same words, at least `threshold` of the other content words (as stems;
    pairs of neighbours in Chinese); what is negated in one must be so in the other, and no "if", "once", "only" of it may be lost. encode: then also a cosine with that stretch of
    at least `similarity`. threshold: 1 by default, since of a small model's sentences that shared 80 to 99 % of their words with an entry
    most had one noun exchanged ("ask the merchant" for "ask the receiving bank"). A sentence without a content word says nothing that could be supported.
    """
    said = facts(sentence)
    best: tuple[bool, str | None, float] = (False, None, 0.0)
    if not said.words and not said.exact:
        return best
    for entry in entries:
        parts = split(entry.text or "")
        pairs = [] if said.after else [f"{a} {b}" for a, b in pairwise(parts)]
        for stretch in [*parts, *pairs]:
            share, sound = _compare(said, facts(stretch))
            passed = sound and share >= threshold
            if passed and encode is not None:
                one, two = encode([sentence, stretch])
                passed = float(np.dot(one, two)) >= similarity
            if (passed, share) > (best[0], best[2]) or best[1] is None:
                best = (passed, entry.id, share)
    return best


def content(text: str) -> list[str]:
    """Stems of the content words and the exact tokens, in order, each once."""
    said = facts(text)
    return list(dict.fromkeys([*said.words, *(t for t in said.exact if stem(t) not in said.words)]))


def stem(word: str) -> str:
    """Word endings of English off, lightly: change, changes, changed, changing are one."""
    for ending in ("ings", "ing", "ed", "es", "ly", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] in "bdgklmnprt":
        word = word[:-1]
    return f"{word[:-1]}i" if len(word) > 2 and word[-1] == "y" else word


def _compare(said: Facts, known: Facts) -> tuple[float, bool]:
    """The share of words found, and whether all that must be exact is."""
    found = [word for word in said.words if word in known.words]
    share = len(found) / len(said.words) if said.words else 1.0
    sound = said.exact <= known.spelled and all(said.words[word] <= known.words[word] for word in found)
    for number, following in said.after.items():
        sound = sound and all(any(_agree(one, other) for other in known.after.get(number, ())) for one in following)
    sound = sound and known.conditions <= said.conditions
    for word in said.words.keys() - known.words.keys():  # "available" of an entry that says "unavailable"
        turned = {stem(f"{o}{word}") for o in _OPPOSITES} | {word.removeprefix(o) for o in _OPPOSITES if word.startswith(o)}
        sound = sound and not turned & known.words.keys()
    return share, sound


def _agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    both = min(len(one), len(other))
    return one[:both] == other[:both] and bool(both or not one)


@lru_cache(4096)
def facts(text: str) -> Facts:
    """What a text says, of any script; see `Facts`."""
    words: dict[str, set[bool]] = {}
    spelled, exact, counted = set(), set(), []
    since_negation, since_number, han, first = 99, 99, "", True
    for match in _TOKEN.finditer(unicodedata.normalize("NFKC", text)):
        token, kind = match.group(), match.lastgroup
        if kind == "stop":
            since_negation, since_number, han = 99, 99, ""
            first = first or token in ".!?。！？\n"
            continue
        plain = token.casefold().replace("’", "'")
        since_negation, since_number = since_negation + 1, since_number + 1
        if kind == "exact" or plain in _NUMBERS:
            token = _NUMBERS.get(plain) or re.sub(r"(?<=[0-9])[,'](?=[0-9]{3}(?![0-9]))", "", plain).replace(" ", "").rstrip(".,:'/-")
            exact.add(token)
            spelled.add(token)
            counted.append([token])
            since_number, first, han = 0, False, ""
            continue
        if plain in _NEGATIONS or plain in _NEGATIONS_ZH or plain.endswith("n't"):
            since_negation, han, first = 0, "", False
            continue
        spelled.add(plain)
        named = (not first and token != "I" and token[0].isupper()) or token[1:] != token[1:].lower()
        if kind == "han":
            unit, han = han + token, token
            keys = [] if len(unit) < 2 or set(unit) <= _FUNCTION_ZH else [unit]
        else:
            han = ""
            if named or plain in _TURNING:
                exact.add(plain)
            keys = [] if plain in _FUNCTION else [stem(plain)]
        first = False
        for key in keys:
            words.setdefault(key, set()).add(since_negation <= _NEAR)
            if since_number <= _AFTER_NUMBER and len(counted[-1]) <= _COUNT:
                counted[-1].append(key)
    after: dict[str, set[tuple[str, ...]]] = {}
    for number, *following in counted:
        after.setdefault(number, set()).add(tuple(following))
    conditions = (spelled & _CONDITIONS) | {word for word in _CONDITIONS_ZH if word in text}
    return Facts(words, frozenset(spelled), frozenset(exact), after, conditions)
