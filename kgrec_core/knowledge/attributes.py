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
from kgrec_core.knowledge.delta import delta
from kgrec_core.knowledge.descriptions import described, parted
from kgrec_core.knowledge.lexicon import AUDIENCES, COLOURS, GENERIC, MATERIALS, PLAIN, PURPOSES, SIZES, THEMES
from kgrec_core.knowledge.phrases import BREAK, WITH, Phrase, phrase, singulars
from kgrec_core.knowledge.source import Rows, Source
from kgrec_core.recipe.ranges import Size
from kgrec_core.stored import document

Attribute = Literal["type", "colour", "material", "size", "count", "theme", "audience"]
NAMES = {"audience": "for_audience", **{name: f"has_{name}" for name in ("type", "colour", "material", "size", "count", "theme")}}
LISTS = {
    kind: {form: value for value, forms in words.items() for form in (value, *forms)}
    for kind, words in (("colour", COLOURS), ("material", MATERIALS), ("size", SIZES), ("audience", AUDIENCES))
}
ROUNDS, PRIOR, LAST = 3, 2.0, 0.15  # of learning heads; names that a word is doubted for; what standing last is worth
NEXT, SURE = 0.6, 0.35  # a head before another is its modifier; below it nothing is said
TYPE, DOUBTED, TYPES, MANY = (
    0.3,
    0.1,
    1.8,
    0.3,
)  # a word that is the head so often is no theme; nor so often where the type is unknown; types that a theme goes with, at least; per name
BREAKS = frozenset({BREAK, WITH})


class Learned(NamedTuple):
    """heads: word -> how probably it is the type where it occurs. themes: words. compounds: "money box"; words: how often each occurs."""

    heads: dict[str, float]
    themes: frozenset[str]
    compounds: frozenset[str]
    words: dict[str, int]


class Attributes(Source):
    """Relations from entities to values that their texts name: has_type, has_colour, has_material, has_size, has_count, has_theme, for_audience.

    of: kind of entity whose texts are read. attributes: which of them. column: where the name is; prose behind its first sentence describes it.
    description: column with a description, where it is not behind the name. It fills what the name leaves open, but for the type.
    min_count: a type or theme that fewer names have is left out. theme_types: how many different types a theme stands before.
    A compound type ("money box") is linked to its head: (type, kind_of, type).
    """

    def __init__(
        self,
        *,
        of: str = "item",
        attributes: tuple[Attribute, ...] = ("type", "colour", "material", "size", "count", "theme", "audience"),
        column: str = "text",
        description: str | None = None,
        min_count: Size = 2,
        theme_types: Size = 3,
    ) -> None:
        self.of, self.attributes, self.column, self.description = of, attributes, column, description
        self.min_count, self.theme_types = min_count, theme_types

    def learn(self, graph: Graph) -> None:
        self.learned_ = learned(self._texts(graph, None)["name"].to_list(), self.min_count, self.theme_types)

    def read(self, graph: Graph, rows: Rows | None = None) -> Graph:
        if rows is not None and self.of not in rows:
            return Graph({})
        table = self._texts(graph, rows)
        singular, found = singulars(self.learned_.words), defaultdict(list)
        themes = self.learned_.themes | THEMES
        for id, name, prose in zip(table["id"], table["name"], table["prose"], strict=True):
            stated = values_of(phrase(name, singular), self.learned_)
            if prose:
                stated |= described(prose, singular, LISTS, themes, {kind for kind in self.attributes if kind not in stated})
            for attribute, values in stated.items():
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
        """`id`, `name` and `prose` of the rows, "" where there is none."""
        if self.of not in graph.entities:
            raise choices("kind of entity", self.of, graph.entities, "correct knowledge.*.of")
        asked = {"column": self.column, **({"description": self.description} if self.description else {})}
        for key, column in asked.items():
            if column not in graph.columns(self.of):
                raise choices(f"column of {self.of}", column, graph.columns(self.of), f"correct knowledge.*.{key}")
        which = np.arange(graph.size(self.of)) if rows is None else rows[self.of]
        table = graph.gather(self.of, which, *dict.fromkeys(("id", *asked.values())))
        pairs = [parted(text or "") for text in table[self.column]]
        if self.description:
            pairs = [(name, f"{prose} {more or ''}".strip()) for (name, prose), more in zip(pairs, table[self.description], strict=True)]
        return pl.DataFrame({"id": table["id"], "name": [name for name, _ in pairs], "prose": [prose for _, prose in pairs]})


def learned(texts: Sequence[str], min_count: int = 2, theme_types: int = 3) -> Learned:
    """Heads, compounds and themes of a corpus of names."""
    words = Counter(word for text in texts for word in phrase(text).words if word not in BREAKS)
    singular = singulars(words)
    names = [phrase(text, singular).words for text in dict.fromkeys(texts)]
    often = Counter(w for name in names for w in set(name) - BREAKS)
    heads = _heads(names, often)
    chosen = [_head(name, heads) for name in names]
    fixed, beside = Counter(), defaultdict(list)
    for name, at in zip(names, chosen, strict=True):
        if at is None:
            continue
        fixed.update([(name[at - 1], name[at])] if at and name[at - 1] not in _OTHER | BREAKS else [])
        for place in _modifiers(name, at):
            beside[name[place]].append((name[at], place - at))
    compounds = {(a, b) for (a, b), n in fixed.items() if n >= max(3, min_count) and n >= 0.4 * often[a]}
    modifying = {a for a, _ in compounds}
    least = max(min_count, theme_types)
    themes = {
        w for w, at in beside.items() if w not in modifying | PURPOSES and heads[w] < TYPE and w[-2:] != "ed" and _is_theme(at, least)
    }
    kept = {w: round(p, 4) for w, p in heads.items() if often[w] >= min_count}
    return Learned(kept, frozenset(themes), frozenset(f"{a} {b}" for a, b in compounds), {w: n for w, n in words.items() if n >= min_count})


