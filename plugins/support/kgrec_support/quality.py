"""What an editor of an FAQ should look at: entries that say the same, contradict or confuse each other, and what is asked in vain.

Everything is found by nearness of texts: of vectors where an encoder is given, else of TF-IDF over content words (pairs of characters in Chinese).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core import KgrecError
from kgrec_core.parts import near_duplicates, units
from kgrec_support.grounding import Encode, content, facts

BLOCK, MOST, TITLE, SHOWN = 512, 3_000, 60, 20  # rows at once; distinct questions clustered; characters; lines of one kind in the text


class Faq(NamedTuple):
    """One entry: its answer and the ways it is asked."""

    id: str
    answer: str
    variants: tuple[str, ...] = ()


class Asked(NamedTuple):
    """One line of the log of questions. answer_id: the entry that was given, None = none was. probability: that the first was right."""

    question: str
    answer_id: str | None = None
    probability: float | None = None


class Contradiction(NamedTuple):
    """Two variants that ask the same and lead to different answers. differs: "numbers", "negation" or "text"."""

    questions: tuple[str, str]
    ids: tuple[str, str]
    differs: str


class Gap(NamedTuple):
    """Unanswered questions about one thing; title: the most typical one, shortened; asked: how often."""

    title: str
    asked: int
    questions: list[str]


class Confusion(NamedTuple):
    """`wrong` of an entry's `of` variants are nearest to a variant of `other`; example: one of them."""

    id: str
    other: str
    wrong: int
    of: int
    example: str


@dataclass(frozen=True)
class Review:
    """What is to be looked at in an FAQ. promise: of what is answered from it, in words, where a budget was asked for."""

    duplicates: list[list[str]]
    contradictions: list[Contradiction]
    never_hit: list[str]
    unanswered: list[Gap]
    confusions: list[Confusion]
    promise: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Values of JSON; named tuples become objects."""
        lists = {name: of for name, of in self.__dict__.items() if name != "promise"}
        return {k: [v._asdict() if hasattr(v, "_asdict") else v for v in of] for k, of in lists.items()} | {"promise": self.promise}

    def __str__(self) -> str:
        parts = {
            "Entries that say the same": [", ".join(group) for group in self.duplicates],
            "One question, different answers": [
                f'{c.ids[0]} / {c.ids[1]} ({c.differs}): "{c.questions[0]}" / "{c.questions[1]}"' for c in self.contradictions
            ],
            "Never given": self.never_hit,
            "Asked in vain": [f"{gap.asked:,} x {gap.title}" for gap in self.unanswered],
            "Taken for another": [f'{c.id} for {c.other}: {c.wrong} of {c.of}, e.g. "{c.example}"' for c in self.confusions],
        }
        lines = []
        for title, found in parts.items():
            lines += [f"{title}: {len(found):,}", *(f"  {' '.join(line.split())}" for line in found[:SHOWN])]
            lines += [f"  ... and {len(found) - SHOWN:,} more"] if len(found) > SHOWN else []
        lines += [self.promise] if self.promise else []
        return "\n".join(lines)


def review(
    entries: Sequence[Faq],
    questions_log: Sequence[Asked],
    vectors: Encode | None = None,
    *,
    same: float | None = None,
    cluster: float | None = None,
    duplicates: float = 0.8,
) -> Review:
    """Look at everything.

    vectors: encoder of texts, rows of length 1. same: cosine from which two texts are one (.92 with an encoder, .8 without);
    cluster: mean cosine from which unanswered questions are about one thing (.6, .25); duplicates: see `near_duplicates`.
    never_hit is empty where the log has no answered question. Clustered are the 3,000 most frequent distinct questions.
    Raises KgrecError for two entries of one id.
    """
    twice = [id for id, n in Counter(e.id for e in entries).items() if n > 1]
    if twice:
        raise KgrecError(f"review: entry {twice[0]!r} is there twice; give every entry an id of its own")
    same = same or (0.92 if vectors else 0.8)
    cluster = cluster or (0.6 if vectors else 0.25)
    hit = {line.answer_id for line in questions_log if line.answer_id is not None}
    variants = [(text, place) for place, e in enumerate(entries) for text in dict.fromkeys(e.variants) if text.strip()]
    near = _vectors([text for text, _ in variants], vectors) if variants else np.zeros((0, 1))
    return Review(
        _duplicates(entries, vectors, same, duplicates),
        _contradictions(entries, variants, near, same),
        [e.id for e in entries if e.id not in hit] if hit else [],
        _gaps([line.question for line in questions_log if line.answer_id is None], vectors, cluster),
        _confusions(entries, variants, near),
    )


def title(question: str) -> str:
    """One line, without greeting marks, cut at a word."""
    text = " ".join(question.split()).rstrip(" ?!.。？！") or question.strip()
    if len(text) <= TITLE:
        return text
    cut = text[: TITLE - 1]
    return (cut.rpartition(" ")[0] if " " in cut[TITLE // 2 :] else cut).rstrip(" ,;:") + "…"


def _vectors(texts: Sequence[str], encode: Encode | None) -> Any:
    """(n, d) rows of length 1, dense or sparse; texts without a word are zero rows where there is no encoder."""
    if encode is not None:
        return np.asarray(encode(list(texts)), np.float32)
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [content(text) or units(text) for text in texts]
    if not any(words):
        return np.zeros((len(texts), 1), np.float32)
    return TfidfVectorizer(analyzer=lambda cut: cut, sublinear_tf=True, dtype=np.float32).fit_transform(words)


def _blocks(near: Any) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Cosines of BLOCK rows with all."""
    for start in range(0, near.shape[0], BLOCK):
        block = near[start : start + BLOCK] @ near.T
        yield start, block if isinstance(block, np.ndarray) else block.toarray()


