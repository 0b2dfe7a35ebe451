"""What a support desk asks of a run: questions in, a reply for each, with the reason for it. The verb `ask`.

reply = kgrec_support.ask(run, "my card has not arrived", budget=0.03)
reply.outcome, reply.text, reply.reason
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from kgrec_core import Graph, KgrecError, Nodes, Task
from kgrec_core.domain import (
    Answer,
    Calibration,
    Judged,
    Rules,
    Run,
    Snapshot,
    as_data,
    each,
    generator,
    grouped,
    identity,
    one,
    roles,
    unread_by,
    with_reasons,
)
from kgrec_support.asked import note
from kgrec_support.compose import Composed, Generate, compose
from kgrec_support.decide import Decision, Outcome, Thresholds, decide, is_chinese, readable
from kgrec_support.dialogues import BETWEEN, CONTEXT
from kgrec_support.grounding import Encode
from kgrec_support.opposites import differs
from kgrec_support.plain import cut, plain
from kgrec_support.slots import READ, fill, linked, recognise
from kgrec_support.slots import values as known_values
from kgrec_support.verbs import Ask

VARIANTS = 50  # questions of an entry that are compared with the one asked, the latest


class Intent(NamedTuple):
    """The most probable intent; probability: None where the run has no calibration of it."""

    id: str
    probability: float | None


class Reply(NamedTuple):
    """outcome: "answer", "clarify", "hand over" or "refuse"; text: for the customer; reason: for the operator.

    answers: the entry cited, or the alternatives shown; probability: that the first one found is right, None without a calibration.
    missing: slots that `text` asks for; values: what filled the others. intent: where the run knows intents. found: everything that
    was considered, best first. composed: what the entries say together, where it was asked for; no budget speaks for it.
    """

    outcome: Outcome
    text: str
    reason: str
    answers: list[Answer]
    probability: float | None
    missing: list[str]
    values: dict[str, str]
    intent: Intent | None
    found: list[Answer]
    composed: Composed | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; of the entries id, text and score, and why where it was asked."""
        entries = {name: [_plainly(answer) for answer in getattr(self, name)] for name in ("answers", "found")}
        beside = {"intent": self.intent and self.intent._asdict(), "composed": self.composed and self.composed._asdict()}
        return {**self._asdict(), **entries, **beside}


def _plainly(answer: Answer) -> dict[str, Any]:
    why = {} if answer.explanation is None else {"explanation": as_data(answer.explanation)}
    return {"id": answer.id, "text": answer.text, "score": answer.score, **why}


def ask(snapshot: Snapshot, requests: Sequence[Ask]) -> list[Reply | KgrecError]:
    """Answer questions, ask back, hand over or refuse; in their order, a fault in its request's place.

    A question that is, word for word, one of a single entry's gets that entry: whoever wrote it there has decided.
    Otherwise its probability to be right decides, and what it says must not be the opposite of what is asked (`opposites`). Without a
    calibration, nothing else is answered.
    """
    replies = grouped(requests, lambda of: (of.where, of.k, of.related, of.explain, of.language), lambda alike: _replies(snapshot, alike))
    return _each_finished(snapshot, list(zip(requests, replies, strict=True)))


@each
def _each_finished(snapshot: Snapshot, asked: tuple[Ask, Reply | KgrecError]) -> Reply:
    return finished(snapshot, asked[0], one([asked[1]]))


