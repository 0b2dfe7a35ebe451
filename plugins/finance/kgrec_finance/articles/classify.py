"""What a run says of one text: sentiment, topic, towards each company, and which past articles say the same. `classify` prints it.

found = classify(kgrec_core.open_run("runs/news"), "Infosys falls as TCS gains")
found.tasks["sentiment"].label, found.companies["TCS"].probabilities
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Nodes, Task
from kgrec_core.interfaces import Retrieval
from kgrec_core.retrieval.neighbours import Neighbours
from kgrec_core.run.asked import with_queries
from kgrec_core.run.run import Run
from kgrec_finance.articles.describing import described
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.passages import Passage, pooled
from kgrec_finance.articles.reading import Judge, judges, lead, towards
from kgrec_finance.articles.roster import roster

SHOWN = 3


class Like(NamedTuple):
    """A past labelled article or mention; similarity: cosine of the fine-tuned vectors, from -1 to 1."""

    id: str
    text: str
    labels: list[str]
    similarity: float


class Opinion(NamedTuple):
    """label: the most probable one. probabilities: label -> P, calibrated where the run is. second: what the nearest past articles
    say, label -> share, most frequent first; like: the nearest of them. Both empty where the run has no such channel."""

    label: str
    probability: float
    probabilities: dict[str, float]
    calibrated: bool
    second: dict[str, float]
    like: list[Like]


class Classified(NamedTuple):
    """passages: windows that the text was read in. tasks: of the article. companies: id -> towards that company; names: id -> name."""

    text: str
    passages: int
    tasks: dict[str, Opinion]
    companies: dict[str, Opinion]
    names: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "text": self.text,
            "passages": self.passages,
            **{name: _plain(opinion) for name, opinion in self.tasks.items()},
            "companies": {id: {"name": self.names[id], **_plain(opinion)} for id, opinion in self.companies.items()},
        }


def classify(run: Run, text: str, companies: Sequence[str] = (), linker: Linker | None = None, shown: int = SHOWN) -> Classified:
    """companies: ids, tickers or names of who else is asked about, beside those that the text names. shown: past articles an opinion.

    linker: who is looked for; None = the run's own companies. Raises KgrecError for a text without a word.
    """
    text = _readable(text)
    linker, known = linker or roster(None, run).linker, judges(run)
    parts = lead(text)
    tasks = {name: _opinion(known[name], parts, shown) for name in ("sentiment", "topic") if name in known}
    ids: list[str] = []
    if "entity_sentiment" in known:
        found = [span.company for span in linker.find(text)] if linker else []
        ids = list(dict.fromkeys([*found, *((linker and linker.resolve(name)) or name for name in companies)]))
    about = zip(ids, towards(text, ids, linker), strict=True)
    of = {id: _opinion(known["entity_sentiment"], mention, shown) for id, mention in about}
    names = linker.names if linker else {}
    return Classified(text, len(parts), tasks, of, {id: names.get(id, id) for id in ids})


def by_description(text: str, meanings: Mapping[str, Mapping[str, str]], encoder: Mapping[str, Any]) -> Classified:
    """By labels that are only described: task (sentiment, topic) -> label -> what it means. encoder: a recipe's, see `described`.

    Raises KgrecError for a text without a word.
    """
    text = _readable(text)
    parts, tasks = lead(text), {}
    for name, of in meanings.items():
        p = np.exp(pooled(np.log(described([part for part, _ in parts], list(of.values()), encoder)), [cut for _, cut in parts]))
        tasks[name] = _ordered(list(of), p, False, {}, [])
    return Classified(text, len(parts), tasks, {}, {})


def _readable(text: str) -> str:
    if not any(c.isalnum() for c in text):
        raise KgrecError("the text has no word to read; give a headline or an article")
    return text.strip()


def _opinion(judge: Judge, parts: Sequence[tuple[str, Passage]], shown: int) -> Opinion:
    p = np.exp(judge.articles([parts])[0])
    return _ordered(judge.labels, p, judge.run.calibration(judge.task.name) is not None, *_past(judge, parts[0][0], shown))


def _ordered(labels: Sequence[str], p: NDArray[np.float64], calibrated: bool, second: dict[str, float], like: list[Like]) -> Opinion:
    named = {labels[i]: float(p[i]) for i in np.argsort(-p, kind="stable")}
    best = next(iter(named))
    return Opinion(best, named[best], named, calibrated, second, like)


def _past(judge: Judge, text: str, shown: int) -> tuple[dict[str, float], list[Like]]:
    """Shares of the labels among the nearest labelled sources, and the nearest of them: of the first passage, which tells what it is about."""
    snapshot, model, retrieval = judge.run.chain(judge.task)
    channel = _channel(retrieval)
    if channel is None or not len(channel.sources_):
        return {}, []
    graph, rows = with_queries(snapshot, judge.task, [{"text": text}])
    vector = model.vectors(judge.task, Nodes(graph, judge.task.relation.source, rows, "query"))[0]
    near = channel.index_ @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
    nearest = np.argsort(-near, kind="stable")[: max(channel.neighbours, shown)]
    votes = np.asarray(channel.followed_[nearest[: channel.neighbours]].sum(0)).ravel()
    ids = snapshot.entities[judge.task.relation.target]["id"]
    second = {ids[int(i)]: float(votes[i] / votes.sum()) for i in np.argsort(-votes, kind="stable") if votes[i] > 0}
    return second, _like(judge, channel, nearest[:shown], vector)


def _like(judge: Judge, channel: Neighbours, nearest: NDArray[np.int64], vector: NDArray[np.float32]) -> list[Like]:
    snapshot, _, _ = judge.run.chain(judge.task)
    task: Task = judge.task
    ids = snapshot.entities[task.relation.target]["id"]
    found = snapshot.gather(task.relation.source, channel.sources_[nearest]).to_dicts()
    # The head's vectors end with a 1 for the bias: without it the cosine is that of the encoder's vectors.
    width = len(vector) if judge.run.chain(task)[1].heads[task.name].encodes_candidates else len(vector) - 1
    own, theirs = vector[:width], channel.index_[nearest, :width]
    lengths = np.maximum(np.linalg.norm(theirs, axis=1) * np.linalg.norm(own), 1e-12)
    alike = theirs @ own / lengths
    labels = [[ids[int(i)] for i in channel.followed_[place].indices] for place in nearest]
    return [Like(row["id"], row.get("text") or "", of, float(a)) for row, of, a in zip(found, labels, alike, strict=True)]


def _channel(retrieval: Retrieval) -> Neighbours | None:
    """The channel that looks for past sources by their vectors."""
    for channel in (retrieval, *getattr(retrieval, "channels", {}).values()):
        if isinstance(channel, Neighbours) and channel.reads == "vectors":
            return channel
    return None


def _plain(opinion: Opinion) -> dict[str, Any]:
    return {**opinion._asdict(), "like": [like._asdict() for like in opinion.like]}
