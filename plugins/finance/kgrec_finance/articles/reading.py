"""How an article is read for a run's tasks: the passages that are asked about, and towards each company with it as TARGET."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.calibration import confidence
from kgrec_core.encoder.tower import fixed_shape
from kgrec_core.graph import Nodes, Task, candidates
from kgrec_core.run.asked import with_queries
from kgrec_core.run.run import Run
from kgrec_finance.articles.linking import Linker, Span
from kgrec_finance.articles.marking import marked, occurrences
from kgrec_finance.articles.passages import Passage, passages, pooled

TOGETHER = 4  # texts in a pass: nearly as fast as many, and little is wasted on one
LEAST = 1e-6  # no label is ruled out, none is certain


class Judge:
    """One classification of a run, asked about texts. labels: their ids, in the order of all probabilities."""

    def __init__(self, run: Run, task: Task) -> None:
        self.run, self.task = run, task
        graph, _, _ = run.chain(task)
        self.rows = candidates(graph, task).rows
        self.labels: list[str] = graph.gather(task.relation.target, self.rows, "id")["id"].to_list()

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n, labels) log-probabilities.

        The first answer of the chain has its calibrated probability of being right; the others share the rest as the softmax of the
        head's scores does. Without a calibration all is that softmax.
        """
        found = np.empty((len(texts), len(self.labels)))
        if not len(texts):
            return found
        snapshot, model, retrieval = self.run.chain(self.task)
        graph, rows = with_queries(snapshot, self.task, [{"text": text} for text in texts])
        head, calibration = model.heads[self.task.name], self.run.calibration(self.task.name)
        with fixed_shape(TOGETHER):
            classes = model.vectors(self.task, Nodes(snapshot, self.task.relation.target, self.rows, "candidate"))
            every = model.vectors(self.task, Nodes(graph, self.task.relation.source, rows, "query"))
        scale = getattr(head, "temperature", 1.0) if head.encodes_candidates else 1.0
        for place, row in enumerate(rows):
            nodes = Nodes(graph, self.task.relation.source, np.array([row]), "query")
            vector = every[place : place + 1].copy()
            logits = (classes @ vector[0]).astype(np.float64) / scale
            p = np.exp(logits - logits.max())
            p /= p.sum()
            if calibration is not None:
                hits = retrieval.search(nodes, vector, min(confidence.DEPTH, len(self.labels)))
                first = self.rows == hits.rows[0, 0]
                sure = np.clip(calibration.probability(confidence.features(hits))[0], LEAST, 1 - LEAST)
                p = np.where(first, sure, np.maximum(p, LEAST) * (1 - sure) / np.maximum(p, LEAST)[~first].sum())
            found[place] = np.log(np.maximum(p, LEAST))
        return found - np.logaddexp.reduce(found, axis=1, keepdims=True)

    def articles(self, cut: Sequence[Sequence[tuple[str, Passage]]]) -> list[NDArray[np.float64]]:
        """(labels,) log-probabilities of each article, from its passages' texts (`lead`, `towards`)."""
        every = self([text for parts in cut for text, _ in parts])
        bounds = pairwise(accumulate(map(len, cut), initial=0))
        return [pooled(every[a:b], [of for _, of in parts]) for (a, b), parts in zip(bounds, cut, strict=True)]


class Said(NamedTuple):
    """Where a company stands in a text, and its name."""

    name: str
    mine: list[tuple[int, int]]
    others: list[tuple[int, int]]


def judges(run: Run) -> dict[str, Judge]:
    return {task.name: Judge(run, task) for task in run.tasks}


def lead(text: str) -> list[tuple[str, Passage]]:
    """The passages of an article, each with its own text."""
    return [(text[of.start : of.end], of) for of in passages(text)]


def towards(text: str, companies: Sequence[str], linker: Linker | None) -> list[list[tuple[str, Passage]]]:
    """For each company the passages that name it (all, where none does), with it as TARGET: what a mention of them reads like."""
    spans: list[Span] = linker.find(text) if linker else []
    names, windows, found = linker.names if linker else {}, passages(text), []
    for company in companies:
        said = _said(text, company, names.get(company, company), spans)
        about = [of for of in windows if _within(said.mine, of)] or windows
        found.append([(marked(text[of.start : of.end], said.name, _within(said.mine, of), _within(said.others, of)), of) for of in about])
    return found


def _said(text: str, company: str, name: str, spans: Sequence[Span]) -> Said:
    mine = [(span.start, span.end) for span in spans if span.company == company]
    return Said(name, mine or occurrences(text, name), [(span.start, span.end) for span in spans if span.company != company])


def _within(stretches: Sequence[tuple[int, int]], of: Passage) -> list[tuple[int, int]]:
    """Those that lie in the passage, counted from its start."""
    return [(start - of.start, end - of.start) for start, end in stretches if of.start <= start and end <= of.end]