def _replies(snapshot: Snapshot, requests: Sequence[Ask]) -> list[Reply]:
    """Of requests with the same condition and k."""
    task = answering(snapshot)
    read = [request for request in requests if readable(cut(request.question))]
    queries = snapshot.put([{"text": _with_context(cut(request.question), request.context)} for request in read], task.name)
    first = requests[0]
    rules = Rules(related=first.related)
    judged = snapshot.judged(queries, task.name, first.k, first.where, rules=rules)
    if first.explain and read:
        why = snapshot.explain(queries, task.name, first.k, first.where, (), rules, first.language)
        judged = [of._replace(answers=given) for of, given in zip(judged, with_reasons([of.answers for of in judged], why), strict=True)]
    found = zip(read, judged, _intents(snapshot, task, queries), strict=True)
    answered = {id(request): _reply(snapshot, task, request, *of) for request, *of in found}
    nothing = Reply(*decide([], 0.0, Thresholds(1.0), question="")[:4], None, [], {}, None, [])
    return [answered.get(id(request), nothing) for request in requests]


def _reply(snapshot: Snapshot, task: Task, request: Ask, judged: Judged, intent: Intent | None) -> Reply:
    asked, (found, probability) = cut(request.question), judged
    calibration = snapshot.calibration(task.name)
    at = Thresholds(2.0) if calibration is None else _thresholds(_Same(calibration), request.budget)
    decision = decide(found, probability or 0.0, at, question=asked)
    reason = "Without a calibration only known questions are answered." if calibration is None else decision.reason
    reason = f"{reason[:-1]}{_likeness(snapshot, task, found)}."
    if why := _doubt(snapshot, task, asked, decision):
        decision = decide([], 0.0, at, language="zh" if is_chinese(asked) else "en")
        reason = f"{reason} But {why}."
    outcome, text, _, answers, _ = decision
    exact = [] if request.context else _word_for_word(snapshot.graph, task, asked)
    known = next(
        (a for a in [*found, *([] if request.where or request.related else _entries(snapshot, task, exact))] if a.id in exact), None
    )
    if known is not None and known.text:
        outcome, answers, reason = "answer", [known], f"Word for word a question of entry {known.id}."
    reply = Reply(outcome, text, reason, answers, probability, [], {}, intent, found)
    return filled(snapshot, reply, answers[0], [*request.context, request.question], request.values) if outcome == "answer" else reply


def finished(snapshot: Snapshot, request: Ask, reply: Reply) -> Reply:
    """With what the entries say together, where that is wanted; and logged."""
    if request.compose or request.llm:
        reply = composed(snapshot, request.question, reply, generator(request.llm, request.endpoint, request.key))
    if request.log:
        note(snapshot.folder, request.question, reply)
    return reply


def filled(snapshot: Snapshot, reply: Reply, answer: Answer, turns: Sequence[str], values: Mapping[str, Any] | None = None) -> Reply:
    """The reply that gives this entry, its slots filled by entry, `values`, graph and turns; a missing one makes it a question back."""
    said = {name: value for turn in turns for name, value in recognise(turn[:READ]).items()}
    links = linked(snapshot.graph, answering(snapshot).relation.target, answer.id, " ".join(turns)[:READ])
    have = known_values("", answer.attributes, {**said, **links, **(values or {})})
    text, missing, asks = fill(answer.text or "", have, snapshot.recipe.tables["data"].get("slots"))
    if missing:
        why = f"{reply.reason} Entry {answer.id} needs {', '.join(missing)}."
        return reply._replace(outcome="clarify", text=asks, reason=why, answers=[answer], missing=missing, values=have)
    return reply._replace(outcome="answer", text=text, answers=[answer], missing=[], values=have)


def composed(snapshot: Snapshot, question: str, reply: Reply, generate: Generate | None = None, entries: int = 5) -> Reply:
    """The reply with what the entries found say about the question: extracted, or by `generate`, every sentence supported by an entry.

    Only where the reply is neither an answer nor refused. The outcome stays: the budget does not speak for composed sentences.
    """
    if reply.outcome in ("answer", "refuse") or reply.missing:
        return reply
    encode = encoding(snapshot, answering(snapshot))
    return reply._replace(composed=compose(cut(question), reply.found[:entries], generate, encode=encode))


