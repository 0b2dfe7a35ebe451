"""How an article is read for a run's tasks: the passages that are asked about, and towards each company with it as TARGET."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kgrec_finance.articles.linking import Linker, Span
from kgrec_finance.articles.marking import marked, occurrences
from kgrec_finance.articles.passages import Passage, passages, pooled

if TYPE_CHECKING:
    from kgrec_core import Nodes
    from kgrec_core.domain import Probabilities, Snapshot

Cut = list[tuple[str, Passage]]  # an article or a mention of it, as it is read


class Said(NamedTuple):
    """Where a company stands in a text, and its name."""

    name: str
    mine: list[tuple[int, int]]
    others: list[tuple[int, int]]


def lead(text: str) -> Cut:
    """The passages of an article, each with its own text."""
    return [(text[of.start : of.end], of) for of in passages(text)]


def towards(text: str, companies: Sequence[str], linker: Linker | None) -> list[Cut]:
    """For each company the passages that name it (all, where none does), with it as TARGET: what a mention of them reads like."""
    spans: list[Span] = linker.find(text) if linker else []
    names, windows, found = linker.names if linker else {}, passages(text), []
    for company in companies:
        said = _said(text, company, names.get(company, company), spans)
        about = [of for of in windows if _within(said.mine, of)] or windows
        found.append([(marked(text[of.start : of.end], said.name, _within(said.mine, of), _within(said.others, of)), of) for of in about])
    return found


def put(snapshot: Snapshot, task: str, cut: Sequence[Cut]) -> Nodes:
    """The passages of all articles or mentions as the run is asked of them."""
    return snapshot.put([{"text": text} for parts in cut for text, _ in parts], task)


def asked(snapshot: Snapshot, task: str, cut: Sequence[Cut], queries: Nodes | None = None) -> Probabilities:
    """Of each article or mention, from its passages'. queries: these, where they have been `put`."""
    every = snapshot.probabilities(put(snapshot, task, cut) if queries is None else queries, task)
    bounds = pairwise(accumulate(map(len, cut), initial=0))
    log = [pooled(every.log[a:b], [of for _, of in parts]) for (a, b), parts in zip(bounds, cut, strict=True)]
    return every._replace(log=np.array(log).reshape(len(cut), len(every.labels)))


def _said(text: str, company: str, name: str, spans: Sequence[Span]) -> Said:
    mine = [(span.start, span.end) for span in spans if span.company == company]
    return Said(name, mine or occurrences(text, name), [(span.start, span.end) for span in spans if span.company != company])


def _within(stretches: Sequence[tuple[int, int]], of: Passage) -> list[tuple[int, int]]:
    """Those that lie in the passage, counted from its start."""
    return [(start - of.start, end - of.start) for start, end in stretches if of.start <= start and end <= of.end]
