"""`attributes`: what product names say, read without any model: type, colour, material, size, count, theme, audience.

    [knowledge.attributes]
    use = "attributes"

Colours, materials, sizes and audiences are short lists (`lexicon`). Which word of a name is the product and which a theme is learned from the
corpus: a product's type is the head of its phrase, so it stands last, and often; a theme stands before many different types, and is seldom
itself what is sold (right-headedness of English compounds: Lauer 1995, "Designing Statistical Language Learners"; Chinese ones are, too).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Relation
from kgrec_core.knowledge.lexicon import AUDIENCES, COLOURS, MATERIALS, PLAIN, SIZES
from kgrec_core.knowledge.phrases import BREAK, Phrase, phrase, singulars
from kgrec_core.knowledge.source import Rows, Source
from kgrec_core.knowledge.triples import delta
from kgrec_core.stored import document

Attribute = Literal["type", "colour", "material", "size", "count", "theme", "audience"]
NAMES = {"audience": "for_audience", **{name: f"has_{name}" for name in ("type", "colour", "material", "size", "count", "theme")}}
LISTS = {
    kind: {form: value for value, forms in words.items() for form in (value, *forms)}
    for kind, words in (("colour", COLOURS), ("material", MATERIALS), ("size", SIZES), ("audience", AUDIENCES))
}
ROUNDS, PRIOR, LAST = 3, 2.0, 0.35  # of learning heads; names that a word is doubted for; what standing last is worth


class Learned(NamedTuple):
    """heads: word -> how probably it is the type where it occurs. themes: words. compounds: "money box"; words: how often each occurs."""

    heads: dict[str, float]
    themes: frozenset[str]
    compounds: frozenset[str]
    words: dict[str, int]


class Attributes(Source):
    """Relations from entities to values that their texts name: has_type, has_colour, has_material, has_size, has_count, has_theme, for_audience.

    of: kind of entity whose texts are read. attributes: which of them. column: where the text is.
    min_count: a type or theme that fewer names have is left out. theme_types: how many different types a theme stands before.
    A compound type ("money box") is linked to its head: (type, kind_of, type).
    """

    def __init__(
        self,
        *,
        of: str = "item",
        attributes: tuple[Attribute, ...] = ("type", "colour", "material", "size", "count", "theme", "audience"),
        column: str = "text",
        min_count: int = 2,
        theme_types: int = 3,
    ) -> None:
        self.of, self.attributes, self.column = of, attributes, column
        self.min_count, self.theme_types = min_count, theme_types

    def learn(self, graph: Graph) -> None:
        self.learned_ = learned(self._texts(graph, None)["text"].drop_nulls().to_list(), self.min_count, self.theme_types)

    def read(self, graph: Graph, rows: Rows | None = None) -> Graph:
        if rows is not None and self.of not in rows:
            return Graph({})
        table = self._texts(graph, rows)
        singular, found = singulars(self.learned_.words), defaultdict(list)
        for id, text in zip(table["id"], table["text"], strict=True):
            for attribute, values in values_of(phrase(text or "", singular), self.learned_).items():
                if attribute in self.attributes:
                    found[attribute] += [(id, value) for value in values]
        if compounds := [t for t in dict.fromkeys(t for _, t in found["type"]) if t in self.learned_.compounds]:
            found["kind_of"] = [(compound, compound.rpartition(" ")[2]) for compound in compounds]
        edges, texts = {}, defaultdict(list)
        for attribute, pairs in found.items():
            ends = ("type", "kind_of", "type") if attribute == "kind_of" else (self.of, NAMES[attribute], attribute)
            edges[Relation(*ends)] = pl.DataFrame(pairs, {"source": pl.String, "target": pl.String}, orient="row")
            texts[ends[2]] += [value for _, value in pairs]
        texts = {kind: pl.DataFrame({"id": values, "text": values}) for kind, values in texts.items()}
        return delta(edges, texts, graph)

    def save(self, folder: Path) -> None:
        heads, themes, compounds, words = self.learned_
        told = {"heads": heads, "themes": sorted(themes), "compounds": sorted(compounds), "words": words}
        (folder / "attributes.json").write_text(json.dumps(told, ensure_ascii=False), "utf-8")

    def load(self, folder: Path) -> None:
        try:
            told = document(folder / "attributes.json")
            heads = {str(word): float(p) for word, p in told["heads"].items()}
            words = {str(word): int(n) for word, n in told["words"].items()}
            self.learned_ = Learned(heads, frozenset(map(str, told["themes"])), frozenset(map(str, told["compounds"])), words)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise KgrecError(f"{folder / 'attributes.json'} is damaged ({error}); restore the run from a copy or fit again") from error

    def _texts(self, graph: Graph, rows: Rows | None) -> pl.DataFrame:
        """`id` and `text` of the rows."""
        if self.of not in graph.entities:
            raise choices("kind of entity", self.of, graph.entities, "correct knowledge.*.of")
        if self.column not in graph.columns(self.of):
            raise choices(f"column of {self.of}", self.column, graph.columns(self.of), "correct knowledge.*.column")
        which = np.arange(graph.size(self.of)) if rows is None else rows[self.of]
        return graph.gather(self.of, which, "id", self.column).rename({self.column: "text"} if self.column != "text" else {})


def learned(texts: Sequence[str], min_count: int = 2, theme_types: int = 3) -> Learned:
    """Heads, compounds and themes of a corpus of names. Heads are learned by reading the names with what was learned so far."""
    words = Counter(word for text in texts for word in phrase(text).words if word != BREAK)
    singular = singulars(words)
    names = [phrase(text, singular).words for text in dict.fromkeys(texts)]
    often, last = Counter(w for name in names for w in set(name)), Counter()
    for name in names:
        if rest := _content(_first(name)):
            last[name[rest[-1]]] += 1
    share = sum(last.values()) / max(1, sum(often[w] for w in last))
    heads = {w: (last[w] + PRIOR * share) / (n + PRIOR) for w, n in often.items() if w != BREAK}
    chosen: list[int | None] = []
    for _ in range(ROUNDS):
        chosen = [_head(name, heads) for name in names]
        taken = Counter(name[at] for name, at in zip(names, chosen, strict=True) if at is not None)
        heads = {w: (taken[w] + PRIOR * heads[w]) / (often[w] + PRIOR) for w in heads}
    follows, types = Counter(), defaultdict(set)
    for name, at in zip(names, chosen, strict=True):
        if at is None:
            continue
        follows.update([(name[at - 1], name[at])] if at and name[at - 1] not in _OTHER else [])
        for place, word in enumerate(name):
            if place != at and word not in _OTHER and word != BREAK:
                types[word].add(name[at])
    fixed = {(a, b) for (a, b), n in follows.items() if n >= max(3, min_count) and n >= 0.4 * often[a]}
    themes = {
        word
        for word, of in types.items()
        if len(of) >= theme_types
        and often[word] >= max(min_count, theme_types)
        and heads[word] < 0.25
        and word not in {a for a, _ in fixed}
    }
    kept = {w: round(p, 4) for w, p in heads.items() if often[w] >= min_count}
    return Learned(kept, frozenset(themes), frozenset(f"{a} {b}" for a, b in fixed), {w: n for w, n in words.items() if n >= min_count})


def values_of(name: Phrase, known: Learned) -> dict[str, list[str]]:
    """attribute -> distinct values that a name states."""
    words, found = name.words, {"count": list(name.counts), "size": list(name.measures)}
    at = _head(words, known.heads)
    taken: set[int] = set()
    if at is not None:
        taken, pair = {at}, f"{words[at - 1]} {words[at]}" if at else ""
        found["type"] = [pair if pair in known.compounds else words[at]]
        taken |= {at - 1} if pair in known.compounds else set()
    for kind, forms in LISTS.items():
        for place, word in enumerate(words):
            if place not in taken and (value := forms.get(word)) is not None:
                found.setdefault(kind, []).append(value)
    found["theme"] = [word for place, word in enumerate(words) if place not in taken and word in known.themes]
    return {kind: list(dict.fromkeys(values)) for kind, values in found.items() if values}


_OTHER = frozenset(form for forms in LISTS.values() for form in forms) | PLAIN


def _first(words: Sequence[str]) -> Sequence[str]:
    """The phrase whose head is the product: up to the first break that has something before it."""
    for place, word in enumerate(words):
        if word == BREAK and _content(words[:place]):
            return words[:place]
    return words


def _content(words: Sequence[str]) -> list[int]:
    """Places of the words that may be the product."""
    strict = [i for i, w in enumerate(words) if w != BREAK and w not in _OTHER]
    return strict or [i for i, w in enumerate(words) if w in LISTS["material"]]


def _head(words: Sequence[str], heads: dict[str, float]) -> int | None:
    """The place of the word that is what is sold; None where no word is known."""
    first = _first(words)
    places = [i for i in _content(first) if words[i] in heads]
    if not places:
        return None
    return max(places, key=lambda i: (heads[words[i]] + LAST * (i == places[-1]), i))