def answering(run: Run | Snapshot) -> Task:
    """The task that finds answers: `answer`, else the run's first (an intent is then the answer)."""
    return next((task for task in run.tasks if task.name == "answer"), run.tasks[0])


def encoding(snapshot: Snapshot, task: Task) -> Encode:
    """encode(texts) -> (n, d) rows of length one, as the run reads questions; zeros for a text in which there is nothing to read."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        says = np.array([bool(plain(text)) for text in texts], bool)
        told = snapshot.encode(task.name, [{"text": text if some else "-"} for text, some in zip(texts, says, strict=True)])
        return told * says[:, None] / np.maximum(np.linalg.norm(told, axis=1, keepdims=True), 1e-12)

    return encode


def _doubt(snapshot: Snapshot, task: Task, asked: str, decision: Decision) -> str | None:
    """Why what was decided is not said, as a clause."""
    if decision.outcome in ("answer", "clarify") and (share := float(unread_by(snapshot.model.encoder, [asked])[0])) > 0.5:
        return f"the model cannot read {share:.0%} of the question's letters"
    return differs(asked, _questions(snapshot.graph, task, decision.answers[0])) if decision.outcome == "answer" else None


def _questions(graph: Graph, task: Task, answer: Answer) -> list[str]:
    """The entry's own questions, the latest."""
    source, target = task.relation.source, task.relation.target
    rows = graph.adjacent(task.relation, graph.rows(target, [answer.id]), inverse=True, last=VARIANTS).rows
    return [text for text in graph.gather(source, rows[graph.alive(source)[rows]], "text")["text"].to_list() if text]


def _likeness(snapshot: Snapshot, task: Task, found: Sequence[Answer]) -> str:
    """How like the question is to the nearest one that is known of the first entry, as a clause."""
    names = [name for name, role in roles(snapshot.retrievals[task.name]).items() if role == "question"]
    alike = [found[0].columns[name] for name in names if found and name in found[0].columns]
    return f"; the nearest known question is {alike[0]:.2f} alike" if alike else ""


def _word_for_word(graph: Graph, task: Task, question: str) -> list[str]:
    """The id of the entry that this very question leads to; none where there are several."""
    source, target = task.relation.source, task.relation.target
    row = graph.rows(source, [identity("q", question)])
    if row[0] < 0 or not graph.alive(source)[row[0]]:
        return []
    ends = np.unique(graph.adjacent(task.relation, row).rows)
    ends = ends[graph.alive(target)[ends]]
    return graph.gather(target, ends, "id")["id"].to_list() if len(ends) == 1 else []


def _entries(snapshot: Snapshot, task: Task, ids: Sequence[str]) -> list[Answer]:
    """Entries as answers, whatever the run's retrieval finds."""
    kind, graph = task.relation.target, snapshot.graph
    tables = graph.gather(kind, graph.rows(kind, ids)).to_dicts() if ids else []
    return [Answer(t["id"], t.get("text"), 1.0, {k: v for k, v in t.items() if k not in ("id", "text")}, {}) for t in tables]


def _with_context(question: str, context: Iterable[str]) -> str:
    """As `Support` joins a dialogue's turns."""
    told = BETWEEN.join(filter(None, map(plain, context)))[-CONTEXT:].strip()
    return f"{told}{BETWEEN}{question}".replace("\n", " ") if told else question


def _intents(snapshot: Snapshot, task: Task, queries: Nodes) -> list[Intent | None]:
    if task.name == "intent" or all(other.name != "intent" for other in snapshot.tasks):
        return [None] * len(queries)
    return [Intent(of.answers[0].id, of.probability) if of.answers else None for of in snapshot.judged(queries, "intent", 1)]


class _Same:
    """A calibration as a key: equal to itself only."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.calibration is self.calibration

    def __hash__(self) -> int:
        return id(self.calibration)


@lru_cache(64)
def _thresholds(of: _Same, budget: float) -> Thresholds:
    return Thresholds.of(of.calibration, budget)
