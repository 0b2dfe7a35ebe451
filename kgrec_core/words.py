"""How a text becomes words, in any script: one rule for the word index, the floor and whoever counts words.

Scripts that separate words are cut where they do. Han is cut by a dictionary (rjieba) where that package is installed; without it, and
for kana, Hangul, Thai, Lao, Khmer and Burmese always, every character and every pair of neighbours counts (bigrams: McNamee &
Mayfield 2004, "Character N-Gram Tokenization for European Language Text Retrieval"; for Chinese Nie et al. 2000).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from itertools import pairwise

from kgrec_core.errors import KgrecError, choices

TOKENIZERS = ("auto", "words", "bigrams", "rjieba")
_HAN = r"\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINED = r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff\uac00-\ud7af"
# Python's \w leaves out combining marks, which would tear Hindi and Thai words apart.
_MARKS = "".join(chr(c) for c in (*range(0x300, 0x1100), *range(0x1780, 0x1800)) if unicodedata.category(chr(c))[0] == "M")
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}])*")
_RUN = re.compile(rf"([{_HAN}]+)|([{_JOINED}]+)|[^{_HAN}{_JOINED}]+")
_WIDE = re.compile(rf"[{_HAN}{_JOINED}]")
_UNIT = re.compile(rf"[{_HAN}{_JOINED}]|[^\W_{_HAN}{_JOINED}](?:[^\W_{_HAN}{_JOINED}]|[{_MARKS}])*")


def words(text: str) -> list[str]:
    """Runs of letters and digits in lower case (NFKC), without English stop words; right for scripts that separate words."""
    from bm25s.stopwords import STOPWORDS_EN

    return [word for word in _WORD.findall(_plain(text)) if word not in STOPWORDS_EN]


def bigrams(text: str) -> list[str]:
    """As `words`, but runs of a script without spaces give all their characters and pairs of neighbours; needs no package."""
    return _cut(text, grams)


def rjieba(text: str) -> list[str]:
    """As `bigrams`, but Han is cut by rjieba's dictionary into words and the words inside long ones.

    What the dictionary lacks stays single characters: a guess by context (its HMM) would cut question and answer differently.
    Its dictionary is of simplified Chinese, so traditional text is found by the words both share and else by characters.
    """
    from rjieba import cut_for_search

    return _cut(text, lambda run: cut_for_search(run, False))


def grams(run: str) -> list[str]:
    """Characters, then pairs of neighbours.

    >>> grams("信用卡")
    ['信', '用', '卡', '信用', '用卡']
    """
    return [*run, *map("".join, pairwise(run))]


def units(text: str) -> list[str]:
    """Every word in its order, stop words too; scripts without spaces by the character. What shingles are made of.

    >>> units("The iPhone手机")
    ['the', 'iphone', '手', '机']
    """
    return _UNIT.findall(_plain(text))


def resolve(tokenizer: str, texts: Iterable[str] = ()) -> str:
    """What "auto" means for these texts here: "rjieba" if it is installed and one has a Han character, else "bigrams".

    Any other name is checked and returned. What is counted must be stored with the answer: elsewhere "auto" may mean another.
    """
    if tokenizer not in TOKENIZERS:
        raise choices("tokenizer", tokenizer, TOKENIZERS)
    if tokenizer != "auto":
        return tokenizer
    return "rjieba" if find_spec("rjieba") and any(re.search(f"[{_HAN}]", text) for text in texts) else "bigrams"


def cutter(tokenizer: str) -> Callable[[str], list[str]]:
    """The function of a name that `resolve` returned. Raises KgrecError for another name and where rjieba is not installed."""
    cutters = {"words": words, "bigrams": bigrams, "rjieba": rjieba}
    if tokenizer not in cutters:
        raise choices("tokenizer", tokenizer, cutters)
    if tokenizer == "rjieba" and not find_spec("rjieba"):
        raise KgrecError('tokenizer "rjieba" needs the package rjieba; pip install rjieba, or fit with tokenizer = "bigrams"')
    return cutters[tokenizer]


def _cut(text: str, han: Callable[[str], list[str]]) -> list[str]:
    out = []
    for word in words(text):
        if not _WIDE.search(word):
            out.append(word)
            continue
        for run in _RUN.finditer(word):
            cut = han if run.group(1) else grams if run.group(2) else lambda plain: [plain]
            out += cut(run.group())
    return out


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()
