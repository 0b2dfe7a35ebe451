"""What a run says of texts: probabilities of its labels, to the bit the same however the texts come together.

score = Scoring(kgrec_core.open_run("runs/news"))
score([event])[0].companies["AAPL"]        # P(negative), P(neutral), P(positive)

Texts go through the model in passes of one shape (`fixed_shape`), and each through the rest alone: which texts share a batch would
change sums of floating point numbers in their last digits, and a replay in other batches must give the alerts of the live monitor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.calibration import confidence
from kgrec_core.encoder.tower import fixed_shape
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Nodes, Task, candidates
from kgrec_core.run.asked import with_queries
from kgrec_core.run.run import Run
from kgrec_finance.events import Event
from kgrec_finance.linking import Linker, Span
from kgrec_finance.marking import marked, occurrences
from kgrec_finance.passages import Passage, passages, pooled
from kgrec_finance.roster import roster
from kgrec_finance.scores import NEUTRAL, Moods, Scored, named

TOGETHER = 4  # texts in a pass: nearly as fast as many, and little is wasted on one
LEAST = 1e-6  # no label is ruled out, none is certain
TOPIC = 0.1  # a topic less probable than this is none of the article's
WORDS = {
    "negative": 0, "neg": 0, "bearish": 0, "负面": 0, "負面": 0, "消极": 0, "利空": 0,
    "neutral": 1, "neu": 1, "mixed": 1, "中性": 1,
    "positive": 2, "pos": 2, "bullish": 2, "正面": 2, "积极": 2, "利好": 2,
}  # fmt: skip


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


class Scoring:
    """A `Score` (see `scores`) by a run. linker: who is looked for; None = the run's own companies.

    Towards a company by the task entity_sentiment, of the article by sentiment; where the run knows only one of them, that one speaks
    for both (the article has the mean of its companies). Raises KgrecError for a run that knows neither, and for labels of another kind.
    """

    def __init__(self, run: Run, linker: Linker | None = None) -> None:
        self.linker = linker or roster(None, run).linker
        known = judges(run)
        if not {"sentiment", "entity_sentiment"} & known.keys():
            raise KgrecError(f"{run.folder} knows no sentiment, only {', '.join(known)}; fit articles with a column sentiment")
        self.article, self.mention, self.topic = known.get("sentiment"), known.get("entity_sentiment"), known.get("topic")
        self.moods = {name: _moods(known[name], run) for name in ("sentiment", "entity_sentiment") if name in known}

    def __call__(self, events: Sequence[Event]) -> list[Scored]:
        texts = [lead(event.text) for event in events]
        companies = [named(event, self.linker) for event in events]
        of_article = self._of(self.article, "sentiment", texts)
        asked = [
            parts
            for event, ids in zip(events, companies, strict=True)
            for parts in (towards(event.text, ids, self.linker) if self.mention else ())
        ]
        of_mention = iter(self._of(self.mention, "entity_sentiment", asked) or ())
        topics = [np.exp(logp) for logp in self.topic.articles(texts)] if self.topic else [None] * len(texts)
        found = []
        for number, ids in enumerate(companies):
            own = of_article[number] if of_article else None
            about = {id: next(of_mention) if self.mention else own for id in ids}
            if own is None:
                own = tuple(float(np.mean(column)) for column in zip(*about.values(), strict=True)) if about else NEUTRAL
            said = {} if self.topic is None else dict(zip(self.topic.labels, topics[number].tolist(), strict=True))
            found.append(Scored(own, about, {name: p for name, p in said.items() if p >= TOPIC}))
        return found

    def _of(self, judge: Judge | None, task: str, cut: Sequence[Sequence[tuple[str, Passage]]]) -> list[Moods] | None:
        return None if judge is None else [tuple(map(float, np.exp(logp) @ self.moods[task])) for logp in judge.articles(cut)]


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


def _moods(judge: Judge, run: Run) -> NDArray[np.float64]:
    """(labels, 3) which mood each label is; unknown words are neutral."""
    places = [WORDS.get(label.lower()) for label in judge.labels]
    if not {0, 2} & set(places):
        raise KgrecError(
            f"the labels of task {judge.task.name} of {run.folder} ({', '.join(judge.labels[:5])}) are no sentiments; "
            "call them negative, neutral and positive, and fit again"
        )
    return np.eye(3)[[1 if place is None else place for place in places]]