def _pairs(near: Any, least: float) -> list[tuple[int, int]]:
    found = []
    for start, block in _blocks(near):
        one, two = np.nonzero(block >= least - 1e-6)
        kept = two > one + start
        found += zip((one[kept] + start).tolist(), two[kept].tolist(), strict=True)
    return found


def _duplicates(entries: Sequence[Faq], encode: Encode | None, same: float, jaccard: float) -> list[list[str]]:
    """Groups of entries whose answers are near-duplicates, or near by vectors without differing in a number or a negation."""
    answers = [e.answer for e in entries]
    if not answers:
        return []
    group = near_duplicates(answers, jaccard)
    pairs = [(int(np.argmax(group == g)), i) for i, g in enumerate(group)]
    pairs += [(a, b) for a, b in _pairs(_vectors(answers, encode), same)]
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = [(a, b) for a, b in pairs if a == b or _differs(answers[a], answers[b]) == "text"]
    rows, columns = np.array(pairs).T
    part = connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), (len(answers),) * 2), directed=False)[1]
    groups = [[entries[i].id for i in np.flatnonzero(part == p)] for p in np.flatnonzero(np.bincount(part) > 1)]
    return sorted(groups, key=len, reverse=True)


def _contradictions(entries: Sequence[Faq], variants: list[tuple[str, int]], near: Any, same: float) -> list[Contradiction]:
    """Of every two entries the first pair of variants that are one question; those that differ in numbers or negation come first."""
    found: dict[tuple[int, int], Contradiction] = {}
    for a, b in _pairs(near, same) if variants else ():
        (one, i), (two, j) = variants[a], variants[b]
        if i == j or units(entries[i].answer) == units(entries[j].answer) or (i, j) in found:
            continue
        if facts(one).exact == facts(two).exact:  # "within 3 days" and "within 5 days" are two questions
            found[i, j] = Contradiction((one, two), (entries[i].id, entries[j].id), _differs(entries[i].answer, entries[j].answer))
    return sorted(found.values(), key=lambda c: ("numbers", "negation", "text").index(c.differs))


def _differs(one: str, two: str) -> str:
    a, b = facts(one), facts(two)
    if {n for n in a.exact if any(map(str.isdigit, n))} != {n for n in b.exact if any(map(str.isdigit, n))}:
        return "numbers"
    return "negation" if any(a.words[w] != b.words[w] for w in a.words.keys() & b.words.keys()) else "text"


def _confusions(entries: Sequence[Faq], variants: list[tuple[str, int]], near: Any) -> list[Confusion]:
    """Per entry and other entry, most variants first. An entry with one variant has no second of its own to be nearest to: left out."""
    if not variants:
        return []
    owner = np.array([place for _, place in variants])
    size = np.bincount(owner, minlength=len(entries))
    wrong: dict[tuple[int, int], list[int]] = {}
    for start, block in _blocks(near):
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -2
        nearest = block.argmax(1)
        for row, other in enumerate(nearest.tolist(), start):
            if owner[other] != owner[row] and size[owner[row]] > 1 and block[row - start, other] > 0:
                wrong.setdefault((owner[row], owner[other]), []).append(row)
    found = [Confusion(entries[a].id, entries[b].id, len(rows), int(size[a]), variants[rows[0]][0]) for (a, b), rows in wrong.items()]
    return sorted(found, key=lambda c: (-c.wrong, -c.wrong / c.of, c.id, c.other))


def _gaps(questions: Sequence[str], encode: Encode | None, least: float) -> list[Gap]:
    """Clusters by average linkage, most asked first; the most typical question has the greatest mean cosine with its cluster."""
    counted = Counter(text for q in questions if (text := " ".join(q.split())) and units(text))
    texts = [text for text, _ in counted.most_common(MOST)]
    if not texts:
        return []
    labels = np.zeros(1, np.int64)
    near = _vectors(texts, encode)
    near = near if isinstance(near, np.ndarray) else near.toarray()
    if len(texts) > 1:
        from sklearn.cluster import AgglomerativeClustering

        apart = np.clip(1 - near @ near.T, 0, 2)
        labels = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=1 - least).fit_predict(apart)
    found = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        weight = np.array([counted[texts[r]] for r in rows])
        typical = rows[np.argmax(near[rows] @ (weight @ near[rows]))]
        order = sorted(rows.tolist(), key=lambda r: (r != typical, -counted[texts[r]]))
        found.append(Gap(title(texts[typical]), int(weight.sum()), [texts[r] for r in order]))
    return sorted(found, key=lambda gap: (-gap.asked, gap.title))
