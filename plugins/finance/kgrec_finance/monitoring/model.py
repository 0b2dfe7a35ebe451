"""What a run says of events: the sentiment of each and towards each company in it, to the bit the same however events come together.

score = SentimentModel(kgrec_core.open_run("runs/news"))
score([event])[0].companies["AAPL"]        # P(negative), P(neutral), P(positive)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec_core import KgrecError
from kgrec_core.domain import Run, Snapshot
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.reading import Cut, asked, lead, towards
from kgrec_finance.articles.roster import roster
from kgrec_finance.feeds.events import Event
from kgrec_finance.monitoring.scores import NEUTRAL, Moods, Scored, named

TOPIC = 0.1  # a topic less probable than this is none of the article's
WORDS = {
    "negative": 0, "neg": 0, "bearish": 0, "负面": 0, "負面": 0, "消极": 0, "利空": 0,
    "neutral": 1, "neu": 1, "mixed": 1, "中性": 1,
    "positive": 2, "pos": 2, "bullish": 2, "正面": 2, "积极": 2, "利好": 2,
}  # fmt: skip


class SentimentModel:
    """A `Score` (see `scores`) by a run. linker: who is looked for; None = the run's own companies.

    Towards a company by the task entity_sentiment, of the article by sentiment; where the run knows only one of them, that one speaks
    for both (the article has the mean of its companies). Raises KgrecError for a run that knows neither, and for labels of another kind.
    """

    def __init__(self, run: Run, linker: Linker | None = None) -> None:
        self.run, self.linker, self.tasks = run, linker or roster(None, run).linker, [task.name for task in run.tasks]
        known = [name for name in ("sentiment", "entity_sentiment") if name in self.tasks]
        if not known:
            raise KgrecError(f"{run.folder} knows no sentiment, only {', '.join(self.tasks)}; fit articles with a column sentiment")
        for name in known:
            self._moods(name, run.probabilities([], name).labels)

    def __call__(self, events: Sequence[Event]) -> list[Scored]:
        snapshot, texts = self.run.snapshot, [lead(event.text) for event in events]
        companies = [named(event, self.linker) for event in events]
        of_article = self._of(snapshot, "sentiment", texts) if "sentiment" in self.tasks else [None] * len(texts)
        mentions = "entity_sentiment" in self.tasks
        cut = (
            [parts for event, ids in zip(events, companies, strict=True) for parts in towards(event.text, ids, self.linker)]
            if mentions
            else []
        )
        of_mention, topics = iter(self._of(snapshot, "entity_sentiment", cut) if cut else ()), self._topics(snapshot, texts)
        found = []
        for own, ids, said in zip(of_article, companies, topics, strict=True):
            about = {id: next(of_mention) if mentions else own for id in ids}
            if own is None:
                own = tuple(float(np.mean(column)) for column in zip(*about.values(), strict=True)) if about else NEUTRAL
            found.append(Scored(own, about, said))
        return found

    def _of(self, snapshot: Snapshot, task: str, cut: Sequence[Cut]) -> list[Moods]:
        said = asked(snapshot, task, cut)
        moods = self._moods(task, said.labels)
        return [tuple(map(float, np.exp(log) @ moods)) for log in said.log]

    def _topics(self, snapshot: Snapshot, texts: Sequence[Cut]) -> list[dict[str, float]]:
        if "topic" not in self.tasks:
            return [{} for _ in texts]
        said = asked(snapshot, "topic", texts)
        every = (zip(said.labels, np.exp(log).tolist(), strict=True) for log in said.log)
        return [{name: p for name, p in of if p >= TOPIC} for of in every]

    def _moods(self, task: str, labels: Sequence[str]) -> NDArray[np.float64]:
        """(labels, 3) which mood each label is; unknown words are neutral."""
        places = [WORDS.get(label.lower()) for label in labels]
        if not {0, 2} & set(places):
            raise KgrecError(
                f"the labels of task {task} of {self.run.folder} ({', '.join(labels[:5])}) are no sentiments; "
                "call them negative, neutral and positive, and fit again"
            )
        return np.eye(3)[[1 if place is None else place for place in places]]
