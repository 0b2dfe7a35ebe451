"""What a run says of texts: probabilities of its labels, to the bit the same however the texts come together.

score = Scoring(kgrec_core.open_run("runs/news"))
score([event])[0].companies["AAPL"]        # P(negative), P(neutral), P(positive)

Texts go through the model in passes of one shape (`fixed_shape`), and each through the rest alone: which texts share a batch would
change sums of floating point numbers in their last digits, and a replay in other batches must give the alerts of the live monitor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.run.run import Run
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.passages import Passage
from kgrec_finance.articles.reading import Judge, judges, lead, towards
from kgrec_finance.articles.roster import roster
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.scores import NEUTRAL, Moods, Scored, named

TOPIC = 0.1  # a topic less probable than this is none of the article's
WORDS = {
    "negative": 0, "neg": 0, "bearish": 0, "负面": 0, "負面": 0, "消极": 0, "利空": 0,
    "neutral": 1, "neu": 1, "mixed": 1, "中性": 1,
    "positive": 2, "pos": 2, "bullish": 2, "正面": 2, "积极": 2, "利好": 2,
}  # fmt: skip


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


def _moods(judge: Judge, run: Run) -> NDArray[np.float64]:
    """(labels, 3) which mood each label is; unknown words are neutral."""
    places = [WORDS.get(label.lower()) for label in judge.labels]
    if not {0, 2} & set(places):
        raise KgrecError(
            f"the labels of task {judge.task.name} of {run.folder} ({', '.join(judge.labels[:5])}) are no sentiments; "
            "call them negative, neutral and positive, and fit again"
        )
    return np.eye(3)[[1 if place is None else place for place in places]]