def _heads(names: Sequence[Sequence[str]], often: Counter[str]) -> dict[str, float]:
    """word -> how probably it is the head of a name that has it.

    At first the share of names where it stands last, less where another word of the name often does: after "lunch bag" the last word is a
    motif. Then the names are read with that, and it is learned from them again.
    """
    last: Counter[str] = Counter()
    content = [[name[i] for i in _content(_first(name))] for name in names]
    for found in content:
        last.update(found[-1:])
    share = sum(last.values()) / max(1, sum(often.values()))
    ends = {w: (last[w] + PRIOR * share) / (n + PRIOR) for w, n in often.items()}
    rivals: dict[str, list[float]] = defaultdict(list)
    for found in content:
        rivals[found[-1] if found else ""].append(max((ends[w] for w in found[:-1]), default=0.0))
    heads = {w: p * (1 - float(np.mean(rivals[w] or [0.0]))) ** 2 for w, p in ends.items()}
    for _ in range(ROUNDS):
        taken = Counter(name[at] for name in names if (at := _head(name, heads)) is not None)
        heads = {w: (taken[w] + PRIOR * heads[w]) / (often[w] + PRIOR) for w in heads}
    return heads


def _is_theme(places: Sequence[tuple[str, int]], least: int) -> bool:
    """Whether a word with these (type, place from it) is a theme: it goes with many types, about as often as it is met, and is not only the
    word right before them, as the purpose of a thing is ("storage box", "storage tin")."""
    shares = np.array(list(Counter(type for type, _ in places).values())) / len(places)
    types = float(np.exp(-(shares * np.log(shares)).sum()))  # the perplexity of its types
    right_before, behind = np.mean([at == -1 for _, at in places]), np.mean([at > 0 for _, at in places])
    return (
        len(places) >= least
        and types >= TYPES
        and (types >= MANY * len(places) or types >= 10)
        and not (len(places) > 5 and right_before >= 0.65 and behind < 0.1)
    )


def values_of(name: Phrase, known: Learned) -> dict[str, list[str]]:
    """attribute -> distinct values that a name states."""
    words, found = name.words, {"count": list(name.counts), "size": list(name.measures)}
    at = _head(words, known.heads)
    taken: set[int] = set()
    if at is not None:
        pair = f"{words[at - 1]} {words[at]}" if at else ""
        if known.heads.get(words[at], 1.0) >= SURE:
            found["type"] = [pair if pair in known.compounds else words[at]]
        taken = {at, at - 1} if pair in known.compounds else {at}
    inside = words.index(WITH) if WITH in words else len(words)  # what comes with it is of another material
    for kind, forms in LISTS.items():
        for place, word in enumerate(words):
            if place not in taken and (value := forms.get(word)) is not None and not (kind == "material" and place > inside):
                found.setdefault(kind, []).append(value)
    if "baby" in words and not ((after := words.index("baby") + 1) == at or words[after : after + 1] in (("girls",), ("boys",))):
        found["audience"].remove("baby")  # a colour, an animal
    sure = TYPE if "type" in found else DOUBTED
    themes = [words[i] for i in _modifiers(words, at) if i not in taken]
    found["theme"] = [w for w in themes if w in THEMES or (w in known.themes and known.heads.get(w, 0.0) < sure)]
    return {kind: list(dict.fromkeys(values)) for kind, values in found.items() if values}


_OTHER = frozenset(form for forms in LISTS.values() for form in forms) | PLAIN


def _first(words: Sequence[str]) -> Sequence[str]:
    """The phrase whose head is the product: up to the first break that has something before it."""
    for place, word in enumerate(words):
        if word in BREAKS and _content(words[:place]):
            return words[:place]
    return words


def _content(words: Sequence[str]) -> list[int]:
    """Places of the words that may be the product; a material may ("cake tin"), a colour may not, but for cream."""
    strict = [i for i, w in enumerate(words) if w not in BREAKS and (w not in _OTHER or w in LISTS["material"] or w == "cream")]
    return strict or [i for i, w in enumerate(words) if w in GENERIC]


def _modifiers(words: Sequence[str], at: int | None) -> list[int]:
    """Places of what may be a theme: all but the head, listed words, and what comes with it."""
    end = words.index(WITH) if WITH in words else len(words)
    return [i for i, w in enumerate(words[:end]) if i != at and w not in _OTHER and w not in BREAKS]


def _head(words: Sequence[str], heads: dict[str, float]) -> int | None:
    """The place of the word that is what is sold; None where no word is known."""
    first = _first(words)
    places = [i for i in _content(first) if words[i] in heads]
    if not places:
        return None
    best = max(places, key=lambda i: (heads[words[i]] + LAST * (i == places[-1]), i))
    while best + 1 in places and heads[words[best + 1]] >= NEXT * heads[words[best]]:
        best += 1  # "mug warmer"
    generic = [i for i, w in enumerate(first) if w in GENERIC and i > best]
    return generic[-1] if generic and heads[words[best]] < SURE else best
