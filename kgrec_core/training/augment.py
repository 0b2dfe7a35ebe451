"""`train.augment`: queries are learned from in other words.

[train.augment]
how = ["cutoff", "swap"]
share = 0.1
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.training.technique import Technique

if TYPE_CHECKING:
    from kgrec_core.training.loop import Learner
    from kgrec_core.training.options import Augment

log = logging.getLogger("kgrec")
Words = list[str]
WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힯]|[^\s぀-ヿ㐀-䶿一-鿿가-힯]+|\s+")


class Augmenting(Technique):
    """One of the ways, drawn anew for every text and update, changes a share of its words; never all of them.

    "cutoff": a stretch of words is left out (Shen et al. 2020); "drop": single words (Iyyer et al. 2015); "swap": words change places with
    the next; "synonyms": words of a file's line are exchanged for others of it (both: Wei and Zou 2019, EDA); "translate": the whole text, through
    a function of texts, e.g. there and back again (Sennrich et al. 2016), asked once for each text.
    """

    def __init__(self, how: Augment) -> None:
        self.how = how
        self.said: dict[str, str] = {}

    def begin(self, learner: Learner) -> None:
        self.parts_ = [part for part in learner.encoder.modules() if hasattr(type(part), "augment")]
        if not self.parts_:
            raise KgrecError(
                'train.augment changes texts, and no encoder here reads any while it learns; put a "text" encoder into [encoder]'
            )
        self.groups_ = _synonyms(self.how)
        self.translate_ = _function(self.how) if "translate" in self.how.how else None
        for part in self.parts_:
            part.augment = self.changed

    def end(self, learner: Learner) -> None:
        for part in self.parts_:
            del part.augment

    def changed(self, texts: list[str]) -> list[str]:
        """The texts in other words, as many; drawn from torch's generator, which an update's number seeds."""
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        ways = rng.choice(np.array(self.how.how), len(texts))
        drawn = rng.random(len(texts)) < self.how.texts
        self._translate({t for t, way, take in zip(texts, ways, drawn, strict=True) if take and way == "translate"})
        return [self._one(t, str(way), rng) if take and t else t for t, way, take in zip(texts, ways, drawn, strict=True)]

    def _one(self, text: str, way: str, rng: np.random.Generator) -> str:
        if way == "translate":
            return self.said[text]
        pieces = WORD.findall(text)
        at = [i for i, piece in enumerate(pieces) if not piece.isspace()]  # the words; spaces stay where they are
        many = min(len(at) - 1, max(1, round(self.how.share * len(at))))
        if many < 1:
            return text
        if way == "cutoff":
            start = int(rng.integers(0, len(at) - many + 1))
            gone = set(at[start : start + many])
        elif way == "drop":
            gone = set(rng.choice(at, many, replace=False).tolist())
        elif way == "swap":
            gone = set()
            for i in rng.choice(len(at) - 1, many, replace=False).tolist():
                pieces[at[i]], pieces[at[i + 1]] = pieces[at[i + 1]], pieces[at[i]]
        else:
            gone, known = set(), [i for i in at if pieces[i].casefold() in self.groups_]
            for i in rng.choice(known, min(many, len(known)), replace=False).tolist() if known else ():
                pieces[i] = str(rng.choice(self.groups_[pieces[i].casefold()]))
        return re.sub(r"(\s)\s+", r"\1", "".join(piece for i, piece in enumerate(pieces) if i not in gone)).strip()

    def _translate(self, texts: set[str]) -> None:
        new = sorted(text for text in texts if text not in self.said)
        if new:
            assert self.translate_ is not None
            found = list(self.translate_(new))
            if len(found) != len(new) or not all(isinstance(text, str) for text in found):
                raise KgrecError(
                    f"train.augment.translate = {self.how.translate}: {len(new)} texts were given and {len(found)} came back; give a text for each"
                )
            self.said.update(zip(new, found, strict=True))


def _synonyms(how: Augment) -> dict[str, Words]:
    """word -> the others of its lines."""
    if "synonyms" not in how.how:
        return {}
    if how.synonyms is None:
        raise KgrecError(
            'train.augment.how names "synonyms"; name their file, too: synonyms = "words.txt", a line for each group: car, auto, automobile'
        )
    try:
        lines = how.synonyms.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KgrecError(
            f"train.augment.synonyms: {how.synonyms} cannot be read ({error}); give a text file, a line for each group"
        ) from error
    found: dict[str, Words] = {}
    for line in lines:
        group = list(dict.fromkeys(word.strip() for word in re.split(r"[,\t]", line) if word.strip()))
        for word in group:
            found.setdefault(word.casefold(), []).extend(other for other in group if other != word)
    found = {word: others for word, others in found.items() if others}
    if not found:
        raise KgrecError(f"train.augment.synonyms: {how.synonyms} has no line with two words; write a group a line: car, auto, automobile")
    return found


def _function(how: Augment) -> Callable[[list[str]], list[str]]:
    from kgrec_core.recipe.registry import Registry

    if how.translate is None or ":" not in how.translate.name:
        raise KgrecError('train.augment.how names "translate"; name a function of texts, too: translate = "my_file:there_and_back"')
    return Registry.discover().component("function", str(how.translate)).factory
