"""Long articles, by windows of whole sentences that an encoder can read, and one score for the article from theirs.

The score of an article is the mean of its windows' log-probabilities, weighted by their length in characters, normalised again to one
(the logarithmic opinion pool: Genest & Zidek 1986, "Combining probability distributions"). So an article of one window scores as that
window does, cutting a text elsewhere changes little, and one window that is sure against a class counts against it. The first window
counts twice: headline and lead say what the article is about.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kgrec_core import KgrecError

LEAD = 2.0
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-ZÀ-Þ0-9$])|(?<=[。！？；])[”’」』）]*|\n+")
_ABBREVIATED = re.compile(
    r"(?:^|\s)(?:Mr|Mrs|Ms|Dr|St|No|vs|Inc|Corp|Ltd|Co|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Rs|U\.S|U\.K|[A-Z])\.$"
)
_WIDE = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class Passage(NamedTuple):
    """text[start:end] of the article; weight of its score."""

    start: int
    end: int
    weight: float


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of the sentences, English and Chinese, without the blanks between them; abbreviations end none."""
    bounds, start = [], 0
    for cut in _END.finditer(text):
        if not _ABBREVIATED.search(text[start : cut.start()]) or "\n" in cut.group():
            bounds.append((start, cut.end()))
            start = cut.end()
    bounds.append((start, len(text)))
    stripped = ((s + len(text[s:e]) - len(text[s:e].lstrip()), s + len(text[s:e].rstrip())) for s, e in bounds)
    return [(s, e) for s, e in stripped if s < e]


def passages(text: str, words: int = 120) -> list[Passage]:
    """Windows of whole sentences of at most `words` words (a Chinese character counts as one); a longer sentence is cut between words.

    A text that fits is one window; an empty one has none. Raises KgrecError for words < 1.
    """
    if words < 1:
        raise KgrecError(f"words = {words} makes no window; give 1 or more")
    found: list[tuple[int, int]] = []
    size = 0
    for start, end in (part for sentence in sentences(text) for part in _parts(text, *sentence, words)):
        length = _length(text[start:end])
        if found and size + length <= words:
            found[-1], size = (found[-1][0], end), size + length
        else:
            found.append((start, end))
            size = length
    return [Passage(start, end, (end - start) * (LEAD if number == 0 else 1.0)) for number, (start, end) in enumerate(found)]


def pooled(log_probabilities: ArrayLike, windows: list[Passage]) -> NDArray[np.float64]:
    """(windows, classes) -> (classes,) log-probabilities of the article. Raises KgrecError where the sizes differ or nothing is given."""
    logp = np.asarray(log_probabilities, np.float64)
    if logp.ndim != 2 or len(logp) != len(windows) or not len(windows):
        raise KgrecError(f"log-probabilities {logp.shape} for {len(windows)} windows; give a row for each of at least one window")
    weights = np.array([window.weight for window in windows])
    mean = weights / weights.sum() @ np.maximum(logp, -700.0)  # a probability of zero is a vote, no veto
    return mean - np.logaddexp.reduce(mean)


def _length(text: str) -> int:
    return len(_WIDE.findall(text)) + len(_WIDE.sub(" ", text).split())


def _parts(text: str, start: int, end: int, words: int) -> list[tuple[int, int]]:
    """The sentence, or pieces of it of at most `words` words."""
    if _length(text[start:end]) <= words:
        return [(start, end)]
    units = [
        (start + hit.start(), start + hit.end()) for hit in re.finditer(rf"{_WIDE.pattern}|(?:(?!{_WIDE.pattern})\S)+", text[start:end])
    ]
    return [(units[at][0], units[min(at + words, len(units)) - 1][1]) for at in range(0, len(units), words)]
