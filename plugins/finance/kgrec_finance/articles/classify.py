"""`classify`: what a run says of a text: sentiment, topic, towards each company, and which past articles say the same.

found = kgrec_finance.classify(kgrec_core.open_run("runs/news"), "Infosys falls as TCS gains")
found.tasks["sentiment"].label, found.companies["TCS"].probabilities
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core import KgrecError
from kgrec_core.domain import as_data, each, resolve
from kgrec_finance.articles.data import open_labels
from kgrec_finance.articles.describing import described
from kgrec_finance.articles.linking import Linker
from kgrec_finance.articles.passages import pooled
from kgrec_finance.articles.reading import Cut, asked, lead, put, towards
from kgrec_finance.articles.roster import roster

if TYPE_CHECKING:
    from kgrec_core.domain import Explanation, Snapshot


@dataclass(frozen=True)
class Classify:
    """Sentiment and topic of TEXT, sentiment towards each company, and past articles like it.

    text: a headline or an article; - reads it from standard input.
    companies: id, ticker or name of who else is asked about, beside those that the text names.
    like: past articles that are shown.
    labels: table of task, label, text; also tells which of these labels the text is nearest to by what they mean: no examples, and
        without a run nothing else, are needed.
    explain: say why each label is the most probable one. language: of the reasons, en or zh; without it, as the text is written.

    Example: kgrec finance classify "Infosys falls as TCS gains" --run runs/news
    """

    text: str = field(metadata={"argument": True, "stdin": True})
    companies: tuple[str, ...] = field(default=(), metadata={"option": "--company", "repeat": True, "metavar": "NAME"})
    like: int = field(default=3, metadata={"metavar": "N"})
    labels: Path | None = None
    explain: bool = False
    language: Literal["en", "zh"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.text.strip())
        if not any(c.isalnum() for c in self.text):
            raise KgrecError("the text has no word to read; give a headline or an article")
        if self.like < 0:
            raise KgrecError(f"like = {self.like} articles cannot be shown; give 0 or more")


class Like(NamedTuple):
    """A past labelled article or mention; similarity: cosine of the fine-tuned vectors, from -1 to 1."""

    id: str
    text: str
    labels: list[str]
    similarity: float


class Opinion(NamedTuple):
    """label: the most probable one. probabilities: label -> P, calibrated where the run is. second: what the nearest past articles
    say, label -> share, most frequent first; like: the nearest of them. Both empty where the run has no such channel. why: where it was
    asked for, what the run's channels say for the label in the first passage."""

    label: str
    probability: float
    probabilities: dict[str, float]
    calibrated: bool
    second: dict[str, float]
    like: list[Like]
    why: Explanation | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; why where it was asked."""
        plain = {name: as_data(value) for name, value in self._asdict().items()}
        return plain if self.why is not None else {name: value for name, value in plain.items() if name != "why"}


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
            **as_data(self.tasks),
            "companies": {id: {"name": self.names[id], **as_data(opinion)} for id, opinion in self.companies.items()},
        }


def classify(snapshot: Snapshot | None, requests: Sequence[Classify]) -> list[Classified | KgrecError]:
    """What is said of one text does not depend, to the bit, on which come with it. snapshot: None = by the descriptions in `labels` alone."""
    learned = _learned(snapshot, requests) if snapshot is not None else [None] * len(requests)
    described = each(lambda _, pair: _described(snapshot, *pair))
    return described(snapshot, list(zip(requests, learned, strict=True)))


def told(found: Classified, request: object = None) -> str:
    """A classification for a person at a terminal."""
    lines = [f"read in {found.passages} passages"] if found.passages > 1 else []
    for name, opinion in found.tasks.items():
        lines += _told(name, opinion)
    for id, opinion in found.companies.items():
        lines += _told(f"{found.names[id]} [{id}]" if found.names[id] != id else id, opinion)
    return "\n".join(lines)


def _learned(snapshot: Snapshot, requests: Sequence[Classify]) -> list[Classified]:
    linker, tasks = roster(None, snapshot).linker, {task.name for task in snapshot.tasks}
    names = linker.names if linker else {}
    articles, shown = [lead(request.text) for request in requests], [request.like for request in requests]
    of_article = {name: _opinions(snapshot, name, articles, shown, requests) for name in ("sentiment", "topic") if name in tasks}
    about = [_companies(request, linker) if "entity_sentiment" in tasks else [] for request in requests]
    mentions = [cut for request, ids in zip(requests, about, strict=True) for cut in towards(request.text, ids, linker)]
    whose = [request for request, ids in zip(requests, about, strict=True) for _ in ids]
    shown = [request.like for request in whose]
    of_mention = iter(_opinions(snapshot, "entity_sentiment", mentions, shown, whose) if mentions else ())
    return [
        Classified(
            request.text,
            len(articles[number]),
            {name: opinions[number] for name, opinions in of_article.items()},
            {id: next(of_mention) for id in about[number]},
            {id: names.get(id, id) for id in about[number]},
        )
        for number, request in enumerate(requests)
    ]


def _companies(request: Classify, linker: Linker | None) -> list[str]:
    """Ids of those that the text names, and of those that are asked about."""
    found = [span.company for span in linker.find(request.text)] if linker else []
    return list(dict.fromkeys([*found, *((linker and linker.resolve(name)) or name for name in request.companies)]))


def _opinions(snapshot: Snapshot, task: str, cut: Sequence[Cut], shown: Sequence[int], requests: Sequence[Classify]) -> list[Opinion]:
    """The second opinion is that of the first passage, which tells what an article is about."""
    queries, firsts = put(snapshot, task, cut), list(accumulate(map(len, cut[:-1]), initial=0))
    said, past = asked(snapshot, task, cut, queries), snapshot.past(queries.take(firsts), task, max(shown, default=0))
    found = []
    for first, log, before, k, request in zip(firsts, said.log, past, shown, requests, strict=True):
        like = [Like(of.id, of.text or "", of.targets, of.similarity) for of in before.sources[:k]]
        opinion = _ordered(said.labels, np.exp(log), said.calibrated, before.shares, like)
        if request.explain:
            (reasons,) = snapshot.explain(queries.take([first]), task, len(said.labels), language=request.language)
            opinion = opinion._replace(why=next((why for why in reasons if why.item.id == opinion.label), None))
        found.append(opinion)
    return found


def _described(snapshot: Snapshot | None, request: Classify, known: Classified | None) -> Classified:
    """With the labels that are only described: of each task, by the pretrained model that the run's or the domain's recipe names."""
    if request.labels is None:
        if known is None:
            raise KgrecError("which run? name it with --run, or only describe labels in a table: --labels FILE")
        return known
    encoder = (snapshot.recipe if snapshot is not None else resolve("kgrec_finance:recipe.toml")).tables["encoder"]
    parts, tasks = lead(request.text), {}
    for name, of in open_labels(request.labels).items():
        p = np.exp(pooled(np.log(described([part for part, _ in parts], list(of.values()), encoder)), [cut for _, cut in parts]))
        tasks[name] = _ordered(list(of), p, False, {}, [])
    known = known or Classified(request.text, len(parts), {}, {}, {})
    return known._replace(tasks={**known.tasks, **tasks})


def _ordered(labels: Sequence[str], p: NDArray[np.float64], calibrated: bool, second: dict[str, float], like: list[Like]) -> Opinion:
    named = {labels[i]: float(p[i]) for i in np.argsort(-p, kind="stable")}
    best = next(iter(named))
    return Opinion(best, named[best], named, calibrated, second, like)


def _told(name: str, opinion: Opinion) -> list[str]:
    others = ", ".join(f"{label} {p:.2f}" for label, p in list(opinion.probabilities.items())[1:4])
    note = "" if opinion.calibrated else "   (not calibrated)"
    lines = [f"{name}: {opinion.label} {opinion.probability:.2f}   ({others}){note}"]
    if opinion.second:
        votes = ", ".join(f"{label} {share:.0%}" for label, share in opinion.second.items())
        lines.append(f"  second opinion, the nearest past articles: {votes}")
    lines += [f"  why: {opinion.why}"] if opinion.why else []
    lines += [f"  {like.similarity:.2f}  {'|'.join(like.labels)}  {like.text[:120]}" for like in opinion.like]
    return lines
