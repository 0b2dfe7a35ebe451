"""Words that two texts have in common, rare ones counting more."""

from __future__ import annotations

import math
import re
from collections import Counter
from difflib import SequenceMatcher

from kgrec_core.graph import Graph

WORD = re.compile(r"[a-z0-9]+")
HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
READ, COMMON, MOST = 50_000, 0.1, 4  # texts that are counted; share of them beyond which a word says nothing; words that are named


class Rarity:
    """How rare words are among the texts of a kind: log(n / texts that have it), 0 for what more than a tenth have."""

    def __init__(self, graph: Graph, kind: str) -> None:
        texts = graph.entities[kind]["text"].head(READ).drop_nulls().to_list() if "text" in graph.columns(kind) else []
        self.n, self.counts = max(1, len(texts)), Counter(word for text in texts for word in terms(text))

    @classmethod
    def of(cls, graph: Graph, kind: str) -> Rarity:
        return graph.memo.get(("rarity of words", kind), (), lambda: cls(graph, kind))

    def __call__(self, word: str) -> float:
        have = self.counts.get(word, 1)
        return 0.0 if self.n >= 20 and have > COMMON * self.n else math.log((1 + self.n) / have)

    def common(self, one: str, other: str) -> tuple[tuple[str, ...], float]:
        """The rarest words that both have, and how much they have in common: cosine of the rarities, from 0 to 1."""
        a, b = terms(one), terms(other)
        both = sorted((word for word in a & b if self(word) > 0), key=lambda word: (-self(word), word))
        length = math.sqrt(self._squares(a) * self._squares(b))
        shown = [*_phrases(one, other), *(word for word in both if not HAN.match(word))]
        return tuple(shown[:MOST]), self._squares(both) / length if length else 0.0

    def _squares(self, words: set[str] | list[str]) -> float:
        return sum(self(word) ** 2 for word in words)


def terms(text: str) -> set[str]:
    """Latin words, and pairs of letters of scripts without blanks."""
    text = text.lower()
    pairs = {run[i : i + 2] for run in HAN.findall(text) for i in range(max(1, len(run) - 1))}
    return {word for word in WORD.findall(text) if len(word) > 1} | pairs


def _phrases(one: str, other: str) -> list[str]:
    """What two Chinese texts have in common, the longest first, two letters or more."""
    if not (HAN.search(one) and HAN.search(other)):
        return []
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    found = {part for block in blocks for part in HAN.findall(one[block.a : block.a + block.size]) if len(part) > 1}
    return sorted(found, key=lambda part: (-len(part), part))
